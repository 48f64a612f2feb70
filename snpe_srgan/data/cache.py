"""Decode once: all pictures of a training set in two flat, memory-mapped files.

    cache = prepare(find_pictures("sample"), "data/cache", scale=4, min_size=96)
    cache.hr(0), cache.lr(0)             # views of uint8 (h, w, 3) and (h / scale, w / scale, 3)

    data/cache/<key>/hr.bin  lr.bin      pictures one after the other, rows of RGB bytes
    data/cache/<key>/index.json          names, sizes, CRC-32; written last

The key is made of the pictures' paths, sizes and times, the scale and the format version: a changed source gets a new
cache, an unchanged one is opened in milliseconds. Work goes on in `<key>.part`, which is renamed when it is complete.
A kill leaves that folder; the next run takes over what its CRC confirms and decodes the rest. Two processes that
prepare the same set at once write the same bytes to the same places, so they need no lock.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import make_folder, os_error, read_json, write_json
from snpe_srgan.data.headers import read_header
from snpe_srgan.data.progress import bar
from snpe_srgan.data.sources import PicturePair
from snpe_srgan.errors import InputError, UsageError

VERSION = 1
INDEX, HR, LR, JOURNAL = "index.json", "hr.bin", "lr.bin", "journal.txt"
LISTED = 10  # bad pictures an error names


@dataclasses.dataclass(frozen=True)
class CachedPicture:
    """One picture of the cache. `height` and `width` are HR pixels, cropped to a multiple of the scale."""

    name: str
    height: int
    width: int
    crc: int  # CRC-32 of the HR bytes followed by the LR bytes


@dataclasses.dataclass(frozen=True)
class Cache:
    """A finished cache. Its pictures are read-only views of the mapped files."""

    folder: Path
    key: str
    scale: int
    pictures: tuple[CachedPicture, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def pixels(self) -> int:
        """HR pixels of all pictures."""
        return sum(p.height * p.width for p in self.pictures)

    def hr(self, index: int) -> np.ndarray:
        """HR picture: uint8 (h, w, 3)."""
        return self._planes[0][index]

    def lr(self, index: int) -> np.ndarray:
        """LR picture: uint8 (h / scale, w / scale, 3)."""
        return self._planes[1][index]

    @functools.cached_property
    def _planes(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return _map(self.folder, self.pictures, self.scale)


def prepare(
    pairs: Sequence[PicturePair],
    cache_folder: str | os.PathLike,
    *,
    scale: int,
    min_size: int = 0,
    workers: int | None = None,
    progress: bool = False,
) -> Cache:
    """Decodes `pairs` into `cache_folder`, unless that has been done; returns the cache.

    Args:
        min_size: the training crop in HR pixels; a picture smaller than it is an error that names the picture.
        workers: decoding threads; one a CPU by default (Pillow and numpy release the interpreter lock).
    """
    if not pairs:
        raise InputError("no pictures to prepare", where=cache_folder)
    if scale < 1:
        raise UsageError(f"the scale must be at least 1, not {scale}")
    key = _key(pairs, scale)
    folder = Path(cache_folder) / key
    cache = _finished(folder, key)
    if cache is None:
        cache = _build(pairs, folder, key, scale, min_size, workers or os.cpu_count() or 1, progress)
    require_size(cache.pictures, min_size)
    return cache


def open_cache(folder: str | os.PathLike) -> Cache:
    """The finished cache in `folder`; `InputError` when it is damaged or none."""
    folder = Path(folder)
    data = read_json(folder / INDEX)
    try:
        if data["version"] != VERSION:
            raise InputError(f"a cache of format {data['version']}, and this program reads {VERSION}", where=folder)
        pictures = tuple(CachedPicture(str(n), int(h), int(w), int(crc)) for n, h, w, crc in data["pictures"])
        cache = Cache(folder, str(data["key"]), int(data["scale"]), pictures)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("not the index of a picture cache", where=folder / INDEX) from error
    hr_bytes, lr_bytes = _sizes(cache.pictures, cache.scale) if cache.scale > 0 else (0, 0)
    for name, expected in ((HR, hr_bytes), (LR, lr_bytes)):
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if size != expected or not expected:
            raise InputError(
                f"the cache is damaged: {size:,} bytes where {expected:,} belong",
                where=folder / name,
                hint="delete the folder, it is made again",
            )
    return cache


def require_size(pictures: Sequence[CachedPicture], crop: int) -> None:
    """Raises unless every picture holds a crop of `crop` HR pixels. Small pictures are named, never skipped."""
    small = [p for p in pictures if min(p.height, p.width) < crop]
    if small:
        names = [f"{p.name} ({p.height}x{p.width})" for p in small]
        raise InputError(
            f"{len(small)} of {len(pictures)} pictures are smaller than the {crop}x{crop} crop",
            where=_some(names),
            hint=f"a crop of at most {min(min(p.height, p.width) for p in small)}, or leave these pictures out",
        )


def _build(pairs, folder: Path, key: str, scale: int, min_size: int, workers: int, progress: bool) -> Cache:
    pictures = _read_headers(pairs, scale)
    require_size(pictures, min_size)
    part = make_folder(folder.with_name(folder.name + ".part"))
    try:
        sizes = _sizes(pictures, scale)
        _require_space(part, sum(sizes))
        for name, size in zip((HR, LR), sizes, strict=True):
            with open(part / name, "ab") as file:  # keeps what an earlier run has written
                file.truncate(size)
        pictures = _decode_all(pairs, pictures, part, scale, workers, progress)
        rows = [[p.name, p.height, p.width, p.crc] for p in pictures]
        write_json(part / INDEX, {"version": VERSION, "key": key, "scale": scale, "pictures": rows}, overwrite=True)
        with contextlib.suppress(FileNotFoundError):
            (part / JOURNAL).unlink()
        with contextlib.suppress(OSError):  # another process may have finished the same cache first
            os.replace(part, folder)
    except OSError as error:
        raise os_error(error, part, "write the picture cache") from error
    return open_cache(folder)


def _decode_all(pairs, pictures, part: Path, scale: int, workers: int, progress: bool) -> list[CachedPicture]:
    """Fills the two files, in parallel; a journal line records each picture that is in place."""
    starts = np.cumsum([0] + [p.height * p.width * 3 for p in pictures])
    hr_bytes, lr_bytes = (np.memmap(part / name, np.uint8, "r") for name in (HR, LR))
    ranges = [(slice(a, b), slice(a // scale**2, b // scale**2)) for a, b in itertools.pairwise(starts)]
    done = {
        i: dataclasses.replace(pictures[i], height=height, width=width, crc=crc)
        for i, height, width, crc in _journal(part / JOURNAL)
        if i < len(pairs) and crc == _crc(hr_bytes[ranges[i][0]], lr_bytes[ranges[i][1]])
    }
    bad: list[str] = []

    def decode(i: int) -> CachedPicture:
        hr, lr = _decode(pairs[i], pictures[i], scale)
        # Plain writes, not the mapping: a full disk is then an error and not a bus error.
        for name, pixels, place in zip((HR, LR), (hr, lr), ranges[i], strict=True):
            with open(part / name, "r+b") as file:
                file.seek(place.start)
                file.write(pixels)
        return dataclasses.replace(pictures[i], height=hr.shape[0], width=hr.shape[1], crc=_crc(hr, lr))

    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        with (
            open(part / JOURNAL, "a", encoding="ascii") as journal,
            bar(total=len(pairs), initial=len(done), what="decoding", unit="picture", show=progress) as shown,
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
                shown.update()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    _refuse(bad, len(pairs))
    return [done[i] for i in range(len(pairs))]


def _decode(pair: PicturePair, expected: CachedPicture, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """HR uint8 (h, w, 3), cropped to a multiple of the scale, and its LR picture, read or made."""
    from snpe_srgan.imaging.bicubic import downscale

    hr = _read(pair.hr)
    height, width = (side - side % scale for side in hr.shape[:2])
    # PNG may keep its EXIF orientation behind the pixels, where the header scan does not see it: turned is as good.
    if sorted((height, width)) != sorted((expected.height, expected.width)):
        raise InputError(f"its size is {hr.shape[0]}x{hr.shape[1]}, its header says otherwise", where=pair.hr)
    hr = np.ascontiguousarray(hr[:height, :width])
    lr = downscale(hr, scale) if pair.lr is None else _read(pair.lr)
    shape = (height // scale, width // scale, 3)
    if lr.shape != shape:
        raise InputError(f"LR is {lr.shape[0]}x{lr.shape[1]}, {shape[0]}x{shape[1]} is its HR / {scale}", where=pair.lr)
    return hr, np.ascontiguousarray(lr)


def _read(path: Path) -> np.ndarray:
    """A picture as uint8 (h, w, 3). 16-bit values are rounded: 65535 = 255 * 257."""
    from snpe_srgan.imaging.pictures import read_picture

    rgb = read_picture(path).rgb
    if rgb.dtype == np.uint16:
        rgb = ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rgb


def _read_headers(pairs: Sequence[PicturePair], scale: int) -> list[CachedPicture]:
    """Sizes without decoding, so that a hopeless set fails in a second and the files can be laid out."""
    pictures, bad = [], []
    for pair in pairs:
        try:
            header = read_header(pair.hr)
        except InputError as error:
            bad.append(f"{pair.hr} ({error.what})")
            continue
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
            where=_some(sorted(bad)),
            hint="mend or remove them, then run the same command again",
        )


def _some(names: list[str]) -> str:
    return "; ".join(names[:LISTED]) + (f"; and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _key(pairs: Sequence[PicturePair], scale: int) -> str:
    """What a cache depends on, as 16 hexadecimal digits."""
    facts: list = [VERSION, scale]
    for path in (p for pair in pairs for p in (pair.hr, pair.lr)):
        try:
            state = path and path.stat()
        except OSError as error:
            raise os_error(error, path, "read the picture") from error
        facts.append(state and [str(path.resolve()), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _finished(folder: Path, key: str) -> Cache | None:
    """The cache if it is complete; a damaged one is removed (it holds nothing that is not in the pictures)."""
    if not folder.exists():
        return None
    try:
        cache = open_cache(folder)
        if cache.key == key:
            return cache
    except InputError:
        pass
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise os_error(error, folder, "replace the damaged cache") from error
    return None


def _sizes(pictures: Sequence[CachedPicture], scale: int) -> tuple[int, int]:
    hr = sum(p.height * p.width * 3 for p in pictures)
    return hr, hr // scale**2


def _map(folder: Path, pictures, scale: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The two files as one array a picture: HR uint8 (h, w, 3) and LR uint8 (h / scale, w / scale, 3)."""
    planes = []
    for name, divisor in ((HR, 1), (LR, scale)):
        # A plain array over the mapping: slicing np.memmap itself costs several microseconds a crop.
        flat = np.asarray(np.memmap(folder / name, np.uint8, "r"))
        shapes = [(p.height // divisor, p.width // divisor, 3) for p in pictures]
        ends = np.cumsum([np.prod(shape) for shape in shapes])
        planes.append([flat[e - np.prod(s) : e].reshape(s) for s, e in zip(shapes, ends, strict=True)])
    return planes[0], planes[1]


def _crc(hr: np.ndarray, lr: np.ndarray) -> int:
    return zlib.crc32(lr, zlib.crc32(hr))


def _journal(path: Path) -> list[list[int]]:
    """Pictures an earlier run finished: number, height, width, CRC. A half-written last line is no entry."""
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.is_file() else []
    rows = [line.split() for line in lines]
    return [[int(word) for word in row] for row in rows if len(row) == 4 and all(word.isdigit() for word in row)]


def _require_space(folder: Path, needed: int) -> None:
    """`needed` bytes must be free beside what the unfinished files take already (they are sparse: count blocks)."""
    taken = sum(getattr(f.stat(), "st_blocks", 0) * 512 for f in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if needed - taken > free:
        raise InputError(
            f"the picture cache needs {(needed - taken) / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            where=folder,
            hint="free some disk space, or put the cache elsewhere",
        )
