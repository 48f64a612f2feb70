"""What a network makes of drawn pictures in each range of numbers: how close it comes to what was drawn.

    probe = Probe(run, boundary, (48, 48), path)
    probe.give("0..1", 0)                      # the network enlarges the first picture, in numbers from 0 to 1
    probe.close(("0..1", "-1..1"))             # dB, if what it gave is taken for -1..1

`finding.py` decides by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.boundary import LARGE, Boundary, scale_of

Pair = tuple[str, str]  # (takes, gives), keys of RANGES
FLAT = (3, 4, 5)  # of `probe_pictures`
FINEST = 4  # scenes are drawn at that many times the size at least, and averaged
BORDER = 4  # LR pixels


class Probe:
    """What a network makes of the probe's pictures in each range.

    Attributes:
        pictures: LR, (1, h, w, 3) in [0, 1]; the first is the one with all tones.
        given: (takes, number of the picture) -> what the network gave.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], plain: Boundary, size: tuple[int, int], where: object):
        self.run, self.plain, self.where = run, plain, where
        self.pictures = probe_pictures(*size)
        if size[0] * size[1] > LARGE:
            self.pictures = self.pictures[:1]
        self.given: dict[tuple[str, int], np.ndarray] = {}
        self._wanted: list[np.ndarray] = []

    def give(self, takes: str, number: int) -> None:
        """Lets the network enlarge a picture in a range."""
        boundary, picture = replace(self.plain, takes=takes), self.pictures[number]
        raw = self.run(boundary.given(picture))
        scale = scale_of(raw.shape, picture, boundary, self.where)
        self.given[takes, number] = raw
        if not self._wanted:
            height, width = picture.shape[1:3]
            self._wanted = list(probe_pictures(height, width, scale=scale)[: len(self.pictures)])

    def numbers(self, takes: str) -> list[int]:
        """The pictures that the network was given in a range."""
        return [number for t, number in self.given if t == takes]

    def drawn(self, pair: Pair, number: int) -> np.ndarray:
        """(height, width, 3), black 0 and white 1, without the borders, which padding draws."""
        boundary, lr = replace(self.plain, takes=pair[0], gives=pair[1]), self.pictures[number]
        sr = (boundary.drawn(self.given[pair[0], number], lr)[0] + 1) / 2
        return self._inner(np.nan_to_num(sr, nan=1e3, posinf=1e3, neginf=-1e3), lr, sr.shape[0] // lr.shape[1])

    def _inner(self, sr: np.ndarray, lr: np.ndarray, scale: int) -> np.ndarray:
        side = scale * min(BORDER, (min(lr.shape[1:3]) - 1) // 2)
        return sr[side : -side or None, side : -side or None]

    def close(self, pair: Pair, numbers: Sequence[int] | None = None) -> float:
        """dB between the enlargements, as they are written, and what they should be, over the pictures."""
        errors = []
        for number in self.numbers(pair[0]) if numbers is None else numbers:
            lr, wanted = self.pictures[number], self._wanted[number][0]
            wanted = self._inner(wanted, lr, wanted.shape[0] // lr.shape[1])
            errors.append(np.mean(np.square(np.clip(self.drawn(pair, number), 0, 1) - wanted)))
        return decibel(float(np.mean(errors)) + 1e-12, peak=1.0)

    def alike(self, pair: Pair) -> float:
        """dB between the pictures and their enlargements made small by means, over the pictures."""
        errors = [np.mean(np.square(self._small(pair, number))) for number in self.numbers(pair[0])]
        return decibel(float(np.mean(errors)) + 1e-12, peak=1.0)

    def _small(self, pair: Pair, number: int) -> np.ndarray:
        """An enlargement made small, less the picture."""
        sr, lr = self.drawn(pair, number), self._inner(self.pictures[number][0], self.pictures[number], 1)
        return sr.reshape(len(lr), len(sr) // len(lr), lr.shape[1], -1, 3).mean((1, 3)) - lr

    def shift(self, pair: Pair) -> float:
        """By how much black, grey or white is moved at most, of 1."""
        flat = [number for number in self.numbers(pair[0]) if number in FLAT]
        return max((float(abs(self._small(pair, number).mean())) for number in flat), default=0.0)

    def apart(self, one: Pair, other: Pair) -> float:
        """dB between the enlargements, as they are written, under two pairs."""
        both = [number for number in self.numbers(one[0]) if number in self.numbers(other[0])]
        errors = [
            np.mean(np.square(np.clip(self.drawn(one, number), 0, 1) - np.clip(self.drawn(other, number), 0, 1)))
            for number in both
        ]
        return decibel(float(np.mean(errors)) + 1e-12, peak=1.0)


def probe_pictures(height: int, width: int, *, scale: int = 1) -> tuple[np.ndarray, ...]:
    """(1, height * scale, width * scale, 3) in [0, 1] each, the same scenes at any scale: one of all tones with edges
    and lines, the same in the dark and in the light, and black, white and grey.

    Args:
        height: of the LR picture in pixels; `width` likewise.
        scale: 1 for what the network is given, its own scale for what its enlargement should look like.
    """
    finer = max(1, FINEST // scale)
    rows, columns = height * scale * finer, width * scale * finer
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    waves = [0.5 + 0.35 * np.sin(7 * x + 2), 0.45 + 0.4 * np.sin(5 * y + x), 0.3 + 0.25 * np.cos(9 * (x - y))]
    scene = np.stack(waves, -1)
    scene[(x > 0.6) & (y > 0.5)] *= 0.3
    scene[np.abs(x - y / 2 - 0.2) < 0.02] = 0.95
    scene[np.abs(x + y - 1.1) < 0.015] = 0.05
    scene = np.clip(scene, 0, 1).reshape(height * scale, finer, width * scale, finer, 3).mean((1, 3))
    flat = [np.full_like(scene, level) for level in (0, 1, 0.5)]
    return tuple(p[None].astype(np.float32) for p in (scene, scene / 4, 1 - scene / 4, *flat))
