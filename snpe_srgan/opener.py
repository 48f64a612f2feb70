"""The one way to open a file that somebody names: a model, a picture, a config, a card.

    data = read_regular(path, limit=MAX_BYTES)          # the bytes of a regular file, at most so many
    with open_regular(path) as file: ...                # the same check for what is read piece by piece

A FIFO waits for ever, `/dev/zero` never ends, a folder and a socket hold no bytes: each is refused before a byte is
read. Every failure of the operating system becomes one `InputError` that names the path.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from snpe_srgan.errors import InputError

HINTS = {
    errno.ENOSPC: "free some disk space, or choose another output folder with -o",
    errno.EDQUOT: "free some of your quota, or choose another output folder with -o",
    errno.EROFS: "choose a writable output folder with -o",
    errno.EACCES: "choose a writable output folder with -o",
    errno.EPERM: "choose a writable output folder with -o",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another output with -o",
}
READING_HINTS = {
    errno.EACCES: "ask its owner for the right to read it",
    errno.EPERM: "ask its owner for the right to read it",
    errno.ENAMETOOLONG: "choose a shorter name",
}
NO_PLACE = "No usable temporary directory found"
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def os_error(error: OSError, path: object, doing: str) -> InputError:
    """The `InputError` that says which path an operating-system failure hit.

    Args:
        error: what the system raised.
        path: the file or folder in question, shown as the error's place.
        doing: what failed, as in "cannot DOING: no such file".
    """
    reason = error.strerror or str(error) or type(error).__name__
    if reason.startswith(NO_PLACE):  # of Python's tempfile, which names no file
        return InputError("no folder for temporary files can be written into", where="TMPDIR",
                          hint="set TMPDIR to a folder that can be")  # fmt: skip
    hints = READING_HINTS if doing.startswith("read") else HINTS
    return InputError(f"cannot {doing}: {reason}", where=path, hint=hints.get(error.errno or 0))


def open_regular(path: str | os.PathLike, *, limit: int | None = None, doing: str = "read the file") -> BinaryIO:
    """A regular file, opened for reading bytes.

    Args:
        path: followed where it is a link.
        limit: bytes; a larger file is refused.
        doing: what an error says could not be done, e.g. "read the config".

    Raises:
        InputError: it is missing, cannot be read, is no regular file, or is over `limit`.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)  # O_NONBLOCK: a FIFO that nobody writes to must not hold us up
    except OSError as error:
        if error.errno == errno.ENXIO:  # what open() says of a socket
            raise InputError(f"cannot {doing}: it is a socket, not a file", where=path) from error
        raise os_error(error, path, doing) from error
    except ValueError as error:  # a NUL character in the name
        raise InputError(f"cannot {doing}: {error}", where=os.fspath(path)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            kind = next((what for test, what in KINDS if test(status.st_mode)), "something else")
            raise InputError(f"cannot {doing}: it is {kind}, not a file", where=path)
        if limit is not None and status.st_size > limit:
            raise _too_large(limit, path, doing)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | os.PathLike, *, limit: int, doing: str = "read the file") -> bytes:
    """The bytes of a regular file; see `open_regular`.

    Of a file that grows meanwhile the beginning is read. One that says it is empty and gives bytes all the same (below
    /proc) is held to `limit` too.

    Args:
        limit: bytes; a larger file is refused.
        doing: what an error says could not be done, e.g. "read the config".

    Raises:
        InputError: it is missing, cannot be read, is no regular file, or is over `limit` or the memory that is left.
    """
    with open_regular(path, limit=limit, doing=doing) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = file.read(size) if size else _read_piecewise(file, limit)
        except OSError as error:
            raise os_error(error, path, doing) from error
        except MemoryError as error:
            raise InputError(f"cannot {doing}: it is larger than the memory that is left", where=path) from error
    if len(data) > limit:
        raise _too_large(limit, path, doing)
    return data


def read_text(path: str | os.PathLike, *, limit: int = 1 << 24, doing: str = "read the file") -> str:
    """UTF-8 text of a regular file (a byte order mark is left out); see `read_regular`.

    Args:
        limit: bytes; a larger file is refused.
        doing: what an error says could not be done, e.g. "read the config".

    Raises:
        InputError: as of `read_regular`, or it is not UTF-8 text.
    """
    try:
        return read_regular(path, limit=limit, doing=doing).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot {doing}: it is not UTF-8 text", where=path) from error


def _read_piecewise(file: BinaryIO, limit: int) -> bytes:
    """At most `limit` + 1 bytes of a file that does not tell its size."""
    pieces = bytearray()
    while len(pieces) <= limit and (piece := file.read(min(1 << 20, limit + 1 - len(pieces)))):
        pieces += piece
    return bytes(pieces)


def _too_large(limit: int, path: str | os.PathLike, doing: str) -> InputError:
    size = f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit} bytes"
    return InputError(f"cannot {doing}: it is larger than {size}", where=path)
