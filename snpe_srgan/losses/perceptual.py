"""The content loss on features, by three distances.

`mse` is the SRGAN paper's equation 5, its "VGG loss"; `l1` is ESRGAN's (Wang et al. 2018, on features before the
activation); `normalized` is that of Zhang et al. 2018 (LPIPS without its trained channel weights), in which layers of
very different magnitude count alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

RESCALE = 1 / 12.75
"""The paper scales VGG's features by this (section 3.2): their MSE, then times 0.00615, compares with a pixel MSE."""
EPSILON = 1e-3
"""Added to a squared length of features of inputs in 0..255 (usually 1e2 to 1e6): where nothing is active, the gradient
stays finite."""


def feature_mse(hr_features: Sequence[tf.Tensor], sr_features: Sequence[tf.Tensor], *, rescale: float = RESCALE):
    """Mean squared error of rescaled features, each layer a mean over its values; layers are averaged.

    Args:
        hr_features, sr_features: (n, h, w, c) of each layer, as the feature network gives them for inputs in 0..255
            less the mean.
        rescale: by which features are multiplied, so that the loss is of the pixel loss's order.

    Returns:
        A float32 scalar.
    """
    losses = [
        tf.reduce_mean(tf.math.squared_difference(hr * rescale, sr * rescale))
        for hr, sr in zip(hr_features, sr_features, strict=True)
    ]
    return tf.add_n(losses) / len(losses)


def feature_l1(hr_features: Sequence[tf.Tensor], sr_features: Sequence[tf.Tensor], *, rescale: float = RESCALE):
    """Mean absolute error of rescaled features, averaged as in `feature_mse`.

    Args:
        hr_features, sr_features, rescale: as of `feature_mse`.

    Returns:
        A float32 scalar.
    """
    losses = [tf.reduce_mean(tf.abs(hr - sr)) * rescale for hr, sr in zip(hr_features, sr_features, strict=True)]
    return tf.add_n(losses) / len(losses)


def normalized_distance(hr_features: Sequence[tf.Tensor], sr_features: Sequence[tf.Tensor]):
    """Squared distance of the pixels' feature vectors, each of length 1: a mean over pixels, layers averaged. 0 to 4
    (0 to 2 after a ReLU).

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric" (2018), equation 1 with equal
    weights: the features' scale drops out, of a layer and of a pixel.
    """
    losses = [
        tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(_unit_length(hr), _unit_length(sr)), axis=-1))
        for hr, sr in zip(hr_features, sr_features, strict=True)
    ]
    return tf.add_n(losses) / len(losses)


def _unit_length(features: tf.Tensor) -> tf.Tensor:
    return features * tf.math.rsqrt(tf.reduce_sum(tf.square(features), axis=-1, keepdims=True) + EPSILON)


FEATURE_DISTANCES = {"mse": feature_mse, "l1": feature_l1, "normalized": normalized_distance}
