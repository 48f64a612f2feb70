"""Parameters and multiply-accumulates of any ONNX model, float or QDQ, whoever made it.

cost = onnx_cost(model)
cost.parameters, cost.macs_per_lr_pixel

Scale and receptive radius are among its `Facts` (`onnx_graphs/model.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snpe_srgan.onnx_graphs.graph import constant_dims, shapes_of

if TYPE_CHECKING:
    import onnx

WEIGHTED = ("Conv", "ConvTranspose", "PRelu", "BatchNormalization", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div")


@dataclass(frozen=True)
class OnnxCost:
    """`quantized` is what share of the convolutions compute on integers, 0 to 1."""

    parameters: int
    macs_per_lr_pixel: float
    quantized: float


def onnx_cost(model: onnx.ModelProto, *, where: object = None) -> OnnxCost:
    """Counts arrays (not scales, zero points, bounds or shapes), and the products of convolutions for one LR pixel."""
    from snpe_srgan.onnx_graphs.model import PROBE, fix_size, input_size

    size = input_size(model, where=where) or PROBE
    graph = fix_size(model, size, where=where).graph
    sizes = {name: math.prod(dims) for name, dims in constant_dims(graph).items()}
    dequantized = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    shapes = shapes_of(graph)
    counted: dict[str, int] = {}
    macs, convs, integer = 0, 0, 0
    for node in graph.node:
        if node.op_type in WEIGHTED:
            stored = {dequantized.get(name, name) for name in node.input}
            counted.update({name: sizes[name] for name in stored if name in sizes})
        if node.op_type in ("Conv", "ConvTranspose"):
            kernel = sizes.get(dequantized.get(node.input[1], node.input[1]), 0)
            grid = shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], [])
            macs += kernel * math.prod(length or 0 for length in grid[2:]) if len(grid) == 4 else 0
            convs += 1
            integer += node.input[0] in dequantized and node.input[1] in dequantized
    return OnnxCost(sum(counted.values()), macs / (size[0] * size[1]), integer / convs if convs else 0.0)
