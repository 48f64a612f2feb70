"""Qualcomm's Hexagon emulator: the DSP's own arithmetic, about 1 GMAC a second. The judge of pictures and bits.

A chip's graph has one input size. A model of free size is therefore fixed to the size of the picture or tile it gets,
and prepared again when that changes. Widths that Qualcomm's compiler gets wrong (`strip.py`) are avoided here, for
whoever asks.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import CheckFailed, InputError, MissingToolError, Remark, SnpeSrganError
from snpe_srgan.imaging.tiles import Tile
from snpe_srgan.machine import available_memory, usable_threads
from snpe_srgan.onnx_graphs.narrow import ALIGN, CannotNarrow, Narrowing, Span, Spans
from snpe_srgan.onnx_graphs.quantized import quantized_sums
from snpe_srgan.onnx_graphs.run import free_size, takes_any_size
from snpe_srgan.runtimes.base import description_of
from snpe_srgan.runtimes.lanes import Graph, Lanes
from snpe_srgan.runtimes.least_work import Work, part_kept
from snpe_srgan.runtimes.session import Description, Session, Tiling
from snpe_srgan.runtimes.source import Source
from snpe_srgan.runtimes.strip import run_strip, suspect_width
from snpe_srgan.runtimes.tiling import TilePlan, plan_tiling

if TYPE_CHECKING:
    import onnx

    from snpe_srgan.toolchains.qnn import EmulatorSession

SIDE = 8  # LR pixels of a strip that is compared
MOST_PIXELS = 1 << 16  # LR pixels that are emulated at once: 0.3 GB
LANE_BYTES = 400 << 20  # of one graph and its process
NOTHING: Spans = ((0, 0), (0, 0))  # what is kept of a tile that lies in the picture's mirror image


class EmulatorEngineSession(Session):
    """A model on the Hexagon emulator, in processes of its own.

    Args:
        chip: None computes float graphs in float32; a chip of Hexagon v73 or later in float16, as it would.
        lanes: tiles that are computed side by side; None for one a core, as far as memory allows.
        pictures: so many are run at once, and have the lanes between them.

    Raises:
        MissingToolError: onnxruntime-qnn is not installed, or the model is a `.pb`.
        InputError: the file is compiled for several chips.
    """

    def __init__(
        self, source: Source, *, chip: int | str | None = None, lanes: int | None = None, pictures: int = 1
    ):  # fmt: skip
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
        self._share = max(1, self._lanes.most // pictures)
        self._any_size = (
            self.description.tiling in (Tiling.EXACT, Tiling.ROUNDING)
            and not source.compiled and quantized_sums(source.graph) and takes_any_size(source.graph)
        )  # fmt: skip

    def plan(self, height: int, width: int, *, tile: tuple[int, int] | None = None) -> TilePlan:
        """As any session's, and at no width that the compiler gets wrong: see `plan_soundly`."""
        suspect = functools.partial(suspect_width, self._source.graph)
        plan = plan_soundly(self.description, height, width, tile=tile, suspect=suspect, wrong=self._wrong)
        if self._any_size and tile is None and self.description.overlap is None:
            plan = self._work.best(plan, most_pixels=MOST_PIXELS)
            self._planned.add(plan.run_size)
        return plan

    def run_all(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Tiles side by side, one on each core."""
        return self._run_all(arrays, itertools.repeat(None))

    def run_parts(self, arrays: Iterable[np.ndarray], plan: TilePlan, parts: Sequence[Tile]) -> Iterator[np.ndarray]:
        """Tiles side by side, each by a graph that computes little but what the picture keeps of it."""
        narrow = self._any_size and plan.run_size in self._planned and self._work.narrows(plan) and self._narrows_well
        return self._run_all(arrays, [part_kept(part, plan) or NOTHING if narrow else None for part in parts])

    def _run_all(self, arrays: Iterable[np.ndarray], kept: Iterable[Spans | None]) -> Iterator[np.ndarray]:
        taken: collections.deque[np.ndarray] = collections.deque()

        def checked() -> Iterator[np.ndarray]:
            for lr in arrays:
                self.check_input(lr)
                taken.append(lr)
                yield np.ascontiguousarray(lr)

        for sr in self._lanes.run_all(checked(), kept):
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

    @functools.cached_property
    def _work(self) -> Work:
        """What tiles cost; its layers are read at a size at which the network's reach is seen on all sides."""
        side = 2 * (self.description.radius or 0) + 2 * ALIGN
        try:
            narrowing = Narrowing(self._sized((side, side)))
            layers = narrowing.layers() if narrowing.cut(((0, ALIGN), (0, ALIGN))).rows[1] < side else ()
        except CannotNarrow:
            layers = ()
        return Work(layers, self._share)

    @functools.cached_property
    def _narrows_well(self) -> bool:
        """Whether the compiler gives the narrowed graph the whole one's bits: of a strip of noise, in two seconds."""
        far = max(layer.margin for layer in self._work.layers) // ALIGN * ALIGN
        noise = np.random.default_rng(0).random((1, SIDE, far + 2 * SIDE, 3), dtype=np.float32)
        columns = SIDE * self.scale
        try:
            whole, cut = self._lanes.run_all([noise, noise], [None, ((0, SIDE), (0, SIDE))])
        except SnpeSrganError as error:
            found = f"takes no graph that leaves out what no tile keeps ({error.what})"
        else:
            if np.array_equal(whole[:, :, :columns], cut[:, :, :columns]):
                return True
            found = "gives other bits for a graph that leaves out what no tile keeps"
        said = f"{self.description.path}: the emulator {found}; whole tiles are computed, which takes longer"
        warnings.warn(Remark(said), stacklevel=2)
        return False

    def _sized(self, size: tuple[int, int]) -> onnx.ModelProto:
        from snpe_srgan.onnx_graphs.model import fix_size

        model = self._source.graph
        if size == self.input_size:
            return model
        return fix_size(model if self.input_size is None else free_size(model), size, where=self.description.path)

    def _open(self, shape: tuple[int, ...], kept: Spans | None) -> Graph:
        from snpe_srgan.toolchains.qnn import EmulatorSession

        def opened(model: onnx.ModelProto) -> EmulatorSession:
            return EmulatorSession(model.SerializeToString(), soc_model=self._chip, name=str(self.description.path))

        model, size = self._sized((shape[1], shape[2])), (shape[1], shape[2])
        if kept is None:
            return opened(model)
        if kept == NOTHING:
            return _PartOf(None, (0, 0), (0, 0), size=size, scale=self.scale)
        made = Narrowing(model).cut(kept)
        return _PartOf(opened(made.model), made.rows, made.columns, size=size, scale=self.scale)

    def close(self) -> None:
        self._lanes.close()


class _PartOf:
    """A graph that gives a part of its tile: the rest is 0."""

    def __init__(self, graph: Graph | None, rows: Span, columns: Span, *, size: tuple[int, int], scale: int):
        self._graph, self._shape = graph, (1, size[0] * scale, size[1] * scale, 3)
        self._rows, self._columns = (slice(start * scale, end * scale) for start, end in (rows, columns))

    def run(self, array: np.ndarray) -> np.ndarray:
        tile = np.zeros(self._shape, np.float32)
        if self._graph is not None:
            tile[:, self._rows, self._columns] = self._graph.run(array)
        return tile

    def close(self) -> None:
        if self._graph is not None:
            self._graph.close()


def lanes_for(memory: int | None) -> int:
    """How many graphs run side by side: one a core, as far as the free memory (bytes) allows."""
    return max(1, min(usable_threads(), usable_threads() if memory is None else memory // LANE_BYTES))


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
