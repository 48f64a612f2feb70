"""Files and folders that are gone on with in place: logs, journals, unfinished downloads, a run's checkpoints.

    with open_own(folder / "log.txt") as file: ...          # made where it is missing, else appended to
    require_own_folders([folder / "tb", folder / "checkpoints"])

Everything else is replaced whole (files.py). A folder that comes from a stranger may hold a link where such a file is:
to write there would change whatever the link leads to, and a pipe would wait for ever. So such a file must be a regular
one that has this one name, and such a folder a folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from snpe_srgan.artifacts.staging import is_staging
from snpe_srgan.errors import InputError
from snpe_srgan.opener import KINDS, os_error

HINT = "remove it, or put a copy in its place"
FLAGS = ("O_RDWR", "O_APPEND", "O_CREAT", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")


def open_own(path: str | os.PathLike, *, doing: str = "write the file") -> BinaryIO:
    """A file to read and to append to, made where it is missing.

    Args:
        doing: what an error says could not be done, e.g. "write the logs".

    Raises:
        InputError: a link, a pipe, a device or a folder stands there, the file has a second name (a hard link), or the
            system refuses.
    """
    flags = 0
    for name in FLAGS:  # not every system has each
        flags |= getattr(os, name, 0)
    try:
        if os.path.lexists(path):
            _require_file(os.lstat(path), path, doing)  # before it is opened: to open a device may do something already
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise os_error(error, path, doing) from error
    except ValueError as error:  # a NUL character in the name
        raise InputError(f"cannot {doing}: {error}", where=os.fspath(path)) from error
    try:
        _require_file(os.fstat(handle), path, doing)  # it may be another one by now
        return os.fdopen(handle, "a+b")
    except BaseException:
        os.close(handle)
        raise


def require_own_folders(paths: Iterable[str | os.PathLike], *, doing: str = "write into the folder") -> None:
    """Raises unless each path is missing, or a folder in which there are files and such folders and nothing else."""
    for path in paths:
        try:
            if not os.path.lexists(path):
                continue
            if not stat.S_ISDIR(status := os.lstat(path).st_mode):
                raise _not_own(status, path, doing, "a folder")
            with os.scandir(os.fspath(path)) as entries:
                inside = [(entry.path, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
        except OSError as error:
            raise os_error(error, path, doing) from error
        for name, mode in inside:
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _not_own(mode, name, doing, "a file")
        require_own_folders([name for name, mode in inside if stat.S_ISDIR(mode)], doing=doing)


def work_folder(path: str | os.PathLike) -> Path:
    """A folder in which unfinished work is gone on with, file by file in place; made where it is missing."""
    path, doing = Path(path), "go on with the unfinished work"
    try:
        if path.is_symlink():
            raise _not_own(path.lstat().st_mode, path, doing, "a folder")
        path.mkdir(parents=True, exist_ok=True)
        with os.scandir(path) as entries:
            # where another process is just now making a file nothing is written in place
            inside = [(e.path, e.stat(follow_symlinks=False)) for e in entries if not is_staging(e)]
    except OSError as error:
        raise os_error(error, path, doing) from error
    for name, status in inside:
        _require_file(status, name, doing, hint=f"remove the folder {path.name}")
    return path


def _require_file(status: os.stat_result, path: str | os.PathLike, doing: str, hint: str = HINT) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _not_own(status.st_mode, path, doing, "a file", hint)
    if status.st_nlink > 1:
        raise InputError(f"cannot {doing}: the file has a second name (a hard link)", where=path, hint=hint)


def _not_own(mode: int, path: str | os.PathLike, doing: str, wanted: str, hint: str = HINT) -> InputError:
    kinds = ((stat.S_ISLNK, "a link"), (stat.S_ISREG, "a file"), *KINDS)
    kind = next((what for test, what in kinds if test(mode)), "something else")
    return InputError(f"cannot {doing}: it is {kind}, not {wanted} of this program", where=path, hint=hint)
