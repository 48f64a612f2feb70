"""What a QDQ graph computes in: the widths of its integers (`toolchains/widths.py`), and what is summed in them.

integer_sums(model), share_of_sixteen_bits(model)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snpe_srgan.toolchains.widths import wide_zero_points

if TYPE_CHECKING:
    import onnx


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether any activation is rounded to integers."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def share_of_sixteen_bits(model: onnx.ModelProto) -> float:
    """The share of the convolutions that read 16-bit activations, 0 to 1."""
    wide = wide_zero_points(model.graph)
    read = {
        n.output[0]
        for n in model.graph.node
        if n.op_type == "DequantizeLinear" and len(n.input) > 2 and n.input[2] in wide
    }
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    return sum(n.input[0] in read for n in convolutions) / max(len(convolutions), 1)


def integer_sums(model: onnx.ModelProto) -> bool:
    """Whether every convolution and matrix product is between 8-bit integers."""
    return quantized_sums(model, wide=wide_zero_points(model.graph))


def quantized_sums(model: onnx.ModelProto, *, wide: set[str] | frozenset[str] = frozenset()) -> bool:
    """Whether every convolution and matrix product is between integers; with none of the zero points `wide`."""
    makers = {name: node for node in model.graph.node for name in node.output}
    sums = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    for node in sums:
        reads = [makers.get(name) for name in node.input[:2]]
        if any(n is None or n.op_type != "DequantizeLinear" or n.input[-1] in wide for n in reads):
            return False
    return bool(sums)
