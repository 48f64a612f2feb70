"""What flows through a network, computed from its batch norms alone: no picture at all. Pure numpy and SciPy.

    known = batch_norm_statistics(graph, weights)            # the .npz remembers mean and deviation of every batch norm
    moments = expected_moments(network, known)               # ... and what follows from them, tensor by tensor
    biases = analytic_bias_correction(network, moments, scales, weight_bits=8)
    encodings = gaussian_encodings(network, moments, bits=8)

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", sections 4.2.1 and 5: a
batch norm's output is taken as Gaussian, of mean beta and deviation |gamma| in each channel; everything behind it
follows in closed form. A network that does without batch norm, or whose file has it folded away (.pb, .onnx), holds no
such numbers: that is an error here, and such a network is quantized on synthetic pictures (`synthetic`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import SLOPED, Node, clip_bounds, operator_of, slopes_of
from snpe_srgan.quantization.graph.encodings import Encoding, known_encoding, spanning
from snpe_srgan.quantization.graph.qdq import bits_of
from snpe_srgan.quantization.graph.wires import Wires, read_by, shuffled_channels
from snpe_srgan.quantization.kernels.weights import quantize_weights

if TYPE_CHECKING:
    from snpe_srgan.models.graph import Graph

DEVIATIONS = 6  # how far ranges reach from the mean, as in the paper
FAR = 40.0  # deviations beyond which float64 knows no normal density
TINY = 1e-12


class Moments(NamedTuple):
    """Mean and standard deviation of each channel, (channels,) float64."""

    mean: np.ndarray
    std: np.ndarray

    @property
    def power(self) -> np.ndarray:
        """E[x^2], (channels,)."""
        return self.mean**2 + self.std**2


# A photograph's red, green and blue, as the usual normalization for ImageNet has them, and how alike neighbours are.
PICTURE = Moments(np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
PIXEL_CORRELATION, COLOUR_CORRELATION = 0.95, 0.9
FEATURE_CORRELATION = 0.5  # of neighbours inside the network


def batch_norm_statistics(graph: Graph, weights: Mapping[str, np.ndarray]) -> dict[str, Moments]:
    """Tensor of the folded ONNX graph -> what its batch norm says about it.

    The tensor that a batch norm gives is named after the convolution that it was folded into
    (`onnx_graphs.from_layers.fold_batch_norm`). `InputError` when the network has none.
    """
    from snpe_srgan.onnx_graphs.from_layers import fold_batch_norm

    folded, _ = fold_batch_norm(graph, weights)
    left = {layer.name for layer in folded.layers}
    known = {}
    for layer in graph.layers:
        if layer.kind == "batch_norm":
            name = layer.name if layer.name in left else layer.inputs[0]
            beta, gamma, variance = (
                np.asarray(weights[f"{layer.name}/{x}"], np.float64) for x in ("beta", "gamma", "variance")
            )
            # Of variance v the norm makes v / (v + epsilon): a little less than 1, much less in a dead channel.
            known[name] = Moments(beta, np.abs(gamma) * np.sqrt(variance / (variance + layer.attributes["epsilon"])))
    if not known:
        raise InputError(
            "there is no batch norm whose statistics could replace pictures",
            where=graph.network,
            hint="quantize on calibration pictures, or on synthetic ones",
        )
    return known


def scaled(moments: Mapping[str, Moments], wires: Wires, factors: np.ndarray) -> dict[str, Moments]:
    """The moments of the same network after `wires.rescaled` by `factors`.

    Args:
        moments: tensor -> its moments before.
        wires: of that network.
        factors: (wires.count,) > 0.
    """
    return {
        x: Moments(m.mean * wires.factors_of(x, factors), m.std * wires.factors_of(x, factors))
        for x, m in moments.items()
    }


def half_moments(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """E[max(x, 0)] and E[max(x, 0)^2] of Gaussians: m P + s p and (m^2 + s^2) P + m s p, with p and P the normal
    density and distribution at m / s. No deviation: a constant."""
    return _piece(moments, 0.0, np.inf)[1:]


def _piece(moments: Moments, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, first and second moment of the part of Gaussians in [low, high), each (channels,).

    With a, b = (low - m) / s, (high - m) / s: P = Phi(b) - Phi(a), the first m P - s (phi(b) - phi(a)), the second
    (m^2 + s^2) P - s ((high + m) phi(b) - (low + m) phi(a)).
    """
    from scipy.special import ndtr

    mean, std = (np.asarray(x, np.float64) for x in moments)
    constant = std <= TINY * (1 + np.abs(mean))
    safe = np.where(constant, 1.0, std)
    a, b = (np.clip((end - mean) / safe, -FAR, FAR) for end in (low, high))
    share = ndtr(b) - ndtr(a)
    at_a, at_b = (np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) for z in (a, b))
    ends = [(end + mean) * p if np.isfinite(end) else 0.0 for end, p in ((high, at_b), (low, at_a))]
    first = mean * share - std * (at_b - at_a)
    second = (mean**2 + std**2) * share - std * (ends[0] - ends[1])
    fixed = ((mean >= low) & (mean < high)).astype(np.float64)
    return (
        np.where(constant, fixed, share),
        np.where(constant, fixed * mean, first),
        np.where(constant, fixed * mean**2, second),
    )


