"""Evaluation sets: pairs of HR and LR pictures, decoded one at a time.

    for pair in find_evaluation_set("Set5", scale=4): pair.hr, pair.lr

imaging/layout.py decides which folders are LR. A set is either read or made as a whole: one missing LR picture is an
error, never quietly replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import downscale, modcrop
from snpe_srgan.imaging.colour import to_uint8
from snpe_srgan.imaging.pairs import find_set, fit_pair
from snpe_srgan.imaging.pictures import Picture, read_picture


@dataclass(frozen=True, eq=False)
class Pair:
    """One decoded pair, uint8: `hr` `(h * scale, w * scale, 3)`, `lr` `(h, w, 3)`; `grey` when HR is a grey picture,
    `source` the file that LR comes from, for errors."""

    name: str
    hr: np.ndarray
    lr: np.ndarray
    grey: bool
    source: Path | None = None


@dataclass(frozen=True)
class PairFiles:
    """Where a pair comes from; `lr_path` is None when LR is made from HR."""

    name: str
    hr_path: Path
    lr_path: Path | None
    scale: int

    def absolute(self) -> PairFiles:
        """The same files, for a process that stands in another folder."""
        lr_path = None if self.lr_path is None else self.lr_path.absolute()
        return replace(self, hr_path=self.hr_path.absolute(), lr_path=lr_path)

    def load(self) -> Pair:
        """Decodes the pair; LR is made by MATLAB's bicubic where it has no file.

        Raises:
            InputError: a picture cannot be read or is too small, or the two sizes do not go together.
        """
        picture = read_picture(self.hr_path)
        if min(picture.height, picture.width) < self.scale:
            raise InputError(
                f"a {picture.height}x{picture.width} picture is too small for scale {self.scale}", where=self.hr_path
            )
        hr = _pixels(picture)
        if self.lr_path is None:
            hr = modcrop(hr, self.scale)
            return Pair(self.name, hr, downscale(hr, self.scale), picture.grey, self.hr_path)
        lr = _pixels(read_picture(self.lr_path))
        hr, lr = fit_pair(hr, lr, scale=self.scale, hr_path=self.hr_path, lr_path=self.lr_path)
        return Pair(self.name, hr, lr, picture.grey, self.lr_path)


@dataclass(frozen=True)
class EvaluationSet:
    """Named pairs, decoded one at a time while iterating.

    Attributes:
        origin: one line that says where LR came from; it belongs beside every number.
        remarks: lines on what in the folder was not used.
    """

    name: str
    scale: int
    files: tuple[PairFiles, ...]
    origin: str
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Pair]:
        return (files.load() for files in self.files)

    def describe(self) -> str:
        """One line: name, number of pictures, scale, where LR is from."""
        pictures = "1 picture" if len(self) == 1 else f"{len(self)} pictures"
        return f"{self.name}: {pictures}, x{self.scale}, {self.origin}"


def find_evaluation_set(
    path: str | os.PathLike, *, scale: int, name: str | None = None, splits: Sequence[str] = ("valid", "test")
) -> EvaluationSet:
    """The evaluation set in a folder, or the pictures of a glob or file (see `imaging.pairs.find_set`).

    Args:
        scale: how many times larger HR is than LR, a side.
        name: to show it by; None: the folder's.
        splits: which half is wanted of a set that has halves: the first of these that it has.

    Returns:
        Pairs that are decoded one at a time while iterating.

    Raises:
        InputError: there are no pictures, or LR pictures are missing.
    """
    if scale < 1:
        raise InputError(f"the scale must be a whole number from 1 on, not {scale}")
    found = find_set(path, scale=scale, splits=splits)
    files = tuple(PairFiles(f.name, f.hr, f.lr, scale) for f in found.files)
    return EvaluationSet(name or found.name, scale, files, found.origin, found.remarks)


def _pixels(picture: Picture) -> np.ndarray:
    return to_uint8(picture.rgb)
