"""The one place where videos meet the network: a frame's pixels in, the enlarged frame's out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.tiling import TilePlan
from snpe_srgan.runtimes.upscale import upscale_pixels

Enlarge = Callable[[np.ndarray], np.ndarray]


def frame_enlarger(
    session: Session, size: tuple[int, int], *, tile: tuple[int, int] | None = None
) -> tuple[Enlarge, TilePlan]:
    """`(h, w, 3)` of uint8 or uint16 to `(h * scale, w * scale, 3)`, and the tiles, decided once for the whole clip."""
    plan = session.plan(*size, tile=tile)
    return (lambda rgb: upscale_pixels(session, rgb, plan=plan).pixels), plan


def enlarge_alpha(alpha: np.ndarray | None, scale: int) -> np.ndarray | None:
    """Transparency by bicubic, as pictures have it."""
    return None if alpha is None else bicubic(alpha, scale)
