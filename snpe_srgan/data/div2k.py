"""Bring DIV2K to a folder: download what is missing, check it, unpack it, remove the zip file.

    fetch(select(["train", "valid"], [4]), "data/DIV2K")

An archive whose pictures are all there is not touched, so the same command finishes an interrupted one.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from snpe_srgan.artifacts.files import make_folder, os_error, sha256
from snpe_srgan.data.catalogue import BASE_URL, Archive
from snpe_srgan.data.download import download, require_space
from snpe_srgan.data.extract import extract
from snpe_srgan.errors import InputError
from snpe_srgan.progress import SILENT, Say


@dataclasses.dataclass(frozen=True)
class Fetched:
    """One archive's pictures, in place."""

    archive: str
    folder: Path
    pictures: int
    downloaded: bool  # False: they were there already
    verified: str  # by what


def fetch(
    archives: Iterable[Archive],
    root: str | os.PathLike,
    *,
    mirror: str = BASE_URL,
    keep_archives: bool = False,
    overwrite: bool = False,
    say: Say = SILENT,
) -> list[Fetched]:
    """Downloads and unpacks archives that are not there yet.

    Args:
        root: the folder that holds the picture folders and, meanwhile, the zip files.
        mirror: the address that the files lie below.
        keep_archives: whether zip files stay when they are unpacked.
        overwrite: whether picture folders that are incomplete are replaced.
        say: called with progress.

    Returns:
        One entry for each archive, in order.

    Raises:
        InputError: an archive is not the published one, a picture folder is incomplete and may not be replaced, the
            download fails, or the disk has no room.
    """
    root = make_folder(root)
    todo = [(archive, _is_complete(archive, root, overwrite)) for archive in archives]
    done = []
    for archive, complete in todo:
        verified = "all its pictures are there"
        if not complete:
            verified = _fetch_one(archive, root, mirror, overwrite, say)
            if not keep_archives:
                (root / archive.file).unlink()
        done.append(Fetched(archive.file, root / archive.folder, len(archive.pictures), not complete, verified))
    return done


def _is_complete(archive: Archive, root: Path, overwrite: bool) -> bool:
    """Whether all pictures are there; some of them are an error, because they may be somebody's work."""
    folder = root / archive.folder
    if not folder.exists():
        return False
    there = [name for name in archive.pictures if (folder / name).is_file() and (folder / name).stat().st_size]
    if len(there) < len(archive.pictures) and not overwrite:
        raise InputError(
            f"{len(there)} of {len(archive.pictures)} pictures are in a folder that should hold all or not exist",
            where=folder,
            hint="add --overwrite to replace the folder, or remove it",
        )
    return len(there) == len(archive.pictures)


def _fetch_one(archive: Archive, root: Path, mirror: str, overwrite: bool, say: Say) -> str:
    """Downloads (or takes a zip file that is there), checks and unpacks; returns what the check was."""
    path = root / archive.file
    try:
        if path.exists():
            say(f"{archive.file}: there already, checking it")
            _check(archive, path)
        else:
            size = archive.size or 0
            part = path.with_name(path.name + ".part")
            require_space(root, 2 * size - (part.stat().st_size if part.exists() else 0))  # the zip and its pictures
            say(f"{archive.file}: {size / 1e6:,.0f} MB from {mirror}")
            url = f"{mirror.rstrip('/')}/{archive.file}"
            download(url, path, size=archive.size, sha256=archive.sha256, say=say)
    except OSError as error:
        raise os_error(error, path, "store the archive") from error
    extract(path, root / archive.folder, archive.pictures, overwrite=overwrite, say=say)
    return "SHA-256" if archive.sha256 else "size and zip CRC-32 (no checksum is published)"


def _check(archive: Archive, path: Path) -> None:
    size = path.stat().st_size
    wrong_sum = archive.sha256 is not None and sha256(path) != archive.sha256
    if wrong_sum or archive.size not in (None, size):
        raise InputError("this is not the published archive", where=path, hint="delete it, it is downloaded again")
