"""The widths of a QDQ graph's integers, read from the types of its zero points.

wide_zero_points(graph), sixteen_bits(model)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def wide_zero_points(graph: onnx.GraphProto) -> set[str]:
    """Names of the constants that are 16-bit integers."""
    from onnx import TensorProto

    return {tensor.name for tensor in graph.initializer if tensor.data_type in (TensorProto.UINT16, TensorProto.INT16)}


def sixteen_bits(model: onnx.ModelProto) -> bool:
    """Whether an activation is quantized to 16 bits."""
    wide = wide_zero_points(model.graph)
    return any(n.op_type == "QuantizeLinear" and len(n.input) > 2 and n.input[2] in wide for n in model.graph.node)
