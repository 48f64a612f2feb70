"""Colour and range: BT.601 luma, grey <-> RGB, and the two float ranges of a network's ends.

LR enters a network as float32 in [0, 1]; its output (and HR in training) is float32 in [-1, 1]; pictures everywhere
else are uint8 or uint16.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError

# ITU-R BT.601, the matrix of MATLAB's rgb2ycbcr: R, G, B in [0, 1] -> Y in [16, 235].
_LUMA_STUDIO = np.array([65.481, 128.553, 24.966])
_LUMA_FULL = np.array([0.299, 0.587, 0.114])
_BLOCK = 1 << 16  # pixels


def full_range(dtype: np.dtype) -> int:
    """The value of white: 255 for uint8, 65535 for uint16.

    Raises:
        InputError: another dtype.
    """
    if dtype not in (np.uint8, np.uint16):
        raise InputError(f"pixels must be uint8 or uint16, these are {dtype}")
    return int(np.iinfo(dtype).max)


def rgb_to_y(rgb: np.ndarray) -> np.ndarray:
    """BT.601 luma of `(..., 3)` pixels in 0..255: float64 `(...)` in 16..235, not rounded."""
    return 16.0 + rgb.astype(np.float64) @ (_LUMA_STUDIO / 255.0)


def rgb_to_grey(rgb: np.ndarray) -> np.ndarray:
    """Full-range BT.601 grey of `(..., 3)` uint8 / uint16 pixels, same dtype, rounded; exact where R = G = B."""
    full_range(rgb.dtype)
    pixels = np.reshape(rgb, (-1, 3))
    grey = np.empty(len(pixels), rgb.dtype)
    for start in range(0, len(pixels), _BLOCK):  # a block at a time: floats of a whole picture take 24 bytes a pixel
        grey[start : start + _BLOCK] = np.floor(pixels[start : start + _BLOCK] @ _LUMA_FULL + 0.5)
    return grey.reshape(rgb.shape[:-1])


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """`(h, w) -> (h, w, 3)`, all three channels alike: one seen three times, to be read only."""
    return np.broadcast_to(grey[..., None], (*grey.shape, 3))


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels of a uint8 or uint16 picture (65535 becomes 255, rounded)."""
    if full_range(pixels.dtype) == 255:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def pixels_to_lr(pixels: np.ndarray) -> np.ndarray:
    """A network's input: uint8 / uint16 pixels of any shape as float32 in [0, 1]; white is 1."""
    return pixels.astype(np.float32) / np.float32(full_range(pixels.dtype))


def sr_to_pixels(sr: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    """A network's output, floats in [-1, 1] (clipped) of any shape, as uint8 / uint16 pixels, halves rounded up."""
    white = full_range(np.dtype(dtype))
    scaled = sr.astype(np.float32, copy=False) + np.float32(1)
    scaled *= np.float32(white / 2)  # in place: a large picture's time goes into touching new memory
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, white, out=scaled).astype(dtype)
