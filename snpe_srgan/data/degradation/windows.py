"""Which parts of the pictures are degraded for which training steps: a pure function of (seed, step).

A small network's step is faster than the degradation of its batch. So windows, larger than the crop, are degraded ahead
of the training, and `refresh` steps draw their crops from `windows` of them; then come others. What a window looks like
depends on the seed, the picture, the first step that uses it and its number, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.config import DegradationConfig
from snpe_srgan.data.degradation.recipe import degrade
from snpe_srgan.data.drawing import draw_pictures, place
from snpe_srgan.data.stored import Cache, CachedPicture

SIDE = 64  # LR pixels of a window: JPEG, blur and sensor act on more than a crop
_WINDOWS = 1  # keeps these draws apart from the batches' own (data/batches.py keys by (seed, step) as well)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of one picture, in LR pixels, and the numbers that seed its degradation."""

    picture: int
    top: int
    left: int
    height: int
    width: int
    clean: bool
    seed: tuple[int, ...]


def draw_windows(
    pictures: Sequence[CachedPicture], config: DegradationConfig, *, scale: int, side: int, seed: int, first_step: int
) -> list[Window]:
    """The windows of the steps from `first_step` on, spread over the pictures in proportion to their area.

    Args:
        side: LR pixels; smaller where the picture is.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, first_step, _WINDOWS]))
    chosen = draw_pictures(pictures, config.windows, rng)
    places, clean = rng.random((config.windows, 2)), rng.random(config.windows) < config.clean
    windows = []
    for number, index in enumerate(chosen):
        picture = pictures[index]
        height, width = picture.height // scale, picture.width // scale
        h, w = min(side, height), min(side, width)
        top, left = place(places[number], (height, width), (h, w))
        windows.append(
            Window(
                picture=index,
                top=top,
                left=left,
                height=h,
                width=w,
                clean=bool(clean[number]),
                seed=(seed, index, first_step, number),
            )
        )
    return windows


def degrade_window(cache: Cache, window: Window, *, preset: str, strength: float) -> np.ndarray:
    """LR pixels of a window; a clean one is cut from the cache's LR picture.

    Args:
        window: as of `draw_windows`.
        preset: one of `recipe.PRESETS`.
        strength: 0 to 1, see `recipe`.

    Returns:
        uint8 (height, width, 3).
    """
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    if window.clean or preset == "bicubic":
        return cache.lr(window.picture)[rows, columns]
    k = cache.scale
    hr = cache.hr(window.picture)[rows.start * k : rows.stop * k, columns.start * k : columns.stop * k]
    return degrade(hr, scale=k, preset=preset, strength=strength, seed=window.seed)
