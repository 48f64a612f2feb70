"""One training step as one graph: forward, losses, gradients, both optimizers, averaging, the NaN guard.

Nothing is read back from the graph in a step. Losses are added up in a variable that is read every `log_every` steps,
and the number of the first step that was not finite is kept in another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from snpe_srgan.config import StageConfig
from snpe_srgan.losses.adversarial import (
    discriminator_loss,
    generator_adversarial,
    generator_relativistic,
    perceptual,
    relative_logits,
)
from snpe_srgan.losses.distillation import attention_transfer
from snpe_srgan.losses.feature_networks import FeatureNetwork
from snpe_srgan.losses.frequency import spectral_l1
from snpe_srgan.losses.perceptual import FEATURE_DISTANCES
from snpe_srgan.losses.phases import phase_loss
from snpe_srgan.losses.pixel import pixel_loss
from snpe_srgan.models.activations import activations
from snpe_srgan.products import Precision, precision
from snpe_srgan.training.adam import clip_by_global_norm
from snpe_srgan.training.engine import Distribution, mean_over_replicas
from snpe_srgan.training.networks import Teacher
from snpe_srgan.training.state import StageState

PIXEL_METRICS = ("loss", "gradient_norm", "pixel")
ADVERSARIAL_METRICS = ("adversarial", "d_loss", "d_real", "d_fake", "d_gradient_norm")


def metric_names(stage: StageConfig) -> tuple[str, ...]:
    """What a step of this stage adds up, in order."""
    loss, names = stage.loss, PIXEL_METRICS
    for name, weight in (
        ("frequency", loss.frequency_weight),
        ("phase", loss.phase_weight),
        ("feature", loss.feature_weight),
        ("distill", loss.distill.weight),
        ("distill_feature", loss.distill.feature_weight),
    ):
        names += (name,) if weight else ()
    return names + (ADVERSARIAL_METRICS if stage.loss.adversarial_weight else ())


@dataclass(frozen=True)
class Numbers:
    """What changes from step to step, as the graph's input."""

    learning_rate: tf.Tensor
    beta1_power: tf.Tensor
    beta2_power: tf.Tensor
    averaging_decay: tf.Tensor


