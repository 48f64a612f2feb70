"""Which channels a layer can do without, and what its kernel becomes without them. Pure numpy.

He et al. 2017 ("Channel pruning for accelerating very deep neural networks") choose channels whose removal changes the
next layer's output least and fit that layer anew to the channels left, on sampled feature maps. With the second moments
of the patches at hand, the greedy form of that choice is exact and quick: after each removal the fitted kernel and the
cost of every further removal follow in closed form (the optimal brain surgeon of Hassibi and Stork 1993, equation 5,
for blocks of taps; Kurtic et al. 2023, "ZipLM", for whole structures).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOGETHER = 64  # of more bundles than these, several go at a time: 256 channels of 25 taps are two minutes one by one
DAMPING = 0.01  # of the mean second moment: what few pictures show is not free


@dataclass(frozen=True, eq=False)
class Reader:
    """One convolution that reads the channels in question.

    Attributes:
        gram: (taps, taps) centred second moments of its patches.
        kernel: (taps, out).
        bundles: (bundles, taps of each), the rows of `kernel` that go with each bundle.
        energy: by which its error is divided, so that several readers can be added up: its output's variance.
    """

    gram: np.ndarray
    kernel: np.ndarray
    bundles: np.ndarray
    energy: float = 1.0


def removal_order(readers: Sequence[Reader], *, keep: int) -> np.ndarray:
    """All bundles, (bundles,) indices: the first to go first, the `keep` that stay last, by what they would cost."""
    states = [_Surgeon(reader) for reader in readers]
    left = np.arange(len(readers[0].bundles))
    gone, together = [], max(1, len(left) // TOGETHER)
    while len(left) > keep:
        costs = sum(state.costs(left) for state in states)
        least = np.argsort(costs, kind="stable")[: min(together, len(left) - keep)]
        for state in states:
            state.remove(left[least])
        gone += list(left[least])
        left = np.delete(left, least)
    costs = sum(state.costs(left) for state in states) if len(left) else np.zeros(0)
    return np.array([*gone, *left[np.argsort(costs, kind="stable")]], int)


class _Surgeon:
    """The inverse of a reader's damped second moments, and its kernel, without what was removed so far."""

    def __init__(self, reader: Reader):
        self.bundles, self.energy = reader.bundles, max(reader.energy, 1e-30)
        self.inverse = np.linalg.inv(damped(reader.gram))
        self.kernel = np.array(reader.kernel, np.float64)

    def costs(self, left: np.ndarray) -> np.ndarray:
        """Growth of the mean squared error of the output, after refitting, for each bundle left."""
        rows = self.bundles[left]
        blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
        kernels = self.kernel[rows]
        return np.einsum("bto,bto->b", kernels, np.linalg.solve(blocks, kernels)) / self.energy

    def remove(self, bundles: np.ndarray) -> None:
        rows = self.bundles[bundles].reshape(-1)
        column = self.inverse[:, rows]
        solved = np.linalg.solve(column[rows], np.concatenate([self.kernel[rows], column.T], axis=1))
        outputs = self.kernel.shape[1]
        self.kernel -= column @ solved[:, :outputs]
        self.inverse -= column @ solved[:, outputs:]


def reconstructed(kernel: np.ndarray, gram: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The kernel on the taps left whose output is nearest to the full kernel's (least squares on the damped moments).

    Args:
        kernel: (taps, out).
        gram: (taps, taps) centred second moments of the patches.
        kept: indices of the taps left.

    Returns:
        (len(kept), out) float64.
    """
    if len(kept) == len(kernel):
        return np.asarray(kernel, np.float64)
    gram = damped(gram)
    return np.linalg.solve(gram[np.ix_(kept, kept)], gram[kept] @ np.asarray(kernel, np.float64))


def damped(gram: np.ndarray) -> np.ndarray:
    """(taps, taps) moments with DAMPING times their mean diagonal added to it, so that they can be inverted."""
    return gram + (DAMPING * np.trace(gram) / len(gram) + 1e-30) * np.eye(len(gram))


def magnitude_order(kernels: Sequence[np.ndarray]) -> np.ndarray:
    """Bundles by the norm of what makes them, smallest first (Li et al. 2017): the baseline without any pictures.

    Args:
        kernels: one array a producer, (taps, bundles, channels of each).
    """
    return np.argsort(sum(np.sum(np.square(k, dtype=np.float64), axis=(0, 2)) for k in kernels), kind="stable")
