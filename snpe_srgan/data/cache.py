"""Decode once: all pictures of a training set in two flat, memory-mapped files.

    cache = prepare(find_pictures("sample"), "data/cache", scale=4, min_size=96)

The cache is the folder `data/cache/<key>` (see stored.py). The key is made of the pictures' paths, sizes and times,
the scale and the format version: a changed source gets a new cache, an unchanged one is opened in milliseconds. Work
goes on in `<key>.part`, which is renamed when it is complete. A kill leaves that folder; the next run takes over what
its CRC confirms and decodes the rest. Processes that prepare the same set at once write the same bytes to the same
places, so they need no lock: the first to finish renames the folder, and the others take it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import os_error, remove, write_json
from snpe_srgan.artifacts.own import work_folder
from snpe_srgan.data.headers import headers
from snpe_srgan.data.sources import PicturePair
from snpe_srgan.data.stored import (
    HR,
    INDEX,
    LR,
    VERSION,
    Cache,
    CachedPicture,
    name_some,
    open_cache,
    plane_sizes,
    require_size,
)
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.opener import read_regular
from snpe_srgan.progress import SILENT, Say, track

JOURNAL = "journal.txt"
MAX_JOURNAL = 1 << 26  # bytes
__all__ = ["Cache", "CachedPicture", "find_cache", "open_cache", "prepare", "require_size"]


def prepare(
    pairs: Sequence[PicturePair],
    cache_folder: str | os.PathLike,
    *,
    scale: int,
    min_size: int = 0,
    workers: int | None = None,
    say: Say = SILENT,
) -> Cache:
    """Decodes `pairs` into `cache_folder`, unless that has been done; returns the cache.

    Args:
        min_size: the training crop in HR pixels; a picture smaller than it is an error that names the picture.
        workers: decoding threads; one a CPU by default (Pillow and numpy release the interpreter lock).

    Raises:
        InputError: no pictures, some that cannot be read or are too small, or the disk has no room.
        UsageError: `scale` is below 1.
    """
    if not pairs:
        raise InputError("no pictures to prepare", where=cache_folder)
    if scale < 1:
        raise UsageError(f"the scale must be at least 1, not {scale}")
    key = _key(pairs, scale)
    folder = Path(cache_folder) / key
    cache = find_cache(pairs, cache_folder, scale=scale)
    if cache is not None:
        with contextlib.suppress(OSError):
            (folder / JOURNAL).unlink(missing_ok=True)  # of a run that was killed with the cache in place
    if cache is None:
        cache = _build(pairs, folder, key, scale, min_size, workers or os.cpu_count() or 1, say)
    require_size(cache.pictures, min_size)
    return cache


def find_cache(pairs: Sequence[PicturePair], cache_folder: str | os.PathLike, *, scale: int) -> Cache | None:
    """The finished cache of these pictures as they are now, or None; changes nothing.

    Args:
        pairs: in the order of the cache.
        cache_folder: the folder of all caches.
        scale: between HR and LR.

    Raises:
        InputError: one of the pictures' files is not there.
    """
    return _open_if_whole(Path(cache_folder) / _key(pairs, scale))


def _open_if_whole(folder: Path) -> Cache | None:
    with contextlib.suppress(InputError):
        return open_cache(folder)
    return None


def _build(pairs, folder: Path, key: str, scale: int, min_size: int, workers: int, say: Say) -> Cache:
    pictures = read_headers(pairs, scale)
    require_size(pictures, min_size)
    part = work_folder(folder.with_name(folder.name + ".part"))
    try:
        sizes = plane_sizes(pictures, scale)
        require_space(part, sum(sizes))
        for name, size in zip((HR, LR), sizes, strict=True):
            with open(part / name, "ab") as file:  # keeps what an earlier run has written
                file.truncate(size)
        pictures = _decode_all(pairs, pictures, part, scale, workers, say)
        rows = [[p.name, p.height, p.width, p.crc] for p in pictures]
        write_json(part / INDEX, {"version": VERSION, "key": key, "scale": scale, "pictures": rows}, overwrite=True)
        if folder.exists() and _open_if_whole(folder) is None:
            remove(folder)  # damaged; it holds nothing that is not in the pictures
        os.replace(part, folder)
    except (OSError, InputError) as error:
        cache = _open_if_whole(folder)
        if cache is not None:  # another process has finished the same cache, and renamed the folder we worked in
            shutil.rmtree(part, ignore_errors=True)
            return cache
        if isinstance(error, OSError):
            raise os_error(error, part, "write the picture cache") from error
        raise
    (folder / JOURNAL).unlink(missing_ok=True)
    return open_cache(folder)


def _decode_all(pairs, pictures, part: Path, scale: int, workers: int, say: Say) -> list[CachedPicture]:
    """Fills the two files, in parallel; a journal line records each picture that is in place."""
    starts = np.cumsum([0] + [p.height * p.width * 3 for p in pictures])
    hr_bytes, lr_bytes = (np.memmap(part / name, np.uint8, "r") for name in (HR, LR))
    ranges = [(slice(a, b), slice(a // scale**2, b // scale**2)) for a, b in itertools.pairwise(starts)]
    done = {
        i: dataclasses.replace(pictures[i], height=height, width=width, crc=crc)
        for i, height, width, crc in read_journal(part / JOURNAL)
        if i < len(pairs) and crc == _crc(hr_bytes[ranges[i][0]], lr_bytes[ranges[i][1]])
    }
    bad: list[str] = []

    def decode(i: int) -> CachedPicture:
        hr, lr = _decode(pairs[i], pictures[i], scale)
        # Plain writes, not the mapping: a full disk is then an error and not a bus error.
        for name, pixels, place in zip((HR, LR), (hr, lr), ranges[i], strict=True):
            with open(part / name, "r+b") as file:
                file.seek(place.start)
                file.write(pixels.data)
        return dataclasses.replace(pictures[i], height=hr.shape[0], width=hr.shape[1], crc=_crc(hr, lr))

    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        with (
            open(part / JOURNAL, "a", encoding="ascii") as journal,
            track(say, "decoding", total=len(pairs), done=len(done), unit="picture") as progress,
        ):
            futures = {pool.submit(decode, i): i for i in range(len(pairs)) if i not in done}
            for future in concurrent.futures.as_completed(futures):
                i = futures[future]
                try:
                    done[i] = future.result()
                except InputError as error:
                    bad.append(f"{error.where or pairs[i].hr} ({error.what})")
                    continue
                journal.write(f"{i} {done[i].height} {done[i].width} {done[i].crc}\n")
                journal.flush()
                progress.advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    _refuse(bad, len(pairs))
    return [done[i] for i in range(len(pairs))]


def _decode(pair: PicturePair, expected: CachedPicture, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """HR uint8 (h, w, 3), cropped to a multiple of the scale, and its LR picture, read or made."""
    from snpe_srgan.imaging.bicubic import downscale
    from snpe_srgan.imaging.pairs import fit_pair

    hr = read_rgb(pair.hr)
    height, width = (side - side % scale for side in hr.shape[:2])
    # PNG may keep its EXIF orientation behind the pixels, where the header scan does not see it: turned is as good.
    if sorted((height, width)) != sorted((expected.height, expected.width)):
        raise InputError(f"its size is {hr.shape[0]}x{hr.shape[1]}, its header says otherwise", where=pair.hr)
    if pair.lr is None:
        hr = np.ascontiguousarray(hr[:height, :width])
        return hr, np.ascontiguousarray(downscale(hr, scale))
    hr, lr = fit_pair(hr, read_rgb(pair.lr), scale=scale, hr_path=pair.hr, lr_path=pair.lr)
    return np.ascontiguousarray(hr), np.ascontiguousarray(lr)


def read_rgb(path: Path) -> np.ndarray:
    """A picture as uint8 (h, w, 3). 16-bit values are rounded: 65535 = 255 * 257."""
    from snpe_srgan.imaging.pictures import read_picture

    rgb = read_picture(path).rgb
    if rgb.dtype == np.uint16:
        rgb = ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rgb


def read_headers(pairs: Sequence[PicturePair], scale: int) -> list[CachedPicture]:
    """Sizes without decoding, so that a hopeless set fails in a second and the files can be laid out."""
    pictures = []
    found, bad = headers(pairs)
    for pair, header in found:
        height, width = header.height, header.width
        if min(height, width) < scale:
            bad.append(f"{pair.hr} ({height}x{width} has no LR pixel at x{scale})")
        pictures.append(CachedPicture(pair.name, height - height % scale, width - width % scale, 0))
    _refuse(bad, len(pairs))
    return pictures


def _refuse(bad: list[str], total: int) -> None:
    if bad:
        raise InputError(
            f"{len(bad)} of {total} pictures cannot be used",
            where=name_some(sorted(bad)),
            hint="mend or remove them, then run the same command again",
        )


def _key(pairs: Sequence[PicturePair], scale: int) -> str:
    """What a cache depends on, as 16 hexadecimal digits."""
    facts: list = [VERSION, scale]
    for path in (p for pair in pairs for p in (pair.hr, pair.lr)):
        if path is None:
            facts.append(None)
            continue
        try:
            state = path.stat()
        except OSError as error:
            raise os_error(error, path, "read the picture") from error
        facts.append([str(path.resolve()), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _crc(hr: np.ndarray, lr: np.ndarray) -> int:
    return zlib.crc32(lr.data, zlib.crc32(hr.data))


def read_journal(path: Path) -> list[list[int]]:
    """Pictures an earlier run finished: number, height, width, CRC. A half-written last line is no entry."""
    if not path.is_file():
        return []
    text = read_regular(path, limit=MAX_JOURNAL, doing="read the journal").decode("ascii", "replace")
    rows = [line.split() for line in text.splitlines()]
    whole = (row for row in rows if len(row) == 4 and all(word.isdigit() and len(word) < 19 for word in row))
    return [[int(word) for word in row] for row in whole]


def require_space(folder: Path, needed: int) -> None:
    """`needed` bytes must be free beside what the unfinished files take already (they are sparse: count blocks).

    Raises:
        InputError: they are not.
    """
    taken = sum(getattr(f.stat(), "st_blocks", 0) * 512 for f in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if needed - taken > free:
        raise InputError(
            f"the picture cache needs {(needed - taken) / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            where=folder,
            hint="free some disk space, or put the cache elsewhere",
        )
