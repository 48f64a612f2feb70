"""Cutting a picture in overlapping tiles and putting the enlarged tiles together without seams.

A convolution network's output pixel depends on input pixels no farther than its receptive radius. Tiles lie inside
the picture, so the picture's own border is a tile's border too (zero padding acts there as on the whole picture),
and every output pixel is taken from one tile in which it is at least `overlap` away from each artificial border.
With `overlap` >= the receptive radius the result therefore equals that of the whole picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.opener import os_error


@dataclass(frozen=True)
class Tile:
    """One tile in LR pixels: what the network sees and which part of its answer is kept.

    The input is rows `y : y + height`, columns `x : x + width` of the picture. Kept are rows `keep_y : keep_y_end`,
    columns `keep_x : keep_x_end` *of the picture*; the kept boxes of all tiles cover each pixel exactly once.
    """

    y: int
    x: int
    height: int
    width: int
    keep_y: int
    keep_x: int
    keep_y_end: int
    keep_x_end: int

    @property
    def rows(self) -> slice:
        """Of the input."""
        return slice(self.y, self.y + self.height)

    @property
    def columns(self) -> slice:
        """Of the input."""
        return slice(self.x, self.x + self.width)

    def kept(self, size: tuple[int, int], offset: tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
        """Rows and columns of what is kept, in a picture of `size` that lies at `offset` in the tiled one."""
        spans = zip((self.keep_y, self.keep_x), (self.keep_y_end, self.keep_x_end), size, offset, strict=True)
        rows, columns = (slice(min(max(a - o, 0), n), min(max(b - o, 0), n)) for a, b, n, o in spans)
        return rows, columns

    def describe(self) -> str:
        """Where the tile lies in the LR picture, both ends included, for people."""
        return f"rows {self.y}..{self.y + self.height - 1}, columns {self.x}..{self.x + self.width - 1} of the input"


def _times(span: slice, scale: int, shift: int = 0) -> slice:
    """SR pixels of LR pixels, moved by `shift` LR pixels."""
    return slice((span.start + shift) * scale, (span.stop + shift) * scale)


def paste(
    source: np.ndarray, target: np.ndarray, part: Tile, *, size: tuple[int, int], scale: int,
    offset: tuple[int, int] = (0, 0),
) -> None:  # fmt: skip
    """Puts what is kept of one tile from one result into another like it, in place.

    Args:
        source, target: (h * scale, w * scale, channels) of the whole picture.
        part: the tile, in LR pixels.
        size, offset: as of `Tile.kept`.
        scale: of the two results.
    """
    rows, columns = (_times(span, scale) for span in part.kept(size, offset))
    target[rows, columns] = source[rows, columns]


def _spans(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int, int]]:
    """`(start, keep_start, keep_end)` along one axis: the fewest tiles, evenly spread, borders cut half way."""
    if length <= tile:
        return [(0, 0, length)]
    if (length - tile) % multiple:
        raise ValueError(f"a side of {length} cannot end with a tile of {tile} that starts at a multiple of {multiple}")
    step = tile - 2 * overlap
    step -= step % multiple
    if step < 1:
        raise InputError(
            f"a tile of {tile} pixels is too small for an overlap of {overlap} on each side",
            hint=f"use tiles of at least {2 * overlap + multiple} pixels, larger ones waste less",
        )
    count = 1 + math.ceil((length - tile) / step)
    starts = [multiple * round(i * (length - tile) / multiple / (count - 1)) for i in range(count)]
    cuts = [0, *((a + tile + b) // 2 for a, b in itertools.pairwise(starts)), length]
    return list(zip(starts, cuts[:-1], cuts[1:], strict=True))


def plan_tiles(height: int, width: int, *, tile: tuple[int, int], overlap: int, multiple: int = 1) -> list[Tile]:
    """Tiles of `tile = (height, width)` that cover a picture, row by row.

    A side shorter than the tile gets one tile of just that side (so tiles are then smaller than `tile`). With
    `multiple` every tile starts at a multiple of it; height, width and tile must be multiples themselves.

    Args:
        height, width: of the picture in LR pixels.
        overlap: LR pixels between a kept pixel and a tile's border inside the picture.

    Raises:
        InputError: a size below 1, a negative overlap, or a tile that is no larger than its overlaps.
    """
    if overlap < 0 or min(tile) < 1 or min(height, width) < 1:
        raise InputError(f"cannot tile {height}x{width} by {tile[0]}x{tile[1]} with overlap {overlap}")
    rows = _spans(height, tile[0], overlap, multiple)
    columns = _spans(width, tile[1], overlap, multiple)
    tall, wide = min(tile[0], height), min(tile[1], width)
    return [Tile(y, x, tall, wide, top, left, bottom, right) for y, top, bottom in rows for x, left, right in columns]


def boxes(lr: np.ndarray, parts: Sequence[Tile]) -> Iterator[np.ndarray]:
    """The tiles of a picture `(h, w, channels)`, each `(1, th, tw, channels)`."""
    for part in parts:
        yield np.ascontiguousarray(lr[None, part.rows, part.columns])


def assemble(
    results: Iterator[np.ndarray],
    parts: Sequence[Tile],
    *,
    size: tuple[int, int],
    scale: int,
    offset: tuple[int, int] = (0, 0),
    onto: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The picture `(size * scale, channels)` from its enlarged tiles `(1, th * scale, tw * scale, channels)`.

    Args:
        results: the tiles in the order of `parts`; each is asked for when its turn comes.
        size: LR (height, width) of what is kept of the tiled picture, from row and column `offset` on.
        onto: a result of the same size that the tiles are put into, so that some are enough; None for a new one.
        progress: called with (tiles done, tiles in all) after each tile.

    Raises:
        SnpeSrganError: a tile failed, or has a wrong shape or a number that is not finite; the error names its place.
        InputError: there are no tiles and nothing to put them onto, or too little memory.
    """
    out = onto
    for index, part in enumerate(parts):
        sr = _take(results, part, scale=scale, place=f"tile {index + 1} of {len(parts)}: {part.describe()}")
        if out is None:
            out = np.empty((size[0] * scale, size[1] * scale, sr.shape[-1]), sr.dtype)
        rows, columns = part.kept(size, offset)
        out[_times(rows, scale), _times(columns, scale)] = sr[
            _times(rows, scale, offset[0] - part.y), _times(columns, scale, offset[1] - part.x)
        ]
        if progress is not None:
            progress(index + 1, len(parts))
    if out is None:
        raise InputError("no tiles: there is no picture")
    return out


