"""What a picture source or a cache holds, told from headers: no picture is decoded."""

from __future__ import annotations

import collections
import dataclasses
import os
from pathlib import Path

from snpe_srgan.data.cache import find_cache, open_cache
from snpe_srgan.data.headers import headers
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.data.stored import INDEX, name_some
from snpe_srgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class SourceInfo:
    """Sizes are HR pixels, height x width; the smaller side of `smallest` bounds the training crop."""

    source: str
    pictures: int
    with_lr: int  # pictures whose LR comes from a file
    megapixels: float
    smallest: str
    largest: str
    kinds: dict[str, int]  # '8-bit RGB' -> pictures
    unreadable: list[str]
    cache: Path | None  # the finished cache of these pictures
    remarks: tuple[str, ...] = ()  # where LR comes from, what was passed over


def describe(source: str | os.PathLike, *, root: str | os.PathLike, split: str, scale: int) -> SourceInfo:
    """Reads the headers of a source's pictures, or the index of a cache folder.

    Args:
        source: 'sample', 'div2k', a folder, or a cache's folder.
        root: the folder that the two named sets and the caches lie below.
        split: 'train' or 'valid'.
        scale: between HR and LR.

    Raises:
        InputError: there is no such source, or none of its pictures can be read.
        UsageError: an unknown split.
    """
    if (Path(source) / INDEX).is_file():
        cache = open_cache(source)
        sizes = [(p.height, p.width) for p in cache.pictures]
        return _summary(source, sizes, len(cache), collections.Counter({"8-bit RGB": len(cache)}), [], cache.folder)
    remarks: list[str] = []
    pairs = find_pictures(source, root=root, split=split, scale=scale, say=remarks.append)
    found, bad = headers(pairs)
    sizes = [(header.height, header.width) for _, header in found]
    kinds = collections.Counter(f"{header.bits}-bit {header.mode}" for _, header in found)
    if not sizes:
        raise InputError("none of the pictures can be read", where=name_some(bad))
    found_cache = find_cache(pairs, Path(root) / "cache", scale=scale)
    with_lr = sum(p.lr is not None for p in pairs)
    return _summary(source, sizes, with_lr, kinds, bad, found_cache and found_cache.folder, tuple(remarks))


def _summary(source, sizes, with_lr, kinds, bad, cache, remarks=()) -> SourceInfo:
    ordered = sorted(sizes, key=lambda size: (min(size), max(size)))
    return SourceInfo(
        source=str(source),
        pictures=len(sizes),
        with_lr=with_lr,
        megapixels=sum(height * width for height, width in sizes) / 1e6,
        smallest="{}x{}".format(*ordered[0]),
        largest="{}x{}".format(*max(sizes, key=lambda size: size[0] * size[1])),
        kinds=dict(kinds.most_common()),
        unreadable=bad,
        cache=cache,
        remarks=remarks,
    )
