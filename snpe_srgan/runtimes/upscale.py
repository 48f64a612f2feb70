"""One picture of any kind through a session: colours by the network, transparency by bicubic, depth and profile kept.

with open_session(resolve("generator.npz")) as session:
    sr, plan = upscale_picture(session, read_picture("photo.jpg"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.imaging.colour import grey_to_rgb, pixels_to_lr, rgb_to_grey, sr_to_pixels
from snpe_srgan.imaging.decoded import Layout
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.imaging.tiles import Tile, assemble, boxes
from snpe_srgan.imaging.writing import encoder_bytes
from snpe_srgan.machine import available_memory
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.tiling import TilePlan


@dataclass(frozen=True, eq=False)
class Upscaled:
    """Enlarged pixels `(h * scale, w * scale, 3 or 1)`, and the plan by which they were made."""

    pixels: np.ndarray
    plan: TilePlan


def upscale_pixels(
    session: Session,
    pixels: np.ndarray,
    *,
    tile: tuple[int, int] | None = None,
    plan: TilePlan | None = None,
    parts: Sequence[Tile] | None = None,
    onto: np.ndarray | None = None,
    grey: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Upscaled:
    """uint8 / uint16 `(h, w, 3)` to `(h * scale, w * scale, 3)` of the same dtype, to `(..., 1)` with `grey`.

    Each tile is rounded to pixels as it comes, so that memory is bounded by the result and one tile.

    Args:
        plan: the session's plan for pictures of this size, where there are many of them; else one is made for `tile`.
        parts: which of the plan's tiles to run, the others being those of `onto`, an earlier result by this plan,
            which stays as it is.

    Raises:
        ValueError: the plan is for another size.
        InputError: the picture needs tiles that would not be right.
        SnpeSrganError: the engine failed, or the network gave NaN or infinity.
    """
    height, width = pixels.shape[:2]
    plan = plan or session.plan(height, width, tile=tile)
    if plan.size != (height, width):
        raise ValueError(f"a plan for {plan.size} pixels, and a picture of {(height, width)}")

    session.prepare(pixels)
    onto = None if onto is None else onto.copy()
    parts, onto = session.underlay(pixels, plan, plan.parts if parts is None else parts, onto, grey=grey)

    def done(sr: np.ndarray) -> np.ndarray:
        if not np.isfinite(sr).all():
            raise SnpeSrganError("the network gave numbers that are not finite (NaN or infinity)")
        rounded = sr_to_pixels(sr, pixels.dtype.type)
        return rgb_to_grey(rounded)[..., None] if grey else rounded

    enlarged = _enlarge(
        session, pixels, plan, before=pixels_to_lr, after=done, parts=parts, onto=onto, progress=progress
    )
    return Upscaled(enlarged, plan)


def upscale_array(session: Session, lr: np.ndarray, plan: TilePlan) -> np.ndarray:
    """Numbers in, numbers out: float32 `(h, w, 3)` in [0, 1] to `(h * scale, w * scale, 3)` in [-1, 1].

    Args:
        plan: the session's for the array's height and width.

    Raises:
        InputError: the array or a tile does not fit the network.
        SnpeSrganError: the engine failed, or gave another shape or numbers that are not finite.
    """
    return _enlarge(session, lr, plan)


def _enlarge(
    session: Session, picture: np.ndarray, plan: TilePlan, *, before=None, after=None, parts=None, onto=None,
    progress=None,
):  # fmt: skip
    """The picture, cut by `plan`; each tile passes `before` on its way in and `after` on its way out, into `onto`."""
    parts = plan.parts if parts is None else parts
    taken = boxes(padded(picture, plan), parts)
    results = session.run_parts(taken if before is None else map(before, taken), plan, parts)
    return assemble(
        results if after is None else map(after, results), parts, size=plan.size, scale=session.scale,
        offset=plan.offset, onto=onto, progress=progress,
    )  # fmt: skip


def padded(pixels: np.ndarray, plan: TilePlan) -> np.ndarray:
    """The picture (h, w, channels) continued by its mirror image to the size that the plan cuts; itself where that is
    its own.
    """
    ends = [
        (first, whole - side - first) for first, whole, side in zip(plan.offset, plan.padded, plan.size, strict=True)
    ]
    if not any(map(any, ends)):
        return pixels
    return np.pad(pixels, (*ends, (0, 0)), mode="symmetric")


def upscale_picture(
    session: Session,
    picture: Picture,
    *,
    tile: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Picture, TilePlan]:
    """Enlarges a picture: grey stays grey, 16 bits stay 16, alpha is enlarged by bicubic, the metadata are kept.

    Args:
        tile: (height, width) of a tile in LR pixels; None for what the network and free memory ask for.
        progress: told (tiles done, tiles in all) after each tile.

    Returns:
        The picture, and the plan of tiles by which it was made.

    Raises:
        InputError: more memory is needed than is free, or tiles that would not be right.
        SnpeSrganError: the engine failed, or the network gave NaN or infinity.
    """
    refuse_memory(picture.layout, session.scale)
    done = upscale_pixels(session, picture.rgb, tile=tile, grey=picture.grey, progress=progress)
    enlarged = done.pixels
    larger = Picture(
        grey_to_rgb(enlarged[..., 0]) if picture.grey else enlarged,
        alpha=None if picture.alpha is None else bicubic(picture.alpha, session.scale),
        grey=picture.grey,
        metadata=picture.metadata.of_size(enlarged.shape[1], enlarged.shape[0]),
        remarks=picture.remarks,
        path=picture.path,
    )
    return larger, done.plan


def refuse_memory(layout: Layout, scale: int, *, target: Path | None = None) -> None:
    """Raises where a picture, enlarged and written to `target`, needs more memory than is free.

    What is needed is the most of decoding it and of what follows: the picture as decoded, the enlarged one, and what
    the target's encoder takes; tiles are chosen by what is left (`tiling.py`).

    Args:
        layout: what the picture's head says of its size and depth.
        target: None where the result is not written.

    Raises:
        InputError: there is less free memory than that; never where the system does not tell how much is free.
    """
    pixels, itemsize = layout.width * layout.height, layout.bits // 8
    needed = max(layout.decoding, pixels * (1 + scale**2) * layout.channels * itemsize)
    if target is not None:
        needed += encoder_bytes(target, pixels=pixels * scale**2, channels=layout.channels)
    there = available_memory()
    if there is not None and needed > there:
        raise InputError(
            f"a picture of {layout.width}x{layout.height} and its enlargement, {layout.width * scale}x"
            f"{layout.height * scale}, need {needed / 1e9:.1f} GB of memory and {max(0, there) / 1e9:.1f} GB are free",
            hint="cut the picture in parts first",
        )