def upscale_tiled(
    run: Callable[[np.ndarray], np.ndarray],
    lr: np.ndarray,
    *,
    scale: int,
    tile: tuple[int, int] | None = None,
    fixed: bool = False,
    overlap: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Enlarges `lr` `(h, w, 3)` to `(h * scale, w * scale, 3)`, tile by tile.

    Args:
        run: `(1, th, tw, 3) -> (1, th * scale, tw * scale, 3)`, called once a tile; the result has its dtype.
        tile: `(height, width)` of a tile in LR pixels; None runs the whole picture at once.
        fixed: `run` takes no size but `tile`. A smaller picture is then continued by its mirror image and the result
            cropped; near those two edges it differs from what zero padding would give.
        overlap: LR pixels between a kept pixel and an artificial border; at least the network's receptive radius.
        progress: called with (tiles done, tiles in all) after each tile.

    Raises:
        InputError: `fixed` without a tile, or a tile that is no larger than its overlaps.
        SnpeSrganError: as of `assemble`.
    """
    height, width = lr.shape[:2]
    if tile is None and fixed:
        raise InputError("a network of fixed input size needs the tile size")
    tile = tile or (height, width)
    if fixed:
        missing = (max(0, tile[0] - height), max(0, tile[1] - width))
        lr = np.pad(lr, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    parts = plan_tiles(lr.shape[0], lr.shape[1], tile=tile, overlap=overlap)
    results = (run(box) for box in boxes(lr, parts))
    return assemble(results, parts, size=(height, width), scale=scale, progress=progress)


def _take(results: Iterator[np.ndarray], part: Tile, *, scale: int, place: str) -> np.ndarray:
    try:
        sr = np.asarray(next(results))
    except SnpeSrganError as error:
        raise type(error)(error.what, where="; ".join(filter(None, (error.where, place))), hint=error.hint) from error
    except MemoryError as error:
        raise InputError("not enough memory for this tile", where=place, hint="use smaller tiles") from error
    except OSError as error:
        raise os_error(error, place, "run the engine") from error
    except Exception as error:  # whatever an engine throws: the user needs the place, a traceback says nothing to him
        raise SnpeSrganError(f"the engine failed: {type(error).__name__}: {error}", where=place) from error
    wanted = (1, part.height * scale, part.width * scale)
    if sr.shape[:3] != wanted or sr.ndim != 4:
        raise SnpeSrganError(f"the engine gave shape {sr.shape}, not {(*wanted, 3)}", where=place)
    if sr.dtype.kind == "f" and not np.isfinite(sr).all():
        raise SnpeSrganError("the engine gave numbers that are not finite (NaN or infinity)", where=place)
    return sr[0]
