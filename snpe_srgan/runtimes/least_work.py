"""Which tiles of a picture are done first on an engine that uses one core a tile and prepares a graph for each size.

    work = Work(layers, lanes=2)
    plan = work.best(plan, most_pixels=1 << 16)
    for part in plan.parts: part_kept(part, plan)          # the part of a tile that the picture keeps

For graphs that compute integers and take any size: a pixel is then the same in every tile that holds all it sees. So
what lies farther than that behind the picture (its mirror image, up to a fixed size) is left out, tiles may be larger
than the fixed size, and what a layer computes for nobody is cut away (`onnx_graphs/narrow.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from snpe_srgan.imaging.tiles import Tile, plan_tiles
from snpe_srgan.onnx_graphs.narrow import ALIGN, Layer, Spans
from snpe_srgan.runtimes.tiling import TilePlan

MOST_CUTS = 8  # tiles along a side
OPENING = 1.5e9  # products that are emulated while a graph is prepared and its process starts: 1 to 2 s
CHECKING = 3e9  # ... while a strip shows that the narrowed graph has the bits of the whole one


def part_kept(part: Tile, plan: TilePlan) -> Spans | None:
    """Rows and columns of a tile that the picture keeps; None for one that lies in its mirror image."""
    (top, left), (rows, columns) = plan.offset, part.kept(plan.size, plan.offset)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    down, right = top - part.y, left - part.x
    return (rows.start + down, rows.stop + down), (columns.start + right, columns.stop + right)


@dataclass(frozen=True)
class Work:
    """What a tile costs.

    Attributes:
        layers: of the graph, where it can be narrowed; else none, and pixels are what is counted.
        lanes: tiles that are computed side by side.
    """

    layers: tuple[Layer, ...]
    lanes: int

    def best(self, plan: TilePlan, *, most_pixels: int) -> TilePlan:
        """The plan with the tiles that are done first.

        Widths are multiples of 4 (`strip.suspect_width`), and heights too: tiles start at multiples of 4, and the last
        one ends with the picture.

        Args:
            plan: returned as it is where no other is better.
            most_pixels: LR pixels of one tile at most.
        """
        if plan.offset != (0, 0):
            return plan
        overlap = plan.overlap
        tall, wide = (min(full, _up4(side + overlap)) for full, side in zip(plan.padded, plan.size, strict=True))
        if tall % 4 or wide % 4:
            return plan
        best, least = plan, self._busiest(plan)
        enough = least[0] - OPENING if self.layers else least[0]  # for which another process is worth its start
        for rows in range(1, MOST_CUTS + 1):
            for columns in range(1, MOST_CUTS + 1):
                tile = (_part(tall, rows, overlap), _part(wide, columns, overlap))
                cut = [side for side, whole in zip(tile, (tall, wide), strict=True) if side < whole]
                if tile[0] * tile[1] > most_pixels or any(side < 2 * overlap + 4 for side in cut):
                    continue
                parts = tuple(plan_tiles(tall, wide, tile=tile, overlap=overlap, multiple=4))
                tried = replace(plan, padded=(tall, wide), tile=(parts[0].height, parts[0].width), parts=parts)
                busiest = self._busiest(tried)
                if busiest < least and (tried.tiles <= plan.tiles or busiest[0] < enough):
                    best, least = tried, busiest
        return best

    def narrows(self, plan: TilePlan) -> bool:
        """Whether cutting away what is computed for nobody saves more than it costs to check and prepare graphs."""
        return bool(self.layers) and self._narrow(plan)[0] + CHECKING < self._whole(plan)[0]

    def _busiest(self, plan: TilePlan) -> tuple[float, float]:
        """What takes longer sorts behind: the products on the busiest lane, then those in all."""
        return self._narrow(plan) if self.narrows(plan) else self._whole(plan)

    def _whole(self, plan: TilePlan) -> tuple[float, float]:
        tile = products(self.layers, plan.run_size, None) if self.layers else plan.run_size[0] * plan.run_size[1]
        return -(-plan.tiles // self.lanes) * tile, plan.tiles * tile

    def _narrow(self, plan: TilePlan) -> tuple[float, float]:
        kept = [spans for part in plan.parts if (spans := part_kept(part, plan)) is not None]
        opening = OPENING if len(set(kept)) > self.lanes else 0.0
        each = {spans: opening + products(self.layers, plan.run_size, spans) for spans in set(kept)}
        tiles = [each[spans] for spans in kept]
        return _on_lanes(tiles, self.lanes), sum(tiles)


def products(layers: Sequence[Layer], size: tuple[int, int], kept: Spans | None) -> float:
    """Multiply-accumulates of a tile of `size` LR pixels: of all of it, or of what the kept part needs (`cut`).

    Args:
        layers: what each costs, and how far beyond the kept part it is needed.
        size: (height, width).
        kept: rows and columns of the tile that the picture keeps, (first, end) each in LR pixels; None for all.
            What is computed begins and ends at multiples of ALIGN.
    """
    total = 0.0
    for layer in layers:
        area = 1
        for side, span in zip(size, kept or ((0, size[0]), (0, size[1])), strict=True):
            start = max(0, span[0] - layer.margin) // ALIGN * ALIGN
            area *= min(side, -(-(span[1] + layer.margin) // ALIGN) * ALIGN) - start
        total += layer.macs * area
    return total


def _on_lanes(tiles: Sequence[float], lanes: int) -> float:
    """When the last lane is done, each tile in its turn going to the one that is free first."""
    ends = [0.0] * lanes
    for tile in tiles:
        heapq.heapreplace(ends, ends[0] + tile)
    return max(ends)


def _up4(length: int) -> int:
    return length + -length % 4


def _part(side: int, count: int, overlap: int) -> int:
    """The length of one of `count` tiles along a side."""
    return min(side, _up4(-(-(side + 2 * overlap * (count - 1)) // count)))
