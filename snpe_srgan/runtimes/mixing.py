"""Two networks for one picture: the small one for all of it, the large one for the tiles that are hard (MobiSR).

    with MixedSession(open_session(small), open_session(large), above=ABOVE) as session:
        sr, plan = upscale_picture(session, read_picture("photo.jpg"))

Lee et al. 2019, "MobiSR: Efficient On-Device Super-Resolution through Heterogeneous Mobile Processors": patches go to a
large or a small network by their total variation. A tile's difficulty is of its own pixels alone, so that a frame's
unchanged tiles stay what they are. What is kept of a hard tile is the large network's picture, all else the small
one's: a tile overlaps by as far as the networks see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from snpe_srgan.errors import UsageError
from snpe_srgan.imaging.colour import rgb_to_y, to_uint8
from snpe_srgan.imaging.tiles import Tile, paste
from snpe_srgan.runtimes.session import Session, Tiling
from snpe_srgan.runtimes.tiling import TilePlan, overlap_for
from snpe_srgan.runtimes.upscale import upscale_pixels

PATCH = 64  # LR pixels at least that are kept of a tile, each way: smaller ones follow the picture better ...
OVERLAPS = 3  # ... and overlap more, so they are at least so many overlaps long
ABOVE = 20.0  # levels of total variation above which a tile is hard: six in ten tiles of detailed photos
_WORSE = (Tiling.EXACT, Tiling.ROUNDING, Tiling.NEAR, Tiling.WHOLE_ONLY)


def difficulty(pixels: np.ndarray) -> float:
    """The mean total variation of a part's luma in 8-bit levels a pixel: MobiSR's measure, anisotropic.

    Args:
        pixels: uint8 or uint16 `(h, w, 3)`.
    """
    luma = rgb_to_y(to_uint8(pixels))
    return float(sum(np.abs(np.diff(luma, axis=axis)).sum() for axis in (0, 1)) / luma.size)


class MixedSession(Session):
    """`small` and `large` as one network; closing it closes both.

    Args:
        above: the `difficulty` of a tile, in levels, above which the large network makes it; 0: nearly all tiles.

    Raises:
        UsageError: the networks do not enlarge by the same factor, or one sees farther than is known.
    """

    def __init__(self, small: Session, large: Session, *, above: float):
        mine, other = large.description, small.description
        if mine.scale != other.scale:
            raise UsageError(
                f"{other.path.name} enlarges x{other.scale} and {mine.path.name} x{mine.scale}: they do not mix"
            )
        for description in (mine, other):
            if description.reads_all or description.radius is None:
                raise UsageError("networks that see the whole picture do not mix: a tile of it looks different to them",
                                 where=description.path)  # fmt: skip
        large.description = replace(mine, radius=max(mine.radius or 0, other.radius or 0))  # its tiles serve both
        remarks = tuple(dict.fromkeys((*mine.remarks, *other.remarks)))
        super().__init__(replace(large.description, remarks=remarks))
        self._small, self._large, self._above = small, large, above
        self._hard, self._tiles = 0, 0

    @property
    def arithmetic(self) -> str | None:
        large, small = (session.description.path.stem for session in (self._large, self._small))
        return f"{large} for {self._hard} of {self._tiles} tiles, {small} for the others"

    @property
    def share(self) -> float:
        """Of the last picture's tiles, those that the large network made."""
        return self._hard / self._tiles if self._tiles else 0.0

    def plan(self, height: int, width: int, *, tile: tuple[int, int] | None = None) -> TilePlan:
        if tile is None and self.input_size is None:
            overlap = overlap_for(self.description, None)
            side = max(PATCH, OVERLAPS * overlap) + 2 * overlap
            tile = (side + -side % 4,) * 2
        plan = self._large.plan(height, width, tile=tile)  # an engine knows widths that it computes wrongly
        easy = self._small.plan(height, width)
        if _WORSE.index(easy.tiling) > _WORSE.index(plan.tiling):
            plan = replace(plan, tiling=easy.tiling, reason=easy.reason)
        return plan

    def underlay(
        self, pixels: np.ndarray, plan: TilePlan, parts: Sequence[Tile], onto: np.ndarray | None, *, grey: bool
    ) -> tuple[Sequence[Tile], np.ndarray | None]:
        easy = upscale_pixels(self._small, pixels, grey=grey).pixels
        if onto is not None:
            for part in parts:
                paste(easy, onto, part, size=plan.size, scale=self.scale, offset=plan.offset)
        hard = [part for part in parts if self._is_hard(pixels, part, plan)]
        self._hard, self._tiles = len(hard), len(parts)
        return hard, easy if onto is None else onto

    def _is_hard(self, pixels: np.ndarray, part: Tile, plan: TilePlan) -> bool:
        """Whether what is kept of the tile is, where the picture is and was not continued."""
        kept = pixels[part.kept(plan.size, plan.offset)]
        return kept.size > 0 and difficulty(kept) > self._above

    def run_all(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return self._large.run_all(arrays)

    def run_parts(self, arrays: Iterable[np.ndarray], plan: TilePlan, parts: Sequence[Tile]) -> Iterator[np.ndarray]:
        return self._large.run_parts(arrays, plan, parts)

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        return self._large.run(lr)

    def prepare(self, pixels: np.ndarray) -> None:
        self._large.prepare(pixels)

    def shorten_overlap(self, overlap: int) -> None:
        for session in (self, self._small, self._large):
            session.description = session.description.with_overlap(overlap)

    def close(self) -> None:
        self._large.close()
        self._small.close()
