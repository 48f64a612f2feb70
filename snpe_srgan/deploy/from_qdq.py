"""Our QDQ ONNX graph as an 8-bit network in LiteRT's terms: the same integers, scales and zero points.

    network = from_qdq(fix_size(quantized, (128, 128)), where="generator_w8a8.onnx")

TFLiteConverter would choose scales of its own, which lose 2.7 to 5.7 dB on trained networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, shapes_of
from snpe_srgan.tflite.graph import Grid, Network, Operator

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
POINTWISE = {"Add", "Clip", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}  # the same on NHWC and on NCHW


@dataclass(frozen=True)
class _Constant:
    """A dequantized initializer: value = (integers - zero) * scale, per channel along `axis` or per tensor."""

    integers: np.ndarray
    scale: np.ndarray
    zero: np.ndarray


def from_qdq(model, *, where: object = None) -> Network:
    """Reads a QDQ model of fixed size, 8-bit activations and NHWC ends.

    Args:
        model: an ONNX ModelProto as `quantization.graph.qdq` writes it, shapes inferred (`fix_size`).
        where: the file, for errors.

    Raises:
        InputError: an operator, a layout or a width that the .tflite cannot hold; the message names it.
    """
    return _Reader(model, where).network()


class _Reader:
    def __init__(self, model, where: object):
        self.graph, self.where = OnnxGraph(model), where
        self.constants = self.graph.constants
        self.dims = {name: tuple(d or 0 for d in dims) for name, dims in shapes_of(model.graph).items()}
        self.alias: dict[str, str] = {}  # a name in the ONNX graph -> the activation that it is
        self.stored: dict[str, _Constant] = {}
        self.grids: dict[str, Grid] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.operators: list[Operator] = []
        self.pending: dict[str, Operator] = {}  # float results that no QuantizeLinear has read yet
        self.input = self.graph.inputs[0]
        self.flat = {self.input}  # ONNX names of NHWC tensors; all others are NCHW

    def fail(self, what: str, node, hint: str | None = None) -> InputError:
        return InputError(what, where=f"{self.where}, operator '{node.name or node.output[0]}'", hint=hint)

    def network(self) -> Network:
        for node in self.graph.nodes:
            if node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node)
            elif node.op_type in RULES:
                self._operator(node)
            else:
                raise self.fail(
                    f"the .tflite writer does not know the operator '{node.op_type}'", node,
                    "known: " + ", ".join(sorted(RULES)),
                )  # fmt: skip
        output = self.alias.get(self.graph.outputs[0])
        if output is None:
            raise InputError("the network's output is not quantized", where=self.where, hint="snpe-srgan quantize")
        return Network(self.operators, self.grids, self.shapes, self.alias[self.input], output)

    # -- quantization -------------------------------------------------------------------------------------------

    def _grid(self, node) -> Grid:
        scale, zero = self.constants[node.input[1]], self.constants[node.input[2]]
        if zero.dtype != np.uint8 or scale.size != 1:
            raise self.fail(
                f"an activation of type {zero.dtype}: the .tflite takes 8-bit activations only", node,
                "a recipe whose name begins with w8a8",
            )  # fmt: skip
        return Grid(float(scale), int(zero))

    def _quantize(self, node) -> None:
        source, result, grid = node.input[0], node.output[0], self._grid(node)
        if source in self.flat:
            self.flat.add(result)
        if source in self.pending:
            operator = self.pending.pop(source)
            operator.output = result
            self.operators.append(operator)
        elif source == self.input:
            self.shapes[result] = self._nhwc(source)
            self.alias[source] = result
        elif source in self.alias and self.grids[self.alias[source]] == grid:
            self.alias[result] = self.alias[source]
            return
        elif source in self.alias:
            self.operators.append(Operator("QUANTIZE", [self.alias[source]], result))
        else:
            raise self.fail(f"'{source}' is quantized before it is computed", node)
        self.grids[result], self.alias[result] = grid, result
        self.shapes.setdefault(result, self._nhwc(source))

    def _dequantize(self, node) -> None:
        source, result = node.input[0], node.output[0]
        if source in self.constants:
            scale, zero = self.constants[node.input[1]], self.constants[node.input[2]]
            self.stored[result] = _Constant(self.constants[source], scale, zero)
            return
        self.alias[result] = self.alias[source]
        if source in self.flat:
            self.flat.add(result)

    def _nhwc(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor as the .tflite has it."""
        shape = self.dims[name]
        if len(shape) != 4:
            raise InputError(f"tensor '{name}' has {len(shape)} axes, not 4", where=self.where)
        return shape if name in self.flat else (shape[0], shape[2], shape[3], shape[1])

    # -- operators ----------------------------------------------------------------------------------------------

    def _operator(self, node) -> None:
        attributes = attributes_of(node)
        if node.op_type != "Transpose" and any(name in self.flat for name in node.input):
            if node.op_type not in POINTWISE:
                raise self.fail(f"a {node.op_type} that reads an NHWC tensor; ONNX computes it on NCHW", node)
            self.flat.add(node.output[0])
        operator = RULES[node.op_type](self, node, attributes)
        if operator is None:
            return
        operator.attributes.setdefault("name", node.name or node.output[0])
        self.pending[node.output[0]] = operator

    def activation(self, node, index: int = 0) -> str:
        """The activation that an operator reads at `index`."""
        name = node.input[index]
        if name not in self.alias:
            raise self.fail(f"it reads '{name}', which is not quantized", node)
        return self.alias[name]

    def constant(self, node, index: int) -> _Constant:
        if node.input[index] not in self.stored:
            raise self.fail("a constant operand is not quantized", node)
        return self.stored[node.input[index]]

    def axis(self, node, attributes: dict) -> None:
        if attributes.get("axis") not in (1, -3):
            raise self.fail("it joins along an axis other than the channels", node)


