"""Blur and resize of float32 pictures (h, w, 3) in [0, 1]: pure functions."""

from __future__ import annotations

import functools

import numpy as np

from snpe_srgan.imaging.bicubic import cubic_kernel

MODES = ("area", "bilinear", "bicubic")


def blur(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The picture convolved with a kernel (k, k), k odd; mirrored at the border without repeating the edge pixel.

    By FFT: a 21x21 kernel then costs what a 7x7 one does.
    """
    from scipy import fft

    reach = kernel.shape[0] // 2
    height, width = picture.shape[:2]
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), "reflect")
    size = tuple(fft.next_fast_len(n, real=True) for n in padded.shape[1:])  # what is added wraps into what is cut off
    spectrum = fft.rfft2(padded, s=size) * fft.rfft2(kernel.astype(np.float32), s=size)
    full = fft.irfft2(spectrum, s=size)[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    return np.ascontiguousarray(full.transpose(1, 2, 0))


def resize(picture: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """The picture at another size. Bilinear and bicubic sample without antialiasing when they shrink, as OpenCV's and
    PyTorch's do; area is the mean over what each pixel covers, and repeats pixels when it enlarges.

    Args:
        picture: (h, w, c) float32.
        size: (height, width) wanted.
        mode: one of MODES.

    Returns:
        (height, width, c) float32; bicubic may overshoot [0, 1].
    """
    rows, columns = (matrix(n, out, mode) for n, out in zip(picture.shape[:2], size, strict=True))
    high = np.tensordot(rows, picture, axes=(1, 0))  # (H, w, 3)
    return np.ascontiguousarray(np.tensordot(columns, high, axes=(1, 1)).swapaxes(0, 1), dtype=np.float32)


@functools.lru_cache(maxsize=64)
def matrix(length: int, out_length: int, mode: str) -> np.ndarray:
    """One axis of `resize`: float32 (out_length, length), rows sum to 1; beyond the border the last pixel repeats.

    Args:
        length, out_length: pixels before and after.
        mode: one of MODES.
    """
    weights = np.zeros((out_length, length))
    if mode == "area":
        edges = np.arange(out_length + 1) * (length / out_length)
        left, right = edges[:-1, None], edges[1:, None]
        pixels = np.arange(length)
        weights = np.clip(np.minimum(right, pixels + 1) - np.maximum(left, pixels), 0, None)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    kernel, reach = (_triangle, 1) if mode == "bilinear" else (cubic_kernel, 2)
    centre = (np.arange(out_length) + 0.5) * (length / out_length) - 0.5
    for offset in range(1 - reach, reach + 1):
        place = np.floor(centre).astype(int) + offset
        np.add.at(weights, (np.arange(out_length), np.clip(place, 0, length - 1)), kernel(centre - place))
    return weights.astype(np.float32)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.clip(1 - np.abs(x), 0, None)