def prelu_moments(moments: Moments, slope: np.ndarray) -> Moments:
    """Of max(x, 0) + slope * min(x, 0), x Gaussian; slope (channels,) or a scalar (0: ReLU)."""
    first, second = half_moments(moments)
    mean = first + slope * (moments.mean - first)
    return _from_power(mean, second + np.square(slope) * (moments.power - second))


def clip_moments(moments: Moments, low: float, high: float) -> Moments:
    """Of x clipped to [low, high], x Gaussian.

    Args:
        moments: of x.
        low, high: the bounds; either may be infinite.
    """
    _, mean, power = _piece(moments, low, high)
    for end, part in ((low, (-np.inf, low)), (high, (high, np.inf))):
        if np.isfinite(end):
            share = _piece(moments, *part)[0]
            mean, power = mean + end * share, power + end**2 * share
    return _from_power(mean, power)


def function_moments(moments: Moments, function: Callable[[np.ndarray], np.ndarray]) -> Moments:
    """Of function(x), x Gaussian: Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    values = function(moments.mean + moments.std * nodes[:, None])
    weights = weights[:, None] / weights.sum()
    return _from_power((weights * values).sum(0), (weights * values**2).sum(0))


def _from_power(mean: np.ndarray, power: np.ndarray) -> Moments:
    return Moments(mean, np.sqrt(np.maximum(power - mean**2, 0.0)))


def expected_moments(
    network: Network, known: Mapping[str, Moments], *, picture: Moments = PICTURE
) -> dict[str, Moments]:
    """Moments of every tensor, in order of execution: `known` where it says something, else what the inputs imply.

    Exact for Gaussian inputs through (P)ReLU and clip; elsewhere means are exact (but at the padded border), deviations
    a model: an addition's inputs are independent, a convolution's input channels too (a picture's colours are alike),
    and a channel's correlation falls by the same factor with each pixel's distance.

    Args:
        network: the float network, its batch norms folded.
        known: as of `batch_norm_statistics`.
        picture: of the input's three colours, in [0, 1]; used where `known` does not have the input.
    """
    channels = network.channels
    moments = {network.input: known.get(network.input, picture)}
    pictures = {network.input}
    for node in network.nodes:
        parts = [moments[x] for x in node.inputs]
        if node.kind == "Transpose" and node.inputs[0] in pictures:
            pictures.add(node.output)
        moments[node.output] = known.get(node.output) or _follow(
            node, parts, channels[node.output], node.inputs[0] in pictures
        )
    return moments


def _follow(node: Node, parts: list[Moments], channels: int, picture: bool) -> Moments:
    if node.kind == "Conv":
        return conv_moments(node, parts[0], picture=picture)
    if node.kind in SLOPED:
        return prelu_moments(parts[0], slopes_of(node))
    if node.kind == "Clip":
        return clip_moments(parts[0], *clip_bounds(node))
    if node.kind == "Tanh":  # as a clip: nobody reads it but the picture
        return clip_moments(parts[0], -1.0, 1.0)
    if node.kind == "Sigmoid":  # as its tangent, clipped
        return clip_moments(Moments(0.5 + parts[0].mean / 4, parts[0].std / 4), 0.0, 1.0)
    if node.kind == "Mul" and node.constants:
        factor = np.asarray(next(iter(node.constants.values())), np.float64).reshape(-1)
        return Moments(parts[0].mean * factor, parts[0].std * np.abs(factor))
    if node.kind == "Mul":
        return _from_power(parts[0].mean * parts[1].mean, parts[0].power * parts[1].power)
    if node.kind == "GlobalAveragePool":
        return Moments(parts[0].mean, np.zeros_like(parts[0].std))
    if node.kind == "Add":
        return Moments(parts[0].mean + parts[1].mean, np.hypot(parts[0].std, parts[1].std))
    if node.kind == "Concat":
        return Moments(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    if node.kind == "DepthToSpace":
        phases = _phases(node, channels)
        return _from_power(parts[0].mean[phases].mean(0), parts[0].power[phases].mean(0))
    function = operator_of(node.kind).function
    return parts[0] if function is None else function_moments(parts[0], function)


def _phases(node: Node, channels: int) -> np.ndarray:
    """(phases, channels): where the sub-pixels of each output channel of a DepthToSpace come from."""
    block = int(node.attributes["blocksize"]) ** 2
    return np.stack([shuffled_channels(node, channels, phase) for phase in range(block)])


def conv_moments(node: Node, read: Moments, *, picture: bool = False) -> Moments:
    """Of a convolution's outputs: an exact mean, the deviation of a stationary field (see `expected_moments`).

    Args:
        node: the convolution.
        read: moments of its input, (in channels,).
        picture: whether it reads the picture, whose neighbours and colours are more alike than features are.
    """
    kernel = np.asarray(node.constants[1], np.float64)
    bias = np.asarray(node.constants.get(2, np.zeros(len(kernel))), np.float64)
    mean, std = (np.broadcast_to(read_by(node, x), kernel.shape) for x in read)
    pixels, colours = (PIXEL_CORRELATION, COLOUR_CORRELATION) if picture else (FEATURE_CORRELATION, 0.0)
    y, x = np.indices(kernel.shape[2:]).reshape(2, -1)
    near = pixels ** np.hypot(y[:, None] - y, x[:, None] - x)  # (taps, taps)
    taps = (kernel * std).reshape(*kernel.shape[:2], -1)
    apart = np.einsum("oik,oik->o", taps @ near, taps)
    together = np.einsum("ok,kl,ol->o", taps.sum(1), near, taps.sum(1))
    variance = (1 - colours) * apart + colours * together
    return Moments(bias + (kernel * mean).sum((1, 2, 3)), np.sqrt(np.maximum(variance, 0.0)))


def expected_input(node: Node, moments: Mapping[str, Moments]) -> np.ndarray:
    """E[x] of what a convolution reads, in the layout of its kernel: (out, in / group)."""
    kernel = np.asarray(node.constants[1])
    return np.broadcast_to(read_by(node, moments[node.inputs[0]].mean)[:, :, 0, 0], kernel.shape[:2])


def analytic_bias_correction(
    network: Network,
    moments: Mapping[str, Moments],
    scales: Mapping[str, np.ndarray],
    weight_bits: int | Mapping[str, int],
) -> dict[str, np.ndarray]:
    """Convolution (by node name) -> bias (out,) that takes out the mean shift by its weights' rounding error.

    E[(w + e) * x + b] - E[w * x + b] = sum over taps of e times E[x] (section 4.2.1), exact but at the padded border.

    Args:
        moments: of every tensor that a convolution reads.
        scales: convolution (by node name) -> (out,) scales of its weights.
        weight_bits: of all convolutions, or of each by node name.

    Returns:
        float64 biases of all convolutions, those without one included.
    """
    biases = {}
    for node in network.nodes:
        if node.kind == "Conv":
            kernel, scale = np.asarray(node.constants[1], np.float64), np.asarray(scales[node.name], np.float64)
            error = (
                quantize_weights(kernel, scale, bits=bits_of(weight_bits, node.name)) * scale.reshape(-1, 1, 1, 1)
                - kernel
            )
            shift = (error.sum((2, 3)) * expected_input(node, moments)).sum(1)
            biases[node.name] = np.asarray(node.constants.get(2, np.zeros(len(kernel))), np.float64) - shift
    return biases


def gaussian_ranges(
    network: Network, moments: Mapping[str, Moments], *, deviations: float = DEVIATIONS
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Tensor -> (low, high), each (channels,): the mean and so many deviations, sent through what follows.

    Args:
        network: its input is taken as a picture in [0, 1].
        moments: of every tensor, as of `expected_moments`.
        deviations: how far a range reaches to either side of the mean.
    """
    channels, ranges = network.channels, {}
    for x, m in moments.items():
        ranges[x] = (m.mean - deviations * m.std, m.mean + deviations * m.std)
    ranges[network.input] = (np.zeros(channels[network.input]), np.ones(channels[network.input]))
    for node in network.nodes:
        parts = [ranges[x] for x in node.inputs]
        low, high = parts[0]
        if node.kind == "Clip":
            bounds = clip_bounds(node)
            ranges[node.output] = np.clip(low, *bounds), np.clip(high, *bounds)
        elif node.kind in SLOPED:
            ends = [np.maximum(v, 0) + slopes_of(node) * np.minimum(v, 0) for v in (low, high, np.clip(0, low, high))]
            ranges[node.output] = np.minimum.reduce(ends), np.maximum.reduce(ends)
        elif node.kind == "DepthToSpace":
            phases = _phases(node, channels[node.output])
            ranges[node.output] = low[phases].min(0), high[phases].max(0)
        elif node.kind == "Concat":
            ranges[node.output] = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        elif node.kind in ("Transpose", "Resize"):
            ranges[node.output] = parts[0]
    return ranges


def gaussian_encodings(network: Network, moments: Mapping[str, Moments], *, bits: int) -> dict[str, Encoding]:
    """As `encodings.activation_encodings`, from `gaussian_ranges` in place of a calibration.

    Args:
        moments: of every tensor, as of `expected_moments`.
        bits: of every activation.

    Returns:
        Tensor -> its grid, for each of `network.integer_tensors`.
    """
    ranges, encodings = gaussian_ranges(network, moments), {}
    for group in dict.fromkeys(network.groups[x] for x in network.integer_tensors):
        encoding = known_encoding(network, group, bits)
        if encoding is None:
            sources = network.sources(group)
            low = min(float(ranges[x][0].min()) for x in sources)
            encoding = spanning(low, max(float(ranges[x][1].max()) for x in sources), bits)
        encodings.update(dict.fromkeys(network.members(group), encoding))
    return {x: encodings[x] for x in network.integer_tensors}
