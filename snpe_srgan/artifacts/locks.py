"""Locks on folders: the system drops them with the process, however it ends, and they leave no file behind.

handle = try_lock(folder)            # None: this file system has no such locks
with exclusive(folder, "another training is at work in this run folder"): ...
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from snpe_srgan.errors import InputError
from snpe_srgan.opener import os_error

CAN_LOCK = importlib.util.find_spec("fcntl") is not None  # not on Windows


class FolderIsLocked(Exception):
    """Another process holds the lock."""


def try_lock(folder: Path) -> int | None:
    """Locks a folder and returns the handle that holds the lock until it is closed.

    Returns:
        None where folders cannot be locked (Windows, some network file systems).

    Raises:
        FolderIsLocked: another process holds it.
        OSError: the folder is not there or cannot be opened.
    """
    if not CAN_LOCK:
        return None
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        locked = _flock(handle)
    except FolderIsLocked:
        os.close(handle)
        raise
    if not locked:
        os.close(handle)
    return handle if locked else None


def lock_open_file(file: IO[bytes]) -> bool:
    """Locks an open file until it is closed; whether this system and its file system could.

    Raises:
        FolderIsLocked: another process holds the lock.
    """
    return CAN_LOCK and _flock(file.fileno())


def _flock(handle: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise FolderIsLocked from error
        return False
    return True


@contextlib.contextmanager
def exclusive(folder: Path, busy: str, *, hint: str = "choose another --run-dir") -> Iterator[None]:
    """Keeps other processes out of a folder that is there; `InputError(busy)` when one is in it already.

    Args:
        folder: must be there.
        busy: the error's words when another process is in it.

    Raises:
        InputError: another process is in it, or it cannot be opened. Where the system or file system has no locks,
            nobody is kept out.
    """
    try:
        handle = try_lock(folder)
    except FolderIsLocked as error:
        raise InputError(busy, where=folder, hint=hint) from error
    except OSError as error:
        raise os_error(error, folder, "look into the folder") from error
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
