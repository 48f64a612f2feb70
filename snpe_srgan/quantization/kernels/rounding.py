"""Learned rounding: which of its neighbours on the grid each weight should go to. Pure numpy.

Rounding every weight to the nearest integer is best for the weights, not for what the layer computes: errors of weights
that read similar inputs can cancel. AdaRound (Nagel et al. 2020, equations 13 and 20) asks for the integers Q that
minimize

    E || (W - Q s) x ||^2 = sum over rows o of (w_o - q_o s_o) H (w_o - q_o s_o)^T,        H = E[x x^T]

over the calibration patches x. H holds all there is to know of them, so the problem is solved on H itself, in seconds,
instead of by stochastic gradient descent over a relaxation: a first solution column by column with error feedback
(GPTQ, Frantar et al. 2022, equation 2), then coordinate descent until no single weight wants to move.
"""

from __future__ import annotations

import contextlib

import numpy as np

# Of H's mean diagonal, added to it: directions that the patches hardly show are not free, other pictures show them.
DAMPING = 0.03
SWEEPS = 20


def round_weights(weights: np.ndarray, gram: np.ndarray, scale: np.ndarray, *, bits: int) -> np.ndarray:
    """Integers (rows, taps), float64, of least `rounding_error`; within +-(2^(bits-1) - 1), as `quantize_weights`.

    Args:
        weights: (rows, taps), one row an output channel.
        gram: (taps, taps) second moments of the patches, symmetric; centred ones when the bias takes up the mean.
        scale: (rows,) steps of the rows' grids.
    """
    weights, gram = np.asarray(weights, np.float64), np.asarray(gram, np.float64)
    step, limit = np.asarray(scale, np.float64), 2 ** (bits - 1) - 1
    gram = gram + (DAMPING * np.mean(np.diag(gram)) + 1e-30) * np.eye(len(gram))
    integers = _feedback(weights, gram, step, limit)
    nearest = np.clip(np.rint(weights / step[:, None]), -limit, limit)
    # Feedback is greedy: where it did worse than plain rounding, the descent starts from that instead.
    worse = _errors(weights, gram, step, integers) > _errors(weights, gram, step, nearest)
    integers[worse] = nearest[worse]
    return _descend(weights, gram, step, limit, integers)


def rounding_error(weights: np.ndarray, gram: np.ndarray, scale: np.ndarray, integers: np.ndarray) -> float:
    """Mean squared error of the layer's output, summed over the rows: the objective above, without DAMPING.

    Args:
        weights, gram, scale: as of `round_weights`.
        integers: (rows, taps) that stand for the weights, in steps of `scale`.
    """
    return float(_errors(np.asarray(weights, np.float64), gram, np.asarray(scale, np.float64), integers).sum())


def _errors(weights, gram, step, integers) -> np.ndarray:
    rest = weights - integers * step[:, None]
    return np.einsum("ok,ok->o", rest @ gram, rest)


def _feedback(weights, gram, step, limit) -> np.ndarray:
    """GPTQ: rounds tap after tap, the strongest input first, and lets the taps still free make up for each error."""
    taps = weights.shape[1]
    order = np.argsort(-np.diag(gram), kind="stable")
    upper = _inverse_factor(gram[np.ix_(order, order)])
    left, integers = weights[:, order].copy(), np.zeros_like(weights)
    for i in range(taps):
        integers[:, order[i]] = q = np.clip(np.rint(left[:, i] / step), -limit, limit)
        error = (left[:, i] - q * step) / upper[i, i]
        left[:, i + 1 :] -= error[:, None] * upper[i, i + 1 :]
    return integers


def _inverse_factor(gram: np.ndarray) -> np.ndarray:
    """Upper U with U.T @ U = inverse of `gram`. One of nearly dependent inputs has no such factor in float64: it gets
    more on its diagonal, until it has."""
    mean = float(np.mean(np.diag(gram))) + 1e-30
    for more in (0.0, 1e-6, 1e-4, 1e-2):
        inverse = np.linalg.pinv(gram + more * mean * np.eye(len(gram)), hermitian=True)
        with contextlib.suppress(np.linalg.LinAlgError):
            return np.linalg.cholesky((inverse + inverse.T) / 2).T
    return np.diag(1 / np.sqrt(np.diag(gram) + mean))  # without feedback: each weight is rounded for itself


def _descend(weights, gram, step, limit, integers) -> np.ndarray:
    """Coordinate descent: each weight in turn goes to its best integer, given all the others."""
    pull = (weights - integers * step[:, None]) @ gram  # minus half the objective's derivative
    strength = np.diag(gram)
    for _ in range(SWEEPS):
        moved = False
        for i in np.flatnonzero(strength > 0):
            best = np.clip(np.rint(integers[:, i] + pull[:, i] / (strength[i] * step)), -limit, limit)
            rows = np.flatnonzero(best != integers[:, i])
            if len(rows):
                moved = True
                change = (best[rows] - integers[rows, i]) * step[rows]
                integers[rows, i] = best[rows]
                pull[rows] -= change[:, None] * gram[i]
        if not moved:
            break
    return integers
