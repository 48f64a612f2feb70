"""Checkpoints: one file each, whole or recognisably not.

    line 1   snpe-srgan checkpoint 1
    line 2   SHA-256 of all that follows, in hexadecimal
    rest     a .npz: `__meta__` (JSON text) and the arrays of `StageState.arrays()`

Written to a temporary name, flushed, renamed; the last two are kept. A kill at any moment therefore leaves a whole one,
and one that a failing disk has torn is recognised by its digest and the one before it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.artifacts.arrays import ArrayFile
from snpe_srgan.artifacts.files import atomic_write, os_error
from snpe_srgan.errors import InputError
from snpe_srgan.opener import read_regular

MAGIC = b"snpe-srgan checkpoint 1\n"
SUFFIX = ".ckpt"
KEEP = 2
MAX_BYTES = 4 << 30  # generator, discriminator, Adam's two moments and the average of each


@dataclass(frozen=True)
class Progress:
    """Where training stands. All randomness (crops, initial weights) is a function of the seed, stage and step, so
    these numbers are the random state and the data position as well.

    Attributes:
        stage: index; `step`: steps done in it.
        seconds: training time, over all resumes; `stage_began`: what it was when the stage began.
        plan: (step, progress, end), see plan.py.
        metrics_bytes: length of metrics.jsonl at this moment; what stands after it is cut off on resume.
        logged: steps whose losses are in the running sums.
        best: best validation PSNR of the stage so far.
        history: one entry a finished stage: its last losses and scores.
        config: what the weights depend on, as plain data.
        teachers: SHA-256 of the teacher's file, by stage.
    """

    stage: int
    step: int
    seed: int
    seconds: float
    stage_began: float
    plan: tuple[int, float, int]
    metrics_bytes: int
    logged: int
    best: float | None
    history: list[dict] = field(default_factory=list)
    config: dict = field(default_factory=dict)
    config_hash: str = ""
    data_key: str = ""
    teachers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read, or the one a stage ended with."""

    path: Path
    progress: Progress
    arrays: Mapping[str, np.ndarray]


def config_hash(config: Mapping[str, object]) -> str:
    """16 hexadecimal digits that are the same for equal values, in whatever order the keys stand."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def save_checkpoint(folder: str | os.PathLike, progress: Progress, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes `<stage>-<step>.ckpt`, then removes all but the last two.

    Args:
        folder: the run's folder of checkpoints.
        arrays: as of `StageState.arrays`.

    Returns:
        The file's path.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(folder) / f"{progress.stage:02d}-{progress.step:09d}{SUFFIX}"
    buffer = io.BytesIO()
    kept: dict[str, Any] = {"__meta__": np.array(json.dumps(dataclasses.asdict(progress))), **arrays}
    np.savez(buffer, **kept)
    payload = buffer.getbuffer()
    with atomic_write(path, overwrite=True) as temporary, open(temporary, "wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
        file.write(payload)
    for old in checkpoint_paths(folder)[:-KEEP]:
        try:
            old.unlink()
        except OSError as error:
            raise os_error(error, old, "remove an old checkpoint") from error
    return path


def checkpoint_paths(folder: str | os.PathLike) -> list[Path]:
    """Oldest first: names sort by stage and step."""
    return sorted(p for p in Path(folder).glob(f"*{SUFFIX}") if not p.name.startswith("."))


def read_checkpoint(path: str | os.PathLike) -> tuple[Progress, dict[str, np.ndarray]]:
    """One checkpoint; `InputError` when it is torn or none."""
    data = read_regular(path, limit=MAX_BYTES, doing="read the checkpoint")
    head, digest, payload = data[: len(MAGIC)], data[len(MAGIC) : len(MAGIC) + 64], data[len(MAGIC) + 65 :]
    if head != MAGIC or hashlib.sha256(payload).hexdigest().encode() != digest:
        raise InputError("the checkpoint is damaged", where=path)
    with ArrayFile(payload, limit=MAX_BYTES, where=path) as file:
        progress = _progress(file.read_text("__meta__"), where=path)
        return progress, {name: file.read(name) for name in file.arrays if name != "__meta__"}


def _progress(text: str, *, where: object) -> Progress:
    """What stands in a checkpoint beside its arrays, held to the types of `Progress`."""
    try:
        meta = json.loads(text)
        progress = Progress(**{**meta, "plan": tuple(meta["plan"])})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"the checkpoint cannot be read ({error!r:.80})", where=where) from error
    wrong = [name for name, fits in _FITS.items() if not fits(getattr(progress, name))]
    if wrong:
        raise InputError(f"the checkpoint cannot be read ('{wrong[0]}' is not what it should be)", where=where)
    return progress


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _measures(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _is_plan(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(_measures, value)) and _counts(value[0])


_FITS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("stage", "step", "metrics_bytes", "logged"), _counts),
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    **dict.fromkeys(("seconds", "stage_began"), _measures),
    "plan": _is_plan,
    "best": lambda value: value is None or _measures(value),
    "history": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    "config": lambda value: isinstance(value, dict),
    **dict.fromkeys(("config_hash", "data_key"), lambda value: isinstance(value, str)),
    "teachers": lambda value: isinstance(value, dict) and all(isinstance(item, str) for item in value.values()),
}


def last_checkpoint(folder: str | os.PathLike, *, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None when there is none at all.

    Args:
        warn: called with a line on each damaged one.

    Raises:
        InputError: there are some, and all are damaged.
    """
    paths = checkpoint_paths(folder)
    for path in reversed(paths):
        try:
            return Checkpoint(path, *read_checkpoint(path))
        except InputError as error:
            warn(f"{path.name}: {error.what}; using the one before it")
    if paths:
        raise InputError("all checkpoints are damaged", where=folder, hint="--overwrite starts over")
    return None
