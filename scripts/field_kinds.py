"""What the makers of `scripts/field_networks` share: the picture's side, and how a brightness network draws colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from snpe_srgan.imaging.bicubic import upscale

SIDE = 48  # LR pixels a side: of the picture, and of networks that take one size
Draw = Callable[[np.ndarray], np.ndarray]  # NHWC in [0, 1] -> the enlarged picture, NHWC in [0, 1]
Made = tuple[Path, Draw]
LUMA = np.array([0.299, 0.587, 0.114])


def luma_run(draw: Draw) -> Draw:
    """A picture by a network of brightness (n, h, w, 1): what is left of the colours is enlarged by bicubic."""

    def call(lr: np.ndarray) -> np.ndarray:
        luma = (lr @ LUMA)[..., None]
        large = draw(luma.astype(np.float32))
        rest = upscale((lr - luma)[0].astype(np.float32), large.shape[1] // lr.shape[1])[None]
        return large + rest

    return call
