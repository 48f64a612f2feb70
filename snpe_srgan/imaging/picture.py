"""A decoded picture with all that must survive the way through a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decoded import Layout
from snpe_srgan.imaging.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture: pixels, transparency, and what its file says besides.

    Attributes:
        rgb: `(h, w, 3)`, uint8 or uint16. Grey pictures have three equal channels, mostly one that is seen three times.
        alpha: `(h, w)` of the same dtype (0 is transparent), or None. Colours are not multiplied by it.
        grey: the file was grey, and is written grey again.
        metadata: colour profile, camera data, resolution.
        remarks: what its file holds and this does not, each for a line of its own.
        path: where it was read from, for messages.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = field(default=None, kw_only=True)
    grey: bool = field(default=False, kw_only=True)
    metadata: Metadata = field(default_factory=Metadata, kw_only=True)
    remarks: tuple[str, ...] = field(default=(), kw_only=True)
    path: Path | None = field(default=None, kw_only=True)

    def __post_init__(self):
        rgb, alpha = self.rgb, self.alpha
        if rgb.dtype not in (np.uint8, np.uint16) or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise InputError(f"a picture needs uint8 or uint16 pixels (h, w, 3), not {rgb.dtype} {rgb.shape}")
        if alpha is not None and (alpha.dtype != rgb.dtype or alpha.shape != rgb.shape[:2]):
            raise InputError(f"alpha {alpha.dtype} {alpha.shape} does not fit the picture's {rgb.dtype} {rgb.shape}")

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.rgb.shape[1]

    @property
    def bits(self) -> int:
        """8 or 16 bits a channel."""
        return 8 * self.rgb.dtype.itemsize

    @property
    def layout(self) -> Layout:
        """Size, channels (one where it is grey, one more with alpha) and bits, as a file of it would promise them."""
        channels = (1 if self.grey else 3) + (self.alpha is not None)
        return Layout(self.width, self.height, channels, self.bits)
