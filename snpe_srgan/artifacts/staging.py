"""Where files are made before they are put in place, and how a run that was killed is tidied up.

    with staging(folder) as work: ...       # a hidden folder in `folder`, removed at the end
    with unfinished(folder): ...            # outputs that belong together: all of them, or what was there before
    recover(folder)                         # what killed runs left in `folder` goes

Everything that is made or noted on the way lies in folders named `.snpe-srgan-*.part`. Each is locked by the process
that works in it, so a folder that can be locked belongs to a dead one: whoever comes next finishes or undoes its work.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from snpe_srgan.artifacts.locks import FolderIsLocked, try_lock
from snpe_srgan.errors import InputError
from snpe_srgan.opener import os_error, read_regular

PREFIX, SUFFIX = ".snpe-srgan-", ".part"
JOURNAL, MOVING = "journal", "moving"  # files in such a folder: see `unfinished` and `atomic_folder`
MAX_JOURNAL = 1 << 24  # bytes
NEW, OLD = "new", "old"  # in a folder for `atomic_folder`; files that are replaced are kept as old-0, old-1, ...

_recovered: set[tuple[int, int]] = set()  # folders that this process has looked through
_journals: list[_Journal] = []


@contextlib.contextmanager
def staging(folder: str | os.PathLike | None = None) -> Iterator[Path]:
    """A hidden folder of one's own in `folder` (the system's folder for temporary files when None)."""
    place = Path(tempfile.gettempdir() if folder is None else folder)
    recover(place)
    path, handle = _make(place)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _make(folder: Path) -> tuple[Path, int | None]:
    """A new folder, and the lock on it. One that is caught before it is locked is given up for another."""
    try:
        while True:
            path = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=folder))
            with contextlib.suppress(FolderIsLocked, FileNotFoundError):
                handle = try_lock(path)
                if handle is None or os.path.samestat(os.fstat(handle), os.stat(path)):
                    return path, handle
    except OSError as error:
        raise os_error(error, folder, "write into the folder") from error


class Scratch(tempfile.TemporaryDirectory):  # type: ignore[type-arg]
    """A temporary folder of the system's: `with Scratch() as name`. What a killed run leaves, the next one removes.

    `cleanup` may be called again, also by two threads at once."""

    def __init__(self) -> None:
        self._closing = threading.Lock()
        recover(tempfile.gettempdir())
        self._handle: int | None = None
        while True:
            super().__init__(prefix=PREFIX, suffix=SUFFIX, ignore_cleanup_errors=True)
            with contextlib.suppress(FolderIsLocked, FileNotFoundError):
                self._handle = try_lock(Path(self.name))
                return
            super().cleanup()

    def cleanup(self) -> None:
        super().cleanup()
        with self._closing:  # a descriptor that is closed twice may be another file's by then
            handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def is_staging(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder in which some process makes a file."""
    ours = entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX)
    return ours and entry.is_dir(follow_symlinks=False)


def recover(folder: str | os.PathLike[str], *, again: bool = False) -> None:
    """Finishes or undoes what killed runs left in `folder`; looks once a process, and once more with `again`."""
    try:
        status = os.stat(folder)
        known = (status.st_dev, status.st_ino)
        if known in _recovered and not again:
            return
        _recovered.add(known)
        with os.scandir(os.fspath(folder)) as entries:
            left = [Path(e.path) for e in entries if e.name.startswith(PREFIX) and e.name.endswith(SUFFIX)]
        for path in left:
            _tidy(path, Path(folder))
    except OSError:
        pass  # no such folder, or none of ours to write into: nothing to tidy


def _tidy(path: Path, folder: Path) -> None:
    if path.is_symlink() or (hasattr(os, "geteuid") and path.stat().st_uid != os.geteuid()):
        return  # in a shared folder (/tmp) others have theirs
    try:
        handle = try_lock(path)
    except (FolderIsLocked, OSError):
        return
    if handle is None:
        return  # no locks here: whether its owner lives cannot be known
    try:
        _finish_move(path, folder)
        _undo(_lines(path / JOURNAL), folder, path)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(handle)


def _finish_move(path: Path, folder: Path) -> None:
    """A folder was being replaced: the old one is out, the new one may not be in yet."""
    for entry in _lines(path / MOVING):
        target = _inside(folder, entry)
        if target is not None and not os.path.lexists(target):
            for source in (path / NEW, path / OLD):
                if source.is_dir():
                    os.replace(source, target)
                    break


