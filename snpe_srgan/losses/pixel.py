"""Pixel losses between two batches of pictures in [-1, 1]."""

from __future__ import annotations

import tensorflow as tf


def mse(hr: tf.Tensor, sr: tf.Tensor) -> tf.Tensor:
    """Mean squared error over all values: the SRGAN paper's equation 4.

    Both (n, h, w, 3) in [-1, 1], so the value is 4 times that on the [0, 1] scale: 30 dB of RGB PSNR is 0.004.
    """
    return tf.reduce_mean(tf.math.squared_difference(hr, sr))


def l1(hr: tf.Tensor, sr: tf.Tensor) -> tf.Tensor:
    """Mean absolute error over all values; both (n, h, w, 3) in [-1, 1].

    Gives higher PSNR than MSE for networks of this kind (Lim et al., "Enhanced deep residual networks", 2017).
    """
    return tf.reduce_mean(tf.abs(hr - sr))


PIXEL_LOSSES = {"mse": mse, "l1": l1}
