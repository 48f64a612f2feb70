"""Which grid each activation tensor is stored on: known ranges where they are known, the calibration's elsewhere.

encodings = activation_encodings(network, statistics, bits=8, estimator="mse")
encodings["head_prelu"].scale, encodings["head_prelu"].zero
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.quantization import ranges
from snpe_srgan.quantization.affine import affine_range, unit_range
from snpe_srgan.quantization.calibration import Statistics
from snpe_srgan.quantization.network import Network

ESTIMATORS = ("mse", "min_max", "percentile")
KEEP = 0.999  # mse clips at most this; clipped values lie together, so their errors add up to more than it knows
MARGIN = 1.25  # min_max widens the seen range: other pictures go farther, and 16 bits have levels to spare


@dataclass(frozen=True)
class Encoding:
    """An unsigned asymmetric grid for one activation tensor: real = (q - zero) * scale, 0 <= q < 2^bits.

    `narrow` is the coarser grid to which the tensor is converted for operators that compute in fewer bits than it has.
    """

    bits: int
    scale: float
    zero: int
    narrow: Encoding | None = None

    @property
    def low(self) -> float:
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        return (2**self.bits - 1 - self.zero) * self.scale

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
    """The encoding of a range."""
    scale, zero = affine_range(low, high, bits)
    return Encoding(bits, float(scale), zero)


def activation_encodings(
    network: Network, statistics: Mapping[str, Statistics], *, bits: int, estimator: str
) -> dict[str, Encoding]:
    """An encoding for each of `network.integer_tensors`; tensors of one group share one."""
    encodings = {}
    for group in dict.fromkeys(network.groups[x] for x in network.integer_tensors):
        encoding = known_encoding(network, group, bits)
        if encoding is None:
            counts, weighted, edges = group_histogram([statistics[x] for x in network.sources(group)])
            encoding = spanning(*estimate(counts, weighted, edges, bits=bits, estimator=estimator), bits)
        encodings.update(dict.fromkeys(network.members(group), encoding))
    return {x: encodings[x] for x in network.integer_tensors}


def known_encoding(network: Network, group: str, bits: int) -> Encoding | None:
    """What is known whatever the calibration saw: the input is a picture in [0, 1], the output (of tanh or clip) lies
    in [-1, 1], and tanh wants no more than what it can tell apart."""
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
    """Counts, weighted counts and edges of a group; several parts (a concatenation) go on the grid of all."""
    if len(parts) == 1:
        return parts[0].counts, parts[0].weighted, parts[0].edges
    low = min(float(p.edges[0]) for p in parts)
    high = max(float(p.edges[-1]) for p in parts)
    edges = np.linspace(low, high, len(parts[0].counts) + 1)
    counts, weighted = (
        sum(ranges.rebin(getattr(p, kind), p.edges, low, high) for p in parts) for kind in ("counts", "weighted")
    )
    return counts, weighted, edges


def estimate(counts, weighted, edges, *, bits: int, estimator: str) -> tuple[float, float]:
    """The range an estimator chooses for one histogram."""
    if estimator == "percentile":
        return ranges.percentile(counts, edges)
    if estimator == "min_max":
        low, high = ranges.min_max(counts, edges)
        return low * MARGIN, high * MARGIN
    low, high = ranges.mse_range(weighted, edges, bits=bits)
    low_kept, high_kept = ranges.percentile(counts, edges, keep=KEEP)
    return min(low, low_kept), max(high, high_kept)
