"""Flicker: how much of it a network adds where nothing moves, and a smoothing over time that takes it away.

    steady = Steady(scale=4)
    for lr, sr in frames:
        picture = steady(lr, sr)
    steady.flicker.network, steady.flicker.shown      # levels of 255

A network for the eye draws detail that hangs on the last bit of its input: noise too small to see makes the drawn
detail boil. Where the LR picture stands still, but for noise, earlier results are averaged with the present one
(nothing recursive: the present frame and the `HISTORY` before it). Where it moves, an earlier result has no weight, so
nothing is dragged along.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

HISTORY = 3  # earlier frames that are averaged: noise falls to a half
REACH = 4  # LR pixels around what moves that are not averaged: a network draws them by what it sees beside them
WINDOW = 5  # LR pixels to a side over which movement is judged: noise averages out, an edge that moves does not
LEAST, MOST = 0.7, 4.0  # levels: the noise that is assumed at least, and at most
STILL, MOVING = 1.6, 3.0  # times the noise: full weight up to the one, none from the other on
CUT_LEVELS, CUT_SHARE = 20.0, 0.3  # a scene cut: the brightness of regions changes so much, and less stands still
REGIONS = 8  # rows and columns of regions
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass
class Flicker:
    """Mean change, from frame to frame, of what stands still, in levels of 255.

    Attributes:
        source: of the LR picture: its own noise.
        network: of the network's pictures.
        shown: of the pictures that are shown, smoothed or not.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(3))
    pixels: int = 0

    def add(self, still: np.ndarray, changes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """`still` (h, w) bool in LR pixels; the changes |now - before|, (h, w) each in LR pixels."""
        self.sums += [float(change[still].sum()) for change in changes]
        self.pixels += int(still.sum())

    @property
    def means(self) -> tuple[float, float, float] | None:
        """(source, network, shown), or None where nothing stood still."""
        return tuple(float(s) / self.pixels for s in self.sums) if self.pixels else None  # type: ignore[return-value]


class Steady:
    """Smooths the enlarged frames of one clip over time, given in order."""

    def __init__(self, scale: int, *, smooth: bool = True):
        self.scale, self.smooth = scale, smooth
        self.flicker = Flicker()
        self.cuts = 0
        self._history: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=HISTORY)  # (LR luma, SR), newest first
        self._shown: np.ndarray | None = None

    def remember(self, lr: np.ndarray, sr: np.ndarray) -> None:
        """A frame before the first that is wanted: of a run that goes on. LR `(h, w, 3)` and its enlargement, as in a
        call.
        """
        self._look(luma(lr))
        self._history.appendleft((luma(lr), sr))
        self._shown = None

    def __call__(self, lr: np.ndarray, sr: np.ndarray) -> np.ndarray:
        """LR `(h, w, 3)` and its enlargement `(h * scale, w * scale, 3)`, uint8 or uint16, to the picture to show."""
        now = luma(lr)
        weights = self._look(now)
        shown = self._averaged(sr, weights) if self.smooth and weights else sr
        if weights and self._shown is not None:
            before, after = self._history[0], (self._shown, shown)
            still = weights[0] == 1
            self.flicker.add(still, (np.abs(now - before[0]), self._change(before[1], sr), self._change(*after)))
        self._history.appendleft((now, sr))
        self._shown = shown
        return shown

    def _look(self, now: np.ndarray) -> list[np.ndarray]:
        """Weights of the frames in the history, in LR pixels; a scene cut forgets them."""
        if self._history and is_cut(self._history[0][0], now):
            self.cuts += 1
            self._history.clear()
        return [weight(before, now) for before, _ in self._history]

    def _averaged(self, sr: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
        total = np.ones(weights[0].shape, np.float32)
        result = sr.astype(np.float32)
        for own, (_, before) in zip(weights, self._history, strict=True):
            total += own
            result += self._enlarged(own)[..., None] * before
        return np.rint(result / self._enlarged(total)[..., None]).astype(sr.dtype)

    def _enlarged(self, values: np.ndarray) -> np.ndarray:
        return values.repeat(self.scale, 0).repeat(self.scale, 1)

    def _change(self, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Mean |difference| of the brightness in each LR pixel."""
        change = np.abs(luma(now) - luma(before))
        height, width = (side // self.scale for side in change.shape)
        return change.reshape(height, self.scale, width, self.scale).mean(axis=(1, 3))


def luma(rgb: np.ndarray) -> np.ndarray:
    """`(h, w, 3)` uint8 or uint16 to float32 `(h, w)` in 0..255."""
    return rgb.astype(np.float32) @ (_LUMA if rgb.dtype == np.uint8 else _LUMA / np.float32(257))


def weight(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """1 where nothing but noise changed between two frames' brightness `(h, w)`, 0 where something moved."""
    from scipy.ndimage import minimum_filter, uniform_filter

    change = uniform_filter(np.abs(now - before), WINDOW, mode="nearest")
    noise = min(max(float(np.percentile(change, 25)), LEAST), MOST)
    still = np.clip((MOVING - change / noise) / (MOVING - STILL), 0, 1)
    return minimum_filter(still, 2 * REACH + 1, mode="nearest").astype(np.float32)


def is_cut(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether another scene begins between two frames' brightness `(h, w)`, float32 in 0..255."""
    rows, columns = (min(REGIONS, side) for side in now.shape)
    height, width = now.shape[0] // rows * rows, now.shape[1] // columns * columns
    means = [
        x[:height, :width].reshape(rows, height // rows, columns, width // columns).mean(axis=(1, 3))
        for x in (before, now)
    ]
    if float(np.abs(means[1] - means[0]).mean()) < CUT_LEVELS:
        return False
    return float((np.abs(now - before) <= MOVING * MOST).mean()) < CUT_SHARE