def _transpose(reader: _Reader, node, attributes) -> None:
    """Only a change between NHWC and NCHW, which a .tflite has no need of."""
    perm, source = list(attributes["perm"]), node.input[0]
    if perm != (TO_NCHW if source in reader.flat else TO_NHWC):
        raise reader.fail(f"a Transpose {perm} that is no change between NHWC and NCHW", node)
    reader.alias[node.output[0]] = reader.activation(node)
    if perm == TO_NHWC:
        reader.flat.add(node.output[0])


def _conv(reader: _Reader, node, attributes) -> Operator:
    kernel, bias = reader.constant(node, 1), reader.constant(node, 2)
    integers = kernel.integers.astype(np.int8)
    if kernel.zero.astype(np.int64).any():
        raise reader.fail("its weights have a zero point: the .tflite takes symmetric weights", node)
    groups, channels = int(attributes.get("group", 1)), reader.shapes[reader.activation(node)][3]
    out = len(integers)
    if groups == 1:
        kind, weights = "CONV_2D", integers.transpose(0, 2, 3, 1)
    elif groups == channels and integers.shape[1] == 1 and out % groups == 0:
        kind, weights = "DEPTHWISE_CONV_2D", integers.transpose(1, 2, 3, 0)
    else:
        raise reader.fail(f"a convolution of {groups} groups for {channels} channels", node, "1 group, or as many")
    scales = np.broadcast_to(kernel.scale.astype(np.float64), (out,))
    return Operator(
        kind, [reader.activation(node)], "", weights=np.ascontiguousarray(weights), weight_scales=scales.copy(),
        bias=bias.integers.astype(np.int64).copy(),
        attributes={
            "strides": tuple(attributes.get("strides", (1, 1))),
            "dilations": tuple(attributes.get("dilations", (1, 1))),
            "pads": _pads(reader, node, attributes, weights.shape[1:3]),
            "multiplier": out // groups if kind == "DEPTHWISE_CONV_2D" else 1,
        },
    )  # fmt: skip


