"""Fine structure shared out evenly among the pixel shuffle's phases: a loss against dotted edges.

A network that ends in a shuffle by s makes each of its s x s sub-pixels by weights of their own, and adversarial
training puts the texture it draws into a few of them: every s-th pixel stands out, a row of dots along an edge. In a
photograph no place on that grid is special.
"""

from __future__ import annotations

import tensorflow as tf

from snpe_srgan.replicas import batch_mean

LUMA = (0.299, 0.587, 0.114)  # BT.601


def phase_energies(pictures: tf.Tensor, scale: int) -> tf.Tensor:
    """The mean absolute Laplacian of luma at each place of the shuffle's grid, over the whole batch.

    Args:
        pictures: (n, h, w, 3) in [-1, 1], sides multiples of `scale` and at least 3 * `scale`.

    Returns:
        (scale, scale), rows before columns; the outermost blocks are left out.
    """
    luma = tf.reduce_sum(pictures * tf.constant(LUMA, tf.float32), axis=-1)
    around = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
    detail = tf.abs(4.0 * luma[:, 1:-1, 1:-1] - around)  # of the pixels from 1 to h - 2
    size = tf.shape(luma) // scale - 2
    height, width = size[1], size[2]
    inner = detail[:, scale - 1 : scale - 1 + height * scale, scale - 1 : scale - 1 + width * scale]
    blocks = tf.reshape(inner, [-1, height, scale, width, scale])
    return batch_mean(blocks, axis=[0, 1, 3])


def phase_loss(hr: tf.Tensor, sr: tf.Tensor, *, scale: int) -> tf.Tensor:
    """The mean difference of the two pictures' `phase_energies`, 0 where each place holds as much as in HR.

    Args:
        hr, sr: (n, h, w, 3) in [-1, 1], sides multiples of `scale` and at least 3 * `scale`.
        scale: of the pixel shuffle.

    Returns:
        A float32 scalar.
    """
    return tf.reduce_mean(tf.abs(phase_energies(hr, scale) - phase_energies(sr, scale)))
