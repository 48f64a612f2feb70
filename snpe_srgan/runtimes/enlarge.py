"""Enlarging many pictures: which goes where, one after the other, one bad picture stopping none of the others.

jobs = plan_jobs(["photos/"], out="enlarged", scale=4)
results = enlarge(session, jobs)
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from snpe_srgan.artifacts.files import refuse_overwrite, require_writable
from snpe_srgan.artifacts.inputs import also_reading
from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.imaging import finder
from snpe_srgan.imaging.damage import damage
from snpe_srgan.imaging.pictures import check_output, output_format, read_picture, write_picture
from snpe_srgan.imaging.writing import WRITABLE
from snpe_srgan.runtimes.session import Session, Tiling
from snpe_srgan.runtimes.upscale import refuse_memory, upscale_picture
from snpe_srgan.runtimes.values import unlike

KEPT = (".png", ".tif", ".tiff", ".webp")  # lossless formats with transparency; other pictures become .png


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path


@dataclass(frozen=True)
class Enlarged:
    """One picture done. Sizes are (height, width); `seconds` is all of it, `inference_seconds` the network alone;
    `tiling` says what the result is, compared with the whole picture run at once: where it is only near, one of the
    `notes` says why. `exact`: it is the same, bit for bit. `arithmetic`: the precision chosen for it and why, with
    `--precision auto`."""

    source: Path
    target: Path
    lr_size: tuple[int, int]
    sr_size: tuple[int, int]
    tile: tuple[int, int] | None
    tiles: int
    tiling: Tiling
    exact: bool
    seconds: float
    inference_seconds: float
    notes: tuple[str, ...]
    arithmetic: str | None = None
    damage: str | None = None  # what a network for clean pictures makes worse (imaging/damage.py)


@dataclass(frozen=True)
class Failed:
    source: Path
    error: tuple[str, ...]


@dataclass(frozen=True)
class Jobs:
    """What is to be done; `skipped` have their output already, whole; the output of `failed` cannot be."""

    todo: tuple[Job, ...]
    skipped: tuple[Job, ...] = ()
    failed: tuple[Failed, ...] = ()

    def __len__(self) -> int:
        return len(self.todo) + len(self.skipped) + len(self.failed)


def find_pictures(sources: Sequence[str | Path]) -> tuple[list[Path], str | None]:
    """The pictures of files, folders and globs, in order, each once; and a line on what was passed over."""
    found: dict[Path, Path] = {}
    passed = finder.Passed()
    for source in sources:
        one = finder.find_pictures(source)
        passed.add(one.passed)
        for path in one.pictures:
            found.setdefault(path.resolve(), path)
    return list(found.values()), passed.line()


def plan_jobs(
    pictures: Sequence[Path],
    *,
    out: str | Path | None,
    scale: int,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> Jobs:
    """Where each picture goes; every name is checked before any work is done.

    With `skip_existing` a picture is skipped when its output is there and whole: it decodes, and has the right size.

    `out` is a file (`photo_x4.png`, for one picture) or a folder; None is the current folder, for one picture. In a
    folder the names are `<stem>_x<scale>.png` (.tif, .webp for those); where two pictures would get the same, both get
    their suffix into it (`a_jpg_x4.png`), and if need be their folder's name.

    Args:
        scale: the network's: in the names, and what `skip_existing` expects of a size.
        overwrite: whether outputs that are there may be replaced.

    Raises:
        UsageError: the pictures do not fit `out`, its suffix is not written, or two would get one name.
        InputError: an output is there already, is one of the inputs, or cannot be written. With several pictures a name
            too long for the file system goes to `Jobs.failed`.
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
        targets = [folder / name for name in target_names(pictures, scale)]
    require_writable(targets[0].parent)
    todo, skipped, failed = [], [], []
    with also_reading(pictures):
        for job in map(Job, pictures, targets):
            if skip_existing and is_whole(job, scale):
                skipped.append(job)
                continue
            try:
                refuse_overwrite(job.target, overwrite)
            except InputError as error:
                cause = error.__cause__
                if len(pictures) == 1 or not (isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG):
                    raise
                failed.append(Failed(job.source, tuple(error.lines())))  # one name too long stops no folder
            else:
                todo.append(job)
    return Jobs(tuple(todo), tuple(skipped), tuple(failed))


