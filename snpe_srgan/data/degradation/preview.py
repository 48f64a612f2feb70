"""What a training with degraded LR pictures sees: pairs to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.data.cache import read_rgb
from snpe_srgan.data.degradation.recipe import degrade
from snpe_srgan.data.degradation.windows import SIDE
from snpe_srgan.data.sources import PicturePair
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.side_by_side import nearest_enlarged

GAP = 6  # pixels between pairs
COLUMNS = 3


@dataclass(frozen=True)
class DegradedPair:
    """A window of a picture; `top` and `left` in HR pixels, pictures uint8."""

    name: str
    top: int
    left: int
    lr: np.ndarray
    hr: np.ndarray

    def facts(self) -> dict[str, object]:
        """Where the window lies, for `--json`: sizes and places in HR pixels."""
        return {"picture": self.name, "top": self.top, "left": self.left, "hr_size": list(self.hr.shape[:2])}


def draw_pairs(
    pictures: Sequence[PicturePair], *, scale: int, preset: str, strength: float, count: int, seed: int
) -> list[DegradedPair]:
    """Windows of 64 LR pixels a side (fewer where a picture is smaller), from pictures all over the set.

    Args:
        preset: one of `recipe.PRESETS`.
        strength: 0 to 1, see `recipe`.
        count: how many; pictures repeat where there are fewer.
        seed: of the choice and of the degradation.

    Raises:
        InputError: a picture cannot be read, or is smaller than one LR pixel.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    chosen = np.sort(rng.permutation(max(count, len(pictures)))[:count] % len(pictures))
    pairs = []
    for number, index in enumerate(chosen.tolist()):
        hr = read_rgb(pictures[index].hr)
        height, width = (min(SIDE, n // scale) * scale for n in hr.shape[:2])
        if not min(height, width):
            raise InputError(f"{hr.shape[0]}x{hr.shape[1]} has no LR pixel at x{scale}", where=pictures[index].hr)
        room = (np.array(hr.shape[:2]) - (height, width)) // scale + 1
        top, left = ((rng.random(2) * room).astype(int) * scale).tolist()
        part = hr[top : top + height, left : left + width]
        lr = degrade(part, scale=scale, preset=preset, strength=strength, seed=(seed, index, number))
        pairs.append(DegradedPair(pictures[index].name, top, left, lr, part))
    return pairs


def contact_sheet(pairs: Sequence[DegradedPair]) -> np.ndarray:
    """uint8 (h, w, 3): pairs in rows of three, LR enlarged by repeating its pixels beside HR."""
    height, width = (max(pair.hr.shape[axis] for pair in pairs) for axis in (0, 1))
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    cell = (height + GAP, 2 * width + 2 * GAP)
    sheet = np.full((rows * cell[0] - GAP, columns * cell[1] - GAP, 3), 255, np.uint8)
    for i, pair in enumerate(pairs):
        y, x = i // columns * cell[0], i % columns * cell[1]
        h, w = pair.hr.shape[:2]
        sheet[y : y + h, x : x + w] = nearest_enlarged(pair.lr, h // pair.lr.shape[0])
        sheet[y : y + h, x + width : x + width + w] = pair.hr
    return sheet
