"""Parameters and multiply-accumulates of any ONNX model, float or QDQ, whoever made it.

cost = onnx_cost(model)
cost.parameters, cost.macs_per_lr_pixel

Scale and receptive radius are among its `Facts` (`onnx_graphs/model.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from snpe_srgan.onnx_graphs.model import PROBE, fix_size, ports

    lr, _ = ports(model, where=where)
    height, width = (d.dim_value for d in lr.type.tensor_type.shape.dim[1:3])
    size = (height, width) if height and width else PROBE
    graph = fix_size(model, size, where=where).graph
    sizes = {tensor.name: _elements(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            sizes[node.output[0]] = _elements(node.attribute[0].t.dims)
    dequantized = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    counted: dict[str, int] = {}
    macs, convs, integer = 0, 0, 0
    for node in graph.node:
        if node.op_type in WEIGHTED:
            stored = {dequantized.get(name, name) for name in node.input}
            counted.update({name: sizes[name] for name in stored if name in sizes})
        if node.op_type in ("Conv", "ConvTranspose"):
            kernel = sizes.get(dequantized.get(node.input[1], node.input[1]), 0)
            grid = shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], [])
            macs += kernel * _elements(grid[2:]) if len(grid) == 4 else 0
            convs += 1
            integer += node.input[0] in dequantized and node.input[1] in dequantized
    return OnnxCost(sum(counted.values()), macs / (size[0] * size[1]), integer / convs if convs else 0.0)


def _elements(dims) -> int:
    product = 1
    for length in dims:
        product *= length
    return product