def _undo(entries: list[dict[str, object]], folder: Path, work: Path) -> None:
    """Takes away the files that were put in place, unless something else stands there by now; old ones come back."""
    for entry in reversed(entries):
        target, old = _inside(folder, entry), entry.get("old")
        with contextlib.suppress(OSError):
            if target is None or mark_of(os.lstat(target)) != entry.get("mark"):
                continue
            if target.is_dir():
                shutil.rmtree(target)
            elif isinstance(old, int) and os.path.lexists(work / f"{OLD}-{old}"):
                os.replace(work / f"{OLD}-{old}", target)
            else:
                target.unlink()


def mark_of(status: os.stat_result) -> list[int]:
    """What tells one file from another in its place. A folder's own times change with what is put into it."""
    return [status.st_ino, *([] if stat.S_ISDIR(status.st_mode) else [status.st_size, status.st_mtime_ns])]


def _inside(folder: Path, entry: dict[str, object]) -> Path | None:
    """The file that an entry names; None for names that lead elsewhere (a folder may come from a stranger)."""
    name = entry.get("name")
    parts = Path(name).parts if isinstance(name, str) and "\0" not in name else ("..",)
    if not parts or ".." in parts or Path(*parts).is_absolute():
        return None
    place, target = Path(os.path.realpath(folder)), folder.joinpath(*parts)
    parent = Path(os.path.realpath(target.parent))  # a linked folder on the way leads elsewhere too
    return target if place in (parent, *parent.parents) else None


def _lines(path: Path) -> list[dict[str, object]]:
    """A journal's entries; a half-written last one is none."""
    entries: list[dict[str, object]] = []
    if path.is_file() and not path.is_symlink():
        try:
            lines = read_regular(path, limit=MAX_JOURNAL).splitlines()
        except InputError:
            return []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    entries.append(entry)
    return entries


def note_move(work: Path, target: Path) -> None:
    """Before a folder is replaced: `work/new` is whole, and `target` is about to go to `work/old`."""
    with open(work / MOVING, "w", encoding="ascii") as file:
        file.write(json.dumps({"name": target.name}) + "\n")


class _Journal:
    """The files that have appeared in a folder since its `unfinished` began."""

    def __init__(self, folder: Path, work: Path):
        self.folder, self.work = Path(os.path.realpath(folder)), work
        self.entries: list[dict[str, object]] = []

    def note(self, target: Path, made: Path) -> None:
        place = Path(os.path.realpath(target.parent)) / target.name
        if self.folder in place.parents:
            name = place.relative_to(self.folder).as_posix()
            entry: dict[str, object] = {"name": name, "mark": mark_of(os.stat(made))}
            if os.path.lexists(target):
                number = len(self.entries)
                try:
                    os.link(target, self.work / f"{OLD}-{number}", follow_symlinks=False)
                except OSError:  # no hard links here (FAT): what is replaced cannot come back, so the new one stays
                    return
                entry["old"] = number
            self.entries.append(entry)
            with open(self.work / JOURNAL, "a", encoding="ascii") as file:
                file.write(json.dumps(entry) + "\n")


def note_new(target: Path, made: Path) -> None:
    """Before `made` gets the name `target`: every `unfinished` around it writes that down and keeps what is there."""
    for journal in _journals:
        journal.note(target, made)


def discard(folder: Path) -> None:
    """Removes a folder of unfinished work. A kill on the way leaves nothing that looks like work to go on with."""
    gone = folder.with_name(f"{PREFIX}{secrets.token_hex(6)}{SUFFIX}")
    try:
        os.rename(folder, gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def unfinished(folder: str | os.PathLike) -> Iterator[None]:
    """Outputs that belong together: the files that appear in `folder`, or are replaced there, stay only if the block
    ends well.

    An error or an interruption brings back at once what was there before, a kill leaves that to the next run: the same
    command then finds nothing in its way, and never a new file beside the card of an old one.

    Raises:
        InputError: the folder cannot be made or written into.
    """
    folder = Path(folder)
    new = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_error(error, folder, "create the folder") from error
    try:
        with staging(folder) as work:
            journal = _Journal(folder, work)
            _journals.append(journal)
            try:
                yield
            except BaseException:
                _undo(journal.entries, journal.folder, work)
                raise
            finally:
                _journals.remove(journal)
    except BaseException:
        with contextlib.suppress(OSError):  # one that holds something by now stays
            for place in new:
                place.rmdir()
        raise
