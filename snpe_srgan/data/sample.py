"""A tiny data set in DIV2K's layout, cut from the photographs that the scikit-image wheel carries (no network).

    make_sample("data/sample")
    data/sample/DIV2K_train_HR/0001.png  ...  data/sample/DIV2K_train_LR_bicubic/X4/0001x4.png  (and X2, X3)
    data/sample/DIV2K_valid_HR/0801.png  ...  data/sample/DIV2K_valid_LR_bicubic/X4/0801x4.png
    data/sample/manifest.json            (photo, region, licence and SHA-256 of each picture)

It shows that every stage works; it is far too small to teach a network anything general. Training and validation never
share a pixel: a photo is either in one of them only, or is cut into regions that do not touch each other.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path

from snpe_srgan.artifacts.files import atomic_folder, read_json, sha256, write_json
from snpe_srgan.artifacts.staging import recover
from snpe_srgan.errors import InputError, MissingToolError

VERSION = 1
MANIFEST = "manifest.json"
SCALES = (2, 3, 4)
FIRST_NUMBER = {"train": 1, "valid": 801}  # as in DIV2K

# What scikit-image's documentation says of each photo.
LICENCES = {
    "astronaut.png": "NASA, public domain",
    "chelsea.png": "CC0, Stefan van der Walt",
    "coffee.png": "CC0, Rachel Michetti",
    "ihc.png": "no known copyright restrictions, CMMI",
    "motorcycle_left.png": "Middlebury 2014 stereo benchmark, Scharstein et al.",
    "rocket.jpg": "SpaceX, public domain",
}


@dataclasses.dataclass(frozen=True)
class Region:
    """A rectangle of one photo, in pixels."""

    photo: str
    top: int
    left: int
    height: int
    width: int


# Sides are multiples of 12, as DIV2K's are: whole LR pixels at x2, x3 and x4.
TRAIN = (
    Region("astronaut.png", 192, 0, 312, 504),  # suit and badges, below the face that validates
    Region("astronaut.png", 0, 320, 192, 192),  # the shuttle model
    Region("coffee.png", 0, 0, 396, 240),
    Region("coffee.png", 0, 240, 192, 360),
    Region("ihc.png", 0, 0, 504, 504),
    Region("motorcycle_left.png", 0, 0, 492, 264),
    Region("motorcycle_left.png", 0, 264, 192, 252),
    Region("motorcycle_left.png", 0, 516, 492, 216),
    Region("rocket.jpg", 120, 0, 300, 636),  # without most of the empty sky
)
VALID = (
    Region("astronaut.png", 0, 64, 192, 252),  # the face
    Region("chelsea.png", 24, 112, 192, 252),  # the eyes; nothing of this photo is trained on
    Region("motorcycle_left.png", 192, 264, 192, 252),  # the engine
    Region("coffee.png", 200, 288, 192, 252),  # spoon, saucer and wood
)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A finished sample set."""

    root: Path
    train: int  # pictures
    valid: int


def make_sample(root: str | os.PathLike, *, overwrite: bool = False) -> Sample:
    """Writes the set to the folder `root`, whole or not at all; an unchanged finished one is left as it is.

    Raises:
        InputError: there is something else, or a sample set that was changed (without `overwrite`).
        MissingToolError: scikit-image, whose photos it is cut from, is not installed.
    """
    root = Path(root)
    recover(root.parent)
    if root.is_dir() and not any(root.iterdir()):
        root.rmdir()  # an empty folder may be filled
    if root.exists():
        if not (root / MANIFEST).is_file():  # never delete what is not a sample set, flag or no flag
            raise InputError("the output exists already and is no sample set", where=root, hint="choose another -o")
        if _intact(root):
            return Sample(root, len(TRAIN), len(VALID))
        if not overwrite:
            raise InputError(
                "the sample set there is damaged or changed",
                where=root,
                hint="add --overwrite, or choose another -o",
            )
    try:
        _make(root, overwrite)
    except InputError:
        if not ((root / MANIFEST).is_file() and _intact(root)):  # else another process was quicker
            raise
    return Sample(root, len(TRAIN), len(VALID))


def _make(root: Path, overwrite: bool) -> None:
    with atomic_folder(root, overwrite=overwrite) as temporary:
        entries = [
            _write(temporary, split, FIRST_NUMBER[split] + i, region)
            for split, regions in (("train", TRAIN), ("valid", VALID))
            for i, region in enumerate(regions)
        ]
        write_json(
            temporary / MANIFEST,
            {
                "what": "sample set in DIV2K's layout, cut from the photographs that scikit-image ships",
                "version": VERSION,
                "lr": "MATLAB-compatible bicubic",
                "pictures": entries,
            },
        )


def photo_folder() -> Path:
    """Where the installed scikit-image keeps its photos (found without importing it: that takes a second).

    Raises:
        MissingToolError: it is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingToolError("the sample set is cut from scikit-image's photographs", hint="pip install scikit-image")
    return Path(spec.submodule_search_locations[0]) / "data"


def _write(root: Path, split: str, number: int, region: Region) -> dict:
    """Cuts one region, writes its HR picture and the LR ones; returns its line of the manifest."""
    from PIL import Image

    from snpe_srgan.imaging.bicubic import downscale
    from snpe_srgan.imaging.pictures import read_picture

    source = photo_folder() / region.photo
    if not source.is_file():
        raise MissingToolError(
            "this scikit-image lacks a photograph of the sample set",
            where=source,
            hint="pip install scikit-image>=0.25",
        )
    photo = read_picture(source).rgb
    hr = photo[region.top : region.top + region.height, region.left : region.left + region.width]
    if hr.shape != (region.height, region.width, 3) or hr.dtype != "uint8":
        raise MissingToolError("scikit-image's photograph is not the one this set is cut from", where=source)
    files = {f"DIV2K_{split}_HR/{number:04d}.png": hr}
    for scale in SCALES:
        files[f"DIV2K_{split}_LR_bicubic/X{scale}/{number:04d}x{scale}.png"] = downscale(hr, scale)
    for name, pixels in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    return {
        "split": split,
        **dataclasses.asdict(region),
        "licence": LICENCES[region.photo],
        "files": {name: sha256(root / name) for name in files},
    }


def _intact(root: Path) -> bool:
    """Whether `root` is this version's set, with every file as the manifest says."""
    manifest = read_json(root / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        return False
    pictures = manifest.get("pictures")
    if not isinstance(pictures, list) or len(pictures) != len(TRAIN) + len(VALID):
        return False
    try:
        return all(sha256(root / name) == digest for entry in pictures for name, digest in entry["files"].items())
    except (InputError, KeyError, TypeError, AttributeError):
        return False
