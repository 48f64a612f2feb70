"""The DIV2K archives: where they are, what is in them, and how to know that they arrived whole.

1000 photos of 2K resolution: 0001 to 0800 for training, 0801 to 0900 for validation (the other 100 are not public).
E. Agustsson and R. Timofte, "NTIRE 2017 Challenge on Single Image Super-Resolution: Dataset and Study", CVPRW 2017.
For academic research only. The authors publish no checksums; the sizes and SHA-256 sums are those of TensorFlow
Datasets (`tensorflow_datasets/datasets/div2k/checksums.tsv`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

BASE_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
TERMS = "DIV2K is for academic research only (https://data.vision.ee.ethz.ch/cvl/DIV2K/)"
SPLITS = {"train": range(1, 801), "valid": range(801, 901)}
SCALES = (2, 3, 4)


@dataclasses.dataclass(frozen=True)
class Archive:
    """One zip file of the data set.

    Args:
        split: 'train' or 'valid'.
        scale: of its LR pictures; None for the HR ones.
        size: bytes of the zip file.
        sha256: of the zip file, or None where nobody has published it (then size and the zip's own CRC-32 must do).
    """

    split: str
    scale: int | None
    size: int | None
    sha256: str | None

    @property
    def file(self) -> str:
        """The zip file's name, at the published address and on disk."""
        kind = "HR" if self.scale is None else f"LR_bicubic_X{self.scale}"
        return f"DIV2K_{self.split}_{kind}.zip"

    @property
    def folder(self) -> str:
        """What it unpacks to, below the data set's folder."""
        return f"DIV2K_{self.split}_HR" if self.scale is None else f"DIV2K_{self.split}_LR_bicubic/X{self.scale}"

    @property
    def pictures(self) -> list[str]:
        """The names of its pictures, in its folder."""
        suffix = "" if self.scale is None else f"x{self.scale}"
        return [f"{number:04d}{suffix}.png" for number in SPLITS[self.split]]


ARCHIVES = (
    Archive("train", None, 3530603713, "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335"),
    Archive("train", 2, 925390592, "a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850"),
    Archive("train", 3, 427847282, "ad5c8e5507e2765823d3c2c5bd0934842efcd487c5370604c224090898b3163a"),
    Archive("train", 4, 246914039, "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a"),
    Archive("valid", None, 448993893, "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
    Archive("valid", 2, 117763600, "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57"),
    Archive("valid", 3, 54513392, "04b9a2ed3b4a0715d3924d3ae8514830c3328fac8d30512ce716d6f419e052a3"),
    Archive("valid", 4, 31505881, "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553"),
)


def select(splits: Iterable[str], scales: Iterable[int]) -> list[Archive]:
    """The HR archives of these splits, and their LR archives of these scales."""
    splits, wanted = set(splits), {None, *scales}
    return [archive for archive in ARCHIVES if archive.split in splits and archive.scale in wanted]
