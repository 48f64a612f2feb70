"""Rebuilds the ONNX graph that a .dlc holds, so that an engine can run the file itself.

    model = rebuild(read("generator_w8a8.dlc"))

A .dlc computes on NHWC images; ONNX on NCHW. Every four-dimensional tensor is therefore kept here as NCHW, with one
Transpose at each end of the graph, which is what the converter removed. A tensor with an encoding becomes
QuantizeLinear -> DequantizeLinear, so that the HTP's own converter finds its integer operators again: on the emulator
the rebuilt graph gives the bits of the graph that the .dlc was made from. Inputs and outputs are float32 under the
file's names, also where the file wants integers (SNPE's convention: the caller feeds floats, the runtime quantizes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.dlc import operators, operators_v3
from snpe_srgan.dlc.check_shapes import check_shapes
from snpe_srgan.dlc.model import Dlc, Encoding, Graph, Node, Tensor
from snpe_srgan.dlc.operation import Operation
from snpe_srgan.dlc.operators_layout import TO_NCHW, TO_NHWC
from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    import onnx

OPSET = 21  # the first with 16-bit QuantizeLinear
IR_VERSION = 10
FLOATS = {"float32", "float16"}
FOUR_BITS = {"sfxp4": ("int4", -8, 7), "ufxp4": ("uint4", 0, 15)}
TYPES = {"ufxp8": "u1", "sfxp8": "i1", "ufxp16": "u2", "sfxp16": "i2", "sfxp32": "i4"}
RULES = {3: operators_v3.OPERATORS, 4: operators.OPERATORS}
MAX_ELEMENTS = 1 << 31  # in one tensor: 3840x2160 at 64 channels is a quarter of it


def rebuild(dlc: Dlc) -> onnx.ModelProto:
    """The ONNX (QDQ where quantized) graph of a .dlc; InputError names the first operator that is not known."""
    import onnx

    if len(dlc.graphs) != 1:
        raise InputError(f"the .dlc holds {len(dlc.graphs)} networks; one is expected", where=dlc.path)
    builder = Builder(dlc.graphs[0], RULES[dlc.version], where=dlc.path)
    try:
        with np.errstate(all="ignore"):  # a damaged file's numbers: what comes of them is checked below
            model = builder.build()
        onnx.checker.check_model(model)
        check_shapes(model, builder.computed, where=dlc.path)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        OverflowError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the .dlc does not describe a whole network: {reason}", where=dlc.path) from error
    return model


class Builder:
    """The ONNX graph as it grows. Operators (`operators.py`) ask it for inputs, constants and nodes."""

    def __init__(self, graph: Graph, rules: dict, *, where: object):
        self.graph, self.rules, self.where = graph, rules, where
        self.nodes: list = []
        self.constants: list = []
        self._floats: dict[str, str] = {}  # .dlc name -> ONNX name of its float values, NCHW
        self._integers: dict[str, str] = {}  # the same for the integers of a quantized tensor
        self._stored: dict[tuple, str] = {}
        self.computed: dict[str, tuple[str, tuple[int, ...]]] = {}  # ONNX name -> .dlc name and shape
        self._used: set[str] = {t.name for t in graph.of_role("input") + graph.of_role("output")}

    # -- what operators use -------------------------------------------------------------------------------------

    def tensor(self, name: str) -> Tensor:
        """A tensor of the .dlc; `InputError` where the file has none of that name."""
        if name not in self.graph.tensors:
            raise InputError(f"the .dlc is damaged: no tensor '{name}'", where=self.where)
        return self.graph.tensors[name]

    def name(self, wish: str) -> str:
        """A name not used before: ONNX wants every value once, a file may say anything."""
        name, count = wish, 1
        while not name or name in self._used:
            name, count = f"{wish}~{count}", count + 1
        self._used.add(name)
        return name

    def constant(self, wish: str, values: np.ndarray) -> str:
        """Adds a constant of the array's own dtype and shape; its name, which is `wish` unless that is taken."""
        from onnx import numpy_helper

        name = self.name(wish)
        self.constants.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def op(self, kind: str, inputs: list[str], wish: str, **attributes) -> str:
        """Adds an ONNX node of one output; the output's name.

        Args:
            kind: ONNX's operator.
            inputs: ONNX names; "" leaves an optional input out.
            wish: the output's name, unless that is taken.
            attributes: as `onnx.helper.make_node` takes them.
        """
        return self.ops(kind, inputs, [wish], **attributes)[0]

    def ops(self, kind: str, inputs: list[str], wishes: list[str], **attributes) -> list[str]:
        """An ONNX node of several outputs.

        Args:
            wishes: a name for each output, unless that is taken; the rest as in `op`.
        """
        from onnx import helper

        outputs = [self.name(wish) for wish in wishes]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def value(self, name: str) -> str:
        """The ONNX name of a .dlc tensor's float values; stored tensors become constants on first use.

        Raises:
            InputError: there is no such tensor, or it is used before it is computed.
        """
        if name not in self._floats:
            tensor = self.tensor(name)
            if tensor.role == "static":
                self._floats[name] = self.stored(tensor, TO_NCHW if len(tensor.dims) == 4 else None)
            elif name in self._integers and tensor.encoding is not None:
                integers = self._integers[name]
                self._floats[name] = self.dequantize(integers, tensor.encoding, tensor.dtype, f"{name}/float")
            else:
                raise InputError(f"the .dlc is damaged: '{name}' is used before it is computed", where=self.where)
        return self._floats[name]

    def stored(self, tensor: Tensor, perm: tuple[int, ...] | None = None, shape: tuple[int, ...] | None = None) -> str:
        """A constant, first reshaped by leading ones, then with its axes permuted; dequantized if it has to be.

        Args:
            perm: the order of axes that the constant gets, as numpy's transpose takes it; None leaves it.
            shape: the tensor's own with ones in front; None leaves it.

        Returns:
            The ONNX name of the float values; asked again, the same.

        Raises:
            InputError: the tensor's bytes do not fit its shape, or its encoding is not known.
        """
        key = (tensor.name, perm, shape)
        if key not in self._stored:  # a file may use one tensor any number of times
            self._stored[key] = self._constant(tensor, perm, shape)
        return self._stored[key]

    def _constant(self, tensor: Tensor, perm: tuple[int, ...] | None, shape: tuple[int, ...] | None) -> str:
        data, encoding = tensor.data(), tensor.encoding
        axis = None if encoding is None else encoding.axis
        if shape is not None:
            axis = None if axis is None else axis + len(shape) - data.ndim
            data = data.reshape(shape)
        if perm is not None:
            axis = None if axis is None else perm.index(axis)
            data = data.transpose(perm)
        if encoding is None and "fxp" in tensor.dtype:
            raise InputError(f"'{tensor.name}' is quantized in a way that is not known", where=self.where)
        if encoding is None or not tensor.quantized:
            return self.constant(tensor.name, data.astype(np.float32) if tensor.dtype in FLOATS else data)
        kind, data = self._packed(tensor.name, tensor.dtype, encoding.bits, data)
        return self.dequantize(self.constant(tensor.name, data), encoding, kind, f"{tensor.name}/float", axis=axis)

    def _packed(self, name_of: str, kind: str, bits: int, data: np.ndarray) -> tuple[str, np.ndarray]:
        """(type, integers) of a stored tensor: 4-bit ones, which a .dlc keeps a byte each, as ONNX's 4-bit type."""
        if bits == 4 and kind in ("sfxp8", "ufxp8"):
            kind = kind.replace("8", "4")
        if kind not in FOUR_BITS:
            return kind, data
        import ml_dtypes

        name, low, high = FOUR_BITS[kind]
        wide = data.astype(np.int16)
        wide = np.where((wide > high) & (wide < 16), wide - 16, wide)  # the byte's other four bits are 0, not the sign
        if wide.size and (wide.min() < low or wide.max() > high):
            raise InputError(f"the .dlc is damaged: '{name_of}' does not fit its 4 bits", where=self.where)
        return kind, wide.astype(getattr(ml_dtypes, name))

    def produce(self, name: str, value: str) -> None:
        """Says that the float `value` is the .dlc tensor `name`: quantizes it if that tensor is quantized.

        Args:
            value: ONNX name, NCHW where the tensor is an image.

        Raises:
            InputError: the tensor is stored or computed already, or of a dtype that is not known.
        """
        tensor = self.tensor(name)
        if tensor.role == "static" or name in self._floats or name in self._integers:
            raise InputError(f"the .dlc is damaged: '{name}' is computed twice", where=self.where)
        dims = tuple(tensor.dims[axis] for axis in TO_NCHW) if len(tensor.dims) == 4 else tensor.dims
        self.computed.setdefault(value, (name, dims))
        if tensor.quantized:
            self._integers[name] = self._quantize(value, tensor, f"{name}/integer")
        elif tensor.dtype in FLOATS:
            self._floats[name] = value
        else:
            raise InputError(f"'{name}' is computed as {tensor.dtype}, which is not known", where=self.where)

    # -- quantization -------------------------------------------------------------------------------------------

    def _parameters(self, encoding: Encoding, dtype: str, wish: str) -> tuple[str, str]:
        """Scale and zero point as constants: value = (q - zero) * scale, zero = -offset."""
        if dtype in FOUR_BITS:
            import ml_dtypes

            name, low, high = FOUR_BITS[dtype]
            kind = np.dtype(getattr(ml_dtypes, name))
        elif dtype in TYPES:
            kind = np.dtype(TYPES[dtype])
            low, high = np.iinfo(kind).min, np.iinfo(kind).max
        else:
            raise InputError(f"integers of type {dtype} ('{wish}') are not known", where=self.where)
        zero = -encoding.offset.astype(np.int64)
        if not np.isfinite(encoding.scale).all() or (encoding.scale <= 0).any():
            raise InputError(f"the .dlc is damaged: '{wish}' has no usable scale", where=self.where)
        if zero.min() < low or zero.max() > high:
            raise InputError(f"the .dlc is damaged: the offset of '{wish}' does not fit {dtype}", where=self.where)
        shape = () if encoding.axis is None else (-1,)
        scale = self.constant(f"{wish}/scale", encoding.scale.reshape(shape))
        return scale, self.constant(f"{wish}/zero", zero.astype(kind).reshape(shape))

    def _quantize(self, value: str, tensor: Tensor, wish: str) -> str:
        if tensor.encoding is None or tensor.encoding.axis is not None:
            raise InputError(f"computed tensor '{tensor.name}' is quantized per channel", where=self.where)
        scale, zero = self._parameters(tensor.encoding, tensor.dtype, wish)
        return self.op("QuantizeLinear", [value, scale, zero], wish)

    def dequantize(self, value: str, encoding: Encoding, dtype: str, wish: str, *, axis: int | None = None) -> str:
        """Adds a DequantizeLinear; the name of the float values, (q + offset) * scale.

        Args:
            value: ONNX name of the integers.
            dtype: theirs, in Qualcomm's words ('ufxp8').
            wish: the output's name, unless that is taken.
            axis: of ONNX's tensor, for an encoding of one scale a channel; unused for others.

        Raises:
            InputError: a scale is not above 0 and finite, an offset does not fit the type, or the type is not known.
        """
        scale, zero = self._parameters(encoding, dtype, wish)
        attributes = {} if encoding.axis is None else {"axis": axis}
        return self.op("DequantizeLinear", [value, scale, zero], wish, **attributes)

    # -- the whole graph ----------------------------------------------------------------------------------------

    def build(self) -> onnx.ModelProto:
        """The whole graph, with float32 inputs and outputs under the file's names and in its order of axes (NHWC).

        Raises:
            InputError: an operator is not known (its layer is named), or the file contradicts itself.
        """
        from onnx import TensorProto, helper

        inputs, outputs = self.graph.of_role("input"), self.graph.of_role("output")
        if not inputs or not outputs:
            raise InputError("the .dlc names no input or no output", where=self.where)
        for tensor in self.graph.tensors.values():
            if tensor.role != "static" and not 0 < np.prod([float(d) for d in tensor.dims]) <= MAX_ELEMENTS:
                raise InputError(f"tensor '{tensor.name}' has the impossible shape {tensor.dims}", where=self.where)
        for tensor in inputs:
            value = tensor.name
            if len(tensor.dims) == 4:
                value = self.op("Transpose", [value], f"{tensor.name}/nchw", perm=TO_NCHW)
            self.produce(tensor.name, value)
        for node in self.graph.nodes:
            self._operator(node)
        for tensor in outputs:
            node = helper.make_node("Identity", [self.value(tensor.name)], [tensor.name], name=tensor.name)
            if len(tensor.dims) == 4:
                node.op_type = "Transpose"
                node.attribute.append(helper.make_attribute("perm", TO_NHWC))
            self.nodes.append(node)

        def port(tensor):
            return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)

        graph = helper.make_graph(self.nodes, "dlc", list(map(port, inputs)), list(map(port, outputs)), self.constants)
        return helper.make_model(
            graph, producer_name="snpe-srgan", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )

    def _operator(self, node: Node) -> None:
        rule = self.rules.get(node.type)
        if rule is None:
            raise InputError(
                f"operator '{node.type}' (layer '{node.name}') is not known",
                where=self.where,
                hint="only networks of the operators listed in snpe_srgan/dlc/operators*.py can be rebuilt",
            )
        if not node.outputs:
            raise InputError(f"'{node.name}' ({node.type}) has no output", where=self.where)
        try:
            values = rule(self, Operation(node, self))
            values = [values] if isinstance(values, str) else values
            if len(values) != len(node.outputs):
                raise InputError(f"it has {len(node.outputs)} outputs")
        except InputError as error:
            hint = error.hint or "inspect without --to-onnx shows what the file holds; nothing is guessed to rebuild it"
            raise InputError(error.what, where=f"{self.where}, layer '{node.name}' ({node.type})", hint=hint) from error
        for name, value in zip(node.outputs, values, strict=True):
            self.produce(name, value)
