"""Validation during training: PSNR and SSIM of the averaged network on whole pictures, and strips to look at."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import make_folder
from snpe_srgan.imaging.bicubic import upscale
from snpe_srgan.imaging.colour import pixels_to_lr, sr_to_pixels
from snpe_srgan.imaging.pictures import Picture, write_picture
from snpe_srgan.metrics.dataset import Pair
from snpe_srgan.metrics.loop import Enlarger, Scored, score_pairs
from snpe_srgan.metrics.protocol import Protocol, Score, mean_score

PROTOCOL = Protocol("y")
Enlarge = Callable[[np.ndarray], np.ndarray]  # float32 (1, h, w, 3) in [0, 1] -> (1, h * s, w * s, 3) in [-1, 1]
STRIPS = 4  # pictures shown in samples/
FAR_BELOW = 3.0  # dB under bicubic; a network made for the eye may lose one or two
STRIP = re.compile(r"(?P<moment>\d+-.+-\d{7})-(?P<picture>.+)\.png")  # 00-pixel-0000100-0801.png
STRIP_SIDE = 256  # HR pixels of a picture that a strip shows, from its middle


@dataclass(frozen=True)
class ValidationResult:
    """Mean over the validation pictures, by `PROTOCOL`."""

    psnr: float
    ssim: float
    seconds: float


class Validator:
    """Holds the validation pictures, decoded once; `multiple` is what the network's input must be a multiple of."""

    def __init__(self, pairs: Sequence[Pair], *, scale: int, multiple: int = 1):
        self.pairs, self.scale, self.multiple = list(pairs), scale, multiple

    @cached_property
    def bicubic(self) -> Score:
        """The score of bicubic enlargement, to compare with."""
        return mean_score([found.scores[0] for found in self._scored(self._upscale)])

    def validate(self, enlarge: Enlarge, *, strips: Path, name: str) -> ValidationResult:
        """Scores all pictures, and writes strips of the first few: LR (bicubic) | SR | HR.

        Args:
            enlarge: LR float32 (1, h, w, 3) in [0, 1] -> (1, h * scale, w * scale, 3) in [-1, 1].
            strips: the folder of `<name>-<picture>.png`; made where it is missing.
            name: of this moment, in front of the pictures'.

        Raises:
            InputError: a strip cannot be written.
        """
        start = time.perf_counter()
        make_folder(strips)
        scores: list[Score] = []
        for found in self._scored(lambda lr: self._enlarged(enlarge, lr)):
            pair, (sr,) = found.pair, found.pictures
            if len(scores) < STRIPS:
                shown = Picture(strip([self._upscale(pair.lr), sr, pair.hr]))
                write_picture(strips / f"{name}-{pair.name}.png", shown, overwrite=True)
            scores += found.scores
        result = mean_score(scores)
        return ValidationResult(result.psnr, result.ssim, time.perf_counter() - start)

    def _enlarged(self, enlarge: Enlarge, lr: np.ndarray) -> np.ndarray:
        """The picture is continued by its mirror image to whole multiples, and what that adds is cut off again."""
        height, width = (side * self.scale for side in lr.shape[:2])
        more = [(0, -side % self.multiple) for side in lr.shape[:2]]
        continued = np.pad(lr, (*more, (0, 0)), mode="symmetric") if any(map(any, more)) else lr
        return sr_to_pixels(enlarge(pixels_to_lr(continued)[None])[0])[:height, :width]

    def far_below_bicubic(self, psnr: float) -> bool:
        """Whether a network of this score is of no use: worse by `FAR_BELOW` than enlarging without one."""
        return not math.isfinite(psnr) or psnr < self.bicubic.psnr - FAR_BELOW

    def _upscale(self, lr: np.ndarray) -> np.ndarray:
        return upscale(lr, self.scale)

    def _scored(self, enlarge: Enlarger) -> Iterator[Scored]:
        return score_pairs(self.pairs, [enlarge], protocol=PROTOCOL, scale=self.scale)


def strip(pictures: Sequence[np.ndarray], *, side: int = STRIP_SIDE, gap: int = 4) -> np.ndarray:
    """The middles of pictures, next to each other with white between.

    Args:
        pictures: uint8 (h, w, 3), all of one size, at least one.
        side: pixels of each middle at most.
        gap: pixels of white.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = (min(side, n) for n in pictures[0].shape[:2])
    top, left = (pictures[0].shape[0] - height) // 2, (pictures[0].shape[1] - width) // 2
    white = np.full((height, gap, 3), 255, np.uint8)
    parts = []
    for picture in pictures:
        parts += [picture[top : top + height, left : left + width], white]
    return np.concatenate(parts[:-1], axis=1)


def last_strips(folder: Path) -> tuple[Path, ...]:
    """The strips that the last validation wrote into `folder`, by name; none where there was no validation."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.png")) if folder.is_dir() else []:
        if match := STRIP.fullmatch(path.name):
            found.setdefault(match["moment"], []).append(path)
    return tuple(found[max(found)]) if found else ()
