"""Blur kernels: Gaussian, generalized Gaussian, plateau, sinc. Pure functions, float64 (size, size), odd size, sum 1.

Zhang et al., "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution" (BSRGAN, 2021) use the
Gaussians; Wang et al., "Real-ESRGAN" (2021), section 3.2 and appendix, add the generalized, plateau and sinc kernels.
"""

from __future__ import annotations

import numpy as np

SIZES = tuple(range(7, 22, 2))  # pixels a side
SHAPES = ("gaussian", "generalized", "plateau")
SHAPE_PROBABILITIES = (0.70, 0.15, 0.15)  # each round or stretched as below: Real-ESRGAN's six kinds
ROUND = {"gaussian": 0.45 / 0.70, "generalized": 0.12 / 0.15, "plateau": 0.12 / 0.15}  # share of isotropic ones
BETA = {"generalized": (0.5, 4.0), "plateau": (1.0, 2.0)}


def distance(size: int, sigma: tuple[float, float], angle: float) -> np.ndarray:
    """x^T S^-1 x at each tap: how many standard deviations it is from the middle, squared.

    Args:
        size: odd.
        sigma: standard deviations of S in pixels, > 0, along its two axes.
        angle: radians by which those are turned.

    Returns:
        (size, size) float64.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = turn @ np.diag([sigma[0] ** -2.0, sigma[1] ** -2.0]) @ turn.T
    steps = np.arange(size) - size // 2
    points = np.stack(np.meshgrid(steps, steps), axis=-1).astype(np.float64)  # (x, y)
    return np.einsum("...i,ij,...j", points, inverse, points)


def bell(size: int, sigma: tuple[float, float], angle: float = 0.0, *, beta: float = 1.0) -> np.ndarray:
    """exp(-d^beta / 2): Gaussian at beta 1, flatter above, sharper below (Real-ESRGAN's generalized Gaussian).

    Args:
        size, sigma, angle: as of `distance`, which is d.
        beta: > 0.
    """
    return _normalized(np.exp(-0.5 * distance(size, sigma, angle) ** beta))


def plateau(size: int, sigma: tuple[float, float], angle: float = 0.0, *, beta: float = 1.0) -> np.ndarray:
    """1 / (1 + d^beta): a flat top with long tails.

    Args:
        size, sigma, angle: as of `distance`, which is d.
        beta: > 0.
    """
    return _normalized(1.0 / (1.0 + distance(size, sigma, angle) ** beta))


def sinc(size: int, cutoff: float) -> np.ndarray:
    """The circular low-pass of angular frequency `cutoff` (radians a pixel, up to pi), which rings at edges.

    cutoff / (2 pi r) * J1(cutoff r), with J1 the first-order Bessel function of the first kind.
    """
    from scipy.special import j1

    steps = np.arange(size) - size // 2
    radius = np.hypot(*np.meshgrid(steps, steps))
    safe = np.where(radius == 0, 1.0, radius)
    return _normalized(np.where(radius == 0, cutoff**2 / (4 * np.pi), cutoff * j1(cutoff * safe) / (2 * np.pi * safe)))


def draw(rng: np.random.Generator, *, sigma: tuple[float, float], sinc_probability: float) -> np.ndarray:
    """A random kernel, by the probabilities above; its size is one of SIZES.

    Args:
        sigma: lowest and highest standard deviation in pixels.
        sinc_probability: 0 to 1, of a sinc kernel in place of a shape of SHAPES.
    """
    size = int(rng.choice(SIZES))
    if rng.random() < sinc_probability:
        return draw_sinc(rng, size)
    shape = str(rng.choice(SHAPES, p=SHAPE_PROBABILITIES))
    first = rng.uniform(*sigma)
    round_ = rng.random() < ROUND[shape]
    sigmas = (first, first if round_ else rng.uniform(*sigma))
    angle = 0.0 if round_ else rng.uniform(-np.pi, np.pi)
    if shape == "gaussian":
        return bell(size, sigmas, angle)
    low, high = BETA[shape]
    beta = rng.uniform(low, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, high)
    return (bell if shape == "generalized" else plateau)(size, sigmas, angle, beta=beta)


def draw_sinc(rng: np.random.Generator, size: int) -> np.ndarray:
    """A sinc kernel; small ones get no low cutoff, which they could not hold."""
    return sinc(size, rng.uniform(np.pi / 3 if size < 13 else np.pi / 5, np.pi))


def _normalized(kernel: np.ndarray) -> np.ndarray:
    return kernel / kernel.sum()