def _pads(reader: _Reader, node, attributes, kernel: tuple[int, int]) -> tuple[int, int, int, int]:
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto in (b"NOTSET", b"VALID"):
        return tuple(attributes.get("pads", (0, 0, 0, 0)))
    if tuple(attributes.get("strides", (1, 1))) != (1, 1):
        raise reader.fail(f"padding {auto.decode()} with a stride", node)
    reach = [(k - 1) * d for k, d in zip(kernel, attributes.get("dilations", (1, 1)), strict=True)]
    low = [r // 2 if auto == b"SAME_UPPER" else (r + 1) // 2 for r in reach]
    return (*low, *(r - n for r, n in zip(reach, low, strict=True)))


def _relu(reader: _Reader, node, attributes) -> Operator | None:
    """Part of the convolution or addition before it, where nothing is quantized between the two."""
    if node.input[0] in reader.pending:
        operator = reader.pending.pop(node.input[0])
        operator.attributes["relu"] = True
        return operator
    return Operator("RELU", [reader.activation(node)], "")


def _slope(reader: _Reader, node, attributes) -> Operator:
    slopes = reader.constant(node, 1)
    grid = Grid(float(slopes.scale), int(slopes.zero))
    channels = reader.shapes[reader.activation(node)][3]
    values = np.broadcast_to(slopes.integers.reshape(-1), (channels,))
    return Operator("PRELU", [reader.activation(node)], "", constant=values.reshape(1, 1, -1), constant_grid=grid)


def _two(kind: str) -> Callable:
    def rule(reader: _Reader, node, attributes) -> Operator:
        return Operator(kind, [reader.activation(node, 0), reader.activation(node, 1)], "")

    return rule


def _mul(reader: _Reader, node, attributes) -> Operator:
    fixed = [i for i, name in enumerate(node.input) if name in reader.stored]
    if not fixed:
        return _two("MUL")(reader, node, attributes)
    factor = reader.constant(node, fixed[0])
    values = factor.integers
    if values.size > 1:
        if values.ndim < 3:
            raise reader.fail("a factor that is neither a number nor one for each channel", node)
        values = values.reshape(values.shape[-3:]).transpose(1, 2, 0)
    else:
        values = values.reshape(1)
    grid = Grid(float(factor.scale), int(factor.zero))
    return Operator("MUL", [reader.activation(node, 1 - fixed[0])], "", constant=values, constant_grid=grid)


def _one(kind: str) -> Callable:
    def rule(reader: _Reader, node, attributes) -> Operator:
        return Operator(kind, [reader.activation(node)], "")

    return rule


def _leaky(reader: _Reader, node, attributes) -> Operator:
    alpha = float(attributes.get("alpha", 0.01))
    return Operator("LEAKY_RELU", [reader.activation(node)], "", attributes={"alpha": alpha})


def _concat(reader: _Reader, node, attributes) -> Operator:
    reader.axis(node, attributes)
    return Operator("CONCATENATION", [reader.activation(node, i) for i in range(len(node.input))], "")


def _shuffle(reader: _Reader, node, attributes) -> Operator:
    mode = attributes.get("mode", b"DCR").decode()
    return Operator(
        "DEPTH_TO_SPACE", [reader.activation(node)], "", attributes={"block": attributes["blocksize"], "mode": mode}
    )


def _resize(reader: _Reader, node, attributes) -> Operator:
    before, after = (reader.dims[name] for name in (node.input[0], node.output[0]))
    factor = after[2] // before[2]
    if attributes.get("mode", b"nearest") != b"nearest" or after[2:] != tuple(n * factor for n in before[2:]):
        raise reader.fail("an enlargement other than nearest neighbour by a whole number", node)
    return Operator("RESIZE_NEAREST_NEIGHBOR", [reader.activation(node)], "", attributes={"factor": factor})


def _clip(reader: _Reader, node, attributes) -> Operator:
    """A saturation that the grid does not do by itself."""
    low, high = (
        float(reader.constants[node.input[i]]) if len(node.input) > i and node.input[i] in reader.constants else None
        for i in (1, 2)
    )
    return Operator("CLIP", [reader.activation(node)], "", attributes={"low": low, "high": high})


RULES: dict[str, Callable] = {
    "Add": _two("ADD"),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "DepthToSpace": _shuffle,
    "GlobalAveragePool": _one("MEAN"),
    "LeakyRelu": _leaky,
    "Mul": _mul,
    "PRelu": _slope,
    "Relu": _relu,
    "Resize": _resize,
    "Sigmoid": _one("LOGISTIC"),
    "Tanh": _one("TANH"),
    "Transpose": _transpose,
}