def is_whole(job: Job, scale: int) -> bool:
    """Whether the output is there as a run would have left it. Half of one is none: it is refused or replaced."""
    try:
        if not job.target.is_file() or os.path.samefile(job.source, job.target):
            return False
        done, source = read_picture(job.target), read_picture(job.source)
    except (OSError, InputError):
        return False
    return (done.height, done.width) == (source.height * scale, source.width * scale)


def target_names(pictures: Sequence[PurePath], scale: int) -> list[str]:
    """The name of each picture's enlargement in one folder: `<stem>_x<scale>` and its suffix, never one name twice.

    Args:
        pictures: files, or the paths of addresses (`PurePosixPath`).

    Raises:
        UsageError: two pictures would get one name, even with their suffix and their folder's name in it.
    """
    ways = (
        lambda p: p.stem,
        lambda p: p.name.replace(".", "_"),
        lambda p: f"{(p.resolve() if isinstance(p, Path) else p).parent.name}_{p.name.replace('.', '_')}",
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
            return names
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

    Args:
        tile: (height, width) of a tile in LR pixels; None for what the network and free memory ask for.
        overwrite: whether outputs that are there may be replaced.
        started: told each job before it is begun.
        tiles_done: told (tiles done, tiles in all) of the picture at hand after each tile.

    Raises:
        MissingToolError, UsageError: as soon as one occurs.
        SnpeSrganError: the failure of the only picture.
    """
    done, failed = [], []
    for job in jobs:
        if started is not None:
            started(job)
        try:
            done.append(enlarge_one(session, job, tile=tile, overwrite=overwrite, tiles_done=tiles_done))
        except (MissingToolError, UsageError):
            raise
        except SnpeSrganError as error:
            if len(jobs) == 1:
                raise
            failed.append(Failed(job.source, error_lines(error, job.source)))
    return done, failed


def error_lines(error: SnpeSrganError, source: object) -> tuple[str, ...]:
    """One picture's error among several: its lines name the picture."""
    if error.where is None or str(source) not in error.where:
        where = str(source) if error.where is None else f"{source}; {error.where}"
        error = type(error)(error.what, where=where, hint=error.hint)
    return tuple(error.lines())


def enlarge_one(
    session: Session,
    job: Job,
    *,
    tile: tuple[int, int] | None = None,
    overwrite: bool = False,
    tiles_done: Callable[[int, int], None] | None = None,
) -> Enlarged:
    """Reads, enlarges and writes one picture.

    Args:
        tile: (height, width) of a tile in LR pixels; None for what the network and free memory ask for.
        overwrite: whether an output that is there may be replaced.
        tiles_done: told (tiles done, tiles in all) after each tile.

    Raises:
        UsageError: the target's suffix is not written.
        InputError: the picture cannot be read, needs more memory than is free, needs tiles that would not be right, or
            cannot be written to the target.
        SnpeSrganError: the engine failed, or the network gave NaN or infinity.
    """
    start = time.perf_counter()
    scale = session.scale
    picture = read_picture(job.source, accept=lambda layout: refuse_memory(layout, scale, target=job.target))
    check_output(job.target, picture, scale=session.scale)
    before = time.perf_counter()
    sr, plan = upscale_picture(session, picture, tile=tile, progress=tiles_done)
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
        tile=plan.tile,
        tiles=plan.tiles,
        tiling=plan.tiling,
        exact=plan.tiling is Tiling.EXACT,
        seconds=time.perf_counter() - start,
        inference_seconds=after - before,
        notes=(*([plan.reason] if plan.reason else []), *picture.remarks, *notes),
        arithmetic=session.arithmetic,
        damage=damage(picture.rgb).sentence(),
    )
