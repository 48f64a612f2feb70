"""Take known pictures out of a zip file that may come from a stranger.

The names inside the archive never become paths: a member is written under one of the names that the caller expects,
into a temporary folder that is renamed when all of them are there. So nothing can escape, and nothing half-extracted
looks finished. An archive that tries (`..`, absolute names, links, a bomb) is refused as a whole.
"""

from __future__ import annotations

import lzma
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from snpe_srgan.artifacts.files import atomic_folder, os_error
from snpe_srgan.data.download import require_space
from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular
from snpe_srgan.progress import SILENT, Say, track

EXPANSION = 4  # PNG files do not shrink in a zip: an honest archive unpacks to about its own size
_DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError, ValueError)
ALLOWANCE = 1 << 20  # bytes, for tiny archives


def extract(archive: Path, target: Path, names: Sequence[str], *, overwrite: bool = False, say: Say = SILENT) -> None:
    """Writes members of a zip file to a folder, all or none.

    Args:
        target: the folder; made here.
        names: file names without a folder; the members may lie anywhere inside.
        overwrite: whether the folder may exist already; it is replaced.
        say: called with progress.

    Raises:
        InputError: the archive is damaged, lacks a name or tries to escape, the folder exists and may not, or the disk
            has no room.
    """
    try:
        with open_regular(archive, doing="read the archive") as file, zipfile.ZipFile(file) as zipped:
            members = _choose(zipped, archive, set(names))
            missing = [name for name in names if name not in members]
            if missing:
                raise _bad(archive, f"{len(missing)} of {len(names)} pictures are not in it: {', '.join(missing[:5])}")
            require_space(target.parent if target.parent.exists() else archive.parent, _total(members.values()))
            with (
                atomic_folder(target, overwrite=overwrite) as folder,
                track(say, "unpacking", total=len(names), unit="picture") as progress,
            ):
                for name in names:
                    # zipfile reads at most the declared size and checks the CRC-32 at the end
                    with zipped.open(members[name]) as source, open(folder / name, "wb") as copy:
                        for block in _blocks(source, archive):
                            copy.write(block)
                    progress.advance()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise _bad(archive, str(error) or "it ends too early") from error
    except OSError as error:
        raise os_error(error, archive, "read the archive") from error


def _blocks(source: IO[bytes], archive: Path) -> Iterator[bytes]:
    """What a member holds. Whatever goes wrong here is the archive's fault: bz2 says it with an OSError."""
    while True:
        try:
            block = source.read(1 << 20)
        except _DAMAGES as error:
            raise _bad(archive, str(error) or "it ends too early") from error
        if not block:
            return
        yield block


def _choose(zipped: zipfile.ZipFile, archive: Path, wanted: set[str]) -> dict[str, zipfile.ZipInfo]:
    """The members that are wanted, by name, after a look at all of them."""
    chosen: dict[str, zipfile.ZipInfo] = {}
    for member in zipped.infolist():
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or ":" in name or ".." in name.split("/"):
            raise _bad(archive, f"the name {member.filename!r} points outside its folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _bad(archive, f"{member.filename!r} is a link")
        base = posixpath.basename(name)
        if base in wanted:
            if base in chosen:
                raise _bad(archive, f"{base!r} is in it twice")
            if member.flag_bits & 1:
                raise _bad(archive, f"{member.filename!r} is encrypted")
            chosen[base] = member
    packed = archive.stat().st_size
    if _total(chosen.values()) > EXPANSION * packed + ALLOWANCE:
        raise _bad(archive, f"{packed:,} bytes would unpack to {_total(chosen.values()):,}")
    return chosen


def _total(members) -> int:
    return sum(member.file_size for member in members)


def _bad(archive: Path, reason: str) -> InputError:
    return InputError(
        f"the archive is damaged or no DIV2K archive: {reason}", where=archive, hint="delete it and try again"
    )
