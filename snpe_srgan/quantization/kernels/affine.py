"""The arithmetic of affine quantization: real = (q - zero) * scale, q an integer of some bits. Pure numpy.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 2.1. Qualcomm's files write the same as (q + offset) * scale with offset = -zero.
"""

from __future__ import annotations

import numpy as np

SMALLEST_SCALE = np.float32(2.0**-60)  # of a tensor that is zero everywhere; far above float32's denormals


def affine_range(low: float, high: float, bits: int) -> tuple[np.float32, int]:
    """Scale and zero point of an unsigned `bits`-bit grid that spans [low, high] (widened to hold 0).

    0.0 is always on the grid: zero padding and ReLU need it exactly. The rounding of the zero point may move both ends
    by up to half a step.

    Args:
        bits: of the grid, so that its integers are 0 to 2^bits - 1.

    Returns:
        (scale, at least SMALLEST_SCALE; zero, the integer that stands for 0.0).
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    levels = 2**bits - 1
    scale = max(np.float32((high - low) / levels), SMALLEST_SCALE)
    return scale, int(np.clip(round(-low / float(scale)), 0, levels))


def unit_range(bits: int) -> tuple[np.float32, int]:
    """The grid for values known to lie in [-1, 1]: -1, 0 and +1 are all on it.

    An unsigned grid has no middle: spanning [-1, 1] exactly would put every level half an 8-bit pixel off (2/255 apart
    around 0 = pixel 127.5). With scale 1/127 and zero 127 black and white come out exactly, for one level unused.
    """
    half = 2 ** (bits - 1) - 1
    return np.float32(1.0 / half), half


def symmetric_scale(bound: np.ndarray, bits: int) -> np.ndarray:
    """Scale(s) of a signed grid with zero point 0 that spans [-bound, bound]: bound / (2^(bits-1) - 1), float32.

    The most negative integer is left unused, as accelerators want it for weights.
    """
    scale = np.asarray(bound, np.float64) / (2 ** (bits - 1) - 1)
    return np.maximum(scale.astype(np.float32), SMALLEST_SCALE)


def quantize(x: np.ndarray, scale, zero, *, low: int, high: int) -> np.ndarray:
    """Nearest grid integer, halves to even (as ONNX), clipped to [low, high]: float64 holding integers.

    Args:
        x: real values, any shape.
        scale: step of the grid, real > 0; broadcasts against `x`.
        zero: the integer that stands for 0.0; broadcasts against `x`.
        low, high: the grid's smallest and largest integer.
    """
    q = np.rint(np.asarray(x, np.float64) / np.asarray(scale, np.float64)) + zero
    return np.clip(q, low, high)


def dequantize(q: np.ndarray, scale, zero) -> np.ndarray:
    """(q - zero) * scale as float32.

    Args:
        q: integers, any shape, of any numeric type.
        scale, zero: as of `quantize`; both broadcast against `q`.
    """
    return ((np.asarray(q, np.float64) - zero) * np.asarray(scale, np.float64)).astype(np.float32)


def fake_quantize(x: np.ndarray, scale, zero, *, bits: int) -> np.ndarray:
    """To the unsigned `bits`-bit grid and back, float32.

    Args:
        x: real values, any shape.
        scale, zero: as of `quantize`; both broadcast against `x`.
        bits: of the grid, so that its integers are 0 to 2^bits - 1.
    """
    return dequantize(quantize(x, scale, zero, low=0, high=2**bits - 1), scale, zero)
