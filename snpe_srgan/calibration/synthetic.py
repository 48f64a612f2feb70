"""Calibration pictures made from nothing: what a network can be quantized with when there is no photograph at all.

    crops = synthetic_crops(scale=4, count=16)
    crops.arrays[0]            # (1, 48, 48, 3) float32 in [0, 1], always the same ones

Dead leaves (Lee, Mumford & Huang 2001, "Occlusion Models for Natural Images"; Baradad et al. 2021, "Learning to See by
Looking at Noise"): shapes of power-law size that hide each other have the 1/f spectrum, the edges and the flat areas of
photographs. Each leaf is shaded and textured, each picture has a palette, a light, a lens and an exposure of its own;
some are over-exposed, some are night. They are drawn at HR size and brought to LR size as photographs are.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.calibration.crops import SIZE, Crops
from snpe_srgan.errors import UsageError
from snpe_srgan.imaging.bicubic import downscale
from snpe_srgan.imaging.colour import pixels_to_lr

SMALLEST_LEAF = (3.0, 40.0)  # radius, HR pixels: from foliage to a near wall
LEAVES = 2500  # what they leave open is background
WARMTH = 0.15  # sunlight, soil and skin against the sky
CALM = (0.95, 0.05, 0.5, 0.85, 0.2)  # levels of the calm pictures
JOINED = 4  # of them join photographs
LUMINANCE, BLUE_YELLOW, RED_GREEN = (
    np.array(v) / np.linalg.norm(v) for v in ([1.0, 1.0, 1.0], [1.0, 1.0, -2.0], [1.0, -1.0, 0.0])
)


def synthetic_crops(*, scale: int, count: int = 16, size: int = SIZE, seed: int = 0) -> Crops:
    """`count` LR crops, the same for the same arguments; a longer series begins like a shorter.

    Args:
        scale: pictures are drawn so much larger, and brought to LR size by MATLAB's bicubic.
        count: 1 or more.
        size: LR pixels a side.

    Raises:
        UsageError: `count` is less than 1.
    """
    if count < 1:
        raise UsageError(f"at least one calibration crop is needed, not {count}", where="--count")
    arrays = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        hr = np.rint(255 * picture(random, size * scale, kind=index)).astype(np.uint8)
        arrays.append(pixels_to_lr(downscale(hr, scale))[None])
    return Crops(tuple(arrays), f"{count} synthetic pictures (dead leaves, seed {seed}), no photograph")


def calm_crops(*, scale: int, size: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """JOINED of the calm pictures alone.

    Args:
        scale: pictures are drawn so much larger, and brought to LR size by MATLAB's bicubic.
        size: LR pixels a side.

    Returns:
        LR crops (1, size, size, 3) float32 in [0, 1].
    """
    kinds = range(3, 4 * JOINED, 4)
    pictures = [picture(np.random.default_rng([seed, kind]), size * scale, kind=kind) for kind in kinds]
    return tuple(pixels_to_lr(downscale(np.rint(255 * p).astype(np.uint8), scale))[None] for p in pictures)


def leaf_radii(random: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """Radii (count,) with density ~ r^-3: what looks the same at every distance (Lee, Mumford and Huang 2001).

    Args:
        low, high: HR pixels, 0 < low < high.
    """
    u = random.random(count)
    return (low**-2 + u * (high**-2 - low**-2)) ** -0.5


def noise(random: np.random.Generator, side: int, slope: float) -> np.ndarray:
    """A periodic field (side, side) of amplitude spectrum f^-slope, mean 0, deviation 1.

    Args:
        side: HR pixels.
        slope: 0 is white noise; the larger, the smoother.
    """
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    f = np.hypot(fy, fx)
    f[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((side, side))) * f**-slope, s=(side, side))
    return field / field.std()


def picture(random: np.random.Generator, side: int, *, kind: int = 0) -> np.ndarray:
    """One HR picture (side, side, 3) in [0, 1].

    Args:
        side: HR pixels.
        kind: every fourth is calm: wall, paper, night, sky.
    """
    if kind % 4 == 3:
        return calm(random, side, CALM[kind // 4 % len(CALM)])
    leaves = dead_leaves(random, side, np.exp(random.uniform(*np.log(SMALLEST_LEAF))))
    light = np.exp(random.uniform(0.0, 0.5) * noise(random, side, 2.0))[..., None]
    return expose(random, blur(leaves * light, random.choice([0.0, 0.5, 0.8, 1.4])), hazy=kind % 4 == 1)


def calm(random: np.random.Generator, side: int, level: float) -> np.ndarray:
    """Hardly anything to see, around one level: there the smallest shift by quantization shows.

    Args:
        side: HR pixels.
        level: 0 (black) to 1 (white).

    Returns:
        (side, side, 3) in [0, 1].
    """
    leaves = np.log(dead_leaves(random, side, side / 4))
    field = leaves - leaves.mean() + 0.3 * noise(random, side, 1.5)[..., None]
    tint = random.normal(0, 0.02, 3)
    return np.clip(level + tint + random.uniform(0.01, 0.05) * field + random.normal(0, 0.004, field.shape), 0, 1)


def dead_leaves(random: np.random.Generator, side: int, smallest: float) -> np.ndarray:
    """Scene radiance (side, side, 3), positive: opaque leaves, the nearest first, until nothing shows through.

    Args:
        side: HR pixels, and the largest leaf's radius.
        smallest: radius of the smallest leaf, in HR pixels.
    """
    empty = np.ones((side, side), bool)
    radii = leaf_radii(random, LEAVES, smallest, side)
    background, *colours = _colours(random, LEAVES + 1)
    image = np.broadcast_to(background, (side, side, 3)).copy()
    fields = [noise(random, side, slope) for slope in (0.8, 1.1, 1.5)]
    strength = random.exponential(0.12)
    for radius, colour in zip(radii, colours, strict=True):
        centre = random.uniform(-radius, side + radius, 2)
        low = np.maximum(np.floor(centre - radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius) + 1, side).astype(int)
        if (high <= low).any():
            continue
        place = slice(low[0], high[0]), slice(low[1], high[1])
        free = empty[place]
        if not free.any():
            continue
        y, x = np.arange(low[0], high[0])[:, None] - centre[0], np.arange(low[1], high[1])[None] - centre[1]
        mine = free & _inside(random, y / radius, x / radius)
        if not mine.any():
            continue
        texture = fields[random.integers(len(fields))][place]
        shade = _shade(random, y / radius, x / radius) + strength * random.exponential() * texture
        if random.random() < 0.15:
            shade = shade + _stripes(random, y, x)
        image[place][mine] = (colour * np.exp(shade)[..., None])[mine]
        empty[place] &= ~mine
        if not empty.any():
            break
    return image


def _inside(random: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An ellipse, a convex polygon or a thin bar within the unit disc; y (h, 1), x (1, w) -> bool (h, w)."""
    angle = random.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = random.random()
    if kind < 0.5:
        return u**2 + (v / random.uniform(0.3, 1.0)) ** 2 <= 1
    if kind < 0.65:
        return (np.abs(v) <= random.uniform(0.03, 0.2)) & (np.abs(u) <= 1)
    corners = int(random.integers(3, 7))
    turn = np.sort(random.uniform(0, 2 * np.pi, corners))
    mine = u**2 + v**2 <= 1
    for a, b in zip(turn, np.roll(turn, -1) + 2 * np.pi * (np.arange(corners) == corners - 1), strict=True):
        middle, half = (a + b) / 2, (b - a) / 2
        mine = mine & (u * np.cos(middle) + v * np.sin(middle) <= np.cos(half))
    return mine


