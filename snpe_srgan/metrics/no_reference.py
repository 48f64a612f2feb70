"""Photos without an original: enlarged, and scored by how natural they look (niqe.py).

found = evaluate_without_reference(session, Path("photos"))
found.mean.model, found.mean.bicubic
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.imaging.bicubic import upscale as bicubic_upscale
from snpe_srgan.imaging.colour import to_uint8
from snpe_srgan.imaging.finder import find_pictures
from snpe_srgan.imaging.pictures import read_picture
from snpe_srgan.metrics.niqe import PROTOCOL, niqe
from snpe_srgan.parallel import Processes, here, no_idle, ordered
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.upscale import upscale_pixels


@dataclass(frozen=True)
class Naturalness:
    """NIQE of the model's picture, and of bicubic's."""

    model: float
    bicubic: float


@dataclass(frozen=True)
class UnpairedScore:
    """One picture, and the seconds the model took."""

    name: str
    niqe: Naturalness
    seconds: float


@dataclass(frozen=True)
class UnpairedEvaluation:
    """One folder; `protocol` belongs beside every number."""

    dataset: str
    engine: str
    protocol: str
    scale: int
    pictures: tuple[UnpairedScore, ...]
    mean: Naturalness
    passed_over: str | None = None


def evaluate_without_reference(
    session: Session | None,
    folder: str | os.PathLike[str],
    *,
    scale: int,
    limit: int | None = None,
    tile: tuple[int, int] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    processes: Processes | None = None,
) -> UnpairedEvaluation:
    """NIQE of the pictures in a folder (or of one file) after enlargement; `session` None is bicubic itself.

    Args:
        scale: of the session.
        limit, tile, progress, processes: as those of `metrics.evaluate.evaluate`.
    """
    found = find_pictures(folder)
    paths = found.pictures
    total = len(paths) if limit is None else min(limit, len(paths))
    chosen, jobs = paths[:total], no_idle(1 if processes is None else processes.jobs, total)
    if processes is None or here(jobs):
        results = ordered(_score, _told(chosen, progress), jobs=1, prepare=lambda: _Scorer(session, scale, tile))
    else:
        opener = (_nothing, ()) if session is None else (processes.prepare, processes.arguments)
        if not isinstance(jobs, int):
            chosen = tuple(path.absolute() for path in chosen)  # workers stand in other folders
        results = ordered(
            _score, chosen, jobs=jobs, prepare=_open_scorer, arguments=(*opener, scale, tile),
            weight=lambda path: path.stat().st_size,
        )  # fmt: skip
    with contextlib.closing(results):
        rows: list[UnpairedScore] = []
        for row in results:
            if progress is not None and not here(jobs):
                progress(len(rows), total, row.name)
            rows.append(row)
    return UnpairedEvaluation(
        dataset=Path(folder).name,
        engine="bicubic" if session is None else session.description.engine,
        protocol=PROTOCOL,
        scale=scale,
        pictures=tuple(rows),
        mean=Naturalness(_mean([row.niqe.model for row in rows]), _mean([row.niqe.bicubic for row in rows])),
        passed_over=found.passed.line(),
    )


@dataclass(frozen=True)
class _Scorer:
    session: Session | None
    scale: int
    tile: tuple[int, int] | None


def _nothing() -> None:
    """Bicubic's session."""


def _open_scorer(
    open_session: Callable[..., Session | None], arguments: tuple[object, ...], scale: int, tile: tuple[int, int] | None
) -> _Scorer:
    return _Scorer(open_session(*arguments), scale, tile)


def _score(scorer: _Scorer, path: Path) -> UnpairedScore:
    lr = to_uint8(read_picture(path).rgb)
    baseline = bicubic_upscale(lr, scorer.scale)
    start = time.perf_counter()
    try:
        sr = baseline if scorer.session is None else upscale_pixels(scorer.session, lr, tile=scorer.tile).pixels
        seconds = time.perf_counter() - start
        score = Naturalness(niqe(sr), niqe(baseline))
    except SnpeSrganError as error:
        raise type(error)(error.what, where=path, hint=error.hint) from error
    return UnpairedScore(path.stem, score, seconds)


def _told(paths: Sequence[Path], progress: Callable[[int, int, str], None] | None) -> Iterator[Path]:
    for index, path in enumerate(paths):
        if progress is not None:
            progress(index, len(paths), path.name)
        yield path


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
