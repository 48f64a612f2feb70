"""JPEG through a real codec (libjpeg, by Pillow)."""

from __future__ import annotations

import io

import numpy as np


def jpeg(picture: np.ndarray, quality: int, *, subsampling: str = "4:2:0") -> np.ndarray:
    """A picture as it is after a JPEG file.

    Args:
        picture: (h, w, 3) float32; clipped to [0, 1] and rounded to 8 bits first.
        quality: libjpeg's, 1 to 100.
        subsampling: of the colours, as Pillow takes it.

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file), np.float32) / 255


def to_uint8(picture: np.ndarray) -> np.ndarray:
    """A picture in [0, 1], clipped and rounded to 8 bits: uint8 of the same shape."""
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
