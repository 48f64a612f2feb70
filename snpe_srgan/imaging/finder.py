"""Finds pictures: the one way from what was typed (file, folder, glob) to files, with a count of what was left out.

    found = find_pictures("photos", deep=True)
    found.pictures, found.passed.line()     # "passed over: 3 files of other kinds (2 .txt, 1 .xmp), 2 hidden"

Linked folders are followed, each once, so a loop of links ends. A link that leads nowhere, a folder that may not be
read: each is named and stops nothing.
"""

from __future__ import annotations

import collections
import contextlib
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.artifacts.inputs import reading
from snpe_srgan.errors import InputError, nearest
from snpe_srgan.imaging.kinds import SUFFIXES

NAMED = 3  # broken links and the like that are named; the others are counted


@dataclass
class Passed:
    """What a search left out.

    Attributes:
        kinds: suffix -> number of files of other kinds.
        hidden: files and folders whose name begins with a dot.
        folders: folders that were not searched.
        repeated: further names of a file or folder that is counted already.
        broken: links that lead nowhere, and where they would lead.
        unreadable: folders that could not be read, and why.
    """

    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    hidden: int = 0
    folders: int = 0
    repeated: int = 0
    broken: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def add(self, other: Passed) -> None:
        """Counts what another search has passed over."""
        self.kinds.update(other.kinds)
        self.hidden += other.hidden
        self.folders += other.folders
        self.repeated += other.repeated
        self.broken += other.broken
        self.unreadable += other.unreadable

    def line(self) -> str | None:
        """One line for people, None when nothing was left out."""
        parts = []
        if self.kinds:
            names = ", ".join(f"{n} {kind or 'without a suffix'}" for kind, n in self.kinds.most_common(6))
            more = ", ..." if len(self.kinds) > 6 else ""
            parts.append(f"{_count(self.kinds.total(), 'file')} of other kinds ({names}{more})")
        parts += [f"{self.hidden} hidden"] if self.hidden else []
        parts += [f"{_count(self.folders, 'folder')} in it"] if self.folders else []
        parts += [f"{_count(self.repeated, 'link')} to what is counted already"] if self.repeated else []
        for what, named in (("broken link", self.broken), ("unreadable folder", self.unreadable)):
            if named:
                more = ", ..." if len(named) > NAMED else ""
                parts.append(f"{_count(len(named), what)} ({', '.join(named[:NAMED])}{more})")
        return "passed over: " + ", ".join(parts) if parts else None


@dataclass(frozen=True)
class Found:
    """Pictures in natural order, each file once, and what was left out on the way."""

    pictures: tuple[Path, ...]
    passed: Passed


def natural_key(path: Path) -> tuple:
    """Sorts `2.png` before `10.png`, capitals beside small letters."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((1, int(part), part) if part.isdecimal() else (0, 0, part.lower()) for part in parts), str(path)


def find_pictures(path: str | os.PathLike, *, deep: bool = False) -> Found:
    """The pictures of a file, a folder or a glob (`photos/**/*.jpg`); never none.

    A single file is taken whatever its name; in folders and globs other files, and hidden ones, are passed over.

    Args:
        deep: search the folders in a folder as well.

    Raises:
        InputError: there is no such file, no picture in the folder, or none that matches.
    """
    text = os.fspath(path)
    if text == "":  # an unset variable of a script, and no wish to take the current folder
        raise InputError("the name of a picture or folder is empty", hint="`.` is the current folder")
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        if glob.has_magic(text) and not os.path.lexists(text):
            return _matching(text)
        raise missing(Path(path), error) from error
    if not stat.S_ISDIR(status.st_mode):
        reading(path)
        return Found((Path(path),), Passed())
    found = find_in_folder(Path(path), deep=deep)
    if not found.pictures:
        seen = found.passed.line()
        raise InputError(
            "there is no picture in this folder" + (f" ({seen})" if seen else ""), where=path,
            hint=f"pictures end in {', '.join(SUFFIXES)}",
        )  # fmt: skip
    return found


def find_in_folder(folder: Path, *, deep: bool) -> Found:
    """The pictures in a folder that is there; perhaps none. An `InputError` when it cannot be read itself."""
    passed = Passed()
    try:
        files = list(_files(folder, passed, deep=deep))
    except OSError as error:
        raise os_error(error, folder, "read the folder") from error
    return Found(_once(files, passed), passed)


def _files(folder: Path, passed: Passed, *, deep: bool) -> Iterator[Path]:
    """Picture files below `folder`. Real folders come before linked ones, so a picture keeps its shortest name."""
    seen = {_identity(os.stat(folder))}
    waiting, linked = collections.deque([folder]), collections.deque[Path]()
    while waiting or linked:
        place = (waiting or linked).popleft()
        try:
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if place == folder:
                raise
            passed.unreadable.append(f"{place}: {error.strerror}")
            continue
        for entry in entries:
            path = place / entry.name
            if entry.name.startswith("."):
                passed.hidden += 1
                continue
            try:
                status = os.stat(path)
            except OSError:
                passed.broken.append(_broken(path))
                continue
            if stat.S_ISDIR(status.st_mode):
                if not deep:
                    passed.folders += 1
                elif _identity(status) in seen:
                    passed.repeated += 1
                else:
                    seen.add(_identity(status))
                    (linked if entry.is_symlink() else waiting).append(path)
            elif stat.S_ISREG(status.st_mode) and path.suffix.lower() in SUFFIXES:
                yield path
            else:
                passed.kinds[path.suffix.lower()] += 1


def _once(files: Iterable[Path], passed: Passed) -> tuple[Path, ...]:
    """Each file by one name, in natural order: its own before a link's."""
    kept: dict[str, Path] = {}
    for path in sorted(files, key=lambda p: (p.is_symlink(), natural_key(p))):
        if kept.setdefault(os.path.realpath(path), path) is not path:
            passed.repeated += 1
    for path in kept.values():
        reading(path)
    return tuple(sorted(kept.values(), key=natural_key))


def _matching(pattern: str) -> Found:
    passed, files = Passed(), []
    for match in glob.iglob(pattern, recursive=True):
        path = Path(match)
        if path.is_dir():
            continue
        if path.is_symlink() and not path.exists():
            passed.broken.append(_broken(path))
        elif path.name.startswith("."):
            passed.hidden += 1
        elif path.is_file() and path.suffix.lower() in SUFFIXES:
            files.append(path)
        else:
            passed.kinds[path.suffix.lower()] += 1
    found = _once(files, passed)
    if not found:
        raise InputError("no picture matches this pattern", where=pattern, hint="quote it: 'photos/*.png'")
    return Found(found, passed)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _broken(path: Path) -> str:
    with contextlib.suppress(OSError):
        return f"{path} -> {os.readlink(path)}"
    return str(path)


def missing(path: Path, error: OSError | ValueError) -> InputError:
    """Why `path`, of which `os.stat` raised `error`, is no picture and no folder: a broken link is called one."""
    if isinstance(error, ValueError):  # a NUL character
        return InputError(f"no such picture or folder: {error}", where=path)
    if path.is_symlink():
        return InputError(f"a broken link: it leads to {os.readlink(path)} ({error.strerror})", where=path)
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return os_error(error, path, "read the picture")
    if not path.parent.is_dir():
        return InputError("no such picture or folder", where=path, hint=f"there is no folder {path.parent} either")
    match = None
    with contextlib.suppress(OSError):
        match = nearest(path.name, [name for name in os.listdir(path.parent) if name != path.name])
    hint = f"did you mean '{path.parent / match}'?" if match else None
    return InputError("no such picture or folder", where=path, hint=hint)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
