"""An ONNX graph, float or QDQ, as layers that can be looked at and run one by one.

    layers = layers_of(model)
    seen_model(model, layers)       # the graph, with the result of each layer as an output
    cut_model(model, layers)        # each layer alone: its inputs are inputs of the graph
    shifted_model(model, layers)    # the graph, with something to add to the result of each layer

A layer ends where a tensor is stored: at the DequantizeLinear behind a QuantizeLinear, and in a float graph behind each
operator. What an integer operator keeps to itself (a ReLU that follows a convolution) is part of its layer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied

if TYPE_CHECKING:
    import onnx

STORAGE = {"QuantizeLinear", "DequantizeLinear", "Cast"}  # change how a value is stored, not what it is
SUFFIX = re.compile(r"(_dequantized|_quantized|_dequantize|_quantize|_float|_raw|_dq|_q|/float|/integer|/value)$")


@dataclass(frozen=True)
class Grid:
    """The integers a layer's result is stored in: value = (q - zero) * scale, 0 <= q < 2^bits."""

    bits: int
    scale: float
    zero: int

    @property
    def low(self) -> float:
        """The real that integer 0 stands for: the least that can be stored."""
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        """The real that the largest integer stands for: the most that can be stored."""
        return (2**self.bits - 1 - self.zero) * self.scale


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        name: of its result, without what quantization adds to names.
        kind: its operators, "Conv" or "Conv+Relu"; "Quantize" for the picture's own rounding, "Convert" for another
            width.
        inputs, output: tensors of the graph.
        nodes: of the graph, in order.
        grid: of its result; None where that is float. `inner`: of the results that are hidden in it.
        constants: (operator, place) -> array: weights as the file stores them, with scale and zero point.
        attributes: (operator, attribute) -> value.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    nodes: tuple[onnx.NodeProto, ...]
    grid: Grid | None
    inner: tuple[Grid, ...] = ()
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)


def layers_of(model: onnx.ModelProto, *, hidden: Collection[str] = ()) -> tuple[Layer, ...]:
    """The layers, in execution order; together they hold every operator that computes.

    A layer does not end at a `hidden` tensor: it goes on into those that read it.
    """
    graph = _Graph(model, hidden)
    return tuple(graph.layer(tensor) for tensor in graph.stored)


def plain_name(tensor: str) -> str:
    """A tensor's name without the endings that quantization and our reader of .dlc files put behind it."""
    while (shorter := SUFFIX.sub("", tensor)) not in (tensor, ""):
        tensor = shorter
    return tensor


