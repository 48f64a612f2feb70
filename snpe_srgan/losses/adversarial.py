"""Equations 1 and 2 of the SRGAN paper (Ledig et al., 2017), and ESRGAN's relativistic average pair, on logits.

D(x) = sigmoid(logit). Working on logits keeps the logarithms finite: -log sigmoid(z) = softplus(-z).
"""

from __future__ import annotations

import tensorflow as tf

from snpe_srgan.replicas import batch_mean


def generator_adversarial(fake_logits: tf.Tensor) -> tf.Tensor:
    """-log D(G(lr)), equation 6, as a mean over the batch. `fake_logits`: (n, 1)."""
    return tf.reduce_mean(tf.math.softplus(-fake_logits))


def discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """-log D(hr) - log(1 - D(G(lr))), the negative of equation 2's objective, as a mean over the batch. Both (n, 1)."""
    return tf.reduce_mean(tf.math.softplus(-real_logits)) + tf.reduce_mean(tf.math.softplus(fake_logits))


def relative_logits(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How much more real than the other kind on average: C(hr) - E[C(sr)] and C(sr) - E[C(hr)]. All (n, 1).

    Their sigmoids are D_Ra of ESRGAN (Wang et al. 2018, section 3.2) and Jolicoeur-Martineau 2018. `discriminator_loss`
    of them is ESRGAN's equation 1, a sum of two terms (the authors' code halves it). E is over the whole batch,
    that of all replicas in a distributed training.
    """
    return real_logits - batch_mean(fake_logits), fake_logits - batch_mean(real_logits)


def generator_relativistic(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """-log(1 - D_Ra(hr, sr)) - log D_Ra(sr, hr), ESRGAN's equation 2: the discriminator's loss with the two kinds
    exchanged, so that both real and made-up pictures give a gradient. Both (n, 1)."""
    real, fake = relative_logits(real_logits, fake_logits)
    return discriminator_loss(fake, real)
