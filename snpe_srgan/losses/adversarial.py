"""Equations 1 to 3 of the SRGAN paper (Ledig et al., 2017), on logits.

D(x) = sigmoid(logit). Working on logits keeps the logarithms finite: -log sigmoid(z) = softplus(-z).
"""

from __future__ import annotations

import tensorflow as tf


def generator_adversarial(fake_logits: tf.Tensor) -> tf.Tensor:
    """-log D(G(lr)), equation 6, as a mean over the batch. `fake_logits`: (n, 1)."""
    return tf.reduce_mean(tf.math.softplus(-fake_logits))


def discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """-log D(hr) - log(1 - D(G(lr))), the negative of equation 2's objective, as a mean over the batch. Both (n, 1)."""
    return tf.reduce_mean(tf.math.softplus(-real_logits)) + tf.reduce_mean(tf.math.softplus(fake_logits))


def perceptual(content: tf.Tensor, adversarial: tf.Tensor, *, adversarial_weight: float = 1e-3) -> tf.Tensor:
    """content + 1e-3 * adversarial: equation 3."""
    return content + adversarial_weight * adversarial
