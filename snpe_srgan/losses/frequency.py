"""The frequency loss: what HR and SR differ by, frequency by frequency.

A pixel loss is content with a blurred texture, whose error is small at each pixel. In the spectrum the same error
stands in the high frequencies alone, where it does not drown in the others. From Cho et al., "Rethinking coarse-to-fine
approach in single image deblurring" (MIMO-UNet, 2021), equation 4; Fuoli et al., "Fourier space losses for efficient
perceptual image super-resolution" (2021) compare amplitude and phase instead.
"""

from __future__ import annotations

import tensorflow as tf


def spectral_l1(hr: tf.Tensor, sr: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of the two spectra's real and imaginary parts, over all frequencies and channels.

    Both (n, h, w, 3) in [-1, 1]; the 2-D transform is orthonormal (divided by the root of h * w), so the unit is
    that of the pixel L1 for every crop: a difference of white noise gives 0.71 times its L1, a smooth one less. The
    paper's transform is not scaled: its weight of 0.1 on crops of 256 pixels is 25.6 here.
    """
    shape = tf.shape(hr)
    height, width = shape[1], shape[2]
    spectrum = tf.signal.rfft2d(tf.transpose(hr - sr, [0, 3, 1, 2]))  # linear: the spectrum of the difference
    parts = tf.abs(tf.math.real(spectrum)) + tf.abs(tf.math.imag(spectrum))
    # Half of the spectrum of a real picture is left out, as the other half's mirror image: what has one counts twice.
    column = tf.range(width // 2 + 1)
    counts = tf.where((column == 0) | (2 * column == width), 1.0, 2.0)
    total = tf.reduce_sum(parts * counts) / tf.sqrt(tf.cast(height * width, tf.float32))
    return total / (2.0 * tf.cast(tf.size(hr), tf.float32))
