"""Convolutions and matrix products, in float32 or, where a training step asks for it, in bfloat16.

    y = conv2d(x, kernel)                     # float32
    with precision("bfloat16"):
        y = conv2d(x, kernel)                 # multiplied in bfloat16; y and both gradients are float32

Mixed precision is part of the graph that is traced inside `precision`: both operands are rounded to bfloat16, the
kernel sums in float32, and its result is cast back to float32, unless nothing reads it but what rounds it again. The
gradients are products too and are computed in the same way. Everything else (losses, sums, statistics, the optimizer,
the weights) sees float32 only, and a graph that is traced elsewhere in the process has no bfloat16 in it. TensorFlow's
own rewrite of graphs is an option of the process that reaches every function and takes reductions along, so it is not
used.
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
    x: tf.Tensor, kernel: tf.Tensor, strides: int | Sequence[int] = 1, padding="SAME", *, keeps_narrow: bool = False,
    name: str | None = None,
) -> tf.Tensor:  # fmt: skip
    """`tf.nn.conv2d` of float32 (n, h, w, in) and (kh, kw, in, out); float32 whatever it is multiplied in.

    Args:
        strides, padding: as `tf.nn.conv2d` takes them.
        keeps_narrow: what was multiplied in bfloat16 stays in it.
        name: of the operator that gives the result.
    """
    import tensorflow as tf

    if not narrow():
        return tf.nn.conv2d(x, kernel, strides, padding, name=name)
    y = tf.nn.conv2d(tf.cast(x, tf.bfloat16), tf.cast(kernel, tf.bfloat16), strides, padding)
    return y if keeps_narrow else tf.cast(y, tf.float32, name=name)


def narrow() -> bool:
    """Whether products are multiplied in bfloat16 here."""
    return _precision.get() == "bfloat16"


def biased_conv2d(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, strides: Sequence[int], padding: str, *,
    slope: float | None = None,
) -> tf.Tensor:  # fmt: skip
    """Convolution, bias and perhaps an activation as oneDNN's one kernel for them: bfloat16, for `narrow()` only.

    The kernel adds the bias to its float32 sums and rounds once. The gradients of kernel and bias are float32, x's is
    of x's type; the bias' is the product of a row of ones with the gradient.

    Args:
        x: float32 or bfloat16 (n, h, w, in).
        kernel, bias: float32 (kh, kw, in, out) and (out,).
        strides, padding: as `tf.raw_ops.Conv2D` takes them.
        slope: below 0, of the activation: 0 for a ReLU, more for a leaky one, None for none.
    """
    import tensorflow as tf

    low, placed = tf.bfloat16, {"strides": list(strides), "padding": padding}

    @tf.custom_gradient
    def convolve(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor):
        read, weights = tf.cast(x, low), tf.cast(kernel, low)
        y = tf.nn.bias_add(tf.raw_ops.Conv2D(input=read, filter=weights, **placed), tf.cast(bias, low))
        if slope is not None:
            y = tf.nn.leaky_relu(y, slope) if slope else tf.nn.relu(y)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            if slope is not None:  # the result has the signs of what was activated
                seen = {"gradients": upstream, "features": y}
                upstream = tf.raw_ops.LeakyReluGrad(**seen, alpha=slope) if slope else tf.raw_ops.ReluGrad(**seen)
            to_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(read), filter=weights, out_backprop=upstream, **placed
            )
            to_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=read, filter_sizes=tf.shape(weights), out_backprop=upstream, **placed
            )
            rows = tf.reshape(upstream, [-1, kernel.shape[-1]])
            to_bias = tf.raw_ops.MatMul(a=tf.ones([1, tf.shape(rows)[0]], low), b=rows)
            return tf.cast(to_x, x.dtype), tf.cast(to_kernel, tf.float32), tf.cast(to_bias[0], tf.float32)

        return y, gradient

    return convolve(x, kernel, bias)


def matmul(a: tf.Tensor, b: tf.Tensor, *, transpose_b: bool = False) -> tf.Tensor:
    """a @ b, or a @ b^T; multiplied in the precision that `precision` says, float32 outside.

    Args:
        a: (i, k), or a row of such matrices (n, i, k); float32.
        b: (k, j), or (n, k, j); with `transpose_b` its last two axes are swapped.

    Returns:
        (i, j) or (n, i, j), float32 whatever it is multiplied in.
    """
    import tensorflow as tf

    low = narrow()
    if low:
        a, b = tf.cast(a, tf.bfloat16), tf.cast(b, tf.bfloat16)
    if a.shape.rank == 2:
        y = tf.raw_ops.MatMul(a=a, b=b, transpose_b=transpose_b)
    else:  # not BatchMatMulV2: it broadcasts, and its gradient then sums over the broadcast axes
        y = tf.raw_ops.BatchMatMul(x=a, y=b, adj_y=transpose_b)
    return tf.cast(y, tf.float32) if low else y
