"""The terms of a generator's loss: each says its name in the log, its weight, and its value for a batch.

Both what a step adds up and what the log calls it come from this one list, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from snpe_srgan.config import StageConfig
from snpe_srgan.losses.adversarial import generator_adversarial, generator_relativistic
from snpe_srgan.losses.distillation import attention_transfer
from snpe_srgan.losses.feature_networks import FeatureNetwork
from snpe_srgan.losses.frequency import spectral_l1
from snpe_srgan.losses.perceptual import FEATURE_DISTANCES
from snpe_srgan.losses.phases import phase_loss
from snpe_srgan.losses.pixel import pixel_loss
from snpe_srgan.models.activations import activations
from snpe_srgan.training.networks import Teacher


@dataclass(frozen=True)
class Parts:
    """What the terms of one stage are computed with, beside the batch."""

    stage: StageConfig
    scale: int
    features: FeatureNetwork | None = None
    teacher: Teacher | None = None
    discriminator: Callable[..., tf.Tensor] | None = None


@dataclass(frozen=True)
class Batch:
    """One batch in the loss's view.

    Attributes:
        lr: (n, h, w, 3) in [0, 1].
        hr: (n, h * scale, w * scale, 3) in [-1, 1].
        sr: as `hr`, the generator's.
        taps: the generator's activations that distillation compares, by layer.
        taught: as `hr`, the teacher's pictures; None without them.
        moved: how pictures are shifted before features and discriminator see them.
    """

    lr: tf.Tensor
    hr: tf.Tensor
    sr: tf.Tensor
    taps: Mapping[str, tf.Tensor]
    taught: tf.Tensor | None
    moved: Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Term:
    """`weight * value(parts, batch)` is added to the loss; the log shows the value under `name`."""

    name: str
    weight: float
    value: Callable[[Parts, Batch], tf.Tensor]


def terms(stage: StageConfig) -> tuple[Term, ...]:
    """The terms that a stage's config asks for, in the order of their sum. The pixel loss is always shown."""
    loss = stage.loss
    first, *others = (
        Term("pixel", loss.pixel_weight, _pixel),
        Term("frequency", loss.frequency_weight, _frequency),
        Term("phase", loss.phase_weight, _phase),
        Term("feature", loss.feature_weight, _feature),
        Term("distill", loss.distill.weight, _distill),
        Term("distill_feature", loss.distill.feature_weight, _distill_feature),
        Term("adversarial", loss.adversarial_weight, _adversarial),
    )
    return (first, *(term for term in others if term.weight))


def _pixel(parts: Parts, batch: Batch) -> tf.Tensor:
    loss = parts.stage.loss
    return pixel_loss(loss.pixel, luma_weight=loss.luma_weight)(batch.hr, batch.sr)


def _frequency(parts: Parts, batch: Batch) -> tf.Tensor:
    return spectral_l1(batch.hr, batch.sr)


def _phase(parts: Parts, batch: Batch) -> tf.Tensor:
    return phase_loss(batch.hr, batch.sr, scale=parts.scale)


def _feature(parts: Parts, batch: Batch) -> tf.Tensor:
    assert parts.features is not None  # loaded for every stage with a feature weight
    distance = FEATURE_DISTANCES[parts.stage.loss.features.distance]
    return distance(parts.features(batch.moved(batch.hr)), parts.features(batch.moved(batch.sr)))


def _distill(parts: Parts, batch: Batch) -> tf.Tensor:
    loss = parts.stage.loss
    return pixel_loss(loss.distill.loss, luma_weight=loss.luma_weight)(batch.taught, batch.sr)


def _distill_feature(parts: Parts, batch: Batch) -> tf.Tensor:
    assert parts.teacher is not None  # loaded for every stage that distills features
    own, taught = zip(*parts.stage.loss.distill.layers, strict=True)
    of_teacher = activations(parts.teacher.graph, parts.teacher.weights, batch.lr, taught)
    return attention_transfer(of_teacher, [batch.taps[name] for name in own])


def _adversarial(parts: Parts, batch: Batch) -> tf.Tensor:
    assert parts.discriminator is not None  # every adversarial stage has one
    hr, sr = batch.moved(batch.hr), batch.moved(batch.sr)
    if parts.stage.loss.adversarial != "relativistic":
        return generator_adversarial(parts.discriminator(sr, is_train=True))
    real = parts.discriminator(hr, is_train=True)  # again: the discriminator has changed since
    return generator_relativistic(real, parts.discriminator(sr, is_train=True))