class _Graph:
    def __init__(self, model: onnx.ModelProto, hidden: Collection[str]):
        view = OnnxGraph(model)
        self.arrays, self.makers, self.outputs = view.constants, view.makers(), view.outputs
        self.constant = set(self.arrays)
        for node in view.nodes:  # in execution order, as ONNX demands
            if all(name in self.constant for name in node.input if name):
                self.constant.update(node.output)
        self.inputs = set(view.inputs)
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in view.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        self.order = {id(node): i for i, node in enumerate(view.nodes)}
        ending = [name for node in view.nodes for name in node.output if self._ends(node, name)]
        self.stored = [name for name in ending if name not in hidden or name in self.outputs]
        self.ends = self.inputs | set(self.stored)

    def _ends(self, node: onnx.NodeProto, tensor: str) -> bool:
        """Whether a layer ends at this tensor."""
        if not tensor or tensor in self.constant:
            return False
        if tensor in self.outputs:
            return True
        readers = self.readers.get(tensor, [])
        if node.op_type == "QuantizeLinear" or all(r.op_type in STORAGE and r.op_type != "DequantizeLinear"
                                                   for r in readers):  # fmt: skip
            return False  # it goes on to where it is stored; or nobody reads it
        if node.op_type in STORAGE:
            return True
        return not (self._reads_integers(node) and self._is_quantized_next(tensor))

    def _reads_integers(self, node: onnx.NodeProto) -> bool:
        makers = [self.makers.get(name) for name in node.input if name not in self.constant]
        return any(m is not None and m.op_type == "DequantizeLinear" for m in makers)

    def _is_quantized_next(self, tensor: str) -> bool:
        """Whether each reader's result is quantized at once: they are one integer operator with what made `tensor`."""
        following = [r for reader in self.readers[tensor] for name in reader.output for r in self.readers.get(name, [])]
        return bool(following) and all(r.op_type == "QuantizeLinear" for r in following)

    def layer(self, output: str) -> Layer:
        nodes: dict[int, onnx.NodeProto] = {}
        inputs: dict[str, None] = {}
        waiting = [self.makers[output]]
        while waiting:
            node = waiting.pop()
            nodes[self.order[id(node)]] = node
            for name in node.input:
                if name in self.ends and name != output:
                    inputs[name] = None
                elif name in self.makers and self.order[id(self.makers[name])] not in nodes:
                    waiting.append(self.makers[name])
        ordered = tuple(nodes[i] for i in sorted(nodes))
        constants, attributes = self._facts(ordered)
        kinds = [n.op_type for n in ordered if n.op_type not in STORAGE and not set(n.output) <= self.constant]
        kind = "+".join(kinds) or ("Quantize" if set(inputs) <= self.inputs else "Convert")
        stored = [n.output[0] for n in ordered if n.op_type == "DequantizeLinear"]
        grids = [self._grid(name) for name in stored if name not in self.constant and name != output]
        inner = tuple(grid for grid in grids if grid is not None)
        return Layer(
            plain_name(output), kind, tuple(sorted(inputs)), output, ordered, self._grid(output), inner, constants,
            attributes,
        )  # fmt: skip

    def _grid(self, output: str) -> Grid | None:
        node = self.makers[output]
        if node.op_type != "DequantizeLinear" or np.size(self.arrays.get(node.input[1], ())) != 1:
            return None
        scale = float(self.arrays[node.input[1]].reshape(()))
        zero = self.arrays.get(node.input[2]) if len(node.input) > 2 else np.uint8(0)
        if zero is None or np.dtype(zero.dtype).kind not in "iu":
            return None
        signed = np.dtype(zero.dtype).kind == "i"
        bits = np.dtype(zero.dtype).itemsize * 8
        return Grid(bits, scale, int(np.reshape(zero, ())) + (2 ** (bits - 1) if signed else 0))

    def _facts(self, nodes: Sequence[onnx.NodeProto]) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        constants: dict[str, np.ndarray] = {}
        attributes: dict[str, object] = {}
        count: dict[str, int] = {}
        for node in nodes:
            stored = set(node.output) <= self.constant
            kind = f"{self._role(node)} " if stored else f"{node.op_type} "
            number = count[kind] = count.get(kind, 0) + 1
            kind += f"{number} " if number > 1 else ""
            for place, name in enumerate(node.input):
                if name in self.arrays:
                    constants[kind + PLACES.get(node.op_type, {}).get(place, f"constant {place}")] = self.arrays[name]
            attributes |= {kind + key: value for key, value in attributes_of(node).items()}
        return constants, attributes

    def _role(self, node: onnx.NodeProto) -> str:
        """What a stored tensor is to the operator that reads it: 'weights', 'bias', 'slopes'."""
        reader = next(iter(self.readers.get(node.output[0], [])), None)
        if reader is None:
            return node.op_type
        if reader.op_type in STORAGE or set(reader.output) <= self.constant:
            return self._role(reader)
        place = list(reader.input).index(node.output[0])
        return PLACES.get(reader.op_type, {}).get(place, f"{reader.op_type} constant {place}")


