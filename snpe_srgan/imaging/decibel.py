"""Errors and noise in dB."""

from __future__ import annotations

import math


def decibel(error: float, *, peak: float) -> float:
    """`10 log10(peak^2 / error)`: the PSNR of a mean squared error.

    Args:
        error: mean squared error, at least 0.
        peak: the largest difference there can be: 255 for 8-bit pictures, 2 for values in [-1, 1].

    Returns:
        dB; infinity for no error at all.
    """
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)
