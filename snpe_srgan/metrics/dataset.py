"""Evaluation sets: pairs of HR and LR pictures, found by how their folder is laid out.

| folder | LR |
|---|---|
| `Set5/HR` + `Set5/LRx4` (or `Set5/LR_bicubic/X4`) | read from it |
| DIV2K: `DIV2K_valid_HR/0801.png` + `DIV2K_valid_LR_bicubic/X4/0801x4.png`, the parent or the HR folder named | read |
| `Set5/HR` alone, or any folder, glob or file of pictures | MATLAB-compatible bicubic of HR, cropped to fit |

A set is either read or made as a whole: one missing LR picture is an error, never quietly replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import downscale, modcrop
from snpe_srgan.imaging.colour import to_uint8
from snpe_srgan.imaging.pictures import Picture, list_pictures, read_picture


@dataclass(frozen=True, eq=False)
class Pair:
    """One decoded pair, uint8: `hr` `(h * scale, w * scale, 3)`, `lr` `(h, w, 3)`; `grey` when HR is a grey picture."""

    name: str
    hr: np.ndarray
    lr: np.ndarray
    grey: bool


@dataclass(frozen=True)
class PairFiles:
    """Where a pair comes from; `lr_path` is None when LR is made from HR."""

    name: str
    hr_path: Path
    lr_path: Path | None
    scale: int

    def load(self) -> Pair:
        picture = read_picture(self.hr_path)
        if min(picture.height, picture.width) < self.scale:
            raise InputError(
                f"a {picture.height}x{picture.width} picture is too small for scale {self.scale}", where=self.hr_path
            )
        hr = _pixels(picture)
        if self.lr_path is None:
            hr = modcrop(hr, self.scale)
            return Pair(self.name, hr, downscale(hr, self.scale), picture.grey)
        lr = _pixels(read_picture(self.lr_path))
        height, width = lr.shape[0] * self.scale, lr.shape[1] * self.scale
        surplus = (hr.shape[0] - height, hr.shape[1] - width)
        if min(surplus) < 0 or max(surplus) >= self.scale:
            raise InputError(
                f"LR of {lr.shape[0]}x{lr.shape[1]} does not belong to HR of {hr.shape[0]}x{hr.shape[1]} "
                f"at scale {self.scale}",
                where=self.lr_path,
                hint=f"remove or rename {self.lr_path.parent} to have LR made from HR",
            )
        return Pair(self.name, hr[:height, :width], lr, picture.grey)


@dataclass(frozen=True)
class EvaluationSet:
    """Named pairs, decoded one at a time while iterating.

    Attributes:
        origin: one line that says where LR came from; it belongs beside every number.
    """

    name: str
    scale: int
    files: tuple[PairFiles, ...]
    origin: str

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Pair]:
        return (files.load() for files in self.files)

    def describe(self) -> str:
        pictures = "1 picture" if len(self) == 1 else f"{len(self)} pictures"
        return f"{self.name}: {pictures}, x{self.scale}, {self.origin}"


def find_evaluation_set(path: str | Path, *, scale: int, name: str | None = None) -> EvaluationSet:
    """The evaluation set in a folder of one of the layouts above (or a glob, or one picture)."""
    if scale < 1:
        raise InputError(f"the scale must be a whole number from 1 on, not {scale}")
    hr_source, lr_folder, own_name = _layout(Path(path), scale)
    hr_paths = list_pictures(hr_source)
    lr_paths: list[Path | None] = [None] * len(hr_paths)
    origin = "LR made from HR by MATLAB-compatible bicubic"
    if lr_folder is not None:
        known = {lr.stem: lr for lr in list_pictures(lr_folder)}
        lr_paths = [_partner(hr, known, lr_folder, scale) for hr in hr_paths]
        origin = f"LR read from {lr_folder.relative_to(lr_folder.parents[1])}"
    pairs = zip(hr_paths, lr_paths, strict=True)
    files = tuple(PairFiles(hr.stem, hr, lr, scale) for hr, lr in pairs)
    return EvaluationSet(name or own_name, scale, files, origin)


def _layout(path: Path, scale: int) -> tuple[Path, Path | None, str]:
    """HR folder (or glob), LR folder if there is one, and the set's name."""
    if path.name == "HR" and path.is_dir():
        path = path.resolve().parent
    if (path / "HR").is_dir():
        return path / "HR", _first_folder(path / f"LRx{scale}", path / "LR_bicubic" / f"X{scale}"), path.resolve().name
    hr = _first_folder(path / "DIV2K_valid_HR") or path
    if hr.name.startswith("DIV2K_") and hr.name.endswith("_HR"):
        lr = hr.parent / f"{hr.name.removesuffix('HR')}LR_bicubic" / f"X{scale}"
        return hr, _first_folder(lr), hr.name.removesuffix("_HR")
    return path, None, path.resolve().name if path.is_dir() else path.stem


def _first_folder(*folders: Path) -> Path | None:
    return next((folder for folder in folders if folder.is_dir()), None)


def _partner(hr: Path, known: dict[str, Path], folder: Path, scale: int) -> Path:
    for stem in (hr.stem, f"{hr.stem}x{scale}"):
        if stem in known:
            return known[stem]
    raise InputError(
        f"no LR picture for {hr.name}",
        where=folder,
        hint=f"add {hr.stem}x{scale}.png, or rename the folder to have LR made from HR",
    )


def _pixels(picture: Picture) -> np.ndarray:
    return to_uint8(picture.rgb)
