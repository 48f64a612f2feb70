"""The proof: every file of a bundle that holds NPU code, run on the Hexagon emulator, beside the float network.

    rows = prove(jobs, judge)       # one `Proof` a file

The byte code is taken out of the very file that goes to the phone. What cannot be run here says so, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.imaging.colour import pixels_to_lr, sr_to_pixels
from snpe_srgan.machine import usable_threads
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.progress import track
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.strip import Strip, compare
from snpe_srgan.zoo.resolve import RUNNABLE, resolve


@dataclass(frozen=True)
class Proof:
    """What was seen of one file.

    Attributes:
        path: below the bundle.
        chip: whose code it holds; None for a file that any chip runs.
        engine: what ran it here; None when nothing could, and `unproven` says why.
        psnr_to_float: dB between its picture and the float network's, 8-bit RGB.
        worst: the largest difference from the float network's picture, in 8-bit levels.
        strip: mean difference of the worst column from the host's, at the file's full width, in 8-bit levels.
        reloads: whether every value equals that of the session it was compiled in; None where that was not asked.
        picture: what it drew, uint8 (h, w, 3).
    """

    path: str
    chip: str | None
    bytes: int
    sha256: str
    engine: str | None = None
    psnr_to_float: float | None = None
    worst: int | None = None
    strip: float | None = None
    strip_passed: bool | None = None
    reloads: bool | None = None
    seconds: float = 0.0
    unproven: str | None = None
    failed: bool = False
    picture: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Job:
    """One file to prove: `place` is where `run --on` would run it.

    `direct`: what the session that compiled the file made of the judge's picture, which the file must give again.
    """

    path: Path
    chip: str | None
    place: str
    direct: np.ndarray | None = None
    unproven: str | None = None


@dataclass(frozen=True, eq=False)
class Judge:
    """The picture on which all files are held against the float network.

    Attributes:
        lr: uint8 (height, width, 3), of the network's input size.
        exact: the float network's picture of it, uint8.
        host: the quantized network's by a host engine, uint8: what the strip check compares columns with.
        origin: where `lr` is from, for people.
    """

    lr: np.ndarray
    exact: np.ndarray
    host: np.ndarray
    origin: str
    scale: int


def prove(
    jobs: Sequence[Job], judge: Judge, *, folder: Path, digests: dict[str, str],
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Proof, ...]:  # fmt: skip
    """Runs every job's file, as many at a time as there are processors.

    Args:
        folder: the bundle; paths in the result are below it.
        digests: path below the bundle -> SHA-256.
    """

    def one(job: Job) -> Proof:
        name = job.path.relative_to(folder).as_posix()
        proof = _prove(job, judge, name, digests[name])
        quality = proof.unproven or f"{proof.psnr_to_float:.2f} dB to the float network's picture ({proof.engine})"
        say(f"{name}: {quality}")
        progress.advance()
        return proof

    with (
        track(say, "proving", total=len(jobs), unit="file") as progress,
        ThreadPoolExecutor(max(1, min(usable_threads(), len(jobs)))) as pool,
    ):
        return tuple(pool.map(one, jobs))


def _prove(job: Job, judge: Judge, name: str, digest: str) -> Proof:
    size = job.path.stat().st_size
    if job.unproven:
        return Proof(name, job.chip, size, digest, unproven=job.unproven)
    start = time.perf_counter()
    lr = pixels_to_lr(judge.lr)[None]
    try:
        with open_session(resolve(job.path, kinds=RUNNABLE), on=job.place) as session:
            sr = session.run(lr)
            engine = session.description.computed_by
        reloads = None if job.direct is None else bool(np.array_equal(sr, job.direct))
    except SnpeSrganError as error:
        return Proof(name, job.chip, size, digest, unproven=" ".join(error.what.split())[:300], failed=True)
    picture = sr_to_pixels(sr)[0]
    strip = check_columns(picture, judge)
    return Proof(
        name, job.chip, size, digest, engine=engine,
        psnr_to_float=psnr(picture, judge.exact),
        worst=int(np.abs(picture.astype(int) - judge.exact).max()),
        strip=strip.worst, strip_passed=strip.passed, reloads=reloads,
        seconds=time.perf_counter() - start, picture=picture,
    )  # fmt: skip


def check_columns(picture: np.ndarray, judge: Judge) -> Strip:
    """The strip check of `runtimes/strip.py` on the whole picture: no column may be off for itself."""
    ours, host = (sides.astype(np.float64)[None] / 127.5 - 1 for sides in (picture, judge.host))
    return compare(ours, host, scale=judge.scale)
