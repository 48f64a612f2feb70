"""The one loop over pairs of LR and HR: enlarge, compare, go on to the next picture.

for found in score_pairs(find_evaluation_set("Set5", scale=4), [network, bicubic], protocol=Protocol(), scale=4):
    found.pair.name, found.scores[0].psnr, found.seconds[0]

`evaluate`, validation during training, the report of a quantization, the emulator's judgement and `video evaluate` are
this loop with other pictures and other networks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.metrics.dataset import Pair
from snpe_srgan.metrics.protocol import Protocol, Score, score

Enlarger = Callable[[np.ndarray], np.ndarray]  # uint8 (h, w, 3) -> uint8 (h * scale, w * scale, 3)


@dataclass(frozen=True, eq=False)
class Scored:
    """One pair, enlarged and compared; each tuple has one entry for each enlarger, in their order.

    Attributes:
        pictures: uint8 (H, W, 3).
        seconds: how long each enlarger took.
    """

    pair: Pair
    pictures: tuple[np.ndarray, ...]
    scores: tuple[Score, ...]
    seconds: tuple[float, ...]


def score_pairs(
    pairs: Iterable[Pair], enlargers: Sequence[Enlarger], *, protocol: Protocol, scale: int
) -> Iterator[Scored]:
    """Enlarges each pair's LR picture by every enlarger and compares the results with HR; one pair at a time.

    Args:
        pairs: read one by one, so that a generator decodes each picture when its turn comes.
        enlargers: the networks to compare.
        scale: by how much they enlarge; the border that the protocol cuts.

    Raises:
        SnpeSrganError: an enlarger's own error, with the picture's place added.
    """
    for pair in pairs:
        pictures, seconds = [], []
        for enlarge in enlargers:
            start = time.perf_counter()
            with named(pair):
                pictures.append(enlarge(pair.lr))
            seconds.append(time.perf_counter() - start)
        scores = tuple(score(sr, pair.hr, protocol=protocol, scale=scale, grey=pair.grey) for sr in pictures)
        yield Scored(pair, tuple(pictures), scores, tuple(seconds))


@contextlib.contextmanager
def named(pair: Pair) -> Iterator[None]:
    """Adds the picture's place to an error that is raised inside."""
    try:
        yield
    except SnpeSrganError as error:
        where = "; ".join(filter(None, (str(pair.source or pair.name), error.where)))
        raise type(error)(error.what, where=where, hint=error.hint) from error
