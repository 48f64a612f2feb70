"""A convolution with few outputs, as a strided one with many: the same sums, in full vectors.

SRGAN's last layer gives 3 channels, and CPUs compute 16 at a time: its 9x9 convolution on the enlarged picture takes
40 % of the whole network's time, four fifths of it for nothing. One output pixel and its neighbours to the right and
below, b x b of them, read almost the same input; so the layer is written as one convolution of stride b with b * b * 3
outputs, a kernel that is b - 1 larger (the old one at each of the b x b offsets, zeros elsewhere), and a
depth_to_space. Nothing changes but the number of multiplications by zero: not the picture's borders nor, in 8 bits, a
single bit of the sums. For the host only: the emulator gets the graph as it stands in the file.

    model = widen(model)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

FEW = 4  # outputs of a convolution worth widening
POINTWISE = ("QuantizeLinear", "DequantizeLinear", "Tanh", "Clip", "Relu")  # commute with depth_to_space


def widen(model: onnx.ModelProto, *, block: int = 2) -> onnx.ModelProto:
    """The model with each convolution of at most `FEW` outputs widened, where the picture there is a whole number of
    blocks at any input size; the same model when there is none."""
    import onnx

    upscale = _upscales(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = _Graph(copy)
    found = [n for n in copy.graph.node if n.op_type == "Conv" and upscale.get(n.output[0], 1) % block == 0]
    changed = [graph.widen(node, block) for node in found]
    if not any(changed):
        return model
    graph.sweep()
    return copy


def wide_kernel(kernel: np.ndarray, block: int, fill: float = 0) -> np.ndarray:
    """(out, in, h, w) -> (block * block * out, in, h + block - 1, w + block - 1), outputs in depth_to_space's order
    (row offset, column offset, channel); `fill` is the number that stands for zero."""
    out, inputs, h, w = kernel.shape
    wide = np.full((block, block, out, inputs, h + block - 1, w + block - 1), fill, kernel.dtype)
    for i in range(block):
        for j in range(block):
            wide[i, j, :, :, i : i + h, j : j + w] = kernel
    return wide.reshape(block * block * out, *wide.shape[3:])


def _upscales(model) -> dict[str, int]:
    """Tensor -> how many times as high and wide as the LR picture it is, for NCHW tensors that are a whole number."""
    from snpe_srgan.onnx_graphs.model import PROBE, fix_size, input_size

    size = input_size(model) or PROBE
    found = {}
    for value in fix_size(model, size).graph.value_info:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if len(shape) == 4 and shape[2] % size[0] == 0 and shape[2:] == [n * (shape[2] // size[0]) for n in size]:
            found[value.name] = shape[2] // size[0]
    return found


class _Graph:
    """The copy being rewritten, with what reads what."""

    def __init__(self, model):
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def widen(self, node, block: int) -> bool:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = attributes.get("group", 1) == 1 and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        ones = all(set(attributes.get(name, [1])) == {1} for name in ("strides", "dilations"))
        kernel = self._value(node.input[1])
        if not plain or not ones or kernel is None or kernel.ndim != 4 or kernel.shape[0] > FEW:
            return False
        h, w = kernel.shape[2:]
        pads = list(attributes.get("pads", [0, 0, 0, 0]))
        if (pads[0] + pads[2], pads[1] + pads[3]) != (h - 1, w - 1) or h * w == 1:
            return False
        if any(self._value(name) is None for name in node.input[2:] if name):
            return False
        repeat = block * block
        node.input[1] = self._wide(node.input[1], lambda v, zero: wide_kernel(v, block, zero), repeat)
        if len(node.input) > 2 and node.input[2]:
            node.input[2] = self._wide(node.input[2], lambda v, zero: np.tile(v, repeat), repeat)
        del node.attribute[:]
        size = [h + block - 1, w + block - 1]
        for name, value in (("kernel_shape", size), ("strides", [block, block]), ("pads", pads)):
            node.attribute.append(helper.make_attribute(name, value))
        self._shuffle_after(self._end_of_chain(node), block)
        return True

    def _value(self, name: str) -> np.ndarray | None:
        """A constant's stored numbers: of an initializer, or of the integers that a DequantizeLinear reads."""
        from onnx import numpy_helper

        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in self.constants:
            axis = {a.name: a.i for a in maker.attribute}.get("axis", 1)
            scales = self._value(maker.input[1])
            if scales is not None and (scales.size == 1 or axis == 0):
                return numpy_helper.to_array(self.constants[maker.input[0]])
        return None

    def _wide(self, name: str, change, repeat: int) -> str:
        """A new constant made of an old one; a quantized one keeps its scales, one for each of its outputs."""
        from onnx import helper, numpy_helper

        def constant(source: str, values: np.ndarray) -> str:
            tensor = numpy_helper.from_array(np.ascontiguousarray(values), f"{source}/wide")
            self.graph.initializer.append(tensor)
            return tensor.name

        if name in self.constants:
            return constant(name, change(numpy_helper.to_array(self.constants[name]), 0))
        maker = self.makers[name]
        parameters = [numpy_helper.to_array(self.constants[n]) for n in maker.input[1:]]
        zero = parameters[1] if len(parameters) > 1 else np.zeros(1, np.int8)
        stored = numpy_helper.to_array(self.constants[maker.input[0]])
        if zero.size > 1:
            fill = zero.reshape(-1, *[1] * (stored.ndim - 1))
            values = change(stored.astype(np.int64) - fill, 0)  # zeros are zeros only without the zero points
            values = (values + np.tile(zero.astype(np.int64), repeat).reshape(-1, *fill.shape[1:])).astype(stored.dtype)
        else:
            values = change(stored, int(zero.reshape(-1)[0]))
        inputs = [constant(maker.input[0], values)]
        for source, value in zip(maker.input[1:], parameters, strict=True):
            inputs.append(constant(source, np.tile(value, repeat)) if value.size > 1 else source)
        copy = helper.make_node("DequantizeLinear", inputs, [f"{name}/wide"], name=f"{maker.name}/wide")
        copy.attribute.extend(maker.attribute)
        self.graph.node.insert(list(self.graph.node).index(maker), copy)
        return copy.output[0]

    def _end_of_chain(self, node):
        """The last of the pointwise operators that follow, so that what is fused with the convolution stays so."""
        while True:
            readers = self.readers.get(node.output[0], [])
            if len(readers) != 1 or readers[0].op_type not in POINTWISE or readers[0].input[0] != node.output[0]:
                return node
            if any(self._value(name) is None or self._value(name).size > 1 for name in readers[0].input[1:] if name):
                return node
            if readers[0].output[0] in {output.name for output in self.graph.output}:
                return node
            node = readers[0]

    def _shuffle_after(self, node, block: int) -> None:
        from onnx import helper

        name = node.output[0]
        node.output[0] = f"{name}/blocks"
        shuffle = helper.make_node(
            "DepthToSpace", [node.output[0]], [name], name=f"{name}/shuffle", blocksize=block, mode="DCR"
        )
        self.graph.node.insert(list(self.graph.node).index(node) + 1, shuffle)

    def sweep(self) -> None:
        """Drops what is read no more, and the shapes that were inferred before."""
        used = {name for node in self.graph.node for name in node.input} | {out.name for out in self.graph.output}
        dead = [node for node in self.graph.node if not used & set(node.output)]
        for node in dead:
            self.graph.node.remove(node)
        used = {name for node in self.graph.node for name in node.input}
        for tensor in [t for t in self.graph.initializer if t.name not in used]:
            self.graph.initializer.remove(tensor)
        del self.graph.value_info[:]
