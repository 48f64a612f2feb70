"""JPEG through a real codec (libjpeg, by Pillow)."""

from __future__ import annotations

import io

import numpy as np


def jpeg(picture: np.ndarray, quality: int, *, subsampling: str = "4:2:0") -> np.ndarray:
    """A float32 picture (h, w, 3) in [0, 1], rounded to 8 bits, as it is after a JPEG file of `quality` (1 to 100)."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file), np.float32) / 255


def to_uint8(picture: np.ndarray) -> np.ndarray:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
