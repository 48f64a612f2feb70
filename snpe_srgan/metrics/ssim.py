"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli: "Image quality assessment", 2004), as its authors' code does.

11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, only where the window lies inside the picture.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.metrics.psnr import check_alike

WINDOW = 11
SIGMA = 1.5
_STRIP = 64  # rows computed at a time: planes of that height stay in the cache (three times as fast)


def gaussian_window(size: int = WINDOW, sigma: float = SIGMA) -> np.ndarray:
    """The 1-D window `(size,)`; its outer product with itself is the 2-D one. Sums to 1."""
    x = np.arange(size) - (size - 1) / 2
    window = np.exp(-(x**2) / (2 * sigma**2))
    return window / window.sum()


def _blur(plane: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Separable correlation of `(h, w)` with `window`, valid region: `(h - 10, w - 10)`."""
    for axis in (0, 1):
        length = plane.shape[axis] - len(window) + 1
        taps = [plane[tap : tap + length] if axis == 0 else plane[:, tap : tap + length] for tap in range(len(window))]
        total = taps[0] * window[0]
        for shifted, weight in zip(taps[1:], window[1:], strict=True):
            np.add(total, shifted * weight, out=total)
        plane = total
    return plane


def ssim_map(a: np.ndarray, b: np.ndarray, *, data_range: float = 255.0) -> np.ndarray:
    """SSIM at each place of two planes `(h, w)`: `(h - 10, w - 10)` float64.

    Args:
        a, b: of one shape, any numeric type.
        data_range: between black and white: 255 for 8 bits.

    Raises:
        InputError: the shapes differ, or a side is shorter than the window.
    """
    check_alike(a, b)
    if min(a.shape) < WINDOW:
        raise InputError(
            f"SSIM needs at least {WINDOW}x{WINDOW} pixels after the border is cut, here are {a.shape[0]}x{a.shape[1]}"
        )
    starts = range(0, a.shape[0] - WINDOW + 1, _STRIP)
    rows = [slice(start, start + _STRIP + WINDOW - 1) for start in starts]
    return np.concatenate([_strip(a[r].astype(np.float64), b[r].astype(np.float64), data_range) for r in rows])


def _strip(a: np.ndarray, b: np.ndarray, data_range: float) -> np.ndarray:
    window = gaussian_window()
    mean_a, mean_b = _blur(a, window), _blur(b, window)
    variance_a = _blur(a * a, window) - mean_a**2
    variance_b = _blur(b * b, window) - mean_b**2
    covariance = _blur(a * b, window) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return numerator / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))


def ssim(a: np.ndarray, b: np.ndarray, *, data_range: float = 255.0) -> float:
    """Mean SSIM of two planes `(h, w)`, or the mean over the channels of `(h, w, c)`.

    Args:
        a, b: of one shape, any numeric type.
        data_range: between black and white: 255 for 8 bits.

    Returns:
        -1 to 1; 1 for equal pictures.

    Raises:
        InputError: the shapes differ, or a side is shorter than the window.
    """
    check_alike(a, b)
    if a.ndim == 2:
        return float(ssim_map(a, b, data_range=data_range).mean())
    return float(np.mean([ssim_map(a[..., c], b[..., c], data_range=data_range).mean() for c in range(a.shape[-1])]))
