"""How two pictures are compared, written down beside each number.

The plane (Y or RGB), the border that is cut and the way LR was made move PSNR by more than most methods differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import InputError, UsageError, did_you_mean
from snpe_srgan.imaging.colour import rgb_to_grey, rgb_to_y
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.metrics.ssim import ssim

_PLANES = {"y": "Y (BT.601 luma, 16..235, not rounded)", "rgb": "RGB (mean over the channels)"}


@dataclass(frozen=True)
class Protocol:
    """`y`: BT.601 luma; `rgb`: all three channels. Grey pictures are compared on their grey plane in both.

    Attributes:
        name: `y` or `rgb`.
        border: pixels cut from each side before comparing; None cuts `scale` pixels, the usual rule.
    """

    name: str = "y"
    border: int | None = None

    def __post_init__(self):
        if self.name not in _PLANES:
            raise UsageError(f"unknown protocol '{self.name}'", hint=did_you_mean(self.name, _PLANES))
        if self.border is not None and self.border < 0:
            raise UsageError(f"the border must be 0 or more pixels, not {self.border}")

    def describe(self) -> str:
        """One line, printed with every number."""
        border = "`scale`" if self.border is None else str(self.border)
        return (
            f"PSNR (dB) and SSIM (11x11 Gaussian, sigma 1.5) on {_PLANES[self.name]}, grey pictures on their grey "
            f"plane, {border} pixels of border cut, 8 bits"
        )


@dataclass(frozen=True)
class Score:
    """PSNR in dB (infinity for equal pictures) and SSIM."""

    psnr: float
    ssim: float


def score(sr: np.ndarray, hr: np.ndarray, *, protocol: Protocol | None = None, scale: int, grey: bool = False) -> Score:
    """Compares two uint8 pictures `(h, w, 3)` (or planes `(h, w)`, taken as they are).

    Args:
        grey: HR is a grey picture: RGB is turned into its grey plane first (0..255, not Y's 16..235).

    Raises:
        InputError: other types than uint8, different sizes, or too few pixels.
    """
    protocol = protocol or Protocol()
    if sr.dtype != np.uint8 or hr.dtype != np.uint8:
        raise InputError(f"the protocol compares uint8 pictures, these are {sr.dtype} and {hr.dtype}")
    a, b = (_planes(picture, protocol, grey) for picture in (sr, hr))
    border = scale if protocol.border is None else protocol.border
    a, b = (plane[border : plane.shape[0] - border, border : plane.shape[1] - border] for plane in (a, b))
    return Score(psnr=psnr(a, b), ssim=ssim(a, b))


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean over a data set, as published: of the dB values, not of the errors; infinity if any picture is equal.

    Raises:
        InputError: there is none.
    """
    if not scores:
        raise InputError("no picture was scored")
    return Score(math.fsum(s.psnr for s in scores) / len(scores), math.fsum(s.ssim for s in scores) / len(scores))


def _planes(picture: np.ndarray, protocol: Protocol, grey: bool) -> np.ndarray:
    if picture.ndim == 2:
        return picture
    if grey:
        return rgb_to_grey(picture)
    return rgb_to_y(picture) if protocol.name == "y" else picture
