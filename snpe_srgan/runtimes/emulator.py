"""Qualcomm's Hexagon emulator: the DSP's own arithmetic, about 1 GMAC a second. The judge of pictures and bits.

A chip's graph has one input size. A model of free size is therefore fixed to the size of the picture or tile it gets,
and prepared again when that changes. Widths that Qualcomm's compiler gets wrong (`strip.py`) are avoided here, for
whoever asks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import CheckFailed, InputError, MissingToolError, SnpeSrganError
from snpe_srgan.runtimes.base import description_of
from snpe_srgan.runtimes.session import Description, Session, Tiling
from snpe_srgan.runtimes.source import Source
from snpe_srgan.runtimes.strip import run_strip, suspect_width
from snpe_srgan.runtimes.tiling import TilePlan, plan_tiling

if TYPE_CHECKING:
    from snpe_srgan.toolchains.qnn import EmulatorSession

MOST_PIXELS = 1 << 16  # LR pixels that are emulated at once: 0.3 GB


class EmulatorEngineSession(Session):
    """Args:
    chip: None computes float graphs in float32; a chip of Hexagon v73 or later in float16, as it would.
    """

    def __init__(self, source: Source, *, chip: int | str | None = None):
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
        self._emulator: EmulatorSession | None = None
        self._size: tuple[int, ...] | None = None
        self._sound: dict[int, bool] = {}

    def plan(self, height: int, width: int, *, tile: tuple[int, int] | None = None) -> TilePlan:
        """As any session's, and at no width that the compiler gets wrong: see `plan_soundly`."""
        suspect = functools.partial(suspect_width, self._source.graph)
        return plan_soundly(self.description, height, width, tile=tile, suspect=suspect, wrong=self._wrong)

    def _wrong(self, width: int) -> bool:
        """Whether the compiler gets this width wrong: asked of it, by a strip."""
        if width not in self._sound:
            strip = run_strip(
                self._source.graph, width=width, scale=self.scale, soc=self._chip, where=self.description.path
            )
            self._sound[width] = strip.passed
        return not self._sound[width]

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        try:
            if self._emulator is None or self._size != lr.shape:
                self._emulator = self._open(lr.shape)
            return self._emulator.run(lr)
        except SnpeSrganError:
            self.close()  # its process has ended: the next picture gets a new one
            raise

    def _open(self, shape: tuple[int, ...]) -> EmulatorSession:
        from snpe_srgan.onnx_graphs.model import fix_size
        from snpe_srgan.toolchains.qnn import EmulatorSession

        self.close()
        model, path = self._source.graph, self.description.path
        if self.input_size is None:
            model = fix_size(model, (shape[1], shape[2]), where=path)
        self._size = shape
        return EmulatorSession(model.SerializeToString(), soc_model=self._chip, name=str(path))

    def close(self) -> None:
        if self._emulator is not None:
            self._emulator.close()
        self._emulator, self._size = None, None


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
