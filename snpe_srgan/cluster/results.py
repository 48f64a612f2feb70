"""The result manifest: JSON lines, a head and then a line for each picture, added when the picture is done or given up.

A line is added whole; half of one, which a kill may leave at the end, is cut off when the run goes on. One client
writes, and holds a lock for as long as it does.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from snpe_srgan.artifacts.files import TAKEN, make_folder, os_error
from snpe_srgan.artifacts.inputs import refuse_input
from snpe_srgan.artifacts.locks import FolderIsLocked, lock_open_file
from snpe_srgan.artifacts.own import open_own
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.errors import InputError

DONE, FAILED, POISON = "done", "failed", "poison"
VERSION = 1


@dataclass(frozen=True)
class Record:
    """What came of one picture.

    Attributes:
        status: `done`; `failed`, with the `error`; `poison`: workers died of it, it is put aside.
        found: its result was there already, whole: an earlier run, or a worker that died, had written it.
        seconds: all of it on the worker; `inference_seconds` the network alone.
        notes: remarks on the picture or its result.
        worker: the address of the worker.
    """

    source: str
    target: str
    status: str = DONE
    found: bool = False
    lr_size: tuple[int, int] | None = None
    sr_size: tuple[int, int] | None = None
    seconds: float = 0.0
    inference_seconds: float = 0.0
    tiling: str | None = None
    notes: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    worker: str = ""


class ResultManifest:
    """An open result manifest. `before` maps the targets of an earlier run of the same work to their last status."""

    def __init__(self, path: Path, file: IO[bytes], before: dict[str, str]):
        self.path, self.before, self._file = path, before, file

    def add(self, record: Record) -> None:
        """Adds a line; it is in the system's hands when this returns, so that a kill of this process loses nothing.

        Raises:
            InputError: the disk is full, or the file cannot be written.
        """
        try:
            self._file.write(_line(to_plain(record)))
            self._file.flush()
        except OSError as error:
            raise os_error(error, self.path, "write the result manifest") from error

    def close(self) -> None:
        """Brings what was added to the disk and closes the file; a disk that fails now is no error any more."""
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()


def open_results(path: Path, head: Mapping[str, object], *, overwrite: bool = False) -> ResultManifest:
    """Opens the manifest of a run, to begin or to go on.

    Args:
        head: what the results depend on (the network, its options): a run goes on with the same only.
        overwrite: begin anew, whatever is there.

    Raises:
        InputError: another run is at work with this file, it belongs to other work, or it cannot be written.
    """
    refuse_input(path)
    make_folder(path.parent)
    file = open_own(path, doing="write the result manifest")  # it stays open, and holds the lock
    try:
        try:
            lock_open_file(file)
        except FolderIsLocked as error:
            raise InputError("another run writes this result manifest", where=path, hint="wait for it") from error
        if overwrite:
            file.truncate(0)
        before = _read(path, file, dict(head))
        if file.tell() == 0:
            file.write(_line({"snpe_srgan_results": VERSION, **head}))
            file.flush()
        return ResultManifest(path, file, before)
    except BaseException:
        file.close()
        raise


def _read(path: Path, file: IO[bytes], head: dict[str, object]) -> dict[str, str]:
    """The last status of each target; the file then ends with its last whole line."""
    file.seek(0)
    before: dict[str, str] = {}
    end = 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        end += len(line)
        try:
            value = json.loads(line)
            if number == 1:
                _require_same(value, head, path)
            else:
                before[value["target"]] = value["status"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                "this is no result manifest", where=f"{path}, line {number}", hint="choose another --results or -o"
            ) from error
    file.truncate(end)
    file.seek(0, os.SEEK_END)
    return before


def _require_same(found: object, head: dict[str, object], path: Path) -> None:
    if not isinstance(found, dict) or "snpe_srgan_results" not in found:
        raise ValueError(TAKEN)
    for key, value in json.loads(json.dumps({"snpe_srgan_results": VERSION, **head})).items():
        if found.get(key) != value:
            raise InputError(
                f"these are results of other work: {key} was {found.get(key)!r} and is {value!r}"[:300], where=path,
                hint="choose another -o, or --overwrite to start over",
            )  # fmt: skip


def _line(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode() + b"\n"
