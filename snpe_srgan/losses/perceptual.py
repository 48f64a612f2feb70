"""The content loss on features: the SRGAN paper's equation 5, its "VGG loss"."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

RESCALE = 1 / 12.75
"""The paper scales VGG's features by this (section 3.2): their MSE, then times 0.00615, compares with a pixel MSE."""


def feature_mse(hr_features: Sequence[tf.Tensor], sr_features: Sequence[tf.Tensor], *, rescale: float = RESCALE):
    """Mean squared error of rescaled features, each layer a mean over its values; layers are averaged.

    Each (n, h, w, c), as the feature network gives them for inputs in 0..255 less the mean.
    """
    losses = [
        tf.reduce_mean(tf.math.squared_difference(hr * rescale, sr * rescale))
        for hr, sr in zip(hr_features, sr_features, strict=True)
    ]
    return tf.add_n(losses) / len(losses)
