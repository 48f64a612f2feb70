"""Convolutions and matrix products, in float32 or, where a training step asks for it, in bfloat16.

    y = conv2d(x, kernel)                     # float32
    with precision("bfloat16"):
        y = conv2d(x, kernel)                 # multiplied in bfloat16; y and both gradients are float32

Mixed precision is part of the graph that is traced inside `precision`: both operands are rounded to bfloat16, the
kernel sums in float32, and its result is cast back to float32. The gradients are products too and are computed in the
same way. Everything else (losses, sums, batch norm, the optimizer, the weights) sees float32 only, and a graph that is
traced elsewhere in the process has no bfloat16 in it. TensorFlow's own rewrite of graphs is an option of the process
that reaches every function and takes reductions along, so it is not used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import tensorflow as tf

Precision = Literal["float32", "bfloat16"]
_precision: ContextVar[Precision] = ContextVar("precision", default="float32")


@contextlib.contextmanager
def precision(wanted: Precision) -> Iterator[None]:
    """The products of this thread that are traced (or computed eagerly) inside are of this precision.

    `tf.distribute` traces each replica in a thread of its own: open it inside the replica's function.
    """
    token = _precision.set(wanted)
    try:
        yield
    finally:
        _precision.reset(token)


def conv2d(
    x: tf.Tensor, kernel: tf.Tensor, strides: int | Sequence[int] = 1, padding="SAME", *, name: str | None = None
) -> tf.Tensor:
    """`tf.nn.conv2d` of float32 (n, h, w, in) and (kh, kw, in, out); float32 whatever it is multiplied in.

    Args:
        strides, padding: as `tf.nn.conv2d` takes them.
        name: of the operator that gives the result.
    """
    import tensorflow as tf

    if _precision.get() == "float32":
        return tf.nn.conv2d(x, kernel, strides, padding, name=name)
    y = tf.nn.conv2d(tf.cast(x, tf.bfloat16), tf.cast(kernel, tf.bfloat16), strides, padding)
    return tf.cast(y, tf.float32, name=name)


def matmul(a: tf.Tensor, b: tf.Tensor, *, transpose_b: bool = False) -> tf.Tensor:
    """a @ b, or a @ b^T; multiplied in the precision that `precision` says, float32 outside.

    Args:
        a: (i, k), or a row of such matrices (n, i, k); float32.
        b: (k, j), or (n, k, j); with `transpose_b` its last two axes are swapped.

    Returns:
        (i, j) or (n, i, j), float32 whatever it is multiplied in.
    """
    import tensorflow as tf

    low = _precision.get() == "bfloat16"
    if low:
        a, b = tf.cast(a, tf.bfloat16), tf.cast(b, tf.bfloat16)
    if a.shape.rank == 2:
        y = tf.raw_ops.MatMul(a=a, b=b, transpose_b=transpose_b)
    else:  # not BatchMatMulV2: it broadcasts, and its gradient then sums over the broadcast axes
        y = tf.raw_ops.BatchMatMul(x=a, y=b, adj_y=transpose_b)
    return tf.cast(y, tf.float32) if low else y
