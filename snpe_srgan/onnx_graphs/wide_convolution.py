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

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied, shapes_of

if TYPE_CHECKING:
    import onnx

FEW = 4  # outputs of a convolution worth widening
POINTWISE = ("QuantizeLinear", "DequantizeLinear", "Tanh", "Clip", "Relu")  # commute with depth_to_space


def widen(model: onnx.ModelProto, *, block: int = 2) -> onnx.ModelProto:
    """The model with each convolution of at most `FEW` outputs widened, where the picture there is a whole number of
    blocks at any input size; the same model when there is none."""
    upscale = _upscales(model)
    graph = OnnxGraph(copied(model))
    found = [n for n in graph.nodes if n.op_type == "Conv" and upscale.get(n.output[0], 1) % block == 0]
    changed = [_widen(graph, node, block) for node in found]
    if not any(changed):
        return model
    graph.drop_unused()
    return graph.model()


def wide_kernel(kernel: np.ndarray, block: int, fill: float = 0) -> np.ndarray:
    """(out, in, h, w) -> (block * block * out, in, h + block - 1, w + block - 1), outputs in depth_to_space's order
    (row offset, column offset, channel); `fill` is the number that stands for zero.

    Args:
        kernel: of any dtype; kept.
        block: side of the square of output pixels that are computed at once.
        fill: the zero point of a quantized kernel.
    """
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
    for name, shape in shapes_of(fix_size(model, size).graph).items():
        if len(shape) == 4 and shape[2] and shape[2] % size[0] == 0:
            times = shape[2] // size[0]
            if shape[2:] == [n * times for n in size]:
                found[name] = times
    return found


def _widen(graph: OnnxGraph, node: onnx.NodeProto, block: int) -> bool:
    """Widens one convolution where that changes no number; returns whether it did."""
    from onnx import helper

    own = attributes_of(node)
    plain = own.get("group", 1) == 1 and own.get("auto_pad", b"NOTSET") == b"NOTSET"
    ones = all(set(own.get(name, [1])) == {1} for name in ("strides", "dilations"))
    kernel = _value(graph, node.input[1])
    if not plain or not ones or kernel is None or kernel.ndim != 4 or kernel.shape[0] > FEW:
        return False
    h, w = kernel.shape[2:]
    pads = list(own.get("pads", [0, 0, 0, 0]))
    if (pads[0] + pads[2], pads[1] + pads[3]) != (h - 1, w - 1) or h * w == 1:
        return False
    if any(_value(graph, name) is None for name in node.input[2:] if name):
        return False
    repeat = block * block
    node.input[1] = _wide(graph, node.input[1], lambda v, zero: wide_kernel(v, block, zero), repeat)
    if len(node.input) > 2 and node.input[2]:
        node.input[2] = _wide(graph, node.input[2], lambda v, zero: np.tile(v, repeat), repeat)
    del node.attribute[:]
    size = [h + block - 1, w + block - 1]
    for name, value in (("kernel_shape", size), ("strides", [block, block]), ("pads", pads)):
        node.attribute.append(helper.make_attribute(name, value))
    _shuffle_after(graph, _end_of_chain(graph, node), block)
    return True


def _value(graph: OnnxGraph, name: str) -> np.ndarray | None:
    """A constant's stored numbers: of an initializer, or of the integers that a DequantizeLinear reads."""
    if name in graph.constants:
        return graph.constants[name]
    maker = graph.makers().get(name)
    if maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in graph.constants:
        scales = _value(graph, maker.input[1])
        if scales is not None and (scales.size == 1 or attributes_of(maker).get("axis", 1) == 0):
            return graph.constants[maker.input[0]]
    return None


def _wide(graph: OnnxGraph, name: str, change: Callable[[np.ndarray, int], np.ndarray], repeat: int) -> str:
    """A new constant made of an old one; a quantized one keeps its scales, one for each of its outputs."""
    from onnx import helper

    def constant(source: str, values: np.ndarray) -> str:
        graph.constants[f"{source}/wide"] = np.ascontiguousarray(values)
        return f"{source}/wide"

    if name in graph.constants:
        return constant(name, change(graph.constants[name], 0))
    maker = graph.makers()[name]
    parameters = [graph.constants[n] for n in maker.input[1:]]
    zero = parameters[1] if len(parameters) > 1 else np.zeros(1, np.int8)
    stored = graph.constants[maker.input[0]]
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
    graph.nodes.insert(graph.place(maker), copy)
    return copy.output[0]


def _end_of_chain(graph: OnnxGraph, node: onnx.NodeProto) -> onnx.NodeProto:
    """The last of the pointwise operators that follow, so that what is fused with the convolution stays so."""
    while True:
        after = graph.only_reader(node.output[0])
        if after is None or after.op_type not in POINTWISE or after.input[0] != node.output[0]:
            return node
        values = [_value(graph, name) for name in after.input[1:] if name]
        if any(value is None or value.size > 1 for value in values) or after.output[0] in graph.outputs:
            return node
        node = after


def _shuffle_after(graph: OnnxGraph, node: onnx.NodeProto, block: int) -> None:
    from onnx import helper

    name = node.output[0]
    node.output[0] = f"{name}/blocks"
    shuffle = helper.make_node(
        "DepthToSpace", [node.output[0]], [name], name=f"{name}/shuffle", blocksize=block, mode="DCR"
    )
    graph.nodes.insert(graph.place(node) + 1, shuffle)