PLACES = {
    "Conv": {1: "weights", 2: "bias"},
    "ConvTranspose": {1: "weights", 2: "bias"},
    "Gemm": {1: "weights", 2: "bias"},
    "MatMul": {1: "weights"},
    "PRelu": {1: "slopes"},
    "QuantizeLinear": {1: "scale", 2: "zero point"},
    "DequantizeLinear": {0: "integers", 1: "scale", 2: "zero point"},
}


def seen_model(model: onnx.ModelProto, layers: Sequence[Layer]) -> onnx.ModelProto:
    """The graph with the result of each layer as an output as well; nothing else is changed."""
    from snpe_srgan.onnx_graphs.run import with_outputs

    return with_outputs(model, [layer.output for layer in layers])


LOCAL, DELTA = "local:", "delta:"


def unrounded(model: onnx.ModelProto, hidden: Collection[str]) -> onnx.ModelProto:
    """The graph without the rounding, and the clipping, of the hidden tensors: what an engine makes of fused layers."""
    copy = copied(model)
    makers = {name: node for node in copy.graph.node for name in node.output}
    for name in hidden:
        node = makers[name]
        before = makers.get(node.input[0])
        if node.op_type == "DequantizeLinear" and before is not None and before.op_type == "QuantizeLinear":
            node.op_type, value = "Identity", before.input[0]
            del node.input[:], node.attribute[:]
            node.input.append(value)
    return copy


def cut_model(model: onnx.ModelProto, layers: Sequence[Layer]) -> onnx.ModelProto:
    """Each layer alone: what it reads of others is an input of the graph, and its result `local:NAME` an output."""
    from onnx import TensorProto, helper

    ends = {layer.output for layer in layers}
    nodes = {}
    for layer in layers:
        for node in layer.nodes:
            nodes[node.output[0]] = node
    made = []
    for node in (n for n in model.graph.node if n.output[0] in nodes):
        copy = type(node)()
        copy.CopyFrom(node)
        copy.output[:] = [LOCAL + name if name in ends else name for name in node.output]
        made.append(copy)
    read = list(dict.fromkeys(name for layer in layers for name in layer.inputs))
    graph = helper.make_graph(
        made, "layers", [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in read],
        [helper.make_empty_tensor_value_info(LOCAL + layer.output) for layer in layers],
        _initializers(model, made),
    )  # fmt: skip
    return _model(model, graph)


def shifted_model(model: onnx.ModelProto, layers: Sequence[Layer]) -> onnx.ModelProto:
    """The graph in which an input `delta:NAME` is added to the result of each layer, before anything reads it."""
    from onnx import TensorProto, helper

    copy = copied(model)
    ends = {layer.output for layer in layers}
    last = {v.name for v in copy.graph.output}
    nodes = []
    for node in OnnxGraph(copy).nodes:
        node.input[:] = [f"shifted:{name}" if name in ends and name not in last else name for name in node.input]
        moved = [name for name in node.output if name in ends]
        node.output[:] = [f"exact:{name}" if name in ends and name in last else name for name in node.output]
        nodes.append(node)
        for name in moved:
            before, after = (f"exact:{name}", name) if name in last else (name, f"shifted:{name}")
            nodes.append(helper.make_node("Add", [before, DELTA + name], [after], name=f"{DELTA}{name}"))
    inputs = [helper.make_tensor_value_info(DELTA + name, TensorProto.FLOAT, None) for name in ends]
    graph = helper.make_graph(
        nodes, "shifted", [*copy.graph.input, *inputs], list(copy.graph.output), _initializers(model, nodes)
    )
    return _model(model, graph)


def _initializers(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[onnx.TensorProto]:
    from onnx import numpy_helper

    read = {name for node in nodes for name in node.input}
    constants = OnnxGraph(model).constants
    return [numpy_helper.from_array(array, name) for name, array in constants.items() if name in read]


def _model(model: onnx.ModelProto, graph: onnx.GraphProto) -> onnx.ModelProto:
    from onnx import helper

    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
