"""Which tiles a picture is cut in: small ones, as long as they compute next to nothing twice.

plan = plan_tiling(session.description, height, width)      # or session.plan(height, width)

Any choice gives the same picture (tiles overlap by the receptive radius); they differ in memory and in time. Small
tiles stay in memory that the processor has touched before: a small network enlarges a 1-megapixel photo in half the
time and a fifth of the memory that the whole picture takes. A deep network sees far: its tiles have to be larger.

The exception is a network with an operator that reads the whole picture, as a channel attention's mean does: a tile has
means of its own. Such a network runs whole as long as half of the memory allows; where there have to be tiles, the plan
says that the result is near the whole picture's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.tiles import Tile, plan_tiles
from snpe_srgan.machine import available_memory
from snpe_srgan.runtimes.session import Description, Tiling

BUDGETS = [64 << 20 + i for i in range(6)]  # bytes of activations that one tile may take: 64 MB to 2 GB
TWICE = 1.05  # pixels computed for each pixel of the picture, at which a larger tile is not worth its memory
SMALLEST = 32  # LR pixels: where even that is over the budget, the estimate is not what fails


@dataclass(frozen=True)
class TilePlan:
    """How one picture goes through a network, decided once; the result carries it.

    Attributes:
        size: (height, width) of the picture in LR pixels.
        padded: the size it is continued to by its mirror image before it is cut; the result is cropped.
        offset: rows above and columns left of the picture in the padded one.
        tile: (height, width) of a tile; None where the whole picture is run at once.
        overlap: LR pixels between a kept pixel and a tile's artificial border.
        parts: the tiles, in the order in which they are run.
        tiling: what the result is, compared with the whole picture's; `reason` says why where it is only near.
    """

    size: tuple[int, int]
    padded: tuple[int, int]
    tile: tuple[int, int] | None
    overlap: int
    parts: tuple[Tile, ...]
    tiling: Tiling = Tiling.EXACT
    reason: str | None = None
    offset: tuple[int, int] = (0, 0)

    @property
    def tiles(self) -> int:
        """How many times the network runs."""
        return len(self.parts)

    @property
    def run_size(self) -> tuple[int, int]:
        """(height, width) of what the network is given each time."""
        return self.parts[0].height, self.parts[0].width


def choose_tile(height: int, width: int, *, overlap: int, pixels: int) -> tuple[int, int] | None:
    """The tile (height, width) of at most `pixels` LR pixels with which the least is computed; None: no tiles needed.

    Tries all grids of rows x columns; n tiles along a side of length l are (l + 2 * overlap * (n - 1)) / n long.

    Args:
        height, width: of the picture in LR pixels.
        overlap: LR pixels on each side of a tile.

    Returns:
        A tile that may be over `pixels` where none within it is larger than its overlaps.
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


def plan_tiling(description: Description, height: int, width: int, *, tile: tuple[int, int] | None = None) -> TilePlan:
    """How a picture of `height` x `width` LR pixels is cut for a network.

    Args:
        tile: the caller's wish for (height, width) of a tile; None for what the network and free memory ask for.

    Raises:
        InputError: the picture needs tiles that would not be right, or the wish does not fit the network.
    """
    fixed, multiple = description.input_size, description.multiple
    tall, wide = (_up(side, multiple) for side in (height, width))
    chosen = _tile(description, tall, wide, tile)
    if fixed is not None:
        tall, wide = max(tall, fixed[0]), max(wide, fixed[1])
    overlap = overlap_for(description, chosen)
    parts = tuple(plan_tiles(tall, wide, tile=chosen or (tall, wide), overlap=overlap, multiple=multiple))
    tiling, reason = _accuracy(description, (height, width), (tall, wide), chosen, overlap, len(parts))
    return TilePlan((height, width), (tall, wide), chosen, overlap, parts, tiling, reason)


