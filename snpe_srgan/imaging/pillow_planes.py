"""Pixels out of a Pillow image in strips: `np.asarray(image)` holds four copies of a large picture at its peak."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_PIXELS = 1 << 18  # of a strip
_STORED = {"1": 1, "L": 1, "P": 1}  # bytes that Pillow keeps a pixel in; all others take four


def stored_bytes(mode: str) -> int:
    """Bytes a pixel of a loaded image of this mode."""
    return _STORED.get(mode, 4)


def planes_of(image: Image, convert: Callable[[Image], np.ndarray]) -> np.ndarray:
    """The loaded image as uint8 `(h, w, channels)`.

    Args:
        convert: turns a strip of the image (full width, some rows) into `(rows, w)` or `(rows, w, channels)`; it must
            treat each pixel by itself.
    """
    width, height = image.size
    out: np.ndarray | None = None
    step = max(1, _PIXELS // max(width, 1))
    for top in range(0, height, step):
        rows = min(step, height - top)
        strip = convert(image.crop((0, top, width, top + rows)))
        strip = strip.reshape(rows, width, -1)
        if out is None:
            out = np.empty((height, width, strip.shape[2]), np.uint8)
        out[top : top + rows] = strip
    return np.empty((height, width, 0), np.uint8) if out is None else out
