"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decibel import decibel


def check_alike(a: np.ndarray, b: np.ndarray) -> None:
    """Raises unless two pictures have the same shape, with at least one pixel."""
    if a.shape != b.shape:
        raise InputError(f"pictures of different size cannot be compared: {a.shape} and {b.shape}")
    if a.size == 0:
        raise InputError("nothing is left to compare", hint="use larger pictures, or a smaller border")


def psnr(a: np.ndarray, b: np.ndarray, *, data_range: float = 255.0) -> float:
    """`10 log10(data_range^2 / mean((a - b)^2))` in dB over all values; infinity for equal pictures.

    Args:
        a, b: of one shape, any numeric type; the error is taken in float64.
        data_range: between black and white: 255 for 8 bits, 2 for [-1, 1].

    Raises:
        InputError: the shapes differ, or there is no pixel.
    """
    check_alike(a, b)
    error = np.mean(np.square(a.astype(np.float64) - b.astype(np.float64)))
    return decibel(float(error), peak=data_range)
