"""Runs stages in order and redoes none whose inputs did not change.

`pipeline.json` in the run folder records, for each finished stage, a fingerprint of everything it depends on (its part
of the config, the SHA-256 of the files it read, the program's version) and the SHA-256 of the files it made. A stage is
skipped when its fingerprint and its outputs are as recorded. A stage that was interrupted is recorded as started, so
one that can resume (training) knows whether what it finds is its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan import __version__
from snpe_srgan.artifacts.files import read_json, require_replaceable, sha256, write_json
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    from snpe_srgan.console import Output

STATE = "pipeline.json"


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        settings: plain data or dataclasses that its outcome depends on.
        inputs / outputs: files it reads and makes.
        make: does the work; gets True when an interrupted attempt with the same fingerprint can be continued.
        costly: its outputs may have taken hours, so they are replaced only when the user asks for it.
        always: it looks at things no fingerprint holds (pictures on disk): run every time, it must be quick when
            nothing changed. What depends on it is redone only when its outputs' contents changed.
    """

    name: str
    title: str
    settings: object
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    make: Callable[[bool], None]
    costly: bool = False
    always: bool = False


@dataclass(frozen=True)
class Done:
    """What happened to a stage: whether it was run now, and the seconds it took when it was."""

    name: str
    ran: bool
    seconds: float


def fingerprint(stage: Stage) -> str:
    """SHA-256 over settings, inputs' contents and the program's version."""
    facts = {
        "version": __version__,
        "settings": to_plain(stage.settings),
        "inputs": {path.name: sha256(path) for path in stage.inputs},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def run_stages(stages: Iterable[Stage], folder: Path, *, output: Output, overwrite: bool = False) -> list[Done]:
    """Runs what must be run; a failing stage leaves the finished ones recorded.

    Args:
        stages: in the order of the work.
        folder: the run's, which holds `pipeline.json`; all outputs lie in it.
        output: takes a line for each stage.
        overwrite: whether a costly stage may replace what it made with other settings.

    Returns:
        One entry for each stage, in order.

    Raises:
        InputError: a costly stage would replace its result, a stage made nothing, or the record is damaged.
        SnpeSrganError: what a stage raised.
    """
    state = _load(folder / STATE)
    stages, done = list(stages), []
    for path in (path for stage in stages for path in stage.outputs):
        require_replaceable(path)  # a pipe in a stranger's folder, before hours of work
    for number, stage in enumerate(stages, 1):
        head = f"[{number}/{len(stages)}] {stage.title}"
        mark, record = fingerprint(stage), state.get(stage.name, {})
        if not stage.always and record.get("fingerprint") == mark and _intact(record, folder):
            output.note(f"{head}: up to date")
            done.append(Done(stage.name, False, record["seconds"]))
            continue
        resumable = record.get("started") == mark
        finished = record.get("fingerprint") is not None and any(path.exists() for path in stage.outputs)
        if stage.costly and finished and not resumable and not overwrite:
            raise InputError(
                f"'{stage.name}' was finished with other settings, doing it again would replace its result",
                where=folder,
                hint="another --run-dir, or --overwrite",
            )
        output.note(head)
        state[stage.name] = {"started": mark}
        write_json(folder / STATE, state, overwrite=True)
        start = time.perf_counter()
        stage.make(resumable)
        seconds = time.perf_counter() - start
        missing = [path for path in stage.outputs if not path.is_file()]
        if missing:
            raise InputError(f"stage '{stage.name}' ended without its output", where=missing[0])
        state[stage.name] = {
            "fingerprint": mark,
            "seconds": round(seconds, 2),
            "outputs": {path.relative_to(folder).as_posix(): sha256(path) for path in stage.outputs},
        }
        write_json(folder / STATE, state, overwrite=True)
        output.note(f"{head}: {seconds:.1f} s")
        done.append(Done(stage.name, True, seconds))
    return done


def _load(path: Path) -> dict[str, dict]:
    """The records of finished and started stages; `InputError` for a state that no pipeline has written."""
    if not os.path.lexists(path):
        return {}
    hint = "delete it; every stage is then done again"
    try:
        state = read_json(path)
    except InputError as error:
        raise InputError(f"the pipeline's state is damaged: {error.what}", where=path, hint=hint) from error
    if not isinstance(state, dict) or not all(map(_is_record, state.values())):
        raise InputError("the pipeline's state is damaged", where=path, hint=hint)
    return state


def _is_record(value: object) -> bool:
    """Whether a stage's record is what `run_stages` writes. Outputs are names inside the run folder."""
    if not isinstance(value, dict):
        return False
    if value.keys() == {"started"}:
        return isinstance(value["started"], str)
    outputs, seconds = value.get("outputs"), value.get("seconds")
    return (
        value.keys() == {"fingerprint", "seconds", "outputs"}
        and isinstance(value["fingerprint"], str)
        and isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds < 1e12
        and isinstance(outputs, dict)
        and all(isinstance(digest, str) for digest in outputs.values())
        and not any("\0" in name or Path(name).is_absolute() or ".." in Path(name).parts for name in outputs)
    )  # fmt: skip


def _intact(record: dict, folder: Path) -> bool:
    outputs = record.get("outputs", {})
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in outputs.items())
