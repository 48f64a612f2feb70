"""Spatial SVD: a convolution (h, w) as a vertical one (h, 1) of few channels and a horizontal one (1, w). Pure numpy.

Jaderberg et al. 2014 ("Speeding up convolutional neural networks with low rank expansions", scheme 2); AIMET's name for
it is spatial SVD. Truncating the singular values of the kernel is best for the kernel. With the second moments of
what the layer reads, the pair is chosen for least error of what the layer computes (Zhang et al. 2016, section 3).
"""

from __future__ import annotations

import numpy as np

ROUNDS, STEPS = 2, 10  # of alternation, of conjugate gradients in each: more gain less than a per cent
DAMPING = 1e-3  # of the mean second moment: directions that the pictures hardly show still count


def most_ranks(kernel_shape) -> int:
    """The rank at which a pair is exact: of the (h * in) x (w * out) matrix."""
    h, w, m, n = kernel_shape
    return min(h * m, w * n)


def useful_rank(kernel_shape) -> int:
    """The largest rank at which the pair has fewer MACs than the convolution."""
    h, w, m, n = kernel_shape
    return (h * w * m * n - 1) // (h * m + w * n)


def kernel_pair(kernel: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (h, 1, m, rank) and (1, w, rank, n) nearest to (h, w, m, n) in the mean square; exact at full rank."""
    h, w, m, n = kernel.shape
    matrix = np.asarray(kernel, np.float64).transpose(0, 2, 1, 3).reshape(h * m, w * n)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return (u[:, :rank] * root).reshape(h, 1, m, rank), _horizontal(root[:, None] * vt[:rank], w, n)


def data_pair(kernel: np.ndarray, gram: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The pair of least mean squared error of the layer's output.

    Args:
        kernel: (h, w, m, n).
        gram: (h * w * m, h * w * m) centred second moments of the patches, in the kernel's own order.

    The start is the SVD weighted by the columns' second moments; then either kernel in turn solves its least-squares
    problem with the other held: the horizontal one in closed form, the vertical one by conjugate gradients.
    """
    h, w, m, n = shape = kernel.shape
    flat = np.asarray(kernel, np.float64).reshape(h * w * m, n)
    gram = gram + (DAMPING * np.trace(gram) / len(gram) + 1e-30) * np.eye(len(gram))
    # blocks[i, j]: of columns i and j of a patch, (h * m, h * m)
    blocks = np.ascontiguousarray(gram.reshape(h, w, m, h, w, m).transpose(1, 4, 0, 2, 3, 5)).reshape(
        w, w, h * m, h * m
    )
    root = np.linalg.cholesky(np.mean([blocks[j, j] for j in range(w)], axis=0))
    matrix = flat.reshape(h, w, m, n).transpose(0, 2, 1, 3).reshape(h * m, w * n)
    u, _, _ = np.linalg.svd(root.T @ matrix, full_matrices=False)
    vertical, target = np.linalg.solve(root.T, u[:, :rank]), _columns(gram @ flat, shape)
    horizontal = _solve_horizontal(vertical, blocks, target)
    for _ in range(ROUNDS):
        vertical = _descend_vertical(vertical, horizontal, gram, flat, shape)
        horizontal = _solve_horizontal(vertical, blocks, target)
    # Equal norms on either side of each channel: what 8 bits like, and Adam.
    own, other = np.linalg.norm(vertical, axis=0), np.linalg.norm(horizontal, axis=(0, 2))
    balance = np.sqrt(np.maximum(other, 1e-30) / np.maximum(own, 1e-30))
    return (vertical * balance).reshape(h, 1, m, rank), (horizontal / balance[None, :, None])[None]


def _horizontal(matrix: np.ndarray, w: int, n: int) -> np.ndarray:
    return matrix.reshape(len(matrix), w, n).transpose(1, 0, 2)[None]


def _columns(rows: np.ndarray, shape) -> np.ndarray:
    """(h * w * m, n) as (w, h * m, n): by columns of the patch."""
    h, w, m, n = shape
    return rows.reshape(h, w, m, n).transpose(1, 0, 2, 3).reshape(w, h * m, n)


def _solve_horizontal(vertical: np.ndarray, blocks: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(w, k, n) of least error given the vertical kernel (h * m, k), for gram @ kernel by columns (w, h * m, n)."""
    w, rank = len(blocks), vertical.shape[1]
    normal = np.block([[vertical.T @ (blocks[i, j] @ vertical) for j in range(w)] for i in range(w)])
    normal += 1e-9 * np.trace(normal) / len(normal) * np.eye(len(normal))
    wanted = np.concatenate([vertical.T @ column for column in target])
    return np.linalg.solve(normal, wanted).reshape(w, rank, -1)


def _descend_vertical(vertical, horizontal, gram, flat, shape) -> np.ndarray:
    """A few steps of conjugate gradients on the vertical kernel, the horizontal one held."""
    h, w, m, n = shape

    def forward(a: np.ndarray) -> np.ndarray:  # (h * m, k) -> (h * w * m, n)
        return np.einsum("hmk,wkn->hwmn", a.reshape(h, m, -1), horizontal).reshape(h * w * m, n)

    def back(r: np.ndarray) -> np.ndarray:
        return np.einsum("hwmn,wkn->hmk", r.reshape(h, w, m, n), horizontal).reshape(h * m, -1)

    residual = back(gram @ (flat - forward(vertical)))
    direction, energy = residual, np.sum(residual**2)
    for _ in range(STEPS):
        if energy < 1e-30:
            break
        applied = back(gram @ forward(direction))
        step = energy / np.sum(direction * applied)
        vertical = vertical + step * direction
        residual = residual - step * applied
        before, energy = energy, np.sum(residual**2)
        direction = residual + energy / before * direction
    return vertical
