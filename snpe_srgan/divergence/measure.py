"""How far two runs of one layer are apart, and where: pure functions of arrays.

`expected` is what the first run computes, `got` the second's, in the layout of the graph: (1, channels, h, w) inside,
(1, h, w, 3) at its ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snpe_srgan.imaging.decibel import decibel

EQUAL = 1e-5  # of the largest value: floats closer than that are one number, added in another order
FLOAT16 = 2.0**-8  # of the largest value: what a layer computed in float16 may be off
EXACT_SHARE = 0.02  # of the values may land on the next step, where two engines add floats in another order
MOVES = {
    "Concat", "DepthToSpace", "Flatten", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Transpose",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The value that is off most: in the layer's own tensor, and the LR pixel that lies there."""

    channel: int
    row: int
    column: int
    lr_row: int
    lr_column: int


@dataclass(frozen=True)
class Gap:
    """Two runs of one tensor.

    Attributes:
        sqnr: signal to noise in dB; None where both are equal, or where one is not finite.
        mean, rms, largest: of `got - expected`, in the tensor's own unit; of the values that are finite in both.
        unequal: share of the values that differ by more than `same`.
        broken: share of the values that are not finite in one of them only.
        peak: the largest expected value.
    """

    sqnr: float | None
    mean: float
    rms: float
    largest: float
    unequal: float
    broken: float
    peak: float


def gap(expected: np.ndarray, got: np.ndarray, *, step: float | None) -> Gap:
    """See `Gap`; values closer than half a `step` of the integers, or than EQUAL, count as the same.

    Args:
        expected, got: of one shape, any layout.
        step: of the tensor's integers; None for floats.
    """
    a, b = expected.astype(np.float64), got.astype(np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    error = np.where(both, b, 0) - np.where(both, a, 0)
    signal, noise = float(np.mean(np.square(np.where(both, a, 0)))), float(np.mean(np.square(error)))
    peak = float(np.abs(np.where(both, a, 0)).max(initial=0.0))
    same = step / 2 if step else EQUAL * peak
    return Gap(
        sqnr=decibel(noise, peak=math.sqrt(signal)) if signal > 0 and noise > 0 else None,
        mean=float(error.mean()),
        rms=math.sqrt(noise),
        largest=float(np.abs(error).max(initial=0.0)),
        unequal=float(np.mean(~both | (np.abs(error) > same))),
        broken=float(np.mean(np.isfinite(a) != np.isfinite(b))),
        peak=peak,
    )


def departs(g: Gap, *, step: float | None, bits: int, exact: bool, inner: float = 0.0) -> bool:
    """Whether the difference is more than the rounding that two engines may do differently.

    Args:
        step: of the tensor's integers; None for floats.
        bits: of the integers.
        exact: whether the layer's result must be the same: one engine ran both, or the layer only moves values.
        inner: the steps of what is rounded inside the layer, added up.
    """
    if g.broken:
        return True
    if step is None:
        return g.largest > (EQUAL if exact else FLOAT16) * max(g.peak, 1e-30)
    if exact:
        return g.largest > 1.01 * step or g.unequal > EXACT_SHARE
    # 16-bit steps are so fine that a few are nothing: rounding there is that of the sums.
    mean, most = (0.25, 1.5) if bits <= 8 else (1.0, 16.0)
    return abs(g.mean) > mean * step or g.largest > most * (step + inner)


def place(expected: np.ndarray, got: np.ndarray, lr_size: tuple[int, int]) -> Place | None:
    """Where the two differ most; None for tensors that are no picture, and where nothing differs.

    Args:
        expected, got: (1, channels, h, w) or (1, h, w, 3).
        lr_size: (height, width) of the picture that the network was given.
    """
    if expected.ndim != 4:
        return None
    with np.errstate(invalid="ignore"):
        error = np.abs(channels_first(got)[0].astype(np.float64) - channels_first(expected)[0])
    error = np.where(np.isfinite(error), error, np.inf)
    if not error.max(initial=0) > 0:
        return None
    channel, row, column = (int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    rows, columns = error.shape[1:]
    return Place(channel, row, column, row * lr_size[0] // rows, column * lr_size[1] // columns)


def channels_first(array: np.ndarray) -> np.ndarray:
    """(1, channels, h, w) of a picture in either layout: NHWC is told by its three last channels."""
    if array.ndim == 4 and array.shape[3] == 3 and array.shape[1] != 3:
        return array.transpose(0, 3, 1, 2)
    return array


def error_map(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """(h, w) root mean square over the channels of what two runs of a layer differ by."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = channels_first(got)[0].astype(np.float64) - channels_first(expected)[0]
    return np.sqrt(np.square(np.nan_to_num(error, nan=0.0, posinf=65504.0, neginf=-65504.0)).mean(axis=0))
