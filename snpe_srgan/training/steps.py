"""One training step as one graph: forward, losses, gradients, both optimizers, averaging, the NaN guard.

Nothing is read back from the graph in a step. Losses are added up in a variable that is read every `log_every` steps,
and the number of the first step that was not finite is kept in another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from snpe_srgan.config import StageConfig
from snpe_srgan.losses.adversarial import discriminator_loss, relative_logits
from snpe_srgan.losses.feature_networks import FeatureNetwork
from snpe_srgan.products import Precision, precision
from snpe_srgan.replicas import mean_over_replicas
from snpe_srgan.training.adam import clip_by_global_norm
from snpe_srgan.training.engine import Distribution
from snpe_srgan.training.networks import Teacher
from snpe_srgan.training.state import StageState
from snpe_srgan.training.terms import Batch, Parts, terms

DISCRIMINATOR_METRICS = ("d_loss", "d_real", "d_fake", "d_gradient_norm")


def metric_names(stage: StageConfig) -> tuple[str, ...]:
    """What a step of this stage adds up, in order."""
    of_discriminator = DISCRIMINATOR_METRICS if stage.loss.adversarial_weight else ()
    return ("loss", "gradient_norm", *(term.name for term in terms(stage)), *of_discriminator)


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
    """`step(pixels, numbers, step_number)`, a TensorFlow graph that trains the state by one step.

    `pixels` is a batch of data/batches.py as dealt to the replicas; `numbers` float32 (4,): learning rate, powers of
    beta 1 and beta 2 (`Adam.powers`), decay of the averaged weights; `step_number` int64.

    Args:
        state: all variables of the stage.
        gradient_clip: the largest common norm of the gradients; 0: not clipped.
        features: of the perceptual loss; None where the stage has none.
        teacher: that the stage learns from; None where it has none.
        multiply_in: the precision of the convolutions and matrix products, forward and backward (products.py).
    """
    parts = Parts(stage, state.graph.scale, features, teacher, state.discriminator)
    names = metric_names(stage)

    def on_replica(pixels, vector, number):
        with precision(multiply_in):  # here: each replica is traced in a thread of its own
            found = _train_once(state, parts, pixels, vector, number, gradient_clip=gradient_clip)
            if set(found) != set(names):
                raise ValueError(f"a step measures {sorted(found)}, and the log shows {sorted(names)}")
            (values,) = mean_over_replicas([tf.stack([found[name] for name in names])])
            _guard(state, values, number)

    @tf.function(reduce_retracing=True, autograph=False)  # no control flow in it to be rewritten
    def step(pixels, vector, number):
        distribution.run(on_replica, (pixels, vector, number))
        state.move_average(vector[3])

    return step


def _train_once(
    state: StageState, parts: Parts, pixels, vector: tf.Tensor, number: tf.Tensor, *, gradient_clip: float
) -> dict[str, tf.Tensor]:
    """One step of both networks; what was measured, by its name in the log."""
    numbers, weights = Numbers(*tf.unstack(vector)), parts.stage.loss
    lr, hr = to_lr(pixels[0]), to_hr(pixels[1])
    adam = state.generator_adam
    with tf.GradientTape(watch_accessed_variables=False) as through_generator:
        through_generator.watch(adam.variables)
        sr, taps = state.generate(lr)
    taught = to_hr(pixels[2]) if weights.distill.weight else None
    batch = Batch(lr, hr, sr, taps, taught, shift(number, weights.shift))
    found: dict[str, tf.Tensor] = {}
    # The discriminator first; the generator then answers to the updated one (Goodfellow et al., algorithm 1).
    # Both use the same sr, so the generator runs once.
    if weights.adversarial_weight:
        found |= _update_discriminator(state, parts, batch, numbers, gradient_clip=gradient_clip)
    with tf.GradientTape(watch_accessed_variables=False) as at_sr:
        at_sr.watch([sr, taps])
        first, *others = terms(parts.stage)
        found[first.name] = first.value(parts, batch)
        loss = first.weight * found[first.name]
        for term in others:
            found[term.name] = term.value(parts, batch)
            loss += term.weight * found[term.name]
    ends = [sr, *taps.values()]
    gradients = through_generator.gradient(ends, adam.variables, output_gradients=at_sr.gradient(loss, ends))
    gradients, norm = clip_by_global_norm(mean_over_replicas(gradients), gradient_clip)
    adam.apply(gradients, numbers.learning_rate, numbers.beta1_power, numbers.beta2_power)
    return {"loss": loss, "gradient_norm": norm, **found}


def _update_discriminator(
    state: StageState, parts: Parts, batch: Batch, numbers: Numbers, *, gradient_clip: float
) -> dict[str, tf.Tensor]:
    discriminator, adam = state.discriminator, state.discriminator_adam
    assert discriminator is not None and adam is not None  # the stage has an adversarial loss
    hr, sr = batch.moved(batch.hr), batch.moved(batch.sr)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(adam.variables)
        real, fake = discriminator(hr, is_train=True), discriminator(sr, is_train=True)
        if parts.stage.loss.adversarial == "relativistic":
            real, fake = relative_logits(real, fake)
        loss = discriminator_loss(real, fake)
    gradients = mean_over_replicas(tape.gradient(loss, adam.variables))
    gradients, norm = clip_by_global_norm(gradients, gradient_clip)
    adam.apply(gradients, numbers.learning_rate, numbers.beta1_power, numbers.beta2_power)
    measured = (loss, tf.reduce_mean(tf.sigmoid(real)), tf.reduce_mean(tf.sigmoid(fake)), norm)
    return dict(zip(DISCRIMINATOR_METRICS, measured, strict=True))


def _guard(state: StageState, values: tf.Tensor, number: tf.Tensor) -> None:
    """Adds the step's values to the running sums and remembers the first step with one that is not finite."""
    tf.raw_ops.AssignAddVariableOp(resource=state.sums.handle, value=values)
    first = tf.raw_ops.ReadVariableOp(resource=state.first_bad.handle, dtype=tf.int64)
    bad = (first < 0) & ~tf.reduce_all(tf.math.is_finite(values))
    tf.raw_ops.AssignVariableOp(resource=state.first_bad.handle, value=tf.where(bad, number, first))
