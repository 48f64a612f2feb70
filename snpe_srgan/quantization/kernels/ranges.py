"""Range estimators: from the histogram of a tensor to the [low, high] that its integers shall span. Pure numpy.

All take `counts`, (bins,), and `edges`, (bins + 1,), of one tensor. Counts may be weights: with the squared derivative
of the picture behind each value (see `gradient`) the best range is the one that is best for the picture. The returned
range always holds 0.

| estimator | keeps | good for |
|---|---|---|
| `min_max` | everything | 16 bits, where a step is tiny and clipping is the only danger |
| `percentile` | all but a fraction of the values | the yardstick: what other tools offer |
| `mse_range` | what minimizes rounding + clipping error | a tensor by itself: best SQNR |
| `decibel_range` | what costs the picture least | 8 bits |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

GRID = 128  # candidates for each end of the range
SPREAD = 6.0  # the smallest is 1/3200 of the largest


def min_max(counts: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """The outer edges of the occupied bins."""
    occupied = np.flatnonzero(counts)
    if not len(occupied):
        return 0.0, 0.0
    return min(float(edges[occupied[0]]), 0.0), max(float(edges[occupied[-1] + 1]), 0.0)


def percentile(counts: np.ndarray, edges: np.ndarray, *, keep: float = 0.9999) -> tuple[float, float]:
    """The range between the (1-keep)/2 and (1+keep)/2 quantiles, widened to hold 0.

    Args:
        counts: (bins,) counts or weights; all 0 gives (0, 0).
        edges: (bins + 1,) rising.
        keep: share of the counts inside, 0 to 1.

    Returns:
        (low, high), values spread evenly inside each bin.
    """
    cumulated = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    if cumulated[-1] == 0:
        return 0.0, 0.0
    low, high = np.interp([(1 - keep) / 2, (1 + keep) / 2], cumulated / cumulated[-1], edges)
    return min(float(low), 0.0), max(float(high), 0.0)


def range_error(counts: np.ndarray, edges: np.ndarray, low: ArrayLike, high: ArrayLike, *, bits: int) -> np.ndarray:
    """Expected squared error of spanning [low_i, high_j], summed over the counts.

    A value inside the range errs by step^2 / 12 on average (uniform rounding error), a value outside by its distance to
    the range. Values stand for the centre of their bin.

    Args:
        counts: (bins,) counts or weights.
        edges: (bins + 1,) rising.
        low, high: (n,) and (m,) candidates for the two ends; low <= 0 <= high.
        bits: of the unsigned grid.

    Returns:
        (n, m) float64: every low with every high.
    """
    counts = np.asarray(counts, np.float64)
    centre = (edges[:-1] + edges[1:]) / 2
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    below = np.searchsorted(centre, low)  # bins [0, below) are clipped at low
    above = np.searchsorted(centre, high, side="right")  # bins [above, n) are clipped at high
    moments = [np.concatenate([[0.0], np.cumsum(counts * centre**k)]) for k in range(3)]
    head = moments[2][below] - 2 * low * moments[1][below] + low**2 * moments[0][below]
    rest = [m[-1] - m[above] for m in moments]
    tail = rest[2] - 2 * high * rest[1] + high**2 * rest[0]
    step = (high[None, :] - low[:, None]) / (2**bits - 1)
    inside = moments[0][above][None, :] - moments[0][below][:, None]
    return inside * step**2 / 12 + np.maximum(head, 0)[:, None] + np.maximum(tail, 0)[None, :]


def mse_range(counts: np.ndarray, edges: np.ndarray, *, bits: int) -> tuple[float, float]:
    """The range of least `range_error`, which is the one of best SQNR; candidates as of `candidates`.

    Args:
        counts: (bins,) counts or weights.
        edges: (bins + 1,) rising.
        bits: of the unsigned grid.

    Returns:
        (low, high), low <= 0 <= high.
    """
    low, high = candidates(counts, edges)
    i, j = np.unravel_index(np.argmin(range_error(counts, edges, low, high, bits=bits)), (GRID, GRID))
    return float(low[i]), float(high[j])


def candidates(counts: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """GRID ends below and GRID above, from 0 to the extremes, dense near 0, where heavy tails put the best."""
    lowest, highest = min_max(counts, edges)
    fractions = np.sinh(np.linspace(0.0, SPREAD, GRID)) / np.sinh(SPREAD)
    return lowest * fractions, highest * fractions


def decibel_range(weighed: np.ndarray, edges: np.ndarray, *, bits: int) -> tuple[float, float]:
    """The range of least loss in dB, averaged over crops: least sum over c of log(1 + range_error of crop c).

    The logarithm keeps the few crops on which the network explodes from ruining all others.

    Args:
        weighed: (crops, bins) in units of what a crop loses anyway (`calibration.Statistics.weighed`).
        edges: (bins + 1,) rising.
        bits: of the unsigned grid.

    Returns:
        (low, high), low <= 0 <= high.
    """
    low, high = candidates(weighed.sum(axis=0), edges)
    lost = sum(np.log1p(range_error(counts, edges, low, high, bits=bits)) for counts in weighed)
    i, j = np.unravel_index(np.argmin(lost), (GRID, GRID))
    return float(low[i]), float(high[j])


def rebin(counted: np.ndarray, edges: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The same histograms between other edges; values stand for the centre of their bin.

    Args:
        counted: (crops, bins) counts or weights.
        edges: (bins + 1,) that they were counted between.
        wanted: (new bins + 1,) rising; what lies beyond its ends goes to the outer bins.

    Returns:
        (crops, new bins) float64.
    """
    bins = len(wanted) - 1
    index = np.clip(np.searchsorted(wanted, (edges[:-1] + edges[1:]) / 2, side="right") - 1, 0, bins - 1)
    return np.stack([np.bincount(index, weights=row, minlength=bins) for row in counted])
