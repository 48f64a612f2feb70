"""Training batches whose LR is degraded (data/degradation): crops of windows that were made ahead.

    batches = DegradedBatches(cache, config.data.degradation, batch_size=16, crop=96, seed=0)

HR and the teacher's pictures are cut from the cache, as ever. A batch stays a pure function of (seed, step), so a
training that was killed goes on with the very same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snpe_srgan.config import DegradationConfig
from snpe_srgan.data.batches import Area, Batches, Crop, cut
from snpe_srgan.data.degradation.pool import Pool
from snpe_srgan.data.degradation.windows import SIDE
from snpe_srgan.data.plane import Plane
from snpe_srgan.data.stored import Cache


class DegradedBatches(Batches):
    """A sampler over a cache. Arguments as those of `Batches`, and what degrades the windows."""

    def __init__(
        self,
        cache: Cache,
        degradation: DegradationConfig,
        *,
        batch_size: int,
        crop: int,
        augment: bool = True,
        seed: int = 0,
        teacher: Plane | None = None,
    ):
        super().__init__(cache, batch_size=batch_size, crop=crop, augment=augment, seed=seed, teacher=teacher)
        self._pool = Pool(cache, degradation, side=max(SIDE, crop // cache.scale), seed=seed)
        self._refresh = degradation.refresh

    def _areas(self, step: int, rng: np.random.Generator) -> list[Area]:
        """Each sample's window: another one for each, as long as there are enough."""
        n, windows = self.batch_size, self._pool.windows(step // self._refresh)
        chosen = np.concatenate([rng.permutation(len(windows)) for _ in range(-(-n // len(windows)))])[:n].tolist()
        parts = [windows[i] for i in chosen]
        return [Area(w.picture, w.top, w.left, w.height, w.width, i) for w, i in zip(parts, chosen, strict=True)]

    def low_resolution(self, step: int, crops: Sequence[Crop]) -> list[np.ndarray]:
        size, windows = self.crop // self.cache.scale, self._pool.windows(step // self._refresh)
        made = self._pool.lr(step)
        return [
            cut(made[c.window], c.top - windows[c.window].top, c.left - windows[c.window].left, size) for c in crops
        ]

    def close(self) -> None:
        self._pool.close()