def overlap_for(description: Description, tile: tuple[int, int] | None) -> int:
    """LR pixels by which tiles overlap: the receptive radius. Where no overlap makes tiles exact, a quarter of the tile
    is enough (RCAN's 400 convolutions see 400 pixels far, and next to nothing of that far away)."""
    overlap = description.overlap
    if overlap is None:
        overlap = description.radius or 0
        if description.reads_all and tile is not None:
            overlap = min(overlap, min(tile) // 4)
    return _up(overlap, description.multiple)


def _up(length: int, multiple: int) -> int:
    return length + -length % multiple


def _tile(description: Description, height: int, width: int, wish: tuple[int, int] | None) -> tuple[int, int] | None:
    """The tile for one picture: the network's fixed size, the caller's wish, or what memory allows."""
    fixed, multiple = description.input_size, description.multiple
    if fixed is not None:
        if wish not in (None, fixed):
            where = description.path
            raise InputError(
                f"the model's input is fixed to {fixed[0]}x{fixed[1]}: --tile cannot change it", where=where
            )
        tile = fixed
    elif wish is None:
        return _tile_by_memory(description, height, width)
    else:
        tile = _up(wish[0], multiple), _up(wish[1], multiple)
    if height > tile[0] or width > tile[1]:
        _refuse_wrong(description, height, width, tile)
    return tile


def _tile_by_memory(description: Description, height: int, width: int) -> tuple[int, int] | None:
    if description.tiling is Tiling.WHOLE_ONLY:
        return None
    overlap, multiple = overlap_for(description, None), description.multiple
    if description.most_pixels is not None:
        return _whole_multiple(choose_tile(height, width, overlap=overlap, pixels=description.most_pixels), multiple)
    memory, a_pixel = available_memory(), max(description.bytes_per_pixel, 1)
    if description.reads_all and memory is not None and height * width * a_pixel <= memory // 2:
        return None
    limit = BUDGETS[-1] if memory is None else memory // 4
    tile = None
    for budget in BUDGETS:
        pixels = min(budget, limit) // a_pixel
        tile = choose_tile(height, width, overlap=overlap, pixels=pixels)
        if tile is None or budget >= limit or _work(height, width, tile, overlap) <= TWICE * height * width:
            break
    return _whole_multiple(tile, multiple)


def _whole_multiple(tile: tuple[int, int] | None, multiple: int) -> tuple[int, int] | None:
    return None if tile is None else (_up(tile[0], multiple), _up(tile[1], multiple))


def _refuse_wrong(description: Description, height: int, width: int, tile: tuple[int, int]) -> None:
    """Raises where tiles of this size would give wrong pixels."""
    if description.tiling is Tiling.WHOLE_ONLY:
        raise InputError(
            f"a {height}x{width} picture needs tiles, and the model's receptive field is not known "
            f"(operator {description.reason})",
            where=description.path,
            hint=f"use pictures of at most {tile[0]}x{tile[1]} pixels, a model of larger --input-size, or --overlap "
            f"{min(tile) // 4} for a result that is near the whole picture's",
        )
    overlap = overlap_for(description, tile)
    for length, side in ((height, tile[0]), (width, tile[1])):
        if length > side and side < 2 * overlap + description.multiple:
            least = _up(2 * overlap_for(description, None) + SMALLEST, description.multiple)
            option = "--tile" if description.input_size is None else "convert the model with --input-size"
            why, near = f"they overlap by {overlap}", ""
            if description.overlap is None:
                why = f"the network sees {description.radius} pixels far"
                near = f"; or --overlap {min(tile) // 4}, near the whole picture's result"
            raise InputError(
                f"tiles of {tile[0]}x{tile[1]} pixels are too small for a {height}x{width} picture: {why}",
                where=description.path,
                hint=f"{option} {least}x{least} or larger{near}",
            )


def _accuracy(
    description: Description,
    size: tuple[int, int],
    padded: tuple[int, int],
    tile: tuple[int, int] | None,
    overlap: int,
    tiles: int,
) -> tuple[Tiling, str | None]:
    """What the result is, compared with the whole picture's, and why it is not that."""
    if tiles > 1 and description.tiling is Tiling.NEAR:
        shape = f"done in {tiles} tiles of {tile[0]}x{tile[1]}" if tile else f"done in {tiles} tiles"
        if description.overlap is None:
            return Tiling.NEAR, f"{shape}: {description.reason}"
        return Tiling.NEAR, (
            f"{shape} that overlap by {overlap}: {description.reason}, so "
            "what they give is near the whole picture's result, not equal to it"
        )
    own = tuple(_up(side, description.multiple) for side in size)
    if padded != own and tile is not None:
        far = "all of it" if description.reads_all or description.radius is None else f"{description.radius} pixels"
        return Tiling.NEAR, (
            f"continued to the model's {tile[0]}x{tile[1]} by its mirror image, which the network reads too: "
            f"the result is near that of the picture alone, not equal to it ({far} from the edges that were continued)"
        )
    return (description.tiling if tiles > 1 else Tiling.EXACT), None