def to_lr(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 -> float32 in [0, 1]."""
    return tf.cast(pixels, tf.float32) / 255.0


def to_hr(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return tf.cast(pixels, tf.float32) / 127.5 - 1.0


def shift(number: tf.Tensor, width: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """How a step moves pictures (n, h, w, c) before features and discriminator see them: down and to the right, rolled
    around, by 0 to `width` - 1 pixels that depend on the step's number alone. With 0 or 1 they stay.

    Strided convolutions weigh the pixels of their grid unevenly (Odena et al., "Deconvolution and Checkerboard
    Artifacts", 2016), and so do their gradients; moved, they favour no place of the pixel shuffle's grid. That alone
    does not share out what is drawn on it evenly: losses/phases.py does.
    """
    if width < 2:
        return lambda pictures: pictures
    offsets = tf.random.stateless_uniform([2], tf.stack([number, tf.zeros_like(number)]), 0, width, tf.int32)
    return lambda pictures: tf.roll(pictures, offsets, axis=[1, 2])


def make_step(
    state: StageState,
    stage: StageConfig,
    distribution: Distribution,
    *,
    gradient_clip: float = 0.0,
    features: FeatureNetwork | None = None,
    teacher: Teacher | None = None,
    multiply_in: Precision = "float32",
):
    """`step(pixels, numbers, step_number)`: a batch of data/batches.py, float32 (4,), int64.

    `multiply_in` is the precision of the convolutions and matrix products, forward and backward (products.py).
    """
    weights, distill = stage.loss, stage.loss.distill
    relativistic = weights.adversarial == "relativistic"

    def distill_features(lr, taps: Mapping[str, tf.Tensor]) -> tf.Tensor:
        own, taught = zip(*distill.layers, strict=True)
        of_teacher = activations(teacher.graph, teacher.weights, lr, taught)
        return attention_transfer(of_teacher, [taps[name] for name in own])

    def update_discriminator(hr, sr, numbers: Numbers) -> list[tf.Tensor]:
        discriminator, adam = state.discriminator, state.discriminator_adam
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(adam.variables)
            real, fake = discriminator(hr, is_train=True), discriminator(sr, is_train=True)
            if relativistic:
                real, fake = relative_logits(real, fake)
            loss = discriminator_loss(real, fake)
        gradients = mean_over_replicas(tape.gradient(loss, adam.variables))
        gradients, norm = clip_by_global_norm(gradients, gradient_clip)
        adam.apply(gradients, numbers.learning_rate, numbers.beta1_power, numbers.beta2_power)
        return [loss, tf.reduce_mean(tf.sigmoid(real)), tf.reduce_mean(tf.sigmoid(fake)), norm]

    def against_discriminator(hr, sr) -> tf.Tensor:
        if not relativistic:
            return generator_adversarial(state.discriminator(sr, is_train=True))
        real = state.discriminator(hr, is_train=True)  # again: the discriminator has changed since
        return generator_relativistic(real, state.discriminator(sr, is_train=True))

    def on_replica(pixels, vector, number):
        with precision(multiply_in):  # here: each replica is traced in a thread of its own
            return train_once(pixels, vector, number)

    def train_once(pixels, vector, number):
        numbers = Numbers(*tf.unstack(vector))
        lr, hr = to_lr(pixels[0]), to_hr(pixels[1])
        adam = state.generator_adam
        with tf.GradientTape(watch_accessed_variables=False) as through_generator:
            through_generator.watch(adam.variables)
            sr, taps = state.generate(lr)
        # The discriminator first; the generator then answers to the updated one (Goodfellow et al., algorithm 1).
        # Both use the same sr, so the generator runs once.
        moved = shift(number, weights.shift)
        d_metrics = update_discriminator(moved(hr), moved(sr), numbers) if weights.adversarial_weight else []
        with tf.GradientTape(watch_accessed_variables=False) as at_sr:
            at_sr.watch([sr, taps])
            pixel = pixel_loss(weights.pixel, luma_weight=weights.luma_weight)(hr, sr)
            content, metrics = weights.pixel_weight * pixel, [pixel]
            if weights.frequency_weight:
                frequency = spectral_l1(hr, sr)
                content += weights.frequency_weight * frequency
                metrics.append(frequency)
            if weights.phase_weight:
                phase = phase_loss(hr, sr, scale=state.graph.scale)
                content += weights.phase_weight * phase
                metrics.append(phase)
            if features is not None:
                feature = FEATURE_DISTANCES[weights.features.distance](features(moved(hr)), features(moved(sr)))
                content += weights.feature_weight * feature
                metrics.append(feature)
            if distill.weight:
                taught = pixel_loss(distill.loss, luma_weight=weights.luma_weight)(to_hr(pixels[2]), sr)
                content += distill.weight * taught
                metrics.append(taught)
            if distill.feature_weight:
                attention = distill_features(lr, taps)
                content += distill.feature_weight * attention
                metrics.append(attention)
            loss = content
            if weights.adversarial_weight:
                adversarial = against_discriminator(moved(hr), moved(sr))
                loss = perceptual(content, adversarial, adversarial_weight=weights.adversarial_weight)
                metrics.append(adversarial)
        ends = [sr, *taps.values()]
        gradients = through_generator.gradient(ends, adam.variables, output_gradients=at_sr.gradient(loss, ends))
        gradients, norm = clip_by_global_norm(mean_over_replicas(gradients), gradient_clip)
        adam.apply(gradients, numbers.learning_rate, numbers.beta1_power, numbers.beta2_power)

        (values,) = mean_over_replicas([tf.stack([loss, norm, *metrics, *d_metrics])])
        _guard(state, values, number)
        return values

    @tf.function(reduce_retracing=True)
    def step(pixels, vector, number):
        distribution.run(on_replica, (pixels, vector, number))
        state.move_average(vector[3])

    return step


def _guard(state: StageState, values: tf.Tensor, number: tf.Tensor) -> None:
    """Adds the step's values to the running sums and remembers the first step with one that is not finite."""
    tf.raw_ops.AssignAddVariableOp(resource=state.sums.handle, value=values)
    first = tf.raw_ops.ReadVariableOp(resource=state.first_bad.handle, dtype=tf.int64)
    bad = (first < 0) & ~tf.reduce_all(tf.math.is_finite(values))
    tf.raw_ops.AssignVariableOp(resource=state.first_bad.handle, value=tf.where(bad, number, first))
