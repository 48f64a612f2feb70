"""PSNR and SSIM (and a perceptual distance) of a model, or of bicubic, on a data set, picture by picture.

evaluation = evaluate(session, find_evaluation_set("Set5", scale=4))
evaluation.mean.psnr, evaluation.bicubic.psnr
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import upscale as bicubic_upscale
from snpe_srgan.imaging.colour import grey_to_rgb, rgb_to_grey
from snpe_srgan.metrics.dataset import EvaluationSet, PairFiles
from snpe_srgan.metrics.loop import Enlarger, Scored, named, score_pairs
from snpe_srgan.metrics.perceptual import PerceptualDistance, WeightFile
from snpe_srgan.metrics.protocol import Protocol, Score, mean_score
from snpe_srgan.parallel import Processes, here, no_idle, ordered
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.upscale import upscale_pixels


@dataclass(frozen=True)
class Distances:
    """The model's perceptual distance from HR, and bicubic's."""

    model: float
    bicubic: float


@dataclass(frozen=True)
class PictureScore:
    """One picture: the model's score, bicubic's, and the seconds the model took."""

    name: str
    score: Score
    bicubic: Score
    seconds: float
    perceptual: Distances | None = None


@dataclass(frozen=True)
class Perceptual:
    """The perceptual distance of a data set: which one it is, the means, the files of weights."""

    name: str
    protocol: str
    mean: Distances
    weights: tuple[WeightFile, ...]


@dataclass(frozen=True)
class Evaluation:
    """One data set. `protocol` and `origin` (of LR) are one line each and belong beside every number, as does `remark`
    where there is one: that tiles did not give what whole pictures give."""

    dataset: str
    engine: str
    protocol: str
    origin: str
    scale: int
    pictures: tuple[PictureScore, ...]
    mean: Score
    bicubic: Score
    remark: str | None = None
    perceptual: Perceptual | None = None
    passed_over: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """dB over bicubic."""
        return self.mean.psnr - self.bicubic.psnr


def evaluate(
    session: Session | None,
    dataset: EvaluationSet,
    *,
    protocol: Protocol | None = None,
    limit: int | None = None,
    tile: tuple[int, int] | None = None,
    perceptual: PerceptualDistance | None = None,
    save: Callable[[str, np.ndarray, bool], None] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    processes: Processes | None = None,
) -> Evaluation:
    """Scores `session` on the pictures of `dataset`; None scores bicubic itself.

    Args:
        protocol: what is compared; None: Y with a border of the scale cut off.
        limit: only the first so many pictures.
        tile: LR (height, width) of the tiles; None: as the session chooses.
        perceptual: a distance that is measured beside PSNR and SSIM.
        save: called with (name, the model's picture, whether it is grey).
        progress: called with (pictures done, pictures in all, name) before each picture.
        processes: score in several processes; `prepare` opens a session like `session` in each. The numbers are the
            same, whatever their number.

    Returns:
        PSNR in dB and SSIM of every picture and on average, beside bicubic's, with protocol and engine.

    Raises:
        InputError: the model enlarges by another factor, or a picture cannot be read or is too small for the protocol.
        SnpeSrganError: the engine failed; the error names the picture.
    """
    protocol = protocol or Protocol()
    if session is not None and session.scale != dataset.scale:
        raise InputError(f"a x{session.scale} model cannot be scored on x{dataset.scale} pairs", where=dataset.name)
    total = len(dataset) if limit is None else min(limit, len(dataset))
    rows: list[PictureScore] = []
    inexact: list[str] = []
    for found, reason in _scored(session, dataset, total, protocol, tile, progress, processes):
        pair, sr = found.pair, found.pictures[0]
        inexact += [reason] if reason else []
        distances = None if perceptual is None else _distances(perceptual, found)
        rows.append(PictureScore(pair.name, found.scores[0], found.scores[-1], found.seconds[0], distances))
        if save is not None:
            save(pair.name, grey_to_rgb(rgb_to_grey(sr)) if pair.grey else sr, pair.grey)
    return Evaluation(
        dataset=dataset.name,
        engine="bicubic" if session is None else session.description.engine,
        protocol=protocol.describe(),
        origin=dataset.origin,
        scale=dataset.scale,
        pictures=tuple(rows),
        mean=mean_score([row.score for row in rows]),
        bicubic=mean_score([row.bicubic for row in rows]),
        remark=f"{len(inexact)} of {total} pictures not run as a whole; the first: {inexact[0]}" if inexact else None,
        perceptual=None if perceptual is None else _summary(perceptual, [x.perceptual for x in rows if x.perceptual]),
        passed_over=dataset.remarks,
    )


@dataclass(frozen=True)
class _Scorer:
    """What it takes to score a pair; `session` None is bicubic itself."""

    session: Session | None
    scale: int
    protocol: Protocol
    tile: tuple[int, int] | None


def _open_scorer(open_session: Callable[..., Session | None], arguments: tuple[object, ...], *others: Any) -> _Scorer:
    return _Scorer(open_session(*arguments), *others)


def _score(scorer: _Scorer, files: PairFiles) -> tuple[Scored, str | None]:
    """A pair, and why its picture was not run as a whole."""
    reasons: list[str] = []

    def network(lr: np.ndarray) -> np.ndarray:
        assert scorer.session is not None
        done = upscale_pixels(scorer.session, lr, tile=scorer.tile)
        reasons.extend([done.plan.reason] if done.plan.reason else [])
        return done.pixels

    def bicubic(lr: np.ndarray) -> np.ndarray:
        return bicubic_upscale(lr, scorer.scale)

    enlargers: list[Enlarger] = [bicubic] if scorer.session is None else [network, bicubic]
    (found,) = score_pairs([files.load()], enlargers, protocol=scorer.protocol, scale=scorer.scale)
    return found, reasons[0] if reasons else None


def _scored(
    session: Session | None,
    dataset: EvaluationSet,
    total: int,
    protocol: Protocol,
    tile: tuple[int, int] | None,
    progress: Callable[[int, int, str], None] | None,
    processes: Processes | None,
) -> Iterator[tuple[Scored, str | None]]:
    """The pairs in order, here or in other processes."""
    chosen, jobs = dataset.files[:total], no_idle(1 if processes is None else processes.jobs, total)
    if processes is None or here(jobs):
        scorer = _Scorer(session, dataset.scale, protocol, tile)
        yield from ordered(_score, _told(chosen, progress), jobs=1, prepare=lambda: scorer)
        return
    opener = (_nothing, ()) if session is None else (processes.prepare, processes.arguments)
    arguments = (*opener, dataset.scale, protocol, tile)
    if not isinstance(jobs, int):
        chosen = tuple(files.absolute() for files in chosen)  # workers stand in other folders
    with contextlib.closing(
        ordered(_score, chosen, jobs=jobs, prepare=_open_scorer, arguments=arguments, weight=_bytes)
    ) as results:
        for index, result in enumerate(results):
            if progress is not None:
                progress(index, total, result[0].pair.name)
            yield result


def _bytes(files: PairFiles) -> float:
    """About how long a pair takes, compared with others: its file tells without being decoded."""
    return files.hr_path.stat().st_size if files.hr_path.is_file() else 0


def _nothing() -> None:
    """Bicubic's session."""


def _told(files: Sequence[PairFiles], progress: Callable[[int, int, str], None] | None) -> Iterator[PairFiles]:
    for index, one in enumerate(files):
        if progress is not None:
            progress(index, len(files), one.name)
        yield one


def _distances(perceptual: PerceptualDistance, found: Scored) -> Distances:
    pictures = list(found.pictures)
    if found.pair.grey:
        pictures = [grey_to_rgb(rgb_to_grey(picture)) for picture in pictures]
    with named(found.pair):
        values = perceptual.distances(found.pair.hr, pictures)
    return Distances(values[0], values[-1])


def _summary(perceptual: PerceptualDistance, rows: list[Distances]) -> Perceptual:
    mean = Distances(*(math.fsum(values) / len(rows) for values in zip(*map(astuple, rows), strict=True)))
    return Perceptual(perceptual.name, perceptual.describe(), mean, perceptual.files)
