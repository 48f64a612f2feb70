"""Writes the quantized network: the same ONNX graph with QuantizeLinear / DequantizeLinear pairs and integer constants.

    quantized = to_qdq(model, encodings, weight_bits=8)

Every engine reads this form: the Hexagon compiler turns each `DequantizeLinear -> operator -> QuantizeLinear` into one
integer operator, OpenVINO and ONNX Runtime into 8-bit kernels. A ReLU behind a convolution stands inside such a group,
because its grid starts at zero; a Clip is done by the grid's own ends, as the chip's Clip between two grids is off by
up to two steps. A PReLU is an operator of its own, so its input is an integer tensor too.

Tensors may differ in width. The HTP has no operator with inputs and output of different widths, so each one computes in
the width of its output, and an input of another width goes through a conversion first: a further pair, quantized to
the other grid, which becomes one `Convert`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node, slopes_of
from snpe_srgan.quantization.graph.encodings import Encoding, spanning
from snpe_srgan.quantization.kernels.affine import quantize
from snpe_srgan.quantization.kernels.weights import (
    channel_scales,
    quantize_bias,
    quantize_weights,
    slope_grid,
    widen_for_bias,
)
from snpe_srgan.quantization.observe.calibration import Statistics, channel_power


def compute_bits(network: Network, node: Node, encodings: Mapping[str, Encoding]) -> int:
    """The width in which an operator computes: that of its output.

    Args:
        node: one of the network's.
        encodings: tensor -> its grid; of a fused convolution that of the ReLU behind it is taken.
    """
    return encodings[network.stored(node)].bits


def read_encodings(network: Network, node: Node, encodings: Mapping[str, Encoding]) -> tuple[Encoding, ...]:
    """The grids on which an operator reads its inputs, after the conversion to its own width.

    Args:
        node: one of the network's; its inputs must have grids.
        encodings: tensor -> its grid.

    Returns:
        One grid for each of `node.inputs`, in order.
    """
    bits = compute_bits(network, node, encodings)
    return tuple(encodings[x].at(bits) for x in node.inputs)


def bits_of(bits: int | Mapping[str, int], name: str) -> int:
    """The bits of one operator, where all have the same or each its own."""
    return bits if isinstance(bits, int) else bits[name]


def kernel_bits(network: Network, bits: int) -> dict[str, int]:
    """Convolution (by node name) -> the bits of its weights: 8 at least where it reads or writes the picture.

    A network's ends have few weights (2 % in the 16 x 64 one) and bear no noise: in 4 bits the first convolution alone
    puts more error into the trunk than all others.
    """
    ends, seen = [network.output], set()
    while ends:
        node = network.makers.get(ends.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.kind != "Conv":
            ends.extend(node.inputs)
    picture = network.groups[network.input]
    return {
        node.name: max(bits, 8) if node.name in seen or network.groups[node.inputs[0]] == picture else bits
        for node in network.nodes
        if node.kind == "Conv"
    }


def kernel_scales(
    network: Network, encodings: Mapping[str, Encoding], *, bits: int | Mapping[str, int] = 8
) -> dict[str, np.ndarray]:
    """Convolution (by node name) -> the scales of its output channels, float32 (channels,).

    Args:
        encodings: tensor -> its grid: a scale is raised where the bias would not fit the accumulator otherwise.
        bits: of all weights, or of each convolution by node name.
    """
    scales = {}
    for node in network.nodes:
        if node.kind == "Conv":
            scale = channel_scales(node.constants[1], bits=bits_of(bits, node.name))
            if 2 in node.constants:
                scale = widen_for_bias(scale, node.constants[2], read_encodings(network, node, encodings)[0].scale)
            scales[node.name] = scale
    return scales


def prelu_bits(network: Network, encodings: Mapping[str, Encoding]) -> dict[str, int]:
    """PReLU (by node name) -> the width in which it computes."""
    return {node.name: compute_bits(network, node, encodings) for node in network.nodes if node.kind == "PRelu"}


def slope_grids(
    network: Network, statistics: Mapping[str, Statistics] | None, *, bits: int | Mapping[str, int]
) -> dict[str, tuple]:
    """PReLU (by node name) -> scale and zero point of its slopes, in the activations' own integer type.

    With any other type the HTP computes the PReLU in float: 40 % slower on the whole SRGAN network at 8 bits, four
    times at 16, by Qualcomm's cost model. A slope's rounding error weighs as its channel's values do in the picture.

    Args:
        statistics: what was seen, for those weights; with None all channels weigh the same.
        bits: those of all PReLUs, or of each by node name (`prelu_bits`).
    """
    grids = {}
    for node in network.nodes:
        if node.kind == "PRelu":
            slopes = slopes_of(node)
            weight = np.ones(len(slopes))
            if len(slopes) > 1 and statistics and node.output in statistics:
                power = channel_power(network, node.inputs[0], statistics)
                weight = power * statistics[node.output].gain + 1e-12
            grids[node.name] = slope_grid(slopes, weight, bits=bits_of(bits, node.name))
    return grids


def to_qdq(
    model,
    encodings: Mapping[str, Encoding],
    scales: Mapping[str, np.ndarray],
    slopes: Mapping[str, tuple],
    *,
    weight_bits: int | Mapping[str, int] = 8,
):
    """The QDQ model; shapes, names of the graph's ends and metadata stay those of `model`.

    Args:
        model: the float ONNX model.
        encodings: activation grids, as of `activation_encodings`.
        scales: of the weights, as of `kernel_scales`.
        slopes: grids of the PReLUs' slopes, as of `slope_grids`.
        weight_bits: of all convolutions, or of each by node name; 4-bit weights are stored two a byte.

    Returns:
        A new ONNX model, opset 21 or later, checked by ONNX.
    """
    import onnx
    from onnx import helper

    network = Network(model)
    writer = _Writer(network, encodings, scales, slopes, weight_bits)
    nodes = {n.output[0]: n for n in model.graph.node}
    read = {network.input: writer.pair(network.input, network.input)}
    for node in network.nodes:
        made = onnx.NodeProto()
        made.CopyFrom(nodes[node.output])
        del made.input[:]
        if _saturates(network, node, encodings):
            part = node.inputs[0] in network.fused  # of the operator in front, whose result bears this one's name
            x = read[node.inputs[0]]  # else the integers of the input are clipped already
            read[node.output] = writer.pair(x, node.output) if part else x
            continue
        made.input.extend(writer.inputs(node, read))
        made.input.extend(writer.constants(node))
        is_output = node.output == network.output
        made.output[0] = f"{node.output}_float" if is_output else node.output
        writer.nodes.append(made)
        if node.output in network.fused:
            (reader,) = network.readers[node.output]
            if _saturates(network, reader, encodings):
                made.output[0] = reader.output
            read[node.output] = made.output[0]
        else:
            read[node.output] = writer.pair(made.output[0], node.output, final=node.output if is_output else None)
    graph = helper.make_graph(
        writer.nodes, model.graph.name, list(model.graph.input), list(model.graph.output), writer.initializers
    )
    quantized = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", max(21, model.opset_import[0].version))],
        ir_version=max(10, model.ir_version), producer_name="snpe-srgan",
    )  # fmt: skip
    quantized.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantized)
    return quantized


def _saturates(network: Network, node: Node, encodings) -> bool:
    """Whether a Clip is done by the integers' own saturation: its bounds lie within a step of the grid's ends."""
    if node.kind != "Clip" or node.output == network.output:
        return False
    e = encodings[node.output]
    low, high = (float(node.constants[i]) if i in node.constants else s for i, s in ((1, -np.inf), (2, np.inf)))
    return low <= e.low + e.scale and high >= e.high - e.scale * 1.01


def unsigned(bits: int) -> type:
    """The numpy type of an unsigned grid."""
    return np.uint8 if bits <= 8 else np.uint16


def packed(integers: np.ndarray) -> np.ndarray:
    """4-bit integers as ONNX stores them: two a byte."""
    import ml_dtypes

    return integers.astype(ml_dtypes.int4)


class _Writer:
    def __init__(self, network: Network, encodings, scales, slopes, weight_bits: int | Mapping[str, int]):
        self.network = network
        self.encodings, self.scales, self.slopes, self.weight_bits = encodings, scales, slopes, weight_bits
        self.nodes: list = []
        self.initializers: list = []
        self.grids: dict[tuple, tuple[str, str]] = {}
        self.converted: dict[tuple[str, Encoding], str] = {}

    def _constant(self, name: str, value: ArrayLike) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def pair(self, tensor: str, name: str, final: str | None = None) -> str:
        """Quantizes and dequantizes `tensor` with the encoding of `name`; returns the dequantized tensor's name."""
        return self._pair(tensor, name, self.encodings[name], final or f"{name}_dequantized")

    def _pair(self, tensor: str, name: str, e: Encoding, out: str) -> str:
        from onnx import helper

        grid = (e.bits, e.scale, e.zero)
        if grid not in self.grids:
            self.grids[grid] = (
                self._constant(f"{name}_scale", np.float32(e.scale)),
                self._constant(f"{name}_zero_point", unsigned(e.bits)(e.zero)),
            )
        scale, zero = self.grids[grid]
        self.nodes.append(
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{name}_quantized"], name=f"{name}_quantize")
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}_quantized", scale, zero], [out], name=f"{name}_dequantize")
        )
        return out

    def inputs(self, node: Node, read: Mapping[str, str]) -> list[str]:
        """What a node reads, converted to its width where a tensor has another; each conversion is written once."""
        if node.inputs[0] in self.network.fused:
            return [read[node.inputs[0]]]
        wanted = read_encodings(self.network, node, self.encodings)
        return [self._convert(x, read[x], e) for x, e in zip(node.inputs, wanted, strict=True)]

    def _convert(self, tensor: str, dequantized: str, e: Encoding) -> str:
        if e.bits == self.encodings[tensor].bits:
            return dequantized
        if (tensor, e) not in self.converted:
            name = f"{tensor}_{e.bits}bit"
            self.converted[tensor, e] = self._pair(dequantized, name, e, f"{name}_dequantized")
        return self.converted[tensor, e]

    def constants(self, node: Node) -> list[str]:
        """Writes a node's constants, integers where the operator takes them; returns their names, as inputs."""
        if node.kind == "Conv":
            return self._conv(node)
        if node.kind == "PRelu":
            return [self._slope(node)]
        if node.kind in ("Mul", "Add") and node.constants:
            return [self._factor(node)]
        if node.kind == "Resize":
            return ["", self._constant(f"{node.name}_scales", node.constants[2])]
        last = max(node.constants, default=0)
        return [
            self._constant(f"{node.name}_{i}", node.constants[i]) if i in node.constants else ""
            for i in range(len(node.inputs), last + 1)
        ]

    def _conv(self, node: Node) -> list[str]:
        weights, scale = np.asarray(node.constants[1]), self.scales[node.name]
        bias = np.asarray(node.constants.get(2, np.zeros(len(weights), np.float32)))
        bias_scale = np.float32(read_encodings(self.network, node, self.encodings)[0].scale) * scale
        bits = bits_of(self.weight_bits, node.name)
        integers = quantize_weights(weights, scale, bits=bits)
        if bits == 4:
            integers = packed(integers)
        return [
            self._integers(f"{node.name}_kernel", integers, scale, axis=0),
            self._integers(f"{node.name}_bias", quantize_bias(bias, bias_scale), bias_scale, axis=0),
        ]

    def _slope(self, node: Node) -> str:
        scale, zero = self.slopes[node.name]
        bits = compute_bits(self.network, node, self.encodings)
        values = quantize(node.constants[1], scale, zero, low=0, high=2**bits - 1)
        return self._integers(f"{node.name}_alpha", values.astype(unsigned(bits)), scale, zero=zero)

    def _factor(self, node: Node) -> str:
        """What a tensor is multiplied by, or what is added, on a grid of its own that holds a single number exactly."""
        (values,) = node.constants.values()
        bits = compute_bits(self.network, node, self.encodings)
        grid = spanning(min(float(np.min(values)), 0.0), max(float(np.max(values)), 0.0), bits)
        integers: np.ndarray = quantize(values, grid.scale, grid.zero, low=0, high=2**bits - 1).astype(unsigned(bits))
        return self._integers(f"{node.name}_factor", integers, grid.scale, zero=grid.zero)

    def _integers(self, name: str, values, scale, axis: int | None = None, zero: int = 0) -> str:
        from onnx import helper

        integers = self._constant(f"{name}_quantized", values)
        scales = self._constant(f"{name}_scale", np.asarray(scale, np.float32))
        zeros = self._constant(f"{name}_zero_point", np.full(np.shape(scale), zero, values.dtype))
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        self.nodes.append(
            helper.make_node("DequantizeLinear", [integers, scales, zeros], [f"{name}_dequantized"],
                             name=f"{name}_dequantize", **attributes)
        )  # fmt: skip
        return f"{name}_dequantized"
