"""Which network, precision, tile and batch brings a picture size at a frame rate on a chip.

    plan = make_plan(chips.find("8 Gen 2"), named_subjects(), Budget((1080, 1920), fps=30))
    plan.meets, plan.options[0]

Times are estimates of the accelerator alone (`latency.py`): cutting tiles, copying and joining them are not in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.imaging.tiles import plan_tiles
from snpe_srgan.planning.latency import Estimate, Estimator, estimator
from snpe_srgan.planning.subjects import TEST_SET, Subject, remark_of
from snpe_srgan.planning.work import Work
from snpe_srgan.toolchains.chips import Chip
from snpe_srgan.toolchains.published import load

SIDES = (64, 96, 128, 192, 256)  # of tiles; published is 128. A smaller picture is continued to the least
BATCHES = (1, 2, 4)
REACH = 4  # a call takes at most so many times as many pixels as the published size


@dataclass(frozen=True)
class Budget:
    """`output`: SR (height, width); `min_psnr`: dB on Set5, Y; `overlap`: of tiles, None for what the network sees."""

    output: tuple[int, int]
    fps: float
    min_psnr: float | None = None
    overlap: int | None = None


@dataclass(frozen=True)
class Option:
    """One network in one precision, in the tiles that serve it best.

    Attributes:
        tile: LR (height, width); `batch` tiles are one call, `tiles` one frame.
        exact: whether tiles give the whole picture's result.
        call_ms, frame_ms, fps: the estimate; `fps_low` and `fps_high` bound 9 of 10 cross-validated times.
        published_ms: what is published for a network of this structure on this chip at 128x128.
        meets: whether the estimate meets the budget; `surely` whether the lower bound does too.
        left: by what the time of a call must be multiplied to meet the frame rate; 1 when nothing must go, 0 when no
            compression is enough.
        rests_on: what the estimate rests on, with its error.
    """

    network: str
    precision: str
    tile: tuple[int, int]
    batch: int
    tiles: int
    exact: bool
    call_ms: float
    frame_ms: float
    fps: float
    fps_low: float
    fps_high: float
    published_ms: float | None
    psnr: float | None
    meets: bool
    surely: bool
    left: float
    rests_on: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """`options`: those that meet the budget first, best PSNR first, then the others, nearest first; `rejected`: network
    -> why it is not among them."""

    chip: Chip
    budget: Budget
    options: tuple[Option, ...]
    rejected: dict[str, str]
    source: str

    @property
    def meets(self) -> bool:
        """Whether any option meets the budget, by the estimate."""
        return any(option.meets for option in self.options)


def make_plan(chip: Chip, subjects: Sequence[Subject], budget: Budget) -> Plan:
    """Every network in every precision that the chip computes, held against the budget.

    Args:
        chip: one of `toolchains/chips.py`.
        subjects: the networks, with what is known of their work and PSNR.
        budget: what is asked for.

    Returns:
        One option a network and precision, in the tile and batch that serve it best; a network that cannot be used
        stands in `rejected`, with the reason.

    Raises:
        SnpeSrganError: the chip has no tensor processor.
    """
    latency = estimator(chip)
    options, rejected = [], {}
    for subject in subjects:
        why = _too_poor(subject, budget)
        able = [precision for precision in subject.precisions if precision in latency.precisions]
        if why is None and not able:
            why = f"{chip} computes no {' or '.join(subject.precisions)}"
        try:
            if why is None:
                options += [_best(latency, subject, precision, budget) for precision in able]
        except SnpeSrganError as error:
            why = error.what
        if why is not None:
            rejected[subject.name] = why
    options.sort(key=lambda o: (not o.meets, -(o.psnr or 0) if o.meets else 0, -o.fps))
    return Plan(chip, budget, tuple(options), rejected, load().source)


def _too_poor(subject: Subject, budget: Budget) -> str | None:
    if budget.min_psnr is None:
        return None
    if subject.psnr is None:
        return f"its PSNR on {TEST_SET} is not known: it has no card that tells it"
    short = subject.psnr < budget.min_psnr
    return f"{subject.psnr:.2f} dB on {TEST_SET}, {budget.min_psnr:g} are asked for" if short else None


def _best(latency: Estimator, subject: Subject, precision: str, budget: Budget) -> Option:
    """The published tile where it surely meets the frame rate, else the fastest by the estimate."""
    options = [
        _option(latency, subject, precision, budget, tile, batch)
        for tile in _tiles(subject, budget)
        for batch in BATCHES
        if batch == 1 or batch * tile[0] * tile[1] <= REACH * math.prod(load().size)
    ]
    published = [o for o in options if o.tile == load().size and o.batch == 1 and o.surely]
    return published[0] if published else max(options, key=lambda o: (o.fps, -o.batch))


def _lr(subject: Subject, budget: Budget) -> tuple[int, int]:
    height, width = (-(-side // subject.scale) for side in budget.output)
    return height, width


def _tiles(subject: Subject, budget: Budget) -> list[tuple[int, int]]:
    """Tiles that a call can take and that overlap enough.

    Raises:
        InputError: there is none.
    """
    height, width = _lr(subject, budget)
    wanted = [subject.fixed] if subject.fixed else [(side, side) for side in SIDES]
    if not subject.fixed and height * width <= REACH * math.prod(load().size):
        wanted.append((max(height, SIDES[0]), max(width, SIDES[0])))
    fitting = []
    for tile in wanted:
        if not subject.fixed:
            tile = (min(tile[0], max(height, SIDES[0])), min(tile[1], max(width, SIDES[0])))
        overlap = _overlap(subject, tile, budget)
        alone = tile[0] >= height and tile[1] >= width
        cut = [side for length, side in ((height, tile[0]), (width, tile[1])) if length > side]
        if alone or (overlap is not None and all(side > 2 * overlap for side in cut)):
            fitting.append(tile)
    if not fitting:
        sees = "an unknown distance" if subject.overlap is None else f"{subject.overlap} pixels far"
        largest = "x".join(map(str, wanted[-1]))
        raise InputError(f"it sees {sees}: tiles of {largest} are too small; --overlap 16 gives nearly its result")
    return list(dict.fromkeys(fitting))


def _overlap(subject: Subject, tile: tuple[int, int], budget: Budget) -> int | None:
    if budget.overlap is not None:
        return budget.overlap if subject.overlap is None else min(budget.overlap, subject.overlap)
    if subject.whole and subject.overlap is not None:
        return min(subject.overlap, min(tile) // 4)
    return subject.overlap


def _option(
    latency: Estimator, subject: Subject, precision: str, budget: Budget, tile: tuple[int, int], batch: int
) -> Option:
    height, width = _lr(subject, budget)
    overlap = _overlap(subject, tile, budget)
    padded = max(height, tile[0]), max(width, tile[1])
    tiles = len(plan_tiles(*padded, tile=tile, overlap=overlap or 0))
    calls = -(-tiles // batch)
    pixels = tile[0] * tile[1] * batch
    call = latency(subject.work, precision, pixels=pixels)
    fps = [1000 / (calls * ms) for ms in (call.high, call.ms, call.low)]
    short = tiles > 1 and overlap is not None and (subject.overlap is None or overlap < subject.overlap)
    meets = fps[1] >= budget.fps
    return Option(
        network=subject.name, precision=precision, tile=tile, batch=batch, tiles=tiles,
        exact=not (short or (subject.whole and (tiles > 1 or padded != (height, width)))),
        call_ms=call.ms, frame_ms=calls * call.ms, fps=fps[1], fps_low=fps[0], fps_high=fps[2],
        published_ms=latency.published(subject.work, precision), psnr=subject.psnr,
        meets=meets, surely=fps[0] >= budget.fps,
        left=1.0 if meets else _left(latency, precision, call, pixels, 1000 / budget.fps / calls),
        rests_on=latency.words(precision), remarks=_remarks(subject, precision, tile, batch),
    )  # fmt: skip


def _left(latency: Estimator, precision: str, call: Estimate, pixels: int, wanted: float) -> float:
    """The share of a call's time that `wanted` milliseconds are, 0 to 1; 0 where a call without work takes longer."""
    empty = latency(Work(0.0, 0.0), precision, pixels=pixels).ms
    return wanted / call.ms if wanted > empty else 0.0


def _remarks(subject: Subject, precision: str, tile: tuple[int, int], batch: int) -> tuple[str, ...]:
    size = load().size
    remarks = [remark_of(subject, precision)]
    if (*tile, batch) != (*size, 1):
        remarks.append(
            f"times are published for one tile of {size[0]}x{size[1]} only: elsewhere the bounds hold both that all "
            "time grows with the pixels, and that as much is paid once a call as the fastest published network takes"
        )
    return tuple(remark for remark in remarks if remark)
