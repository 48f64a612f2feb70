"""The network layer by layer, float and quantized side by side: each layer is mended before the next one is looked at.

    plan = mend(plan, crops, rounding=True)

Every convolution sees the inputs that the quantized layers before it really give. Its weights are rounded for those
(`rounding`), and its bias takes up what is left of the mean shift (empirical bias correction: Nagel et al. 2019,
section 4.2.2, through the whole network). Only tensors still to be read are kept: two copies of a few, at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node
from snpe_srgan.onnx_graphs.run import session
from snpe_srgan.quantization.graph.encodings import Encoding
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, compute_bits, read_encodings
from snpe_srgan.quantization.graph.wires import with_convolutions
from snpe_srgan.quantization.kernels.affine import dequantize, quantize
from snpe_srgan.quantization.kernels.rounding import round_weights
from snpe_srgan.quantization.kernels.weights import gram_scales, quantize_weights, widen_for_bias

PATCHES = 60_000  # of one layer, enough for the second moments of 576 taps
ENTRIES = 60_000 * 576  # of the patch matrix: a 9x9 layer of 64 channels gets fewer patches
MARGIN = 2  # LR pixels at a crop's border, where padding stands in for the picture, that teach nothing
COARSE = 8  # weights of fewer bits get the scale of least output error, which clips: worth several dB at 4
QUIET = 0.1  # of the usual variance: a flat crop weighs no more than ten others
NOISE = 5e-7  # of all taps' mean squares: more than float32's rounding can be as a matrix (its trace bounds it)


@dataclass(frozen=True)
class Shift:
    """A convolution's mean error over the crops, largest channel: as rounded to nearest, and as mended."""

    name: str
    before: float
    after: float


def mend(
    plan: Plan, crops: Sequence[np.ndarray], *, rounding: bool, correction: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Plan, tuple[Shift, ...]]:  # fmt: skip
    """The plan with every weight on its learned integer (`rounding`) and every bias corrected (`correction`).

    Args:
        crops: LR crops, (1, h, w, 3) float32 in [0, 1].
        progress: called with (operators done, operators in all) before each operator.
    """
    walk = Walk(plan, crops)
    arrays, scales, shifts = {}, dict(plan.scales), []
    for number, node in enumerate(walk):
        progress(number, len(walk.network.nodes))
        if node.kind != "Conv":
            continue
        kernel, scale = np.asarray(node.constants[1], np.float64), scales[node.name]
        bias = np.asarray(node.constants.get(2, np.zeros(len(kernel))), np.float64)
        bits = bits_of(plan.weight_bits, node.name)
        nearest = _rounded(kernel, scale, bits)
        before = walk.mean_error(node, nearest, bias)
        mended, shift = nearest, before
        if rounding:
            moments = walk.moments(node)
            if bits < COARSE:
                scale = gram_scales_of(kernel, moments, bits)
            mended = learned(kernel, moments, scale, bits)
            shift = walk.mean_error(node, mended, bias)
        bias = bias + shift if correction else bias
        scales[node.name] = widen_for_bias(scale, bias, read_encodings(walk.network, node, plan.encodings)[0].scale)
        after = walk.mean_error(node, mended, bias)
        shifts.append(Shift(node.name, float(np.abs(before).max()), float(np.abs(after).max())))
        arrays[node.name] = (mended, bias)
        walk.use(node, mended, bias)
    return replace(plan, model=with_convolutions(plan.model, arrays), scales=scales), tuple(shifts)


