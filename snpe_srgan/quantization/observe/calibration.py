"""What flows through a float network on calibration crops: the range and histogram of every tensor, and what matters.

    statistics = collect(model, crops)        # ONNX Runtime, one crop at a time, two passes
    statistics["b3_conv1"].weighed            # (crops, bins) how much the values of each bin weigh in each picture

Two passes (first the extremes, then histograms between them) need no growing bins, so the result does not depend on
the order of the crops; memory is that of one crop's tensors and their derivatives, and 32 kB a tensor and crop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators_others import channel_slice
from snpe_srgan.onnx_graphs.run import session, with_outputs
from snpe_srgan.quantization.observe.gradient import PREFIX, SEED_INPUT, gradient_model

BINS = 2048
SEED = 0


@dataclass(frozen=True)
class Statistics:
    """One tensor over all crops. Arrays with `crops` rows hold a row a crop: a picture on which a network runs into the
    hundreds must be distinguished from the many on which it does not.

    Attributes:
        lows, highs: (crops, channels) extremes.
        edges: (bins + 1,) from the lowest to the highest value, equal steps in asinh(value / usual size).
        counted: (crops, bins) number of values.
        weighed: (crops, bins) sum of the squared derivatives of the output by those values, as a share of the crop: an
            error e on the values of bin b adds weighed[c, b] * e^2 to the squared error of crop c, in units of what
            that crop would lose if each tensor had an 8-bit grid of just the crop's own range (independent errors).
        powers: (crops, channels) mean square of the values.
        gain: (channels,) mean squared derivative, in the same units, over all values.
    """

    lows: np.ndarray
    highs: np.ndarray
    edges: np.ndarray
    counted: np.ndarray
    weighed: np.ndarray
    powers: np.ndarray
    gain: np.ndarray

    @property
    def low(self) -> np.ndarray:
        """(channels,) lowest value over all crops."""
        return self.lows.min(axis=0)

    @property
    def high(self) -> np.ndarray:
        """(channels,) highest value over all crops."""
        return self.highs.max(axis=0)

    @property
    def counts(self) -> np.ndarray:
        """(bins,) number of values over all crops."""
        return self.counted.sum(axis=0)

    @property
    def weighted(self) -> np.ndarray:
        """(bins,) the sum of `weighed` over all crops."""
        return self.weighed.sum(axis=0)

    @property
    def power(self) -> np.ndarray:
        """(channels,) mean square of the values on a usual crop."""
        return np.median(self.powers, axis=0)


def bin_edges(low: float, high: float, unit: float, bins: int = BINS) -> np.ndarray:
    """Edges of equal steps in asinh(value / unit): fine near 0, coarse far out.

    Args:
        low, high: the first and the last edge.
        unit: > 0, the usual size of a value: steps grow in proportion to the value beyond it.

    Returns:
        (bins + 1,) float64, rising.
    """
    return unit * np.sinh(np.linspace(np.arcsinh(low / unit), np.arcsinh(high / unit), bins + 1))


def histogram(values: np.ndarray, weights: np.ndarray, edges: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts and summed weights of values in the bins of `bin_edges(..., unit)`.

    Args:
        values: float32, any shape; beyond the edges they count in the outer bins.
        weights: as many as values.
        edges: (bins + 1,) as of `bin_edges`.
        unit: the one that the edges were made with.

    Returns:
        (counts, weights), (bins,) each.
    """
    bins = len(edges) - 1
    low, high = np.arcsinh(edges[0] / unit), np.arcsinh(edges[-1] / unit)
    warped = np.arcsinh(values.ravel() * np.float32(1 / unit))
    warped -= np.float32(low)
    warped *= np.float32(bins / (high - low)) if high > low else np.float32(0)
    index = np.clip(warped.astype(np.int32), 0, bins - 1)
    return np.bincount(index, minlength=bins), np.bincount(index, weights=weights.ravel(), minlength=bins)


