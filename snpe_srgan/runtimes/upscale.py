"""One picture of any kind through a session: colours by the network, transparency by bicubic, depth and profile kept.

with open_session(resolve("generator.npz")) as session:
    sr = upscale_picture(session, read_picture("photo.jpg"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.imaging.colour import grey_to_rgb, pixels_to_lr, rgb_to_grey, sr_to_pixels
from snpe_srgan.imaging.decoded import Layout
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.imaging.tiles import plan_tiles, upscale_tiled
from snpe_srgan.imaging.writing import encoder_bytes
from snpe_srgan.machine import available_memory
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.tiling import inexact, overlap_for, tile_for


@dataclass(frozen=True)
class Tiling:
    """How a picture was cut: `tile` None means whole. `inexact` says why that is not the whole picture's result."""

    tile: tuple[int, int] | None
    tiles: int
    inexact: str | None = None


def plan(session: Session, height: int, width: int, *, tile: tuple[int, int] | None = None) -> Tiling:
    """The tiles a picture of this size will be run in; errors come here, before any work."""
    chosen = tile_for(session, height, width, tile=tile)
    if chosen is None:
        return Tiling(None, 1)
    padded = (height, width) if session.input_size is None else (max(height, chosen[0]), max(width, chosen[1]))
    tiles = len(plan_tiles(*padded, tile=chosen, overlap=overlap_for(session, chosen)))
    return Tiling(chosen, tiles, inexact(session, height, width, tile=chosen, tiles=tiles))


def upscale_pixels(
    session: Session,
    pixels: np.ndarray,
    *,
    tile: tuple[int, int] | None = None,
    grey: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """uint8 / uint16 `(h, w, 3)` to `(h * scale, w * scale, 3)` of the same dtype, to `(..., 1)` with `grey`.

    Each tile is rounded to pixels as it comes, so that memory is bounded by the result and one tile.
    """
    height, width = pixels.shape[:2]
    tile = tile_for(session, height, width, tile=tile)

    def done(sr: np.ndarray) -> np.ndarray:
        if not np.isfinite(sr).all():
            raise SnpeSrganError("the network gave numbers that are not finite (NaN or infinity)")
        rounded = sr_to_pixels(sr, pixels.dtype)
        return rgb_to_grey(rounded)[..., None] if grey else rounded

    tiling = {
        "scale": session.scale,
        "tile": tile,
        "fixed": session.input_size is not None,
        "overlap": overlap_for(session, tile),
    }
    if not hasattr(session, "run_all"):
        return upscale_tiled(lambda box: done(session.run(pixels_to_lr(box))), pixels, **tiling, progress=progress)

    boxes = []  # an engine that takes all tiles at once: cut them, run them, put them together

    def cut(box: np.ndarray) -> np.ndarray:
        boxes.append(pixels_to_lr(box))
        return np.broadcast_to(np.uint8(0), (1, box.shape[1] * session.scale, box.shape[2] * session.scale, 3))

    upscale_tiled(cut, pixels, **tiling)
    results = session.run_all(boxes)
    return upscale_tiled(lambda box: done(next(results)), pixels, **tiling, progress=progress)


def upscale_picture(
    session: Session,
    picture: Picture,
    *,
    tile: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Picture:
    """Enlarges a picture: grey stays grey, 16 bits stay 16, alpha is enlarged by bicubic, the metadata are kept."""
    refuse_memory(picture.layout, session.scale)
    enlarged = upscale_pixels(session, picture.rgb, tile=tile, grey=picture.grey, progress=progress)
    return Picture(
        grey_to_rgb(enlarged[..., 0]) if picture.grey else enlarged,
        alpha=None if picture.alpha is None else bicubic(picture.alpha, session.scale),
        grey=picture.grey,
        metadata=picture.metadata.of_size(enlarged.shape[1], enlarged.shape[0]),
        remarks=picture.remarks,
        path=picture.path,
    )


def refuse_memory(layout: Layout, scale: int, *, target: Path | None = None) -> None:
    """Raises where a picture, enlarged and written to `target`, needs more memory than is free.

    What is needed is the picture as decoded (and four bytes a pixel of a decoder), the enlarged one, and what the
    target's encoder takes; tiles are chosen by what is left (`tiling.py`).
    """
    pixels, itemsize = layout.width * layout.height, layout.bits // 8
    needed = pixels * (4 + layout.channels + scale**2 * layout.channels) * itemsize
    if target is not None:
        needed += encoder_bytes(target, pixels=pixels * scale**2, channels=layout.channels)
    there = available_memory()
    if there is not None and needed > there:
        raise InputError(
            f"a picture of {layout.width}x{layout.height} and its enlargement, {layout.width * scale}x"
            f"{layout.height * scale}, need {needed / 1e9:.1f} GB of memory and {max(0, there) / 1e9:.1f} GB are free",
            hint="cut the picture in parts first",
        )
