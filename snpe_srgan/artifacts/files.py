"""Files are written whole or not at all: a temporary name in the same folder, then a rename.

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
import tempfile
from collections.abc import Iterator
from pathlib import Path

from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular, read_text
from snpe_srgan.opener import os_error as os_error  # under this name every folder uses it


def make_folder(path: str | os.PathLike) -> Path:
    """Creates a folder and its parents; returns it."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_error(error, path, "create the folder") from error
    return path


def require_writable(folder: str | os.PathLike) -> Path:
    """Raises unless `folder` can be written or made, changing nothing: for before long work."""
    folder = Path(folder)
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    wrong = errno.ENOTDIR if not there.is_dir() else None if os.access(there, os.W_OK | os.X_OK) else errno.EACCES
    if wrong is not None:
        raise os_error(OSError(wrong, os.strerror(wrong)), folder, "write into the folder")
    return folder


def refuse_overwrite(path: str | os.PathLike, overwrite: bool) -> Path:
    """Raises unless `path` is free or may be replaced; call it before long work, not after."""
    path = Path(path)
    if path.is_dir():
        raise InputError("the output is a folder, a file name is needed", where=path)
    if path.exists() and not overwrite:
        raise InputError("the output exists already", where=path, hint="add --overwrite, or choose another -o")
    return path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` on success, deletes it on any failure.

    The temporary file keeps the suffix of `path` (encoders choose their format by it). It is flushed to disk before
    the rename, so a crash leaves either the old file or the whole new one.
    """
    path = refuse_overwrite(path, overwrite)
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise os_error(error, path, "write the file") from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        _usual_mode(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise os_error(error, path, "write the file") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Like `atomic_write` for a whole folder: yields a temporary folder that becomes `path` on success."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError("the output exists already", where=path, hint="add --overwrite, or choose another -o")
    make_folder(path.parent)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    except OSError as error:
        raise os_error(error, path, "create the folder") from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except OSError as error:
        raise os_error(error, path, "write the folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: str | os.PathLike, data: bytes, *, overwrite: bool = False) -> Path:
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: str | os.PathLike, text: str, *, overwrite: bool = False) -> Path:
    return write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def write_json(path: str | os.PathLike, value: object, *, overwrite: bool = False) -> Path:
    """Writes strict JSON (no NaN), two spaces of indent, a final newline."""
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
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        try:
            while block := file.read(1 << 20):
                digest.update(block)
        except OSError as error:
            raise os_error(error, path, "read the file") from error
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _usual_mode(path: Path) -> None:
    path.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
