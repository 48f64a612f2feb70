"""What a picture has suffered: the blocks of a strong JPEG, and noise. Measured on its pixels, whatever its file says.

    found = damage(rgb)
    found.sentence()                     # "JPEG blocks (edges 1.9 times as strong on the 8x8 grid)", or None
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snpe_srgan.imaging.colour import rgb_to_y, to_uint8

GRID = 8  # pixels: JPEG's blocks
BLOCKY = 1.35  # of `blockiness`: 98 of 100 clean photographs have less; half of them have more as JPEG of quality 40
NOISY = 5.0  # of `noise`, in levels of luma: white noise of 10 in each channel; 97 of 100 clean photographs have less
SIDE = 512  # a middle part of this size is measured: it is enough, and takes milliseconds
BLOCK = 16  # pixels a side of the parts that noise is looked for in
CALM = 0.1  # share of parts taken for flat
LEVELS = 64  # of luma: a drawing, a palette or a dithered scan has fewer, and neither camera nor JPEG made its steps


@dataclass(frozen=True)
class Damage:
    """`blockiness`: how much stronger edges are on JPEG's grid; `noise`: standard deviation in flat parts, 0..255."""

    blockiness: float
    noise: float

    def sentence(self) -> str | None:
        """What is wrong, in words for people; None where nothing is above its threshold."""
        parts = []
        if self.blockiness > BLOCKY:
            parts.append(f"JPEG blocks (edges {self.blockiness:.1f} times as strong on the 8x8 grid)")
        if self.noise > NOISY:
            parts.append(f"noise (deviation {self.noise:.0f} of 255 in its flattest parts)")
        return " and ".join(parts) or None


def damage(rgb: np.ndarray) -> Damage:
    """Of a picture, uint8 or uint16 (h, w, 3): its middle decides."""
    top, left = (max(side - SIDE, 0) // 2 // GRID * GRID for side in rgb.shape[:2])
    luma = rgb_to_y(to_uint8(rgb[top : top + SIDE, left : left + SIDE]))
    if len(np.unique(luma.round())) < LEVELS:
        return Damage(1.0, 0.0)
    return Damage(blockiness(luma), noise(luma))


def blockiness(luma: np.ndarray) -> float:
    """The mean step between the 8x8 blocks over the mean step inside them, both ways; 1 where there is no grid.

    After Wang, Bovik and Evans, "Blind measurement of blocking artifacts in images" (2000). The grid may begin at any
    pixel (a cut-out keeps it): the strongest of the eight places counts, against the median of all.
    """
    if min(luma.shape) < 4 * GRID:
        return 1.0
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
        steps = steps[: len(steps) // GRID * GRID].reshape(-1, GRID)
        # Of each place the median over the blocks: one strong edge of the motif is no grid.
        places = np.median(steps, axis=0)
        ratios.append(float(places.max() / max(np.median(places), 0.05)))
    return min(ratios)


def noise(luma: np.ndarray) -> float:
    """Standard deviation of white noise, from the parts of the picture that are flattest.

    Immerkaer, "Fast noise variance estimation" (1996): a mask that no plane and no straight edge answers to; here the
    mean over each 16x16 part, and of the parts the calmest tenth.
    """
    if min(luma.shape) < 2 * BLOCK:
        return 0.0
    rows = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    answer = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    height, width = (side // BLOCK for side in answer.shape)
    parts = answer[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK).mean(axis=(1, 3))
    return float(np.quantile(parts, CALM) * np.sqrt(np.pi / 2) / 6)
