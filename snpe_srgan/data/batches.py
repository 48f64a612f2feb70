"""Training batches: random aligned crops of the cached pictures, a pure function of (seed, step).

    batches = Batches(cache, batch_size=16, crop=96, seed=0)
    lr, hr = batches.batch(1234)                  # uint8 (16, 24, 24, 3) and (16, 96, 96, 3)
    for lr, hr in prefetch(batches, start=1234, stop=2000): ...

With a teacher's pictures (plane.py) a batch has a third array, `(lr, hr, teacher)`, cut and turned like HR.

There is no state to save: a checkpoint keeps the step, and a resumed run sees the very same batches. Pictures are
drawn in proportion to their area, positions uniformly among whole LR pixels, and one of the eight flips and rotations
is applied to LR and HR alike.
"""

from __future__ import annotations

import copy
import dataclasses
import queue
import threading
from collections.abc import Generator, Sequence

import numpy as np

from snpe_srgan.data.drawing import draw_pictures, place
from snpe_srgan.data.plane import Plane
from snpe_srgan.data.stored import Pictures, require_size
from snpe_srgan.errors import UsageError

Batch = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Area:
    """Where a sample may be cut: a part of one picture in LR pixels, and the degraded window that it is, if one."""

    picture: int
    top: int
    left: int
    height: int
    width: int
    window: int = 0


@dataclasses.dataclass(frozen=True)
class Crop:
    """One training sample: where it is cut (LR pixels of one picture), how it is turned (0..7), and of which degraded
    window, if of one (data/degraded.py)."""

    picture: int
    top: int
    left: int
    turn: int
    window: int = 0


class Batches:
    """A sampler over a cache, or over decoded pictures (`stored.hold`).

    Args:
        batch_size: samples of one step, over all workers.
        crop: side of the HR crop in pixels, a multiple of the scale.
        augment: flips and rotations; without it every crop is upright.
        seed: batches with another seed are independent of these.
        teacher: a teacher's pictures of the same cache.
    """

    def __init__(
        self,
        cache: Pictures,
        *,
        batch_size: int,
        crop: int,
        augment: bool = True,
        seed: int = 0,
        teacher: Plane | None = None,
    ):
        if crop < cache.scale or crop % cache.scale:
            raise UsageError(f"the crop ({crop}) must be a multiple of the scale ({cache.scale})")
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, not {batch_size}")
        require_size(cache.pictures, crop)
        self.cache, self.batch_size, self.crop, self.augment, self.seed = cache, batch_size, crop, augment, seed
        self.teacher = teacher
        self._rows = slice(None)

    def shard(self, index: int, count: int) -> Batches:
        """Worker `index` of `count`: its rows of the same batches, so the workers together see what one would.

        Raises:
            UsageError: the batch cannot be dealt to so many, or this is a shard already.
        """
        if not 0 <= index < count or self.batch_size % count or self._rows != slice(None):
            raise UsageError(f"a batch of {self.batch_size} cannot be dealt to worker {index} of {count}")
        part = copy.copy(self)
        part._rows = slice(index, None, count)
        return part

    def batch(self, step: int) -> Batch:
        """LR uint8 (n, crop / scale, crop / scale, 3), HR uint8 (n, crop, crop, 3) and, with a teacher, its picture
        like HR."""
        crops, scale, size = self.crops(step), self.cache.scale, self.crop // self.cache.scale
        planes = [(self.cache.hr, scale)]
        if self.teacher is not None:
            planes.append((self.teacher.sr, scale))
        batch = tuple(np.empty((len(crops), size * k, size * k, 3), np.uint8) for k in (1, *(k for _, k in planes)))
        for i, (c, lr) in enumerate(zip(crops, self.low_resolution(step, crops), strict=True)):
            batch[0][i] = turn(lr, c.turn)
            for array, (picture, k) in zip(batch[1:], planes, strict=True):
                array[i] = turn(cut(picture(c.picture), c.top * k, c.left * k, size * k), c.turn)
        return batch

    def low_resolution(self, step: int, crops: Sequence[Crop]) -> list[np.ndarray]:
        """The LR pixels of each crop, not turned yet: uint8 (crop / scale, crop / scale, 3)."""
        size = self.crop // self.cache.scale
        return [cut(self.cache.lr(c.picture), c.top, c.left, size) for c in crops]

    def close(self) -> None:
        """Ends whatever makes batches ahead; a sampler of cached pictures has nothing."""

    def crops(self, step: int) -> list[Crop]:
        """What `batch(step)` cuts.

        Philox is a counter-based generator: keyed by (seed, step) it gives independent streams without any history
        (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

        Raises:
            UsageError: `step` is below 0.
        """
        if step < 0:
            raise UsageError(f"the step must be at least 0, not {step}")
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed % 2**64, step], np.uint64)))
        areas = self._areas(step, rng)
        positions, turns = rng.random((self.batch_size, 2)), rng.integers(0, 8, self.batch_size)
        size = self.crop // self.cache.scale
        crops = []
        for area, position, turned in list(zip(areas, positions, turns, strict=True))[self._rows]:
            down, right = place(position, (area.height, area.width), (size, size))
            kind = int(turned) if self.augment else 0
            crops.append(Crop(area.picture, area.top + down, area.left + right, kind, area.window))
        return crops

    def _areas(self, step: int, rng: np.random.Generator) -> list[Area]:
        """For each sample of a step the area that it is cut from: whole pictures."""
        pictures, scale = self.cache.pictures, self.cache.scale
        chosen = draw_pictures(pictures, self.batch_size, rng)
        return [Area(i, 0, 0, pictures[i].height // scale, pictures[i].width // scale) for i in chosen]


def turn(picture: np.ndarray, kind: int) -> np.ndarray:
    """A view of (h, w, c) under one of the eight symmetries of the square; bits: mirror, upside down, transpose."""
    if kind & 1:
        picture = picture[:, ::-1]
    if kind & 2:
        picture = picture[::-1]
    if kind & 4:
        picture = picture.swapaxes(0, 1)
    return picture


def prefetch(batches: Batches, start: int, stop: int | None = None, *, depth: int = 4) -> Generator[Batch]:
    """Yields `batch(start)`, `batch(start + 1)`, ..., made ahead by a thread; closes `batches` in the end.

    An exception of the thread is raised here. The thread ends with the iterator: when it is exhausted, closed or
    collected.

    Args:
        start: the first step.
        stop: the step before which it ends; None: never.
        depth: batches that wait at most.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        step = start
        try:
            while not stopped.is_set() and (stop is None or step < stop):
                put((batches.batch(step), None))
                step += 1
            put((None, None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        stopped.set()
        batches.close()  # first: the thread may be waiting for what it makes
        thread.join()


def cut(picture: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """A square of a picture (h, w, c), as a view (size, size, c); smaller where the picture ends.

    Args:
        top, left: its first pixel.
        size: of a side, in pixels.
    """
    return picture[top : top + size, left : left + size]