def _shade(random: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The light's fall across a leaf, as a logarithm."""
    gy, gx = random.normal(0, 0.25, 2)
    return gy * y + gx * x


def _stripes(random: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    period, angle, phase = random.uniform(6, 32), random.uniform(0, np.pi), random.uniform(0, 2 * np.pi)
    wave = np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return random.uniform(0.1, 0.6) * (np.sign(wave) if random.random() < 0.5 else wave)


def _colours(random: np.random.Generator, count: int) -> np.ndarray:
    """Colours (count, 3), positive, of one picture: near one of a few, as things of one kind are.

    Luminance varies most, blue to yellow less, red to green least (Ruderman et al. 1998, "Statistics of cone responses
    to natural images"), with heavy tails: paint, flowers, sky.
    """
    kinds = int(random.integers(2, 7))
    spread = random.uniform(0.5, 1.4)
    vivid = min(random.exponential(0.3), 0.8)

    def draw(n: int, width: float) -> np.ndarray:
        light = random.normal(0, spread * width, (n, 1)) * LUMINANCE
        blue, red = random.laplace(0, width * vivid, (2, n, 1)) * [[[1.0]], [[0.7]]]
        return light + blue * BLUE_YELLOW + red * RED_GREEN

    return np.exp(
        draw(1, 0.7) + WARMTH * BLUE_YELLOW + draw(kinds, 1.0)[random.integers(kinds, size=count)] + draw(count, 0.3)
    )


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """A lens: Gaussian of `sigma` HR pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, (sigma, sigma, 0), mode="mirror") if sigma else image


def expose(random: np.random.Generator, radiance: np.ndarray, *, hazy: bool) -> np.ndarray:
    """The camera: a share of the picture becomes black and white, a gamma curve lies between.

    Args:
        radiance: (h, w, 3), positive.
        hazy: whether black and white are left out, as in haze.

    Returns:
        (h, w, 3) in [0, 1].
    """
    dark, bright = random.choice([0.0, 0.5, 3.0, 20.0]), random.choice([0.0, 0.5, 3.0, 15.0])
    low, high = np.percentile(radiance, [dark, 100 - bright])
    level = np.clip((radiance - low) / max(high - low, 1e-6), 0, 1) ** (1 / random.uniform(1.6, 3.0))
    if hazy:
        a = random.uniform(0, 0.4)
        level = a + level * random.uniform(0.3, 1 - a)
    return level
