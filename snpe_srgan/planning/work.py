"""What a network gives an accelerator to do for one LR pixel: the features of the latency model.

    work = of_graph(graph)          # a network of ours
    work = of_onnx(model)           # any other: the same numbers for the same network
    work.macs, work.large

Both count channels as the HTP holds them, in blocks of 32: a convolution to 3 channels at x4 size costs as one to 32,
which is a third of SRGAN's time. What is fused into the operator before it (ReLU, clip, batch norm) writes no tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snpe_srgan.models.graph import Graph

if TYPE_CHECKING:
    import onnx

BLOCK = 32  # channels that the HTP computes together
FUSED_LAYERS = frozenset({"input", "relu", "clip", "batch_norm", "scale"})
FUSED_OPERATORS = frozenset(
    {"Relu", "Clip", "BatchNormalization", "Identity", "Cast", "Transpose", "QuantizeLinear", "DequantizeLinear"}
)


@dataclass(frozen=True)
class Work:
    """For one LR pixel: `macs` of the convolutions, output channels in whole blocks; `large`: values written by all
    operators at sizes above LR, channels in whole blocks."""

    macs: float
    large: float


def blocks(channels: int) -> int:
    """Channels, rounded up to whole blocks."""
    return -(-channels // BLOCK) * BLOCK


def of_graph(graph: Graph) -> Work:
    """The work of a network that is described by its layers."""
    channels = {layer.name: layer.channels for layer in graph.layers}
    macs = large = 0
    for layer in graph.layers:
        pixels = max(layer.upscale, 0) ** 2
        if layer.kind == "conv":
            height, width = layer.attributes["kernel"]
            macs += height * width * channels[layer.inputs[0]] * blocks(layer.channels) * pixels
        if layer.upscale > graph.unit and layer.kind not in FUSED_LAYERS:
            large += blocks(layer.channels) * pixels
    return Work(macs // graph.unit**2, large // graph.unit**2)


def of_onnx(model: onnx.ModelProto, *, where: object = None) -> Work:
    """The work of any ONNX model (float or QDQ), by inferring its shapes; nothing is run.

    Raises:
        InputError: the model takes and gives no pictures as this project has them.
    """
    from snpe_srgan.onnx_graphs.graph import constant_dims, shapes_of
    from snpe_srgan.onnx_graphs.model import PROBE, fix_size, input_size

    size = input_size(model) or PROBE
    graph = fix_size(model, size, where=where).graph
    shapes = {name: [length or 0 for length in dims] for name, dims in shapes_of(graph).items()}
    stored = constant_dims(graph)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    lr = size[0] * size[1]
    macs = large = 0.0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in stored:
            grid = shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], [0])
            macs += _products(node.op_type, stored[node.input[1]]) * _pixels(grid) / lr
        shape = shapes.get(node.output[0], [])
        if len(shape) == 4 and node.op_type not in FUSED_OPERATORS:
            # Pictures are NCHW between the Transposes at both ends.
            pixels = _pixels(shape)
            large += blocks(shape[1]) * pixels / lr if pixels > lr else 0
    return Work(macs, large)


def _products(kind: str, kernel: list[int]) -> int:
    """Multiply-accumulates of one position; kernels are (out, in, h, w), those of ConvTranspose (in, out, h, w)."""
    given, read = (kernel[0], kernel[1]) if kind == "Conv" else (kernel[1], kernel[0])
    return blocks(given) * read * math.prod(kernel[2:])


def _pixels(shape: list[int]) -> int:
    return shape[2] * shape[3] if len(shape) == 4 else 0
