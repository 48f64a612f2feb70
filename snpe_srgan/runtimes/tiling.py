"""Which tiles a picture is cut in: small ones, as long as they compute next to nothing twice.

Any choice gives the same picture (tiles overlap by the receptive radius); they differ in memory and in time. Small
tiles stay in memory that the processor has touched before: a small network enlarges a 1-megapixel photo in half the
time and a fifth of the memory that the whole picture takes. A deep network sees far: its tiles have to be larger.

The exception is a network with an operator that reads the whole picture, as a channel attention's mean does: a tile has
means of its own. Such a network runs whole as long as half of the memory allows; where there have to be tiles,
`inexact` says so.
"""

from __future__ import annotations

import math

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.tiles import plan_tiles
from snpe_srgan.machine import available_memory
from snpe_srgan.onnx_graphs.reach import WHOLE
from snpe_srgan.runtimes.base import EngineSession

BUDGETS = [64 << 20 + i for i in range(6)]  # bytes of activations that one tile may take: 64 MB to 2 GB
TWICE = 1.05  # pixels computed for each pixel of the picture, at which a larger tile is not worth its memory
SMALLEST = 32  # LR pixels: where even that is over the budget, the estimate is not what fails


def choose_tile(height: int, width: int, *, overlap: int, pixels: int) -> tuple[int, int] | None:
    """The tile (height, width) of at most `pixels` LR pixels with which the least is computed; None: no tiles needed.

    Tries all grids of rows x columns; n tiles along a side of length l are (l + 2 * overlap * (n - 1)) / n long.
    """
    if height * width <= pixels:
        return None
    best = None
    for rows in range(1, height + 1):
        tall = _length(height, rows, overlap)
        wide = pixels // tall
        step = wide - 2 * overlap
        if wide >= width:
            columns = 1
        elif step < 1:
            columns = None
        else:
            columns = math.ceil((width - 2 * overlap) / step)
        if columns is not None:
            work = rows * tall * columns * _length(width, columns, overlap)
            if best is None or work < best[0]:
                best = (work, tall, _length(width, columns, overlap))
        if tall <= 2 * overlap + 1:
            break
    if best is None:  # even the smallest useful tile is over the budget: take that
        side = max(2 * overlap + SMALLEST, SMALLEST)
        return min(side, height), min(side, width)
    return best[1], best[2]


def _work(height: int, width: int, tile: tuple[int, int], overlap: int) -> int:
    """LR pixels computed in all, those that two tiles share counted in each."""
    return tile[0] * tile[1] * len(plan_tiles(height, width, tile=tile, overlap=overlap))


def _length(side: int, count: int, overlap: int) -> int:
    return math.ceil((side + 2 * overlap * (count - 1)) / count)


def tile_for(
    session: EngineSession, height: int, width: int, *, tile: tuple[int, int] | None = None
) -> tuple[int, int] | None:
    """The tile for one picture: the model's fixed size, the caller's wish, or what memory allows."""
    fixed = session.input_size
    if fixed is not None:
        if tile not in (None, fixed):
            raise InputError(
                f"the model's input is fixed to {fixed[0]}x{fixed[1]}: --tile cannot change it", where=session.path
            )
        tile = fixed
    elif tile is None:
        if session.overlap_unknown:
            return None
        memory, a_pixel = available_memory(), max(session.bytes_per_pixel, 1)
        if session.whole and memory is not None and height * width * a_pixel <= memory // 2:
            return None
        limit = BUDGETS[-1] if memory is None else memory // 4
        for budget in BUDGETS:
            pixels = min(budget, limit) // a_pixel
            tile = choose_tile(height, width, overlap=session.overlap, pixels=pixels)
            if tile is None or budget >= limit or _work(height, width, tile, session.overlap) <= TWICE * height * width:
                break
        return tile
    if height <= tile[0] and width <= tile[1]:
        return tile
    if session.overlap_unknown:
        raise InputError(
            f"a {height}x{width} picture needs tiles, and the model's receptive field is not known "
            f"(operator {session.overlap_unknown})",
            where=session.path,
            hint=f"use pictures of at most {tile[0]}x{tile[1]} pixels, a model of larger --input-size, or --overlap "
            f"{min(tile) // 4} for a result that is near the whole picture's",
        )
    for length, side in ((height, tile[0]), (width, tile[1])):
        if length > side and side <= 2 * overlap_for(session, tile):
            least = 2 * session.overlap + SMALLEST
            option = "convert the model with --input-size" if fixed else "--tile"
            why, near = f"they overlap by {session.overlap}", ""
            if not session.cut_short:
                why = f"the network sees {session.overlap} pixels far"
                near = f"; or --overlap {min(tile) // 4}, near the whole picture's result"
            raise InputError(
                f"tiles of {tile[0]}x{tile[1]} pixels are too small for a {height}x{width} picture: {why}",
                where=session.path,
                hint=f"{option} {least}x{least} or larger{near}",
            )
    return tile


def overlap_for(session: EngineSession, tile: tuple[int, int] | None) -> int:
    """LR pixels by which tiles overlap: the receptive radius. Where no overlap makes tiles exact, a quarter of the tile
    is enough (RCAN's 400 convolutions see 400 pixels far, and next to nothing of that far away)."""
    if tile is None or not session.whole or session.cut_short:
        return session.overlap
    return min(session.overlap, min(tile) // 4)


def inexact(session: EngineSession, height: int, width: int, *, tile: tuple[int, int] | None, tiles: int) -> str | None:
    """What keeps the result from being exactly that of the whole picture, for people, or None."""
    if tiles > 1 and session.cut_short:
        return (
            f"done in {tiles} tiles of {tile[0]}x{tile[1]} that overlap by {session.overlap}: {session.cut_short}, so "
            "what they give is near the whole picture's result, not equal to it"
        )
    if session.whole is None or tile is None:
        return None
    if tiles > 1:
        return f"done in {tiles} tiles of {tile[0]}x{tile[1]}: {WHOLE.format(session.whole)}"
    if (height, width) != tile and session.input_size is not None:
        return (
            f"continued to the model's {tile[0]}x{tile[1]} by its mirror image: {session.whole} reads that too, so the "
            "result is near that of the picture alone, not equal to it"
        )
    return None
