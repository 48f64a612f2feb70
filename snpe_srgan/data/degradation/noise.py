"""Noise on float32 pictures (h, w, 3) in [0, 1]: pure functions of the picture and a generator.

Gaussian and Poisson noise as Real-ESRGAN's; the camera's after Brooks et al., "Unprocessing Images for Learned Raw
Denoising" (2019): shot and read noise of a Bayer sensor in linear light, then demosaiced, so that it is coarse,
coloured and strongest in the dark once the picture is gamma-encoded again.
"""

from __future__ import annotations

import numpy as np

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
GAMMA = 2.2
LOG_SHOT = (np.log(1e-4), np.log(1.2e-2))  # Brooks et al., section 3.1


def gaussian(picture: np.ndarray, rng: np.random.Generator, *, sigma: float, grey: bool) -> np.ndarray:
    """White noise.

    Args:
        sigma: standard deviation, of 1.
        grey: whether it is the same in all three channels.

    Returns:
        float32 (h, w, 3), clipped to [0, 1].
    """
    shape = (*picture.shape[:2], 1 if grey else 3)
    return _clipped(picture + sigma * rng.standard_normal(shape, np.float32))


def poisson(picture: np.ndarray, rng: np.random.Generator, *, scale: float, grey: bool) -> np.ndarray:
    """Photon noise. As in Real-ESRGAN's code white stands for so many photons as the 8-bit picture has levels, rounded
    up to a power of 2.

    Args:
        scale: the noise is multiplied by it.
        grey: whether it is the same in all three channels, that of the picture's luma.

    Returns:
        float32 (h, w, 3), clipped to [0, 1].
    """
    levels = np.round(_clipped(picture) * 255).astype(np.uint8)
    base = levels.astype(np.float32) / 255
    if grey:
        base = (base @ GREY)[..., None]
        levels = np.round(base * 255).astype(np.uint8)
    used = np.count_nonzero(np.bincount(levels.ravel(), minlength=256))
    photons = 2.0 ** np.ceil(np.log2(max(int(used), 2)))
    noise = rng.poisson(base * photons) / photons - base
    return _clipped(picture + scale * noise.astype(np.float32))


def camera(picture: np.ndarray, rng: np.random.Generator, *, shot: float, read: float) -> np.ndarray:
    """A sensor's noise: variance `shot` * light + `read` in linear light (0..1), of one colour a pixel (RGGB).

    Args:
        shot, read: as of `draw_camera`.

    Returns:
        float32 (h, w, 3) in [0, 1], gamma-encoded as the picture is.
    """
    linear = _clipped(picture) ** GAMMA
    colour = bayer(picture.shape[0], picture.shape[1])
    light = np.take_along_axis(linear, colour[..., None], axis=-1)[..., 0]
    raw = np.sqrt(shot * light + read) * rng.standard_normal(light.shape, np.float32)
    return _clipped(np.clip(linear + demosaic(raw, colour), 0, 1) ** (1 / GAMMA))


def draw_camera(rng: np.random.Generator, *, strength: float = 1.0) -> tuple[float, float]:
    """Shot and read variance of a sensor: Brooks et al.'s fit, its range's upper end lowered by `strength` below 1."""
    low, high = LOG_SHOT
    log_shot = rng.uniform(low, low + strength * (high - low))
    log_read = rng.normal(2.18 * log_shot + 1.20, 0.26)
    return float(np.exp(log_shot)), float(np.exp(log_read))


def bayer(height: int, width: int) -> np.ndarray:
    """Which colour each pixel of an RGGB sensor sees: int (h, w) of 0, 1, 2."""
    return np.add.outer(np.arange(height) % 2, np.arange(width) % 2)


def demosaic(raw: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(h, w) of one colour a pixel -> (h, w, 3): the mean of each colour's pixels in the 3x3 around, with weights 1, 2
    and 4 from corner to centre."""
    mask = (colour[..., None] == np.arange(3)).astype(np.float32)
    return _smooth(raw[..., None] * mask) / _smooth(mask)


def _smooth(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]


def _clipped(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, 0, 1).astype(np.float32)
