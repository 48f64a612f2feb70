"""Files are written whole or not at all: in a hidden folder beside their place (staging.py), then they get their name.

Every write of every command goes through here. A file that the command itself reads is never replaced (inputs.py).

An existing file is kept unless the caller says `overwrite=True`, and every operating-system failure (full disk,
read-only folder, a folder in the way) becomes one `InputError` that names the path.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from snpe_srgan.artifacts.inputs import refuse_input
from snpe_srgan.artifacts.staging import NEW, OLD, note_move, note_new, recover, staging
from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular, read_text
from snpe_srgan.opener import os_error as os_error  # under this name every folder uses it

TAKEN = "the output exists already"

LONGEST_NAME = 255  # bytes of one name, on every common file system


def make_folder(path: str | os.PathLike) -> Path:
    """Creates a folder and its parents; returns it.

    Raises:
        InputError: it cannot be made, or a file is in its place.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_error(error, path, "create the folder") from error
    return path


def require_writable(folder: str | os.PathLike) -> Path:
    """Raises unless `folder` can be written or made, changing nothing: for before long work."""
    folder = Path(folder)
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
        if not there.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        for part in folder.parts:
            if len(os.fsencode(part)) > LONGEST_NAME:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    except OSError as error:  # of a current folder that was removed, too
        raise os_error(error, folder, "write into the folder") from error
    return folder


def refuse_overwrite(path: str | os.PathLike, overwrite: bool) -> Path:
    """Raises unless `path` is free or may be replaced; call it before long work, not after.

    What the running command reads is never replaced. What a killed run left half done is put in order first.
    """
    path = Path(path)
    try:
        recover(path.parent)
        if path.is_dir():
            raise InputError("the output is a folder, a file name is needed", where=path)
        refuse_input(path)
        if os.path.lexists(path):
            if not overwrite:
                raise InputError(TAKEN, where=path, hint="add --overwrite, or choose another -o")
            require_replaceable(path)
        elif len(os.fsencode(path.name)) > LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    except (OSError, ValueError) as error:
        raise _write_error(error, path) from error
    return path


def require_replaceable(path: Path) -> None:
    """Raises where something stands that no file may take the place of; a link is replaced, not what it leads to."""
    if path.is_dir():
        raise InputError("the output is a folder, a file name is needed", where=path)
    if path.exists() and not path.is_file():
        raise InputError("the output is no file but a device, a pipe or a socket", where=path)


