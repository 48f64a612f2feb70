"""Knowledge distillation: a small network learns from what a large one makes of the same picture.

The idea is Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015). For super-resolution a
teacher's picture is a target that a small network can reach, where HR holds detail that no network can know (Gao et
al., "Image super-resolution using knowledge distillation", 2018): a pixel loss (pixel.py) with that picture in HR's
place. Here is the other term, on features.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

EPSILON = 1e-12  # a map of zeros stays zeros, and its gradient finite


def attention_map(features: tf.Tensor) -> tf.Tensor:
    """Where a layer is active: the sum of squares over channels, of length 1. (n, h, w, c) -> (n, h * w).

    F_sum^2 of Zagoruyko and Komodakis, "Paying more attention to attention" (2017), section 3.1. The order and the
    number of channels and the scale of the activations drop out, so that layers of any two widths compare without a
    trained layer between them.
    """
    energy = tf.reduce_sum(tf.square(features), axis=-1)
    flat = tf.reshape(energy, [tf.shape(energy)[0], -1])
    flat /= tf.reduce_max(flat, axis=-1, keepdims=True) + EPSILON  # the fourth power of small activations underflows
    return flat * tf.math.rsqrt(tf.reduce_sum(tf.square(flat), axis=-1, keepdims=True) + EPSILON)


def attention_transfer(teacher: Sequence[tf.Tensor], student: Sequence[tf.Tensor]) -> tf.Tensor:
    """Squared distance of the two attention maps, a mean over pictures and layers: 0 to 2 (the maps are not negative).

    Equation 2 of the same paper with the square of the distance, whose gradient exists at 0. Each pair of layers
    (n, h, w, any channels).
    """
    distances = [
        tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(attention_map(t), attention_map(s)), axis=-1))
        for t, s in zip(teacher, student, strict=True)
    ]
    return tf.add_n(distances) / len(distances)
