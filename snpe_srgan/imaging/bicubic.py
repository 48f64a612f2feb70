"""MATLAB's `imresize(..., 'bicubic')` in numpy: the way every published super-resolution number makes its LR pictures.

Two 1-D passes, rows first when both scales are equal (else the smaller scale first), mirrored borders, the kernel
widened when shrinking (antialiasing). Integer pictures are rounded after *each* pass, as MATLAB does; with that the
result is bit-equal to MATLAB's. Pillow, OpenCV and tf.image differ in all of these and give other pixels.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from snpe_srgan.errors import InputError

_STRIP = 128  # columns resized at a time: a float64 strip of a 2K picture stays in the cache (twice as fast)


def cubic_kernel(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5, zero from |x| = 2 on ("Cubic convolution interpolation", 1981)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def contributions(length: int, out_length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and input positions of one 1-D pass, as MATLAB's `imresize` computes them.

    Args:
        length, out_length: pixels of the axis before and after.
        scale: the factor that was asked for, above 0; `out_length` is `length` times that, rounded up.

    Returns:
        (weights, indices), both `(out_length, taps)`: weights float64, each row sums to 1; indices int64 in
        `0..length-1`, mirrored at the borders (edge pixel repeated).
    """
    stretch = min(scale, 1.0)  # below 1 the kernel is widened by 1 / scale: the antialiasing
    width = 4.0 / stretch
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)  # MATLAB counts from 1
    left = np.floor(centre - width / 2)
    indices = left[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * cubic_kernel(stretch * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirror[np.mod(indices.astype(np.int64) - 1, 2 * length)]
    used = (weights != 0).any(axis=0)
    return weights[:, used], indices[:, used]


@functools.lru_cache(maxsize=32)
def _matrix(length: int, out_length: int, scale: float):
    from scipy.sparse import csr_matrix

    weights, indices = contributions(length, out_length, scale)
    rows = np.arange(0, weights.size + 1, weights.shape[1])
    # Mirrored taps stay as duplicate entries: summing them first would change the order of additions, and with it
    # the rounding of exact halves.
    return csr_matrix((weights.ravel(), indices.ravel(), rows), shape=(out_length, length))


def _resize_rows(image: np.ndarray, out_length: int, scale: float) -> np.ndarray:
    """Resizes axis 0 of `(h, n)`; integer dtypes are rounded half up and clipped to their range."""
    matrix = _matrix(image.shape[0], out_length, scale)
    out = np.empty((out_length, image.shape[1]), image.dtype)
    integer = image.dtype.kind == "u"
    for start in range(0, image.shape[1], _STRIP):
        strip = matrix @ image[:, start : start + _STRIP].astype(np.float64)
        if integer:
            strip += 0.5
            np.clip(strip, 0, np.iinfo(image.dtype).max, out=strip)  # the cast below cuts towards zero
        out[:, start : start + _STRIP] = strip
    return out


def _resize_axis(image: np.ndarray, axis: int, out_length: int, scale: float) -> np.ndarray:
    """Resizes one axis of `(h, w[, c])`; the memory is that of the result and a few rows."""
    if axis == 0:
        return _resize_rows(image.reshape(len(image), -1), out_length, scale).reshape(out_length, *image.shape[1:])
    out = np.empty((len(image), out_length, *image.shape[2:]), image.dtype)
    for start in range(0, len(image), _STRIP):
        turned = np.swapaxes(image[start : start + _STRIP], 0, 1)
        strip = _resize_rows(turned.reshape(len(turned), -1), out_length, scale)
        out[start : start + _STRIP] = np.swapaxes(strip.reshape(out_length, *turned.shape[1:]), 0, 1)
    return out


def bicubic_resize(
    image: np.ndarray, *, scale: float | Fraction | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """`imresize(image, scale, 'bicubic')` or `imresize(image, size, 'bicubic')`.

    Args:
        image: `(h, w)` or `(h, w, c)`; uint8 and uint16 are rounded between the passes, floats are not.
        scale: factor for both axes; the size becomes `ceil(scale * h), ceil(scale * w)`.
        size: `(height, width)` of the result; give this or `scale`.

    Returns:
        The resized picture, same dtype (float32 is computed in float64), C-contiguous.

    Raises:
        InputError: another shape or dtype, a scale or size that is not above 0, or not just one of both.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(f"a picture of shape (h, w) or (h, w, c) is needed, this one has {image.shape}")
    if image.dtype.kind not in "uf":
        raise InputError(f"pixels must be unsigned integers or floats, these are {image.dtype}")
    if scale is not None and size is None:
        if scale <= 0:
            raise InputError(f"the scale must be above 0, not {scale}")
        exact = Fraction(scale).limit_denominator(1_000_000)  # 1/3 as a float must not make ceil() one too many
        targets = (math.ceil(exact * image.shape[0]), math.ceil(exact * image.shape[1]))
        scales = (float(scale), float(scale))
    elif size is not None and scale is None:
        targets = (int(size[0]), int(size[1]))
        if min(targets) < 1:
            raise InputError(f"the size must be at least 1x1, not {size}")
        scales = (targets[0] / image.shape[0], targets[1] / image.shape[1])
    else:
        raise InputError("bicubic_resize needs either scale or size")
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        if targets[axis] != image.shape[axis] or scales[axis] != 1.0:
            image = _resize_axis(image, axis, targets[axis], scales[axis])
    return np.ascontiguousarray(image)


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Cuts right and bottom so that both sides are multiples of `scale` (what is done to HR before making LR).

    Args:
        image: (h, w) or (h, w, c).

    Returns:
        A view.

    Raises:
        InputError: a side is shorter than `scale`.
    """
    height, width = (length - length % scale for length in image.shape[:2])
    if not height or not width:
        raise InputError(f"a {image.shape[0]}x{image.shape[1]} picture is too small for scale {scale}")
    return image[:height, :width]


def downscale(hr: np.ndarray, scale: int) -> np.ndarray:
    """LR from HR, `(h, w[, c]) -> (h / scale, w / scale[, c])`; both sides must be multiples of `scale` (`modcrop`).

    Raises:
        InputError: a side is no multiple of `scale`.
    """
    if hr.shape[0] % scale or hr.shape[1] % scale:
        raise InputError(f"a {hr.shape[0]}x{hr.shape[1]} picture cannot be divided by {scale}", hint="crop it: modcrop")
    return bicubic_resize(hr, scale=Fraction(1, scale))


def upscale(lr: np.ndarray, scale: int) -> np.ndarray:
    """The bicubic baseline, `(h, w[, c]) -> (h * scale, w * scale[, c])`."""
    return bicubic_resize(lr, scale=scale)