def learned(kernel: np.ndarray, grams: Sequence[np.ndarray], scale: np.ndarray, bits: int) -> np.ndarray:
    """The kernel on its grid, rounded for the patches' moments (`rounding.round_weights`).

    Args:
        kernel: (out, in / groups, h, w).
        grams: (taps, taps) second moments of the patches, one matrix a group.
        scale: (out,) steps of the grids.
        bits: of the signed grids.

    Returns:
        float64, real values (not integers), the shape of `kernel`.
    """
    rows = kernel.reshape(len(grams), len(kernel) // len(grams), -1)
    steps = np.asarray(scale, np.float64).reshape(len(grams), -1)
    parts = [round_weights(w, gram, s, bits=bits) * s[:, None] for w, gram, s in zip(rows, grams, steps, strict=True)]
    return np.concatenate(parts).reshape(kernel.shape)


def gram_scales_of(kernel: np.ndarray, grams: Sequence[np.ndarray], bits: int) -> np.ndarray:
    """float32 (out,) scales of least output error, see `weights.gram_scales`.

    Args:
        kernel: (out, in / groups, h, w).
        grams: (taps, taps) second moments of the patches, one matrix a group.
        bits: of the signed grids.
    """
    rows = kernel.reshape(len(grams), len(kernel) // len(grams), -1)
    return np.concatenate([gram_scales(w, gram, bits=bits) for w, gram in zip(rows, grams, strict=True)])


def _rounded(kernel: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    return quantize_weights(kernel, scale, bits=bits) * np.asarray(scale, np.float64).reshape(-1, 1, 1, 1)


class Walk:
    """Iterates over a plan's nodes in order; at each, the tensors it reads are at hand, as float and as quantized.

    A convolution goes on with its nearest-rounded weights unless `use` gives others before the next node is asked for.
    """

    def __init__(self, plan: Plan, crops: Sequence[np.ndarray]):
        self.plan, self.network = plan, Network(plan.model)
        self._protos = {n.output[0]: n for n in plan.model.graph.node}
        self._opset = plan.model.opset_import[0].version
        self.exact = {self.network.input: list(crops)}
        self.integer = {self.network.input: [self._grid(self.network.input, c) for c in crops]}
        self.weights = np.ones(len(crops))

    def __iter__(self):
        last = {x: i for i, node in enumerate(self.network.nodes) for x in node.inputs}
        for i, node in enumerate(self.network.nodes):
            self.exact[node.output] = self._run(node, self.exact, node.constants)
            self._mended = None
            if node.kind == "Conv":
                spread = np.array([y.var(axis=(0, 2, 3)).mean() for y in self.exact[node.output]])
                self.weights = 1 / (spread + QUIET * np.median(spread) + 1e-12)
            yield node
            values = self._run(node, self._read(node), self._mended or self._constants(node))
            self.integer[node.output] = [self._grid(node.output, y) for y in values]
            for x in list(self.exact):
                if last.get(x, len(self.network.nodes)) <= i:
                    del self.exact[x], self.integer[x]

    def use(self, node: Node, kernel: np.ndarray, bias: np.ndarray) -> None:
        """What the convolution at hand goes on with.

        Args:
            node: that convolution.
            kernel: (out, in / groups, h, w), real values.
            bias: (out,).
        """
        self._mended = {1: kernel.astype(np.float32), 2: bias.astype(np.float32)}

    def mean_error(self, node: Node, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """float - quantized, the mean over each crop, the median over crops: of each output channel (channels,).

        Where a range clips, or a network explodes, the mean error differs from crop to crop; the median is what all
        crops have in common.

        Args:
            node: the convolution at hand.
            kernel: (out, in / groups, h, w), real values, to try on it.
            bias: (out,) to try on it.
        """
        values = self._run(node, self._read(node), {1: kernel.astype(np.float32), 2: bias.astype(np.float32)})
        exact = self.exact[node.output]
        means = [(a - b).mean(axis=(0, 2, 3), dtype=np.float64) for a, b in zip(exact, values, strict=True)]
        return np.median(means, axis=0)

    def moments(self, node: Node) -> list[np.ndarray]:
        """Centred second moments (taps, taps) of the quantized patches, a matrix for each group of channels.

        A crop weighs by how little its outputs vary: without that, the few flat dark crops on which such networks run
        into the hundreds would decide the rounding for all pictures.
        """
        groups = int(node.attributes.get("group", 1))
        shape = np.shape(node.constants[1])
        taps = int(np.prod(shape[1:]))
        inputs = self._read(node)[node.inputs[0]]
        most = min(PATCHES, ENTRIES // taps)
        sums = np.zeros((groups, taps + 1, taps + 1))
        for x, weight in zip(inputs, self.weights, strict=True):
            share = x.shape[2] * x.shape[3] / sum(y.shape[2] * y.shape[3] for y in inputs)
            pads, dilations = (node.attributes.get(k, v) for k, v in (("pads", (0,) * 4), ("dilations", (1, 1))))
            seen = patches(x, shape[2:], pads, groups, dilations=dilations, most=int(most * share) + 1)
            for g, rows in enumerate(seen):
                ones = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
                sums[g] += weight / len(rows) * (ones.T @ ones)
        total = sums[:, -1:, -1:]
        mean = sums[:, :-1, -1] / total[:, 0]
        powers = sums[:, :-1, :-1] / total
        return [_centred(power, centre) for power, centre in zip(powers, mean, strict=True)]

    def _grid(self, tensor: str, values: np.ndarray) -> np.ndarray:
        return values if tensor in self.network.fused else on_grid(values, self.plan.encodings[tensor])

    def _read(self, node: Node) -> dict[str, list[np.ndarray]]:
        """The quantized inputs of a node, converted where it computes in fewer bits than they have."""
        if node.inputs[0] in self.network.fused:
            return self.integer
        read = {}
        for x, grid in zip(node.inputs, read_encodings(self.network, node, self.plan.encodings), strict=True):
            same = grid.bits >= self.plan.encodings[x].bits
            read[x] = self.integer[x] if same else [on_grid(values, grid) for values in self.integer[x]]
        return read

    def _constants(self, node: Node) -> dict[int, np.ndarray]:
        if node.kind == "Conv":
            bits = bits_of(self.plan.weight_bits, node.name)
            kernel = _rounded(np.asarray(node.constants[1]), self.plan.scales[node.name], bits)
            return {**node.constants, 1: kernel.astype(np.float32)}
        if node.kind == "PRelu":
            scale, zero = self.plan.slopes[node.name]
            top = 2 ** compute_bits(self.network, node, self.plan.encodings) - 1
            return {1: dequantize(quantize(node.constants[1], scale, zero, low=0, high=top), zero=zero, scale=scale)}
        return dict(node.constants)

    def _run(self, node: Node, values: dict[str, list[np.ndarray]], constants) -> list[np.ndarray]:
        run = single(self._protos[node.output], constants, self._opset)
        return [run(list(arrays)) for arrays in zip(*(values[x] for x in node.inputs), strict=True)]


def _centred(power: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Second moments (taps, taps) about the mean. Inputs that hardly vary (a mean over the picture, seen once) leave
    nothing but float32's rounding, which need not be a matrix of moments: they are given as much variance as that."""
    centred = power - np.outer(mean, mean)
    lacking = NOISE * np.trace(power) - np.mean(np.diag(centred))
    return centred + max(lacking, 0.0) * np.eye(len(mean))


def on_grid(values: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Values on the integer grid, float32; as `affine.fake_quantize`, in float32 and in place, for large tensors."""
    scale, zero = np.float32(encoding.scale), np.float32(encoding.zero)
    q = values / scale
    np.rint(q, out=q)
    q += zero
    np.clip(q, 0, 2**encoding.bits - 1, out=q)
    q -= zero
    q *= scale
    return q


def single(proto, constants, opset: int):
    """`run([inputs]) -> output` of one ONNX node with its constants baked in.

    Args:
        proto: the node.
        constants: input position -> array; all other inputs must be given to `run`, in order.
        opset: of the graph that the node is from.
    """
    from onnx import NodeProto, TensorProto, helper, numpy_helper

    node = NodeProto()
    node.CopyFrom(proto)
    count = max([len(proto.input), *(i + 1 for i in constants)])
    reads = [x for i, x in enumerate(proto.input) if i not in constants and x]
    names = [
        f"constant_{i}" if i in constants else (proto.input[i] if i < len(proto.input) else "") for i in range(count)
    ]
    del node.input[:]
    node.input.extend(names)
    kinds = {i: np.int64 if np.asarray(a).dtype.kind == "i" else np.float32 for i, a in constants.items()}
    baked = [
        numpy_helper.from_array(np.array(a, kinds[i], order="C"), f"constant_{i}") for i, a in constants.items()
    ]
    ports = [helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in dict.fromkeys(reads)]
    out = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "node", ports, out, baked)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    opened = session(model)
    return lambda arrays: opened([node.output[0]], dict(zip(reads, arrays, strict=True)))[0]


def patches(
    x: np.ndarray, size: Sequence[int], pads: Sequence[int], groups: int, *, most: int,
    dilations: Sequence[int] = (1, 1),
) -> list[np.ndarray]:  # fmt: skip
    """The patches that a convolution of stride 1 sees, evenly spread, a margin left out.

    Args:
        x: (1, channels, h, w).
        size: the kernel's height and width.
        pads: top, left, bottom, right, as ONNX has them; filled with zeros.
        groups: of the convolution's channels.
        most: about how many positions are taken at most.
        dilations: vertical, horizontal.

    Returns:
        For each group (positions, taps), the type of `x`; taps in the order (channel, row, column).
    """
    padded = np.pad(x[0], ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    spans = tuple((k - 1) * d + 1 for k, d in zip(size, dilations, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))  # (c, h, w, kh, kw)
    windows = windows[..., :: dilations[0], :: dilations[1]]
    channels, height, width = windows.shape[:3]
    margin = min(MARGIN, (height - 1) // 2, (width - 1) // 2)
    inner = windows[:, margin : height - margin, margin : width - margin]
    stride = max(1, int(np.ceil(np.sqrt(inner.shape[1] * inner.shape[2] / most))))
    inner = inner[:, ::stride, ::stride].transpose(1, 2, 0, 3, 4)
    rows = inner.reshape(-1, groups, channels // groups * windows.shape[3] * windows.shape[4])
    return [np.ascontiguousarray(rows[:, g]) for g in range(groups)]
