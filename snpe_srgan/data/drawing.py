"""Where random crops lie: which picture, and where in it. Numbers are drawn by the caller's generator.

pictures = draw_pictures(cache.pictures, 16, rng)
top, left = place(rng.random(2), (height, width), (24, 24))
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snpe_srgan.data.stored import CachedPicture


def draw_pictures(pictures: Sequence[CachedPicture], count: int, rng: np.random.Generator) -> list[int]:
    """The positions of `count` pictures, in proportion to their area.

    Stratified: one draw from each `count`-th of the whole area, dealt in random order. Every pixel is as likely as
    with independent draws, and the pictures spread over the whole set.

    Args:
        pictures: at least one.
        count: how many; a large picture may be drawn several times.

    Returns:
        Indices of `pictures`.
    """
    shares = np.cumsum([p.height * p.width for p in pictures], dtype=np.float64)
    shares /= shares[-1]
    drawn = (rng.permutation(count) + rng.random(count)) / count
    return np.minimum(np.searchsorted(shares, drawn, side="right"), len(pictures) - 1).tolist()


def place(position: np.ndarray, outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    """(top, left) of a rectangle of the size `inner` in one of the size `outer`.

    Args:
        position: (2,) in [0, 1): down and right; uniform numbers make all whole places equally likely.
    """
    room = (outer[0] - inner[0] + 1, outer[1] - inner[1] + 1)
    top, left = (position * room).astype(int).tolist()
    return top, left