def collect(
    model,
    crops: Sequence[np.ndarray],
    *,
    scale: int,
    progress: Callable[[int, int], None] | None = None,
    bins: int = BINS,
) -> dict[str, Statistics]:
    """Statistics of every computed tensor (and the input) of a float ONNX model of free height and width.

    Args:
        crops: LR crops, (1, h, w, 3) float32 in [0, 1]; the tensors of one crop must fit into memory.
        scale: the network's enlargement.
        progress: called with (crops done, crops in all), both passes counted.

    Raises:
        InputError: a tensor is no picture of channels, or holds what is no number.
    """
    network = Network(model)
    assert network.channels  # all tensors are pictures of channels, or an error says which is not
    names = [x for x in network.integer_tensors if x in network.sources(network.groups[x])]
    inner = [x for x in names if x != network.input]
    step = (lambda done: progress(done, 2 * len(crops))) if progress else (lambda done: None)

    def axes(x: str) -> tuple[int, ...]:
        return (0, 1, 2) if x == network.input else (0, 2, 3)  # a picture is NHWC, everything inside NCHW

    rows: dict[str, dict[str, list]] = {
        x: {kind: [] for kind in ("lows", "highs", "counted", "weighed", "powers", "gain")} for x in names
    }
    run = session(with_outputs(model, inner))
    for done, crop in enumerate(crops):
        for x, values in zip(names, [crop, *run(inner, {network.input: crop})], strict=True):
            if not np.isfinite(values).all():
                kind = network.makers[x].kind if x in network.makers else "input"
                raise InputError(f"on a calibration picture '{kind}' gives what is no number", where=x)
            rows[x]["lows"].append(values.min(axis=axes(x)))
            rows[x]["highs"].append(values.max(axis=axes(x)))
            rows[x]["powers"].append(np.square(values, dtype=np.float32).mean(axis=axes(x), dtype=np.float64))
        step(done + 1)
    for x in names:
        if len({low.shape for low in rows[x]["lows"]}) > 1:  # its second axis is a side of the picture
            maker = network.makers[x]
            raise InputError(
                f"cannot quantize {maker.kind}: its result is laid out as NHWC inside an NCHW network",
                where=maker.name,
                hint="export the network with its normalization over channels in NCHW",
            )  # fmt: skip
    units = {x: float(np.median([np.sqrt(p.mean()) for p in rows[x]["powers"]])) or 1.0 for x in names}
    edges = {
        x: bin_edges(float(np.min(rows[x]["lows"])), float(np.max(rows[x]["highs"])), units[x], bins) for x in names
    }

    random = np.random.default_rng(SEED)
    pixels = sum(crop.shape[1] * crop.shape[2] for crop in crops)
    run = session(gradient_model(model, names))
    for done, crop in enumerate(crops):
        height, width = crop.shape[1:3]
        seed = random.choice(np.array([-1, 1], np.float32), size=(1, height * scale, width * scale, 3))
        outputs = run([*inner, *(PREFIX + x for x in names)], {network.input: crop, SEED_INPUT: seed})
        squares = {x: np.square(gradient) for x, gradient in zip(names, outputs[len(inner) :], strict=True)}
        own = sum(squares[x].sum(dtype=np.float64) * _own_rounding(rows[x], done) for x in names) or 1.0
        share = height * width / pixels
        for x, values in zip(names, [crop, *outputs[: len(inner)]], strict=True):
            counted, weighed = histogram(values, squares[x], edges[x], units[x])
            rows[x]["counted"].append(counted)
            rows[x]["weighed"].append(weighed / own)
            rows[x]["gain"].append(squares[x].mean(axis=axes(x), dtype=np.float64) / own * share)
        step(len(crops) + done + 1)
    found = {}
    for x in names:
        kept = {kind: np.array(values) for kind, values in rows[x].items()}
        found[x] = Statistics(**{**kept, "gain": kept["gain"].sum(axis=0)}, edges=edges[x])
    return found


def _own_rounding(rows: dict[str, list], crop: int) -> float:
    """Mean squared rounding error of a tensor on the 8-bit grid that spans just what this crop puts there."""
    low, high = min(float(rows["lows"][crop].min()), 0.0), max(float(rows["highs"][crop].max()), 0.0)
    return ((high - low) / 255) ** 2 / 12


def channel_power(network: Network, tensor: str, statistics: Mapping[str, Statistics]) -> np.ndarray:
    """Mean square of each channel of any tensor, followed through the operators that only move values.

    Args:
        statistics: tensor -> what was seen; `tensor`, or what it is moved from, must be in it.

    Returns:
        (channels,).
    """
    if tensor in statistics:
        return statistics[tensor].power
    node = network.makers[tensor]
    parts = [channel_power(network, x, statistics) for x in node.inputs]
    if node.kind == "DepthToSpace":
        block = int(node.attributes["blocksize"]) ** 2
        if node.attributes.get("mode", b"DCR") == b"CRD":
            return parts[0].reshape(-1, block).mean(axis=1)
        return parts[0].reshape(block, -1).mean(axis=0)
    if node.kind == "SpaceToDepth":
        return np.tile(parts[0], int(node.attributes["blocksize"]) ** 2)
    if node.kind == "Concat":
        return np.concatenate(parts)
    first, behind_last = channel_slice(node) or (0, len(parts[0]))
    return parts[0][first:behind_last]


def behind(network: Network, tensor: str, statistics: Mapping[str, Statistics]) -> Statistics:
    """Statistics of a convolution's output; of the ReLU's where the two are one operator.

    Args:
        tensor: the convolution's output.
        statistics: tensor -> what was seen.
    """
    return statistics[network.readers[tensor][0].output if tensor in network.fused else tensor]


def positions(s: Statistics) -> float:
    """Values of one channel over all crops."""
    return float(s.counts.sum() / len(s.low))
