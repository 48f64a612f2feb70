"""What flows through a float network on calibration crops: the range and histogram of every tensor, and what matters.

    statistics = collect(model, crops)        # ONNX Runtime, one crop at a time, two passes
    statistics["b3_conv1"].weighted           # (bins,) how much the values of each bin weigh in the picture

Two passes (first the extremes, then histograms between them) need no growing bins, so the result does not depend on
the order of the crops; memory is that of one crop's tensors and their derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.quantization.gradient import PREFIX, SEED_INPUT, gradient_model
from snpe_srgan.quantization.network import Network
from snpe_srgan.quantization.simulate import session, with_outputs

BINS = 2048
SEED = 0


@dataclass(frozen=True)
class Statistics:
    """One tensor over all crops.

    Attributes:
        low, high: (channels,) extremes.
        edges: (bins + 1,) from the lowest to the highest value.
        counts: (bins,) number of values.
        weighted: (bins,) sum of the squared derivatives of the output by those values: an error e on the values of bin
            b adds weighted[b] * e^2 to the output's squared error, if errors are independent.
        power: (channels,) mean square of the values.
        gain: (channels,) mean squared derivative.
    """

    low: np.ndarray
    high: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    weighted: np.ndarray
    power: np.ndarray
    gain: np.ndarray


def histogram(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and summed weights of `values` (any shape) in the equal bins between `edges` (bins + 1,): two (bins,)."""
    bins = len(edges) - 1
    low, width = np.float32(edges[0]), (edges[-1] - edges[0]) / bins
    scale = np.float32(1 / width) if width > 0 else np.float32(0)
    index = np.clip(((values - low) * scale).astype(np.int32), 0, bins - 1).ravel()
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
    """
    network = Network(model)
    names = [x for x in network.integer_tensors if x in network.sources(network.groups[x])]
    inner = [x for x in names if x != network.input]
    step = (lambda done: progress(done, 2 * len(crops))) if progress else (lambda done: None)

    def axes(x: str) -> tuple[int, ...]:
        return (0, 1, 2) if x == network.input else (0, 2, 3)  # a picture is NHWC, everything inside NCHW

    low: dict[str, np.ndarray] = {}
    high: dict[str, np.ndarray] = {}
    run = session(with_outputs(model, inner))
    for done, crop in enumerate(crops):
        for x, values in zip(names, [crop, *run(inner, {network.input: crop})], strict=True):
            low[x] = np.minimum(low.get(x, np.inf), values.min(axis=axes(x)))
            high[x] = np.maximum(high.get(x, -np.inf), values.max(axis=axes(x)))
        step(done + 1)
    edges = {x: np.linspace(float(low[x].min()), float(high[x].max()), bins + 1) for x in names}

    sums = {x: {"counts": 0.0, "weighted": 0.0, "power": 0.0, "gain": 0.0} for x in names}
    random = np.random.default_rng(SEED)
    pixels = sum(crop.shape[1] * crop.shape[2] for crop in crops)
    run = session(gradient_model(model, names))
    for done, crop in enumerate(crops):
        height, width = crop.shape[1:3]
        seed = random.choice(np.float32([-1, 1]), size=(1, height * scale, width * scale, 3))
        outputs = run([*inner, *(PREFIX + x for x in names)], {network.input: crop, SEED_INPUT: seed})
        share = height * width / pixels
        for x, values, gradient in zip(names, [crop, *outputs[: len(inner)]], outputs[len(inner) :], strict=True):
            squared = np.square(gradient)
            counts, weighted = histogram(values, squared, edges[x])
            more = {
                "counts": counts,
                "weighted": weighted,
                "power": np.square(values, dtype=np.float64).mean(axis=axes(x)) * share,
                "gain": squared.mean(axis=axes(x), dtype=np.float64) * share,
            }
            for key, value in more.items():
                sums[x][key] = sums[x][key] + value
        step(len(crops) + done + 1)
    return {x: Statistics(low=low[x], high=high[x], edges=edges[x], **sums[x]) for x in names}


def channel_power(network: Network, tensor: str, statistics: Mapping[str, Statistics]) -> np.ndarray:
    """Mean square of each channel of any tensor, followed through the operators that only move values."""
    if tensor in statistics:
        return statistics[tensor].power
    node = network.makers[tensor]
    parts = [channel_power(network, x, statistics) for x in node.inputs]
    if node.kind == "DepthToSpace":
        block = int(node.attributes["blocksize"]) ** 2
        if node.attributes.get("mode", b"DCR") == b"CRD":
            return parts[0].reshape(-1, block).mean(axis=1)
        return parts[0].reshape(block, -1).mean(axis=0)
    return np.concatenate(parts)


def behind(network: Network, tensor: str, statistics: Mapping[str, Statistics]) -> Statistics:
    """Statistics of a convolution's output; of the ReLU's where the two are one operator."""
    return statistics[network.readers[tensor][0].output if tensor in network.fused else tensor]


def positions(s: Statistics) -> float:
    """Values of one channel over all crops."""
    return float(s.counts.sum() / len(s.low))
