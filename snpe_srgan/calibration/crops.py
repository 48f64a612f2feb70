"""Calibration pictures as LR crops: found, brought to LR size, cut small, always the same ones.

    crops = calibration_crops(["photos"], scale=4, count=16)
    crops.arrays[0]            # (1, 48, 48, 3) float32 in [0, 1]

A source is a folder, glob or picture, 'sample', or 'synthetic' (drawn, see `synthetic`). Pictures are HR and are
brought to LR size by MATLAB's bicubic, as training does (a data set that has LR, see imaging/layout.py, gives its own);
with `lr=True` they are taken as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.data.batches import cut
from snpe_srgan.data.sources import PicturePair
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.imaging.bicubic import downscale, modcrop
from snpe_srgan.imaging.colour import pixels_to_lr
from snpe_srgan.imaging.finder import find_pictures
from snpe_srgan.imaging.pairs import find_set, fit_pair
from snpe_srgan.imaging.pictures import read_picture

SIZE = 48  # LR pixels: the 16 x 64 network keeps 160 MB of tensors for it
SMALLEST = 8  # of a side; less than that is hardly anything but border
Pictures = str | os.PathLike | PicturePair  # what crops are cut from: see the top
SAMPLE, SYNTHETIC, NONE = "sample", "synthetic", "none"


@dataclass(frozen=True, eq=False)
class Crops:
    """LR crops (1, h, w, 3) float32 in [0, 1]; where they are from; what a user should know about them."""

    arrays: tuple[np.ndarray, ...]
    origin: str
    notes: tuple[str, ...] = ()
    calm: tuple[np.ndarray, ...] = ()

    @property
    def watched(self) -> tuple[np.ndarray, ...]:
        """What is quantized on: the crops, and the calm ones drawn beside them. Losses are measured on the crops."""
        return (*self.arrays, *self.calm)


@dataclass(frozen=True)
class _Source:
    name: str
    load: Callable[[], np.ndarray]  # uint8 or uint16 (h, w, 3) at LR size
    path: Path | None = None  # of the HR picture
    has_lr: bool = False


def calibration_crops(
    sources: Sequence[Pictures],
    *,
    scale: int,
    count: int = 16,
    size: int = SIZE,
    lr: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Crops:
    """`count` crops of at most `size` x `size`, spread evenly over the pictures; places are drawn with a fixed seed.

    Args:
        sources: folders, globs and pictures, 'sample', or 'synthetic' alone.
        scale: by how much the network enlarges: HR pictures are made so much smaller.
        size: LR pixels a side.
        lr: whether the pictures have LR size already.
        part: (k, n) takes every n-th picture from the k-th on: parts of the same n share no picture.

    Raises:
        InputError: pictures are missing or cannot be read, or are fewer than n.
        UsageError: no source, no crop is asked for, or 'synthetic' is named beside others.
    """
    if count < 1:
        raise UsageError(f"at least one calibration crop is needed, not {count}", where="--count")
    if not sources:
        raise UsageError("no calibration pictures are named", hint=f"--calibration FOLDER, or --calibration {SAMPLE}")
    if is_drawn(sources):
        from snpe_srgan.calibration.synthetic import synthetic_crops

        return synthetic_crops(scale=scale, count=count, size=size, seed=part[0])
    with Scratch() as scratch:
        said: list[str] = []
        found = [s for source in sources for s in _find(source, scale, lr, Path(scratch), said)]
        if len(found) < part[1]:
            raise InputError(
                f"{len(found)} picture cannot be divided into {part[1]} parts", where=_place(sources[0]),
                hint="name more pictures",
            )  # fmt: skip
        found = found[part[0] :: part[1]]
        origin = f"{', '.join(dict.fromkeys(_place(s) for s in sources))} ({_how(found, lr)})"
        crops = _cut(found, count, size, origin)
    from snpe_srgan.calibration.synthetic import calm_crops

    # 16 photographs may hold no sky and no wall: there the smallest shift shows, and nothing else would teach it.
    side = max(max(crop.shape[1:3]) for crop in crops.arrays)
    return replace(crops, notes=(*said, *crops.notes), calm=calm_crops(scale=scale, size=side))


def is_drawn(sources: Sequence[Pictures]) -> bool:
    """Whether the pictures are to be drawn; `UsageError` when others are named beside."""
    return _alone(sources, SYNTHETIC)


def is_nothing(sources: Sequence[Pictures]) -> bool:
    """Whether there are no pictures at all, drawn or photographed; `UsageError` when others are named beside."""
    return _alone(sources, NONE)


def _alone(sources: Sequence[Pictures], word: str) -> bool:
    named = any(not isinstance(s, PicturePair) and str(s) == word and not Path(s).exists() for s in sources)
    if named and len(sources) > 1:
        raise UsageError(f"'{word}' and other calibration pictures exclude each other", where="--calibration")
    return named


def check_sources(sources: Sequence[Pictures]) -> None:
    """`InputError` for pictures that are not there, told before anything slow is done for them."""
    for source in () if is_drawn(sources) or is_nothing(sources) else sources:
        if not isinstance(source, PicturePair) and str(source) != SAMPLE:
            find_pictures(source, deep=True)


def hr_pictures(sources: Sequence[Pictures], *, scale: int, most: int) -> list[np.ndarray]:
    """At most `most` of the sources' HR pictures, in even steps: what fine-tuning learns from.

    Args:
        sources: as of `calibration_crops`, but not 'synthetic'.
        scale: of the data set's LR pictures, where it has such.

    Returns:
        uint8 (h, w, 3) each; 16-bit pictures are brought to 8 bits.

    Raises:
        InputError: pictures are missing or cannot be read.
    """
    with Scratch() as scratch:
        found = [s for source in sources for s in _find(source, scale, False, Path(scratch), [])]
        paths = [s.path for s in found if s.path is not None]
        step = max(1, -(-len(paths) // most))
        pictures = [read_picture(path).rgb for path in paths[::step]]
    return [p if p.dtype == np.uint8 else (p // 257).astype(np.uint8) for p in pictures]


def _place(source: Pictures) -> str:
    """A source without the machine's folders: the last two parts of a folder's path, a picture's by its folder."""
    path = source.hr if isinstance(source, PicturePair) else Path(source)
    return "/".join((path.parent if path.is_file() else path).parts[-2:])


