"""PSNR and SSIM (and a perceptual distance) of a model, or of bicubic, on a data set, picture by picture.

evaluation = evaluate(session, find_evaluation_set("Set5", scale=4))
evaluation.mean.psnr, evaluation.bicubic.psnr
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import upscale as bicubic_upscale
from snpe_srgan.imaging.colour import grey_to_rgb, rgb_to_grey
from snpe_srgan.metrics.dataset import EvaluationSet, Pair
from snpe_srgan.metrics.loop import Enlarger, Scored, named, score_pairs
from snpe_srgan.metrics.perceptual import PerceptualDistance, WeightFile
from snpe_srgan.metrics.protocol import Protocol, Score, mean_score
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
) -> Evaluation:
    """Scores `session` on the pictures of `dataset`; None scores bicubic itself.

    Args:
        limit: only the first so many pictures.
        perceptual: a distance that is measured beside PSNR and SSIM.
        save: called with (name, the model's picture, whether it is grey).
        progress: called with (pictures done, pictures in all, name) before each picture.
    """
    protocol = protocol or Protocol()
    if session is not None and session.scale != dataset.scale:
        raise InputError(f"a x{session.scale} model cannot be scored on x{dataset.scale} pairs", where=dataset.name)
    total = len(dataset) if limit is None else min(limit, len(dataset))
    rows: list[PictureScore] = []
    inexact: list[str] = []

    def pairs() -> Iterator[Pair]:
        for index, files in enumerate(dataset.files[:total]):
            if progress is not None:
                progress(index, total, files.name)
            yield files.load()

    def bicubic(lr: np.ndarray) -> np.ndarray:
        return bicubic_upscale(lr, dataset.scale)

    enlargers = [bicubic] if session is None else [_network(session, tile, inexact), bicubic]
    for found in score_pairs(pairs(), enlargers, protocol=protocol, scale=dataset.scale):
        pair, sr = found.pair, found.pictures[0]
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


def _network(session: Session, tile: tuple[int, int] | None, inexact: list[str]) -> Enlarger:
    """The session as an enlarger; why a picture was not run as a whole is added to `inexact`."""

    def enlarge(lr: np.ndarray) -> np.ndarray:
        done = upscale_pixels(session, lr, tile=tile)
        if done.plan.reason:
            inexact.append(done.plan.reason)
        return done.pixels

    return enlarge


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
