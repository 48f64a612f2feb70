"""Training a convolution wider than it runs: re-parameterization that merges exactly.

A k x k kernel W (k, k, in, out) is trained as the product of two: a k x k convolution to `width` channels and a 1x1
convolution back, with nothing between them. The product is one k x k convolution again, so the network that is
validated, saved and frozen is the plain one. What changes is the path that the optimizer takes: the collapsible linear
block of Bhardwaj et al., "Collapsible linear blocks for super-efficient super resolution" (SESR, 2022), whose section
3.3 also multiplies the kernels first, so that training costs no more a pixel. docs/results.md says what it gains here.
"""

from __future__ import annotations

import numpy as np


def split(kernel: np.ndarray, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An expansion (h, w, in, m) and a projection (m, out) whose product is the kernel (h, w, in, out), float32.

    The projection is random with columns of length 1 on average, the expansion the smallest that fits it, so a network
    that is expanded, fresh or trained, computes what it did. `m` is `width`, but at least `out`: fewer could not hold
    every kernel.

    Args:
        kernel: float, (h, w, in, out).
        width: channels in the middle.
        rng: draws the projection; the same state gives the same two parts.

    Returns:
        (expansion, projection). `expansion @ projection` is the kernel up to float32 rounding.
    """
    *front, outputs = kernel.shape
    width = max(width, outputs)
    projection = rng.standard_normal((width, outputs)) / np.sqrt(width)
    expansion = kernel.reshape(-1, outputs).astype(np.float64) @ np.linalg.pinv(projection)
    return expansion.reshape(*front, width).astype(np.float32), projection.astype(np.float32)
