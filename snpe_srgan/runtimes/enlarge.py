"""Enlarging many pictures: which goes where, one after the other, one bad picture stopping none of the others.

jobs = plan_jobs(["photos/"], out="enlarged", scale=4)
results = enlarge(session, jobs)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.files import refuse_overwrite
from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.imaging.pictures import check_output, list_pictures, output_format, read_picture, write_picture
from snpe_srgan.imaging.writing import WRITABLE
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.upscale import plan, refuse_memory, upscale_picture
from snpe_srgan.runtimes.values import unlike

KEPT = (".png", ".tif", ".tiff", ".webp")  # lossless formats with transparency; other pictures become .png


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path


@dataclass(frozen=True)
class Enlarged:
    """One picture done. Sizes are (height, width); `seconds` is all of it, `inference_seconds` the network alone;
    `exact` is False where tiles did not give the whole picture's result, which one of the `notes` then says."""

    source: Path
    target: Path
    lr_size: tuple[int, int]
    sr_size: tuple[int, int]
    tile: tuple[int, int] | None
    tiles: int
    exact: bool
    seconds: float
    inference_seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    source: Path
    error: tuple[str, ...]


def find_pictures(sources: Sequence[str | Path]) -> list[Path]:
    """The pictures of files, folders and globs, in order, each once."""
    found: dict[Path, Path] = {}
    for source in sources:
        for path in list_pictures(source):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def plan_jobs(pictures: Sequence[Path], *, out: str | Path | None, scale: int, overwrite: bool = False) -> list[Job]:
    """Where each picture goes; every name is checked before any work is done.

    `out` is a file (`photo_x4.png`, for one picture) or a folder; None is the current folder, for one picture.
    In a folder the names are `<stem>_x<scale>.png` (.tif, .webp for those); where two pictures would get the same,
    both get their suffix into it (`a_jpg_x4.png`), and if need be their folder's name.
    """
    folder = Path("." if out is None else out)
    named = bool(folder.suffix) and not folder.is_dir() and not str(out).endswith(("/", "\\"))
    if named and len(pictures) == 1:
        output_format(folder)
        targets = [folder]
    elif folder.is_file() or (named and folder.suffix.lower() in WRITABLE):
        raise UsageError(f"{len(pictures)} pictures do not fit into one file", where=out, hint="-o FOLDER")
    elif out is None and len(pictures) > 1:
        raise UsageError(f"{len(pictures)} pictures need a folder to go to", hint="-o FOLDER")
    else:
        targets = _names(pictures, folder, scale)
    sources = {path.resolve() for path in pictures}
    for target in targets:
        if target.resolve() in sources:
            raise InputError("this output is one of the pictures to be read", where=target, hint="choose another -o")
        refuse_overwrite(target, overwrite)
    return [Job(source, target) for source, target in zip(pictures, targets, strict=True)]


def _names(pictures: Sequence[Path], folder: Path, scale: int) -> list[Path]:
    ways = (
        lambda p: p.stem,
        lambda p: p.name.replace(".", "_"),
        lambda p: f"{p.resolve().parent.name}_{p.name.replace('.', '_')}",
    )
    suffixes = [p.suffix.lower() if p.suffix.lower() in KEPT else ".png" for p in pictures]
    chosen = [0] * len(pictures)
    while True:
        names = [f"{ways[w](p)}_x{scale}{s}" for p, w, s in zip(pictures, chosen, suffixes, strict=True)]
        taken: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            taken.setdefault(name.casefold(), []).append(index)
        clashes = [indices for indices in taken.values() if len(indices) > 1]
        if not clashes:
            return [folder / name for name in names]
        for indices in clashes:
            for index in indices:
                chosen[index] += 1
                if chosen[index] == len(ways):
                    raise UsageError(
                        f"two pictures would both become {names[index]}",
                        where=f"{pictures[indices[0]]} and {pictures[indices[1]]}",
                        hint="enlarge them into different folders",
                    )


def enlarge(
    session: Session,
    jobs: Sequence[Job],
    *,
    tile: tuple[int, int] | None = None,
    overwrite: bool = False,
    started: Callable[[Job], None] | None = None,
    tiles_done: Callable[[int, int], None] | None = None,
) -> tuple[list[Enlarged], list[Failed]]:
    """Runs the jobs in order. A single picture's failure is raised; among several it is collected and the rest go on.

    A missing tool or an interruption stops everything: it would befall every picture.
    """
    done, failed = [], []
    for job in jobs:
        if started is not None:
            started(job)
        try:
            done.append(_one(session, job, tile=tile, overwrite=overwrite, tiles_done=tiles_done))
        except (MissingToolError, UsageError):
            raise
        except SnpeSrganError as error:
            if len(jobs) == 1:
                raise
            if error.where is None or str(job.source) not in error.where:
                where = str(job.source) if error.where is None else f"{job.source}; {error.where}"
                error = type(error)(error.what, where=where, hint=error.hint)
            failed.append(Failed(job.source, tuple(error.lines())))
    return done, failed


def _one(session: Session, job: Job, *, tile, overwrite: bool, tiles_done) -> Enlarged:
    start = time.perf_counter()
    scale = session.scale
    picture = read_picture(job.source, accept=lambda layout: refuse_memory(layout, scale, target=job.target))
    check_output(job.target, picture, scale=session.scale)
    tiling = plan(session, picture.height, picture.width, tile=tile)
    before = time.perf_counter()
    sr = upscale_picture(session, picture, tile=tile, progress=tiles_done)
    after = time.perf_counter()
    notes = write_picture(job.target, sr, overwrite=overwrite)
    if (likeness := unlike(picture.rgb, sr.rgb, session.scale)) is not None:
        notes = (
            *notes, f"has little to do with the picture ({likeness:.1f} dB when made small again): an untrained "
            "network, or one for other numbers than 0 to 1: --values 0..255, 0..1 or -1..1",
        )  # fmt: skip
    return Enlarged(
        source=job.source,
        target=job.target,
        lr_size=(picture.height, picture.width),
        sr_size=(sr.height, sr.width),
        tile=tiling.tile,
        tiles=tiling.tiles,
        exact=tiling.inexact is None,
        seconds=time.perf_counter() - start,
        inference_seconds=after - before,
        notes=(*([tiling.inexact] if tiling.inexact else []), *picture.remarks, *notes),
    )
