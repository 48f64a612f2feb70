"""A teacher's pictures of a training set, made once: a third plane beside the cache's HR and LR.

    plane = find_plane(cache, key) or build_plane(cache, key, enlarge, say=print)
    plane.sr(0)                          # uint8 (h, w, 3), the size of cache.hr(0)

A step of a small student costs a tenth of its teacher's forward pass, and a training sees every picture many times: so
the teacher runs before the training and not in it. The folder is `data/cache/teacher-<key>`; the key stands for the
cache's pixels and the teacher's file. As with the cache, work goes on in `<folder>.part` with a journal, a kill costs
one picture, and the finished folder is renamed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import os_error, read_json, remove, write_json
from snpe_srgan.artifacts.own import work_folder
from snpe_srgan.data.cache import JOURNAL, read_journal, require_space
from snpe_srgan.data.stored import INDEX, Cache
from snpe_srgan.errors import InputError
from snpe_srgan.progress import SILENT, Say, track

SR, VERSION = "sr.bin", 1
Enlarge = Callable[[np.ndarray], np.ndarray]  # uint8 (h, w, 3) -> (h * scale, w * scale, 3)


@dataclass(frozen=True)
class Plane:
    """A teacher's pictures, one for each of the cache's. Read-only views of a mapped file."""

    folder: Path
    cache: Cache

    def sr(self, index: int) -> np.ndarray:
        """The teacher's picture: uint8 (h, w, 3), the size of HR."""
        return self._pictures[index]

    @functools.cached_property
    def _pictures(self) -> list[np.ndarray]:
        flat = np.asarray(np.memmap(self.folder / SR, np.uint8, "r"))  # plain: slicing np.memmap costs microseconds
        pictures = zip(self.cache.pictures, _ranges(self.cache), strict=True)
        return [flat[place].reshape(p.height, p.width, 3) for p, place in pictures]


def find_plane(cache: Cache, key: str) -> Plane | None:
    """The finished plane, or None; changes nothing."""
    folder = _folder(cache, key)
    with contextlib.suppress(InputError, OSError):
        if read_json(folder / INDEX) == _index(cache, key) and (folder / SR).stat().st_size == cache.pixels * 3:
            return Plane(folder, cache)
    return None


def build_plane(cache: Cache, key: str, enlarge: Enlarge, *, say: Say = SILENT) -> Plane:
    """Enlarges the cache's LR pictures one after another (the engine has its own threads) and keeps the results.

    Args:
        key: stands for the cache's pixels and the teacher's file, in the folder's name.
        enlarge: uint8 (h, w, 3) -> uint8 (h * scale, w * scale, 3).
        say: called with progress.

    Raises:
        InputError: the disk has no room, or cannot be written.
    """
    folder = _folder(cache, key)
    part = work_folder(folder.with_name(folder.name + ".part"))
    try:
        require_space(part, cache.pixels * 3)
        with open(part / SR, "ab") as file:  # keeps what an earlier run has written
            file.truncate(cache.pixels * 3)
        _enlarge_all(cache, part, enlarge, say)
        write_json(part / INDEX, _index(cache, key), overwrite=True)
        if folder.exists() and find_plane(cache, key) is None:
            remove(folder)  # damaged
        os.replace(part, folder)
    except OSError as error:
        if find_plane(cache, key) is None:
            raise os_error(error, part, "write the teacher's pictures") from error
        shutil.rmtree(part, ignore_errors=True)  # another process was faster
    (folder / JOURNAL).unlink(missing_ok=True)
    return Plane(folder, cache)


def _enlarge_all(cache: Cache, part: Path, enlarge: Enlarge, say: Say) -> None:
    """Fills the file; a journal line (number, height, width, CRC-32) records each picture that is in place."""
    places, pictures = _ranges(cache), cache.pictures
    there = np.memmap(part / SR, np.uint8, "r")
    done = {
        i
        for i, height, width, crc in read_journal(part / JOURNAL)
        if i < len(pictures)
        and (height, width) == (pictures[i].height, pictures[i].width)
        and crc == zlib.crc32(there[places[i]].data)
    }
    with (
        open(part / JOURNAL, "a", encoding="ascii") as journal,
        open(part / SR, "r+b") as file,
        track(say, "teacher", total=len(pictures), done=len(done), unit="picture") as progress,
    ):
        for i in (i for i in range(len(pictures)) if i not in done):
            picture, sr = pictures[i], np.ascontiguousarray(enlarge(cache.lr(i)))
            if sr.shape != (picture.height, picture.width, 3) or sr.dtype != np.uint8:
                raise InputError(f"the teacher gave {sr.dtype} {sr.shape}", where=picture.name)
            file.seek(places[i].start)
            file.write(sr.data)
            file.flush()
            journal.write(f"{i} {picture.height} {picture.width} {zlib.crc32(sr.data)}\n")
            journal.flush()
            progress.advance()


def _folder(cache: Cache, key: str) -> Path:
    return cache.folder.parent / f"teacher-{key}"


def _index(cache: Cache, key: str) -> dict[str, object]:
    return {"version": VERSION, "key": key, "pictures": [[p.height, p.width] for p in cache.pictures]}


def _ranges(cache: Cache) -> list[slice]:
    """Where each picture's bytes stand, as in hr.bin."""
    starts = np.cumsum([0] + [p.height * p.width * 3 for p in cache.pictures]).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(starts)]