def _find(source: Pictures, scale: int, lr: bool, scratch: Path, notes: list[str]) -> list[_Source]:
    if isinstance(source, PicturePair):
        return [_of_pair(source.hr, source.lr, scale)]
    if str(source) == SAMPLE and not Path(source).exists():
        from snpe_srgan.data.sample import make_sample

        source = make_sample(scratch / SAMPLE).root
        return [_of_pair(f.hr, f.lr, scale) for f in find_set(source, scale=scale, splits=("train",)).files]
    if lr:
        found = find_pictures(source, deep=True)
        notes += filter(None, [found.passed.line()])
        return [_Source(str(p), partial(_rgb, p)) for p in found.pictures]
    data = find_set(source, scale=scale, splits=("train", "valid", "test"))
    notes += (f"{data.name}: {remark}" for remark in data.remarks)
    return [_of_pair(f.hr, f.lr, scale) for f in data.files]


def _rgb(path: Path) -> np.ndarray:
    return read_picture(path).rgb


def _of_pair(hr: Path, lr: Path | None, scale: int) -> _Source:
    return _Source(str(hr), lambda: _lr_pixels(hr, lr, scale), hr, lr is not None)


def _lr_pixels(hr: Path, lr: Path | None, scale: int) -> np.ndarray:
    pixels = read_picture(hr).rgb
    if lr is not None:
        return fit_pair(pixels, read_picture(lr).rgb, scale=scale, hr_path=hr, lr_path=lr)[1]
    return downscale(modcrop(pixels, scale), scale) if min(pixels.shape[:2]) >= scale else pixels[:0]


def _how(found: Sequence[_Source], lr: bool) -> str:
    read = sum(source.has_lr for source in found)
    if lr or read == len(found):
        return "LR" if lr else "LR read from files"
    made = "HR, made LR by MATLAB-compatible bicubic"
    return f"{made}; LR of {read} read from files" if read else made


def _cut(found: list[_Source], count: int, size: int, origin: str) -> Crops:
    """Pictures in even steps when there are more than `count`; several crops of each when there are fewer."""
    random = np.random.default_rng(0)
    chosen = [found[i * len(found) // count] for i in range(count)] if len(found) > count else found
    arrays, small, used = [], [], 0
    for index, source in enumerate(chosen):
        pixels = source.load()
        if min(pixels.shape[:2]) < SMALLEST:
            small.append(source.name)
            continue
        used += 1
        for _ in range(count // len(chosen) + (index < count % len(chosen))):
            arrays.append(_crop(pixels, size, random))
    if not arrays:
        raise InputError(
            f"every calibration picture is smaller than {SMALLEST}x{SMALLEST} at LR size",
            where=small[0],
            hint="take larger pictures; add --lr if these are LR pictures already",
        )
    notes = []
    if small:
        notes.append(f"{len(small)} picture(s) smaller than {SMALLEST}x{SMALLEST} at LR size were left out")
    if used < 4:
        notes.append(f"calibrated on {used} picture(s) only: 8 or more different ones are safer")
    told = f"{_counted(len(arrays), 'crop')} from {_counted(used, 'picture')} of {origin}"
    return Crops(tuple(arrays), told, tuple(notes))


def _crop(pixels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    top, left = (int(random.integers(0, max(side - size, 0) + 1)) for side in pixels.shape[:2])
    return pixels_to_lr(np.ascontiguousarray(cut(pixels, top, left, size)))[None]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
