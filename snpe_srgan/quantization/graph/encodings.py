"""Which grid each activation tensor is stored on: known ranges where they are known, the calibration's elsewhere.

encodings = activation_encodings(network, statistics, bits=8, estimator="mse")
encodings["head_prelu"].scale, encodings["head_prelu"].zero
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.onnx_graphs.layers import Grid
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import clip_bounds
from snpe_srgan.quantization.kernels import ranges
from snpe_srgan.quantization.kernels.affine import affine_range, unit_range
from snpe_srgan.quantization.observe.calibration import Statistics

ESTIMATORS = ("decibel", "mse", "min_max", "percentile")
# So much of a crop's values is never clipped (clipped ones lie together, their errors add up to more than the estimate
# knows), of so many crops: the others are those on which a network runs into the hundreds.
KEEP, USUAL = 0.999, 0.75
MARGIN = 1.25  # min_max widens the seen range: other pictures go farther, and 16 bits have levels to spare


@dataclass(frozen=True)
class Encoding(Grid):
    """An unsigned asymmetric grid for one activation tensor: real = (q - zero) * scale, 0 <= q < 2^bits.

    `narrow` is the coarser grid to which the tensor is converted for operators that compute in fewer bits than it has.
    """

    narrow: Encoding | None = None

    def at(self, bits: int) -> Encoding:
        """The grid on which an operator of `bits` bits reads the tensor.

        More bits than it has: a finer grid that holds every point of the own one (2^16 - 1 = 257 (2^8 - 1)), so
        nothing is lost. Fewer: `narrow`, or the same range in fewer steps.
        """
        if bits == self.bits:
            return self
        if bits > self.bits:
            finer = (2**bits - 1) // (2**self.bits - 1)
            return Encoding(bits, float(np.float32(self.scale / finer)), self.zero * finer)
        if self.narrow is not None and self.narrow.bits == bits:
            return self.narrow
        return spanning(self.low, self.high, bits)


def spanning(low: float, high: float, bits: int) -> Encoding:
    """The encoding of a range.

    Args:
        low, high: widened to hold 0 where they do not (`affine.affine_range`).
        bits: of the unsigned grid.
    """
    scale, zero = affine_range(low, high, bits)
    return Encoding(bits, float(scale), zero)


def activation_encodings(
    network: Network, statistics: Mapping[str, Statistics], *, bits: int, estimator: str
) -> dict[str, Encoding]:
    """An encoding for each of `network.integer_tensors`; tensors of one group share one.

    Args:
        statistics: tensor -> what was seen, for the sources of every group.
        bits: of every activation.
        estimator: one of ESTIMATORS.
    """
    encodings = {}
    for group in dict.fromkeys(network.groups[x] for x in network.integer_tensors):
        encoding = known_encoding(network, group, bits)
        if encoding is None:
            histograms = group_histogram([statistics[x] for x in network.sources(group)])
            low, high = estimate(*histograms, bits=bits, estimator=estimator)
            encoding = spanning(*within_clips(network, group, low, high), bits)
        encodings.update(dict.fromkeys(network.members(group), encoding))
    return {x: encodings[x] for x in network.integer_tensors}


def within_clips(network: Network, group: str, low: float, high: float) -> tuple[float, float]:
    """A range without what the clips in front of a group cut off: its ends then do what the clips do.

    Args:
        group: the name of tensors that share a grid.
        low: the least value that was observed there; `high` the largest.
    """
    sources = [network.makers.get(x) for x in network.sources(group)]
    bounds = [clip_bounds(node) for node in sources if node is not None and node.kind == "Clip"]
    if not bounds or len(bounds) < len(sources):
        return low, high
    return max(low, min(b[0] for b in bounds)), min(high, max(b[1] for b in bounds))


def known_encoding(network: Network, group: str, bits: int) -> Encoding | None:
    """What is known whatever the calibration saw: the input is a picture in [0, 1] as is what a sigmoid gives, the
    output (of tanh or clip) lies in [-1, 1], and tanh wants no more than what it can tell apart.

    Args:
        group: the tensor that names a group of tensors with the same values (`Network.groups`).
        bits: of the grid.

    Returns:
        None where only a calibration can tell.
    """
    members = network.members(group)
    if network.input in members:
        return spanning(0.0, 1.0, bits)
    if any(reader.kind == "Tanh" for x in members for reader in network.readers[x]):
        # As far as tanh reaches black and white but for one level: a narrower range would turn white skies grey.
        limit = float(np.arctanh(1 - 2 / (2**bits - 1)))
        return spanning(-limit, limit, bits)
    if network.output in members:
        scale, zero = unit_range(bits)
        return Encoding(bits, float(scale), zero)
    sources = [network.makers.get(x) for x in network.sources(group)]
    if all(node is not None and node.kind == "Sigmoid" for node in sources):
        return spanning(0.0, 1.0, bits)
    source = network.makers.get(group)
    if source is not None and source.kind == "Conv" and len(members) == 1 and _reads_picture(network, source):
        low, high = pixel_bounds(source)
        if max(abs(low + 1), abs(high - 1)) < 1e-6:  # the anchor: on the output's own grid, to which it is added
            scale, zero = unit_range(bits)
            return Encoding(bits, float(scale), zero)
        return spanning(low, high, bits)
    return None


def _reads_picture(network: Network, conv) -> bool:
    """Whether a 1x1 convolution without padding reads the input picture."""
    own = np.shape(conv.constants[1])[2:] == (1, 1) and not any(conv.attributes.get("pads", ()))
    return own and network.groups[conv.inputs[0]] == network.groups[network.input]


def pixel_bounds(conv) -> tuple[float, float]:
    """The exact range of a 1x1 convolution of a picture in [0, 1]: a calibration without white must not clip white."""
    kernel = np.asarray(conv.constants[1], np.float64)[:, :, 0, 0]
    bias = np.asarray(conv.constants.get(2, np.zeros(len(kernel))), np.float64)
    return float((bias + np.minimum(kernel, 0).sum(1)).min()), float((bias + np.maximum(kernel, 0).sum(1)).max())


def group_histogram(parts: list[Statistics]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (crops, bins), weights (crops, bins) and edges of a group; the parts of a concatenation go on one grid."""
    if len(parts) == 1:
        return parts[0].counted, parts[0].weighed, parts[0].edges
    edges = np.unique(np.concatenate([p.edges for p in parts]))[:: len(parts)]
    edges[0], edges[-1] = min(p.edges[0] for p in parts), max(p.edges[-1] for p in parts)
    counted = np.sum([ranges.rebin(p.counted, p.edges, edges) for p in parts], axis=0)
    weighed = np.sum([ranges.rebin(p.weighed, p.edges, edges) for p in parts], axis=0)
    return counted, weighed, edges


def estimate(counted, weighed, edges, *, bits: int, estimator: str) -> tuple[float, float]:
    """The range that an estimator chooses for one group's histograms.

    Args:
        counted, weighed: (crops, bins) numbers of values, and how much they weigh in each picture.
        edges: (bins + 1,) of both.
        bits: of the unsigned grid.
        estimator: one of ESTIMATORS.

    Returns:
        (low, high), low <= 0 <= high.
    """
    if estimator == "percentile":
        return ranges.percentile(counted.sum(axis=0), edges)
    if estimator == "min_max":
        low, high = ranges.min_max(counted.sum(axis=0), edges)
        return low * MARGIN, high * MARGIN
    if estimator == "mse":
        return ranges.mse_range(counted.sum(axis=0), edges, bits=bits)
    low, high = ranges.decibel_range(weighed, edges, bits=bits)
    kept = np.array([ranges.percentile(counts, edges, keep=KEEP) for counts in counted])
    low_kept, high_kept = np.quantile(kept[:, 0], 1 - USUAL), np.quantile(kept[:, 1], USUAL)
    return min(low, float(low_kept)), max(high, float(high_kept))
