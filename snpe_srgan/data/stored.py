"""The format of a picture cache: two flat files of RGB bytes and an index, mapped into memory.

cache = open_cache("data/cache/0123456789abcdef")
cache.hr(0), cache.lr(0)             # views of uint8 (h, w, 3) and (h / scale, w / scale, 3)

hr.bin  lr.bin      pictures one after the other
index.json          names, sizes, CRC-32; written last
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from snpe_srgan.artifacts.files import read_json
from snpe_srgan.artifacts.typed import typed
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import downscale, modcrop

VERSION = 1
INDEX, HR, LR = "index.json", "hr.bin", "lr.bin"
LISTED = 10  # pictures an error names
AGAIN = "delete the folder, it is made again"


@dataclasses.dataclass(frozen=True)
class CachedPicture:
    """One picture of the cache. `height` and `width` are HR pixels, cropped to a multiple of the scale."""

    name: str
    height: int
    width: int
    crc: int  # CRC-32 of the HR bytes followed by the LR bytes


class Pictures(Protocol):
    """What a sampler must know of its pictures: their sizes, and each of them in HR and LR."""

    @property
    def scale(self) -> int:
        """How many times larger HR is than LR, a side."""

    @property
    def pictures(self) -> tuple[CachedPicture, ...]:
        """Names and sizes, in order."""

    def __len__(self) -> int: ...

    def hr(self, index: int) -> np.ndarray:
        """HR picture: uint8 (h, w, 3)."""

    def lr(self, index: int) -> np.ndarray:
        """LR picture: uint8 (h / scale, w / scale, 3)."""


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


@dataclasses.dataclass(frozen=True)
class _Index:
    """index.json: of each picture its name, height, width and CRC-32."""

    version: int
    key: str
    scale: int
    pictures: tuple[tuple[str, int, int, int], ...]


def open_cache(folder: str | os.PathLike) -> Cache:
    """The finished cache in `folder`; `InputError` when it is damaged or none."""
    folder = Path(folder)
    index = typed(_Index, read_json(folder / INDEX), where=folder / INDEX, hint=AGAIN)
    if index.version != VERSION:
        raise InputError(f"a cache of format {index.version}, and this program reads {VERSION}", where=folder)
    pictures = tuple(CachedPicture(*picture) for picture in index.pictures)
    cache = Cache(folder, index.key, index.scale, pictures)
    sides = [side for p in pictures for side in (p.height, p.width)]
    if not 1 <= cache.scale <= 16 or any(side < 1 or side % cache.scale for side in sides):
        raise InputError("not the index of a picture cache: sizes that cannot be", where=folder / INDEX, hint=AGAIN)
    hr_bytes, lr_bytes = plane_sizes(cache.pictures, cache.scale)
    for name, expected in ((HR, hr_bytes), (LR, lr_bytes)):
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if size != expected or not expected:
            raise InputError(
                f"the cache is damaged: {size:,} bytes where {expected:,} belong",
                where=folder / name,
                hint=AGAIN,
            )
    return cache


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
    """Pictures in memory, to be sampled like a cache; see `hold`."""

    scale: int
    pictures: tuple[CachedPicture, ...]
    planes: tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]

    def __len__(self) -> int:
        return len(self.pictures)

    def hr(self, index: int) -> np.ndarray:
        """HR picture: uint8 (h, w, 3)."""
        return self.planes[0][index]

    def lr(self, index: int) -> np.ndarray:
        """LR picture: uint8 (h / scale, w / scale, 3)."""
        return self.planes[1][index]


def hold(pictures: Sequence[np.ndarray], *, scale: int) -> Held:
    """Decoded HR pictures, uint8 (h, w, 3), with LR made by bicubic."""
    hr = tuple(modcrop(picture, scale) for picture in pictures)
    sizes = tuple(CachedPicture(f"picture {i}", picture.shape[0], picture.shape[1], 0) for i, picture in enumerate(hr))
    return Held(scale, sizes, (hr, tuple(downscale(picture, scale) for picture in hr)))


def require_size(pictures: Sequence[CachedPicture], crop: int) -> None:
    """Raises unless every picture holds a crop of `crop` HR pixels. Small pictures are named, never skipped."""
    small = [p for p in pictures if min(p.height, p.width) < crop]
    if small:
        names = [f"{p.name} ({p.height}x{p.width})" for p in small]
        raise InputError(
            f"{len(small)} of {len(pictures)} pictures: smaller than the {crop}x{crop} crop",
            where=name_some(names),
            hint=f"a crop of at most {min(min(p.height, p.width) for p in small)}, or leave these pictures out",
        )


def plane_sizes(pictures: Sequence[CachedPicture], scale: int) -> tuple[int, int]:
    """Bytes of hr.bin and lr.bin."""
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


def name_some(names: list[str]) -> str:
    """The first few of a list of names, and how many more there are."""
    return "; ".join(names[:LISTED]) + (f"; and {len(names) - LISTED} more" if len(names) > LISTED else "")