def _write_error(error: OSError | ValueError, path: Path) -> InputError:
    if isinstance(error, OSError):
        return os_error(error, path, "write the file")
    return InputError(f"cannot write the file: {error}", where=path)  # a NUL character in its name


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a path of the same name in a hidden folder beside `path`; what is written there becomes `path` on success.

    The file is flushed to disk before it gets its name, so a crash leaves either the old file or the whole new one.
    Without `overwrite` a name is only ever given to a file where there is none, even if two processes try at once.

    Raises:
        InputError: the file is there and may not be replaced, is one that the command reads, or cannot be written.
    """
    path = refuse_overwrite(path, overwrite)
    make_folder(path.parent)
    with staging(path.parent) as work:
        temporary = work / path.name
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            refuse_input(path)
            _put(temporary, path, overwrite)
        except OSError as error:
            raise os_error(error, path, "write the file") from error


def _put(temporary: Path, path: Path, overwrite: bool) -> None:
    """Gives a finished file its name. A link is made only where nothing is: that is what a rename cannot promise."""
    if overwrite or not os.path.lexists(path):
        note_new(path, temporary)
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise InputError(TAKEN, where=path, hint="another command has just written it") from error
    except OSError:  # a file system without hard links (FAT): the small gap between look and rename stays
        refuse_overwrite(path, overwrite)
        os.replace(temporary, path)


def refuse_folder(path: str | os.PathLike, overwrite: bool, *, mark: str | None = None) -> Path:
    """Raises unless the folder `path` is free or may be replaced; call it before long work, not after.

    Args:
        mark: a file that each folder of this kind holds. A folder without it, and not empty, is somebody's own: it is
            never replaced, whatever flag is given. None: the caller chose the name, not the user.
    """
    path = Path(path)
    recover(path.parent)
    if os.path.lexists(path) and not overwrite:
        raise InputError(TAKEN, where=path, hint="add --overwrite, or choose another -o")
    refuse_input(path)
    if mark is not None and path.is_dir() and not (path / mark).is_file():
        try:
            empty = not any(path.iterdir())
        except OSError as error:
            raise os_error(error, path, "read the folder") from error
        if not empty:
            raise InputError(
                f"the folder holds other files and no {mark}: it is not replaced", where=path, hint="choose another -o"
            )
    return path


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, *, overwrite: bool = False, mark: str | None = None) -> Iterator[Path]:
    """Like `atomic_write` for a whole folder: yields a temporary folder that becomes `path` on success.

    The old folder is moved aside and removed only when the new one is in its place; a kill between the two leaves both
    in the hidden folder, and the next run puts one of them back. `mark`: as of `refuse_folder`.

    Args:
        overwrite: whether a folder that is there may be replaced.

    Raises:
        InputError: the folder is there and may not be replaced, is one that the command reads, or cannot be written.
    """
    path = refuse_folder(path, overwrite, mark=mark)
    make_folder(path.parent)
    with staging(path.parent) as work:
        try:
            (work / NEW).mkdir()
            yield work / NEW
            refuse_input(path)
            if not os.path.lexists(path):
                note_new(path, work / NEW)
            elif overwrite:
                note_move(work, path)
                os.replace(path, work / OLD)
            os.rename(work / NEW, path)
        except OSError as error:
            if not overwrite and path.exists():
                raise InputError(TAKEN, where=path, hint="another command has just written it") from error
            if (work / OLD).exists() and not os.path.lexists(path):
                os.rename(work / OLD, path)
            raise os_error(error, path, "write the folder") from error


def remove(path: str | os.PathLike) -> None:
    """Removes a file, a link or a whole folder, but never one that the running command reads.

    Raises:
        InputError: it is one that the command reads, or cannot be removed. That nothing is there is no error.
    """
    path = Path(path)
    refuse_input(path, doing="remove")
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    except OSError as error:
        raise os_error(error, path, "remove the file") from error


def write_bytes(path: str | os.PathLike, data: bytes, *, overwrite: bool = False) -> Path:
    """Writes a file whole or not at all (see `atomic_write`).

    Args:
        overwrite: whether a file that is there may be replaced.

    Raises:
        InputError: the file is there and may not be replaced, is one that the command reads, or cannot be written.
    """
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: str | os.PathLike, text: str, *, overwrite: bool = False) -> Path:
    """Writes UTF-8 text whole or not at all.

    Args:
        text: lone surrogates are written as backslash escapes; line ends are left as they are.
        overwrite: as of `write_bytes`, and so are the errors.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"), overwrite=overwrite)


def write_json(path: str | os.PathLike, value: object, *, overwrite: bool = False) -> Path:
    """Writes strict JSON (no NaN), two spaces of indent, a final newline.

    Args:
        value: plain data; NaN, infinity or another type is a `ValueError` or `TypeError` of the program.
        overwrite: as of `write_bytes`, and so are the errors.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", overwrite=overwrite)


def read_json(path: str | os.PathLike) -> object:
    """The value in a JSON file of at most 16 MB; `InputError` for whatever is none.

    Numbers of thousands of digits and brackets nested by the thousand are refused as well: Python gives up on them.
    """
    try:
        return json.loads(read_text(path), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON file: {error}"[:200], where=path) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits.

    Raises:
        InputError: it is no regular file, or cannot be read.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        try:
            while block := file.read(1 << 20):
                digest.update(block)
        except OSError as error:
            raise os_error(error, path, "read the file") from error
    return digest.hexdigest()
