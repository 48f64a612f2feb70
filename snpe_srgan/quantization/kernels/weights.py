"""Weights and biases as integers: one scale for each output channel, biases on the accumulator's grid. Pure numpy."""

from __future__ import annotations

import numpy as np

from snpe_srgan.quantization.kernels.affine import SMALLEST_SCALE, quantize, symmetric_scale

SHRINK = np.linspace(0.7, 1.0, 31)  # candidates: the grid's bound as a fraction of the largest weight
CLIPPED = np.linspace(0.4, 1.0, 13)  # the same where the error is that of the layer's output
GRIDS = 1024
LARGEST_BIAS = 2**30  # leaves the 32-bit accumulator as much room again for the products


def channel_scales(weights: np.ndarray, *, bits: int = 8) -> np.ndarray:
    """Symmetric scales, float32 (channels,), of least squared rounding + clipping error, channel by channel.

    `weights` is (channels, ...), output channel first. Every bound in SHRINK x max|w| is tried; SHRINK holds 1.0, so no
    channel is worse off than with min-max.
    """
    flat = np.asarray(weights, np.float64).reshape(len(weights), -1)
    return _least(flat, SHRINK, lambda rest: np.square(rest).sum(axis=1), bits)


def gram_scales(weights: np.ndarray, gram: np.ndarray, *, bits: int) -> np.ndarray:
    """Symmetric scales, float32 (rows,), of least error of what a layer computes, row by row.

    `channel_scales` with the error weighed by what the layer reads: (w - q s) H (w - q s)^T. Taps on quiet or similar
    inputs may then be clipped, which gives the others a finer step: at 4 bits that is worth several dB.

    Args:
        weights: (rows, taps), one row an output channel.
        gram: H, (taps, taps) second moments of the layer's patches.
        bits: of the signed grid.
    """
    gram = np.asarray(gram, np.float64)
    return _least(np.asarray(weights, np.float64), CLIPPED, lambda rest: np.einsum("ok,ok->o", rest @ gram, rest), bits)


def _least(flat: np.ndarray, fractions: np.ndarray, measure, bits: int) -> np.ndarray:
    """For each row the scale, of those that span a fraction of its largest weight, with the least `measure(error)`."""
    bound, limit = np.abs(flat).max(axis=1), 2 ** (bits - 1) - 1
    scales = np.stack([symmetric_scale(bound * fraction, bits) for fraction in fractions[::-1]])
    steps = scales.astype(np.float64)[:, :, None]
    errors = np.stack([measure(quantize(flat, step, 0, low=-limit, high=limit) * step - flat) for step in steps])
    return np.take_along_axis(scales, errors.argmin(axis=0)[None], axis=0)[0]


def widen_for_bias(scale: np.ndarray, bias: np.ndarray, input_scale: float) -> np.ndarray:
    """Raises the weight scale of channels whose bias would not fit 32 bits (tiny weights beside a large bias).

    Args:
        scale: (channels,) of the weights.
        bias: (channels,) real.
        input_scale: step of the grid that the layer reads: a bias is counted in `input_scale` x `scale`.

    Returns:
        float32 (channels,); what fits is unchanged.
    """
    smallest = np.abs(np.asarray(bias, np.float64)) / (float(input_scale) * LARGEST_BIAS)
    return np.maximum(scale, np.nextafter(smallest.astype(np.float32), np.float32(np.inf))).astype(np.float32)


def quantize_weights(weights: np.ndarray, scale: np.ndarray, *, bits: int = 8) -> np.ndarray:
    """The nearest integers on signed grids, clipped to +-(2^(bits-1) - 1).

    Args:
        weights: any shape; output channels first where `scale` has one for each.
        scale: (channels,) for axis 0, or a scalar.
        bits: 2 to 16.

    Returns:
        int8 up to 8 bits, else int16; the shape of `weights`.
    """
    limit = 2 ** (bits - 1) - 1
    scale = np.asarray(scale, np.float64)
    scale = scale.reshape(-1, *[1] * (weights.ndim - 1)) if scale.ndim else scale
    return quantize(weights, scale, 0, low=-limit, high=limit).astype(np.int8 if bits <= 8 else np.int16)


def quantize_bias(bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """int32 bias (channels,) on the accumulator's grid: `scale` is input scale x weight scale, float32 (channels,)."""
    return quantize(bias, scale, 0, low=-(2**31) + 1, high=2**31 - 1).astype(np.int32)


def slope_grid(slopes: np.ndarray, weight: np.ndarray, *, bits: int) -> tuple[np.float32, int]:
    """Scale and zero point of one unsigned grid for all channels' PReLU slopes (the HTP has no per-channel ones).

    Slopes are rounded where it hurts least: of GRIDS candidates, each wide enough for every slope, the one with the
    least sum of weight x squared rounding error.

    Args:
        slopes: (channels,).
        weight: (channels,) how much a slope's error matters, >= 0.
        bits: of the grid.

    Returns:
        (scale, zero point).
    """
    slopes, weight = np.asarray(slopes, np.float64), np.asarray(weight, np.float64)
    levels = 2**bits - 1
    low, high = min(slopes.min(), 0.0), max(slopes.max(), 0.0)
    base = max((high - low) / levels, float(SMALLEST_SCALE))
    scale = (base * np.linspace(1.0, 1.25, GRIDS)).astype(np.float32).astype(np.float64)[:, None]
    zero = np.clip(np.rint(-low / scale), 0, levels)
    error = (np.square(quantize(slopes, scale, zero, low=0, high=levels) * scale - zero * scale - slopes) * weight).sum(
        1
    )
    best = int(np.argmin(error))
    return np.float32(scale[best, 0]), int(zero[best, 0])
