"""Where pictures come from: 'sample', 'div2k', any folder of pictures, or several of these.

    find_pictures("sample", root="data", split="train", scale=4)         # data/sample, made by `data sample`
    find_pictures(["div2k", "~/photos"], root="data", split="train", scale=4)

A folder may have one of three layouts, tried in this order:

- DIV2K's: `DIV2K_train_HR/0001.png` and, if there, `DIV2K_train_LR_bicubic/X4/0001x4.png`;
- `HR/name.png` and, if there, `LRx4/name.png`;
- anything else: every picture below it is an HR picture.

HR alone suffices: where a layout has no LR folder, LR is made by MATLAB-compatible bicubic.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import InputError, UsageError, did_you_mean

SPLITS = ("train", "valid")
NAMED = {"sample": "sample", "div2k": "DIV2K"}  # spec -> folder below the data root


@dataclasses.dataclass(frozen=True)
class PicturePair:
    """One training picture: its HR file and, where the data set has one, its LR file."""

    hr: Path
    lr: Path | None = None

    @property
    def name(self) -> str:
        return self.hr.name


def find_pictures(
    spec: str | os.PathLike | Sequence, *, root: str | os.PathLike = "data", split: str = "train", scale: int = 4
) -> list[PicturePair]:
    """All pictures of one source or several, in a fixed order. Never empty: an empty source is an `InputError`."""
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'", hint=did_you_mean(split, SPLITS))
    if not isinstance(spec, (str, os.PathLike)):
        if not spec:
            raise UsageError("no picture source is named", hint="name 'sample', 'div2k' or a folder of pictures")
        pairs = [pair for one in spec for pair in find_pictures(one, root=root, split=split, scale=scale)]
        return _once(pairs)
    folder = source_folder(spec, root)
    pairs = _div2k_layout(folder, split, scale) or _hr_layout(folder, scale)
    if pairs is None:
        pairs = [PicturePair(path) for path in _pictures(folder)]
    if not pairs:
        raise InputError("no pictures in this folder", where=folder, hint="name a folder with .png or .jpg files")
    return pairs


def source_folder(spec: str | os.PathLike, root: str | os.PathLike) -> Path:
    """The folder that a spec means, known to exist: 'sample' and 'div2k' lie below `root`."""
    if str(spec) in NAMED:
        folder = Path(root) / NAMED[str(spec)]
        if not folder.is_dir():
            verb = "sample" if spec == "sample" else "download"
            raise InputError(
                f"the data set '{spec}' is not there", where=folder, hint=f"snpe-srgan data {verb} -o {folder}"
            )
        return folder
    folder = Path(spec).expanduser()
    if not folder.exists():
        raise InputError("no such picture folder", where=folder, hint="name 'sample', 'div2k' or a folder of pictures")
    if not folder.is_dir():
        raise InputError("a picture source is a folder, and this is a file", where=folder)
    return folder


def _div2k_layout(folder: Path, split: str, scale: int) -> list[PicturePair] | None:
    if not any((folder / f"DIV2K_{s}_HR").is_dir() for s in SPLITS):
        return None
    hr_folder = folder / f"DIV2K_{split}_HR"
    if not hr_folder.is_dir():
        raise InputError(f"this data set has no split '{split}'", where=hr_folder)
    lr_folder = folder / f"DIV2K_{split}_LR_bicubic" / f"X{scale}"
    return _pair(hr_folder, lr_folder, suffix=f"x{scale}")


def _hr_layout(folder: Path, scale: int) -> list[PicturePair] | None:
    if not (folder / "HR").is_dir():
        return None
    return _pair(folder / "HR", folder / f"LRx{scale}", suffix="")


def _pair(hr_folder: Path, lr_folder: Path, *, suffix: str) -> list[PicturePair]:
    """Every HR picture with the LR picture of the same name; a hole in an LR folder is an error, not a guess."""
    hr = _pictures(hr_folder)
    if not hr:
        raise InputError("no pictures in this folder", where=hr_folder)
    if not lr_folder.is_dir():
        return [PicturePair(path) for path in hr]
    lr = {str(p.relative_to(lr_folder).with_suffix("")): p for p in _pictures(lr_folder)}
    names = [str(p.relative_to(hr_folder).with_suffix("")) + suffix for p in hr]
    missing = [name for name in names if name not in lr]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(hr)} HR pictures have no LR picture: {', '.join(missing[:5])}"
            + (", ..." if len(missing) > 5 else ""),
            where=lr_folder,
            hint="add them, or move the LR folder away: LR is then made by bicubic",
        )
    return [PicturePair(path, lr[name]) for path, name in zip(hr, names, strict=True)]


def _pictures(folder: Path) -> list[Path]:
    """Every picture file below `folder`, naturally sorted; hidden files and folders are passed over."""
    from snpe_srgan.imaging.pictures import SUFFIXES, natural_key

    found = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, f) for f in files if not f.startswith(".") and Path(f).suffix.lower() in SUFFIXES]
    return sorted(found, key=natural_key)


def _raise(error: OSError) -> None:
    raise os_error(error, error.filename, "read the folder") from error


def _once(pairs: Iterable[PicturePair]) -> list[PicturePair]:
    """Drops what a second source (a folder inside another one, say) names again."""
    return list({pair.hr.resolve(): pair for pair in pairs}.values())
