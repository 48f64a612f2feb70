"""Where pictures lie: files that every worker sees, or addresses of fsspec (s3://, gs://, http://, memory://).

find("s3://bucket/photos")                     # the pictures below it, as addresses
fetch("s3://bucket/photos/1.jpg", folder)      # a local copy
publish(folder / "1_x4.png", "s3://bucket/out/1_x4.png")
"""

from __future__ import annotations

import contextlib
import glob
import os
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.imaging.kinds import SUFFIXES

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LOCAL = "file://"
WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "az", "memory"}  # an object of these is seen when it is complete, not before


def is_remote(address: str) -> bool:
    """Whether an address is fsspec's to open; `file://` is a local path in other words."""
    return "://" in address and not address.startswith(LOCAL)


def normal(address: str) -> str:
    """A local path made absolute, as workers have other current folders; other addresses as they are."""
    return address if is_remote(address) else os.path.abspath(address.removeprefix(LOCAL))


def join(folder: str, name: str) -> str:
    """The address of a file or folder `name` in a folder, local or remote."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)


def path_of(address: str) -> PurePath:
    """What names are made from: the path in an address, without the question of a web address."""
    return PurePosixPath(address.split("://", 1)[1].split("?")[0]) if is_remote(address) else Path(address)


def open_filesystem(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the path in it.

    Raises:
        UsageError: nobody knows the protocol.
        MissingToolError: a package for it is missing.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        protocol = address.split("://")[0]
        raise MissingToolError(f"{protocol}:// needs a package: {error}", where=address) from error
    except ValueError as error:
        raise UsageError(f"no such kind of address: {error}", where=address) from error


@contextlib.contextmanager
def _as_input_errors(doing: str, address: str) -> Iterator[None]:
    """Whatever a store's library throws becomes one error that names the address."""
    try:
        yield
    except SnpeSrganError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"cannot {doing}: there is no such file", where=address) from error
    except ImportError as error:
        raise MissingToolError(f"cannot {doing}: {error}", where=address) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"cannot {doing}: {reason}", where=address) from error


def find(address: str) -> list[str]:
    """The pictures of a remote folder, of a pattern (`s3://bucket/*/*.jpg`), or the one at the address.

    Raises:
        InputError: there is none, or it cannot be looked for.
    """
    filesystem, path = open_filesystem(address)
    with _as_input_errors("look for pictures", address):
        if glob.has_magic(path):
            found = filesystem.glob(path)
        elif not address.endswith("/") and path_of(address).suffix.lower() in SUFFIXES:
            return [address]  # whether it is there is seen when it is read
        else:
            found = filesystem.find(path, maxdepth=1)
        names = [str(filesystem.unstrip_protocol(name)) for name in found]
    pictures = [name for name in names if path_of(name).suffix.lower() in SUFFIXES]
    if not pictures:
        others = f" ({len(names)} files of other kinds)" if names else ""
        raise InputError(f"there is no picture{others}", where=address, hint=f"pictures end in {', '.join(SUFFIXES)}")
    return pictures


def names_below(folder: str) -> set[str]:
    """Paths of the files below a folder, relative to it; empty where there is none yet."""
    if not is_remote(folder):
        return {
            os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names
        }
    filesystem, path = open_filesystem(folder)
    with _as_input_errors("list the folder", folder), contextlib.suppress(FileNotFoundError):
        return {str(PurePosixPath(name).relative_to(path)) for name in filesystem.find(path)}
    return set()


def exists(address: str) -> bool:
    """Whether something is at an address; a local link counts even where it leads nowhere.

    Raises:
        InputError: the store cannot be asked.
        UsageError: nobody knows the protocol.
        MissingToolError: a package for it is missing.
    """
    if not is_remote(address):
        return os.path.lexists(address)
    filesystem, path = open_filesystem(address)
    with _as_input_errors("look for the file", address):
        return bool(filesystem.exists(path))


def fetch(address: str, folder: Path) -> Path:
    """A remote file as a local one in `folder`, under its own name; a local one as it is.

    Raises:
        InputError: it is not there, or cannot be read.
    """
    if not is_remote(address):
        return Path(address)
    filesystem, path = open_filesystem(address)
    target = folder / (path_of(address).name or "picture")
    with _as_input_errors("read the picture", address):
        filesystem.get_file(path, str(target))
    return target


def publish(file: Path, address: str) -> None:
    """Puts a local file at a remote address, whole or not at all.

    Stores of objects show an object when it is complete. Elsewhere it gets its name when it is all there.

    Raises:
        InputError: it cannot be written.
    """
    filesystem, path = open_filesystem(address)
    protocols = {filesystem.protocol} if isinstance(filesystem.protocol, str) else set(filesystem.protocol)
    with _as_input_errors("write the picture", address):
        if protocols & WHOLE:
            filesystem.put_file(str(file), path)
            return
        parent, _, name = path.rpartition("/")
        filesystem.makedirs(parent, exist_ok=True)
        unfinished = f"{parent}/.{name}.{uuid.uuid4().hex}.part"
        try:
            filesystem.put_file(str(file), unfinished)
            filesystem.mv(unfinished, path)
        except BaseException:
            with contextlib.suppress(Exception):
                filesystem.rm_file(unfinished)
            raise
