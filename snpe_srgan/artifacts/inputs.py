"""What the running command reads: files that none of its outputs may replace, whatever flag is given.

    with watched():                      # once a command, by cli/root.py
        reading(path)                    # by whatever finds a model, a picture, a config
        refuse_input(out)                # by whatever writes, moves or removes (artifacts/files.py)

A file is known by its identity on disk, so links, other spellings and names in other capitals are the same file.
The list belongs to the process and not to a thread: pictures are read and written by several.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from snpe_srgan.errors import InputError

_read: list[dict[tuple[int, int], Path]] = []


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """A command begins: what an earlier one of the same process has read counts no more."""
    _read.append({})
    try:
        yield
    finally:
        _read.pop()


@contextlib.contextmanager
def also_reading(paths: Iterable[str | os.PathLike]) -> Iterator[None]:
    """For a library's caller, who runs no command: `paths` are inputs as long as the block runs."""
    before = dict(_read[-1]) if _read else {}
    with watched():
        _read[-1].update(before)
        for path in paths:
            reading(path)
        yield


def reading(path: str | os.PathLike) -> None:
    """Remembers that the running command reads `path`; outside a command nothing is remembered."""
    if _read:
        with contextlib.suppress(OSError, ValueError):  # whoever opens it says what is wrong with it
            _read[-1].setdefault(_identity(os.stat(path)), Path(path).absolute())


def is_input(path: str | os.PathLike) -> bool:
    """Whether `path` is a file that the running command reads, by whatever name."""
    try:
        source = _read[-1].get(_identity(os.stat(path))) if _read else None
        return source is not None and os.path.samefile(source, path)  # a number on disk may have gone to another file
    except (OSError, ValueError):
        return False


def refuse_input(path: str | os.PathLike, *, doing: str = "replace") -> None:
    """Raises when writing, moving or removing `path` (a file, or a folder with what is in it) would lose an input."""
    if is_input(path):
        raise InputError(
            f"the output is one of the files that this command reads: it would {doing} it", where=path,
            hint="choose another -o",
        )  # fmt: skip
    folder = Path(os.path.realpath(path))
    if not folder.is_dir():
        return
    for source in _read[-1].values() if _read else ():
        if folder in Path(os.path.realpath(source)).parents:
            raise InputError(
                f"a file in the output folder is read by this command: it would {doing} it", where=source,
                hint="choose another -o",
            )  # fmt: skip


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
