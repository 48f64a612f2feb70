"""Qualcomm's Hexagon emulator: the DSP's own arithmetic, about 1 GMAC a second. The judge of pictures and bits.

A chip's graph has one input size. A model of free size is therefore fixed to the size of the picture or tile it gets,
and prepared again when that changes. Widths that Qualcomm's compiler gets wrong (`strip.py`) are avoided here, for
whoever asks.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import CheckFailed, InputError, MissingToolError
from snpe_srgan.imaging.tiles import Tile, plan_tiles
from snpe_srgan.machine import available_memory, usable_threads
from snpe_srgan.onnx_graphs.quantized import quantized_sums
from snpe_srgan.onnx_graphs.run import free_size, takes_any_size
from snpe_srgan.runtimes.base import description_of
from snpe_srgan.runtimes.lanes import Lanes
from snpe_srgan.runtimes.session import Description, Session, Tiling
from snpe_srgan.runtimes.source import Source
from snpe_srgan.runtimes.strip import run_strip, suspect_width
from snpe_srgan.runtimes.tiling import TilePlan, plan_tiling

if TYPE_CHECKING:
    from snpe_srgan.toolchains.qnn import EmulatorSession

MOST_PIXELS = 1 << 16  # LR pixels that are emulated at once: 0.3 GB
LANE_BYTES = 400 << 20  # of one graph and its process
MOST_CUTS = 8  # tiles along a side


class EmulatorEngineSession(Session):
    """A model on the Hexagon emulator, in processes of its own.

    Args:
        chip: None computes float graphs in float32; a chip of Hexagon v73 or later in float16, as it would.
        lanes: tiles that are computed side by side; None for one a core, as far as memory allows.

    Raises:
        MissingToolError: onnxruntime-qnn is not installed, or the model is a `.pb`.
        InputError: the file is compiled for several chips.
    """

    def __init__(self, source: Source, *, chip: int | str | None = None, lanes: int | None = None):
        from snpe_srgan.toolchains import qnn

        qnn.require()
        if source.model is None:
            raise MissingToolError(
                "the emulator does not take a .pb", where=source.path, hint=f"snpe-srgan convert {source.path}"
            )
        super().__init__(description_of(source, "hexagon-emulator", qnn.version() or "", most_pixels=MOST_PIXELS))
        self._source, self._chip = source, None if source.compiled else chip
        if source.compiled and "," in source.compiled:
            raise InputError(
                f"a file for several chips ({source.compiled}): the emulator loads none of them", where=source.path,
                hint="the file of one chip",
            )  # fmt: skip
        self._lanes = Lanes(self._open, most=lanes or lanes_for(available_memory()))
        self._sound: dict[int, bool] = {}
        self._planned: set[tuple[int, int]] = set()
        self._any_size = (
            self.input_size is not None and self.description.tiling in (Tiling.EXACT, Tiling.ROUNDING)
            and not source.compiled and quantized_sums(source.graph) and takes_any_size(source.graph)
        )  # fmt: skip

    def plan(self, height: int, width: int, *, tile: tuple[int, int] | None = None) -> TilePlan:
        """As any session's, and at no width that the compiler gets wrong: see `plan_soundly`."""
        suspect = functools.partial(suspect_width, self._source.graph)
        plan = plan_soundly(self.description, height, width, tile=tile, suspect=suspect, wrong=self._wrong)
        if self._any_size and tile is None and self.description.overlap is None:
            plan = least_work(plan, lanes=self._lanes.most, most_pixels=MOST_PIXELS)
            self._planned.add(plan.run_size)
        return plan

    def run_all(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Tiles side by side, one on each core."""
        taken: collections.deque[np.ndarray] = collections.deque()

        def checked() -> Iterator[np.ndarray]:
            for lr in arrays:
                self.check_input(lr)
                taken.append(lr)
                yield np.ascontiguousarray(lr)

        for sr in self._lanes.run_all(checked()):
            yield self.check_output(taken.popleft(), sr)

    def check_input(self, lr: np.ndarray) -> None:
        """As any session's; sizes that a plan has chosen are taken too."""
        planned = lr.ndim == 4 and lr.shape[1:3] in self._planned and lr.dtype == np.float32
        if not (planned and lr.shape[0] == 1 and lr.shape[3] == 3):
            super().check_input(lr)

    def _wrong(self, width: int) -> bool:
        """Whether the compiler gets this width wrong: asked of it, by a strip."""
        if width not in self._sound:
            strip = run_strip(
                self._source.graph, width=width, scale=self.scale, soc=self._chip, where=self.description.path
            )
            self._sound[width] = strip.passed
        return not self._sound[width]

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        return self._lanes.run(lr)

    def _open(self, shape: tuple[int, ...]) -> EmulatorSession:
        from snpe_srgan.onnx_graphs.model import fix_size
        from snpe_srgan.toolchains.qnn import EmulatorSession

        model, path, size = self._source.graph, self.description.path, (shape[1], shape[2])
        if self.input_size is None:
            model = fix_size(model, size, where=path)
        elif size != self.input_size:
            model = fix_size(free_size(model), size, where=path)
        return EmulatorSession(model.SerializeToString(), soc_model=self._chip, name=str(path))

    def close(self) -> None:
        self._lanes.close()


def lanes_for(memory: int | None) -> int:
    """How many graphs run side by side: one a core, as far as the free memory (bytes) allows."""
    return max(1, min(usable_threads(), usable_threads() if memory is None else memory // LANE_BYTES))


def least_work(plan: TilePlan, *, lanes: int, most_pixels: int) -> TilePlan:
    """The plan of a network of fixed size, with tiles of the size that is done first on so many lanes.

    Only for graphs that compute integers and take any size: a pixel is then the same in every tile that holds all it
    sees. What lies farther than that behind the picture (its mirror image, up to the fixed size) is left out, and tiles
    may be larger than the fixed size. Widths are multiples of 4 (`strip.suspect_width`), and heights too: tiles
    start at multiples of 4, and the last one ends with the picture.

    Args:
        plan: returned as it is where no other is better.
        lanes: tiles that are computed side by side.
        most_pixels: LR pixels of one tile at most.
    """
    if plan.offset != (0, 0) or plan.tile is None:
        return plan
    overlap = plan.overlap
    tall, wide = (min(full, _up4(side + overlap)) for full, side in zip(plan.padded, plan.size, strict=True))
    if tall % 4 or wide % 4:
        return plan
    best = plan.parts
    for rows in range(1, MOST_CUTS + 1):
        for columns in range(1, MOST_CUTS + 1):
            tile = (_part(tall, rows, overlap), _part(wide, columns, overlap))
            cut = [side for side, whole in zip(tile, (tall, wide), strict=True) if side < whole]
            if tile[0] * tile[1] > most_pixels or any(side < 2 * overlap + 4 for side in cut):
                continue
            parts = tuple(plan_tiles(tall, wide, tile=tile, overlap=overlap, multiple=4))
            best = min(best, parts, key=functools.partial(_seconds, lanes=lanes))
    if best is plan.parts:
        return plan
    return replace(plan, padded=(tall, wide), tile=(best[0].height, best[0].width), parts=best)


def _up4(length: int) -> int:
    return length + -length % 4


def _part(side: int, count: int, overlap: int) -> int:
    """The length of one of `count` tiles along a side."""
    return min(side, _up4(-(-(side + 2 * overlap * (count - 1)) // count)))


def _seconds(parts: Sequence[Tile], *, lanes: int) -> tuple[int, int]:
    """What takes longer sorts behind: pixels on the busiest lane, then pixels in all."""
    pixels = parts[0].height * parts[0].width
    return -(-len(parts) // lanes) * pixels, len(parts) * pixels


def plan_soundly(
    description: Description,
    height: int,
    width: int,
    *,
    tile: tuple[int, int] | None = None,
    suspect: Callable[[int], bool],
    wrong: Callable[[int], bool],
) -> TilePlan:
    """A plan of tiles of a width that Qualcomm's compiler gets right.

    A suspect width is cut in two tiles of a safe one. Where the network sees too far for that the compiler is asked;
    the picture is then continued to a safe width by its mirror image, and the plan says that the result is near.

    Args:
        suspect: whether a width belongs to those that may be compiled wrongly.
        wrong: whether it is, which takes seconds to find out.

    Raises:
        CheckFailed: the network's fixed width is compiled wrongly.
    """
    plan = plan_tiling(description, height, width, tile=tile)
    overlap, (tall, wide) = plan.overlap, plan.run_size
    if not suspect(wide):
        return plan
    if description.input_size is not None:
        if wrong(wide):
            raise CheckFailed(
                f"Qualcomm's compiler computes wrong columns at this model's width, {wide}",
                where=description.path,
                hint="convert it with --input-size and a width that is a multiple of 4",
            )
        return plan
    half = (wide + 2 * overlap + 1) // 2
    narrow = min(half + -half % 4, wide - wide % 4)
    if description.tiling in (Tiling.EXACT, Tiling.ROUNDING) and narrow > 2 * overlap:
        return plan_tiling(description, height, width, tile=(tall, narrow))
    if not wrong(wide):
        return plan
    wider = plan_tiling(replace(description, multiple=math.lcm(description.multiple, 4)), height, width, tile=tile)
    reason = (
        f"continued to a width of {wider.padded[1]} by its mirror image, because Qualcomm's compiler gets {wide} "
        "wrong: the result is near that of the picture alone, not equal to it"
    )
    return replace(wider, tiling=Tiling.NEAR, reason=reason)
