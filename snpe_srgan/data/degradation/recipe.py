"""How an LR picture is made from an HR one: the order of the steps, their probabilities and ranges.

    lr = degrade(hr, scale=4, preset="photo", strength=1.0, seed=(0, 17, 2000))    # uint8

    bicubic   MATLAB's bicubic, nothing else
    jpeg      bicubic, then JPEG of quality 30 to 95
    photo     Real-ESRGAN's two rounds of blur, resize, noise and JPEG, and a last sinc filter

`photo` is the degradation of Wang et al., "Real-ESRGAN" (2021), with the probabilities and ranges of its public
configs, and BSRGAN's (Zhang et al. 2021) camera noise beside its Gaussian and Poisson noise. `strength` below 1 narrows
every range towards no change: what a large network can undo is too much for one of 60,000 weights.

Each step draws from a generator of its own, seeded by the caller's numbers (seed, picture, training step) and by its
place, so what one step draws never changes another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.data.degradation import filters, kernels, noise
from snpe_srgan.data.degradation.jpeg import jpeg, to_uint8

PRESETS = ("bicubic", "jpeg", "photo")
QUALITY = (30, 95)
GREY_NOISE = 0.4  # how often the three channels share their noise
NOISES, NOISE_PROBABILITIES = ("gaussian", "poisson", "camera"), (0.4, 0.4, 0.2)
SECOND = 0.8  # how often the second round blurs
FINAL_SINC = 0.8
SMALLEST = 8  # pixels a side: no resize goes below


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round. `sizes`: probabilities to enlarge, shrink, keep; `factor`: the range of the first two; noise in 8-bit
    levels (Gaussian) and as a factor (Poisson)."""

    sigma: tuple[float, float]
    blurred: float
    sizes: tuple[float, float, float]
    factor: tuple[float, float]
    gaussian: tuple[float, float]
    poisson: tuple[float, float]

    def weakened(self, strength: float) -> Round:
        """The round with its ranges narrowed towards no change; 1 leaves it as it is, probabilities stay."""
        return Round(
            sigma=_upper(self.sigma, strength),
            blurred=self.blurred,
            sizes=self.sizes,
            factor=(1 - strength * (1 - self.factor[0]), 1 + strength * (self.factor[1] - 1)),
            gaussian=_upper(self.gaussian, strength),
            poisson=_upper(self.poisson, strength),
        )


FIRST_ROUND = Round(
    sigma=(0.2, 3.0), blurred=1.0, sizes=(0.2, 0.7, 0.1), factor=(0.15, 1.5), gaussian=(1, 30), poisson=(0.05, 3.0)
)
SECOND_ROUND = Round(
    sigma=(0.2, 1.5), blurred=SECOND, sizes=(0.3, 0.4, 0.3), factor=(0.3, 1.2), gaussian=(1, 25), poisson=(0.05, 2.5)
)


def degrade(hr: np.ndarray, *, scale: int, preset: str, strength: float = 1.0, seed: Sequence[int]) -> np.ndarray:
    """The LR picture of an HR one.

    Args:
        hr: uint8 (h, w, 3), both sides multiples of `scale`.
        strength: 0..1.
        seed: whole numbers, at least 0; the same give the same picture on every machine.

    Returns:
        uint8 (h / scale, w / scale, 3).
    """
    from snpe_srgan.imaging.bicubic import downscale

    draws = Draws(seed)
    if preset == "photo":
        return to_uint8(_photo(hr, scale, strength, draws))
    lr = downscale(hr, scale)
    if preset == "bicubic":
        return lr
    rng = draws.next()
    return to_uint8(jpeg(lr.astype(np.float32) / 255, _quality(rng, strength)))


class Draws:
    """A generator for each step in turn, from one `SeedSequence`: independent of what the others drew."""

    def __init__(self, seed: Sequence[int]):
        self._sequence = np.random.SeedSequence(list(seed))

    def next(self) -> np.random.Generator:
        """A new generator for the step at hand."""
        return np.random.default_rng(self._sequence.spawn(1)[0])


def _photo(hr: np.ndarray, scale: int, strength: float, draws: Draws) -> np.ndarray:
    height, width = hr.shape[:2]
    target = (height // scale, width // scale)
    first, second = FIRST_ROUND.weakened(strength), SECOND_ROUND.weakened(strength)
    x = one_round(hr.astype(np.float32) / 255, first, (height, width), strength, draws)
    x = jpeg(x, _quality(draws.next(), strength))
    x = one_round(x, second, target, strength, draws)
    return _finish(x, target, strength, draws)


def one_round(x: np.ndarray, round_: Round, base: tuple[int, int], strength: float, draws: Draws) -> np.ndarray:
    """Blur, resize, noise.

    Args:
        x: (h, w, 3) float32 in [0, 1].
        round_: its probabilities and ranges, weakened already.
        base: (height, width) that the drawn factor of the resize is relative to.
        strength: 0 to 1, of the camera noise, whose range is not in `round_`.

    Returns:
        (height, width, 3) float32 in [0, 1], of another size.
    """
    rng = draws.next()
    if rng.random() < round_.blurred:
        x = filters.blur(x, kernels.draw(rng, sigma=round_.sigma, sinc_probability=0.1))
    rng = draws.next()
    way = rng.choice(3, p=round_.sizes)
    factor = (rng.uniform(1, round_.factor[1]), rng.uniform(round_.factor[0], 1), 1.0)[way]
    x = filters.resize(x, _scaled(base, factor), str(rng.choice(filters.MODES)))
    rng = draws.next()
    kind, grey = str(rng.choice(NOISES, p=NOISE_PROBABILITIES)), bool(rng.random() < GREY_NOISE)
    if kind == "gaussian":
        return noise.gaussian(x, rng, sigma=rng.uniform(*round_.gaussian) / 255, grey=grey)
    if kind == "poisson":
        return noise.poisson(x, rng, scale=rng.uniform(*round_.poisson), grey=grey)
    shot, read = noise.draw_camera(rng, strength=strength)
    return noise.camera(x, rng, shot=shot, read=read)


def _finish(x: np.ndarray, target: tuple[int, int], strength: float, draws: Draws) -> np.ndarray:
    """The last resize with a sinc filter, and JPEG, in random order."""
    rng = draws.next()
    mode, quality = str(rng.choice(filters.MODES)), _quality(rng, strength)
    sharp_first = rng.random() < 0.5
    rung = rng.random() < FINAL_SINC * strength  # a filter has no range to narrow: it comes less often
    kernel = kernels.draw_sinc(rng, int(rng.choice(kernels.SIZES)))

    def to_target(y: np.ndarray) -> np.ndarray:
        y = filters.resize(y, target, mode)
        return filters.blur(y, kernel) if rung and min(target) > kernel.shape[0] // 2 else y

    return jpeg(to_target(x), quality) if sharp_first else to_target(jpeg(x, quality))


def _scaled(base: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(round(base[0] * factor), SMALLEST), max(round(base[1] * factor), SMALLEST)


def _quality(rng: np.random.Generator, strength: float) -> int:
    low, high = QUALITY
    return round(rng.uniform(high - strength * (high - low), high))


def _upper(bounds: tuple[float, float], strength: float) -> tuple[float, float]:
    low, high = bounds
    return low, low + strength * (high - low)
