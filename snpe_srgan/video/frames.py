"""The one place where videos meet the network: a frame's pixels in, the enlarged frame's out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.upscale import plan, upscale_pixels

Enlarge = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FrameTiles:
    """How each frame is cut; `inexact` says why that is not the whole frame's result, or None."""

    tile: tuple[int, int] | None
    tiles: int
    inexact: str | None


def frame_enlarger(
    session: Session, size: tuple[int, int], *, tile: tuple[int, int] | None = None
) -> tuple[Enlarge, FrameTiles]:
    """`(h, w, 3)` of uint8 or uint16 to `(h * scale, w * scale, 3)`, and the tiles, decided once for the whole clip."""
    tiling = plan(session, *size, tile=tile)
    fixed = tile if session.input_size is not None else tiling.tile
    return (lambda rgb: upscale_pixels(session, rgb, tile=fixed)), FrameTiles(tiling.tile, tiling.tiles, tiling.inexact)


def enlarge_alpha(alpha: np.ndarray | None, scale: int) -> np.ndarray | None:
    """Transparency by bicubic, as pictures have it."""
    return None if alpha is None else bicubic(alpha, scale)
