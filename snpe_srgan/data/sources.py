"""Where pictures come from: 'sample', 'div2k', any folder of pictures, or several of these.

    find_pictures("sample", root="data", split="train", scale=4)         # data/sample, made by `data sample`
    find_pictures(["div2k", "~/photos"], root="data", split="train", scale=4)

A folder is read as imaging/pairs.py reads it: DIV2K's layout, `HR` beside `LR`, or pictures in any folders. LR pictures
that are there are used; where there are none, LR is made by MATLAB-compatible bicubic.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from snpe_srgan.errors import InputError, UsageError, did_you_mean
from snpe_srgan.imaging.finder import missing
from snpe_srgan.imaging.pairs import PictureSet, find_set

SPLITS = ("train", "valid")
NAMED = {"sample": "sample", "div2k": "DIV2K"}  # spec -> folder below the data root


@dataclasses.dataclass(frozen=True)
class PicturePair:
    """One training picture: its HR file and, where the data set has one, its LR file."""

    hr: Path
    lr: Path | None = None

    @property
    def name(self) -> str:
        """The HR file's name, with its ending."""
        return self.hr.name


def find_pictures(
    spec: str | os.PathLike | Sequence,
    *,
    root: str | os.PathLike = "data",
    split: str = "train",
    scale: int = 4,
    say: Callable[[str], None] = lambda text: None,
) -> list[PicturePair]:
    """All pictures of one source or several, in a fixed order. Never empty: an empty source is an `InputError`.

    Args:
        say: gets a line for each source on where LR comes from, and lines on what was passed over.
    """
    pairs: dict[Path, PicturePair] = {}
    for one in find_sets(spec, root=root, split=split, scale=scale):
        for line in (f"{one.name}: {len(one.files)} HR, {one.origin}", *(f"{one.name}: {r}" for r in one.remarks)):
            say(line)
        for files in one.files:  # what a second source (a folder inside another one, say) names again counts once
            pairs.setdefault(files.hr.resolve(), PicturePair(files.hr, files.lr))
    return list(pairs.values())


def find_sets(
    spec: str | os.PathLike | Sequence, *, root: str | os.PathLike, split: str, scale: int
) -> list[PictureSet]:
    """The data set of each source, whole.

    Args:
        spec: 'sample', 'div2k', a folder, or several of these.
        root: the folder that the two named sets lie below.
        split: 'train' or 'valid': which half is taken of a set that has halves.
        scale: between HR and LR.

    Raises:
        InputError: a source is not there, or holds no pictures.
        UsageError: an unknown split, or no source.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'", hint=did_you_mean(split, SPLITS))
    specs = [spec] if isinstance(spec, (str, os.PathLike)) else list(spec)
    if not specs:
        raise UsageError("no picture source is named", hint="name 'sample', 'div2k' or a folder of pictures")
    return [find_set(source_folder(one, root), scale=scale, splits=(split,)) for one in specs]


def source_folder(spec: str | os.PathLike, root: str | os.PathLike) -> Path:
    """The folder that a spec means, known to exist: 'sample' and 'div2k' lie below `root`.

    Raises:
        InputError: it is not there, or is a file.
    """
    if str(spec) in NAMED:
        folder = Path(root) / NAMED[str(spec)]
        if not folder.is_dir():
            verb = "sample" if spec == "sample" else "download"
            raise InputError(
                f"the data set '{spec}' is not there", where=folder, hint=f"snpe-srgan data {verb} -o {folder}"
            )
        return folder
    try:
        folder = Path(spec).expanduser()
        status = os.stat(folder)
    except RuntimeError as error:  # ~name of nobody
        raise InputError(f"no such picture folder: {error}", where=spec) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        if folder.is_symlink():
            raise missing(folder, error) from error
        hint = "name 'sample', 'div2k' or a folder of pictures"
        raise InputError("no such picture folder", where=folder, hint=hint) from error
    except (OSError, ValueError) as error:
        raise missing(folder, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise InputError("a picture source is a folder, and this is a file", where=folder)
    return folder
