"""Quantization-aware fine-tuning: a quantized network learns to draw the float network's pictures again.

    tuned = finetune(plan, reference_model=model, pictures=pictures, minutes=20)
    tuned.quantized()

The teacher is the float network (distillation, Hinton et al. 2015, arXiv:1503.02531; for quantization Polino et al.
2018, arXiv:1802.05668): the quantized network is to be what it was, not better. So weights trained with an adversary
keep their look, which a distance to ground truth would smooth away. For a network that was trained on pixels the
ground truth may take part: squared errors to two pictures have the same gradient as the squared error to their mixture.

What is trained and how gradients pass the rounding is described in `tf_network`. The teacher draws a fixed set of crops
before the first step, so that a step costs only the student; Adam's learning rate falls as a cosine of the time or the
steps spent; weights are averaged over the last steps, and the average that did best on crops kept aside is the result,
the start included: the result is never worse than the plan on those.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snpe_srgan.data.batches import Batches
from snpe_srgan.data.stored import hold
from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.progress import Progress, Say, track
from snpe_srgan.quantization.graph.plan import Plan

BATCH = 4
CROP = 96  # HR pixels
LEARNING_RATE = 0.03  # steps of a grid
WARMUP = 50
BETA1 = 0.9
AVERAGING = 0.99
KEPT_ASIDE = 32  # crops that judge
POOL = 1600  # crops that train
POOL_SHARE = 0.1  # of the time, for the teacher
LOOKS = 20  # times that the average is judged
WHITE = 127.5  # half the range of a pixel: errors are counted in levels
FLOOR = 1.0  # squared levels: a crop that is this near to its target is good enough
STEEP = 1e3  # keeps the gradients far above Adam's epsilon


@dataclass(frozen=True)
class _Crops:
    """LR (n, h, w, 3) uint8 and the pictures to be drawn from them, (n, H, W, 3) float16 in [-1, 1]."""

    lr: np.ndarray
    target: np.ndarray

    def pick(self, chosen) -> tuple[np.ndarray, np.ndarray]:
        """LR 0..255 and target, float32."""
        return self.lr[chosen].astype(np.float32), self.target[chosen].astype(np.float32)


def finetune(
    plan: Plan,
    *,
    reference_model,
    pictures,
    minutes: float = 20.0,
    batch: int = BATCH,
    crop: int = CROP,
    learning_rate: float = LEARNING_RATE,
    ground_truth: float = 0.0,
    seed: int = 0,
    steps: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Plan:
    """The plan with weights, biases, slopes and ranges that were trained for `minutes`, everything included.

    Args:
        plan: a finished post-training plan; the better, the less there is to do.
        reference_model: the float ONNX network of free size, the teacher.
        pictures: HR pictures, uint8 (h, w, 3) each, or a sampler whose `batch(step)` gives uint8 LR and HR crops
            (`data.batches.Batches`; its own crop and batch size are taken).
        crop: side of a crop in HR pixels, a multiple of the network's scale.
        learning_rate: in steps of each grid, for all variables.
        ground_truth: how much of the target is the HR picture, 0..1, the rest being the teacher's. Keep 0 for weights
            trained with an adversary.
        steps: train for so many steps instead of `minutes`: the same schedule on a fast machine and on a slow one.

    Raises:
        InputError: no picture is as large as a crop.
    """
    from snpe_srgan.quiet import import_tensorflow

    tf = import_tensorflow()
    from snpe_srgan.quantization.steps.tf_network import FakeQuantized, FloatNetwork

    start = time.monotonic()
    limit = 60 * minutes
    teacher = tf.function(FloatNetwork(reference_model), autograph=False)
    sampler = pictures
    if not hasattr(pictures, "batch"):
        large = [picture for picture in pictures if min(picture.shape[:2]) >= crop]
        if not large:
            raise InputError(f"no picture for fine-tuning is as large as a crop of {crop}x{crop}")
        sampler = Batches(hold(large, scale=_scale_of(teacher)), batch_size=batch, crop=crop, seed=seed)
    drawing = POOL_SHARE * limit if steps is None else math.inf
    judges, pool = _draw(teacher, sampler, ground_truth, deadline=start + drawing)
    say(f"the float network drew {len(pool.lr)} crops to learn from and {len(judges.lr)} to judge by")

    student = FakeQuantized(plan)
    loop = _Loop(student, len(pool.lr[0]))
    clock = _Clock(start, limit, steps)
    with track(say, "fine-tuning", total=steps) as shown:
        best = _trained(
            loop, judges, pool, clock, batch=batch, learning_rate=learning_rate, seed=seed, say=say, shown=shown
        )
    if best is None:
        return plan
    loop.restore(best)
    return student.plan()


@dataclass(frozen=True)
class _Clock:
    """How much of the budget is gone: of the steps where they are given, else of the time."""

    start: float
    limit: float
    steps: int | None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def progress(self, step: int) -> float:
        """0 at the start, 1 when it is over."""
        return min(step / self.steps if self.steps is not None else self.seconds / self.limit, 1.0)


def _trained(
    loop: _Loop, judges: _Crops, pool: _Crops, clock: _Clock, *, batch, learning_rate, seed, say: Say, shown: Progress
):
    """Trains until the clock ends; the averages that judged best, or None where none was better than the start."""
    best_error = first = loop.judge(judges)
    best = None
    random = np.random.default_rng(seed)
    order: list[int] = []
    looks, step = 0, 0
    losses: list[float] = []
    traced = None
    while True:
        progress = clock.progress(step)
        if progress >= 1 or (traced is not None and progress > traced + (looks + 1) * (1 - traced) / LOOKS):
            looks += 1
            error = loop.judge(judges)
            trained = float(np.mean(losses or [np.nan]))
            say(
                f"step {step}, {clock.seconds / 60:.1f} min: {_psnr(trained):.2f} dB to the target "
                f"on trained crops, {_psnr(error):.2f} on those kept aside (start: {_psnr(first):.2f})"
            )
            losses = []
            if error < best_error:
                best_error, best = error, loop.averages()
            if progress >= 1:
                return best
        if len(order) < batch:
            order = list(random.permutation(len(pool.lr)))
        chosen, order = order[:batch], order[batch:]
        rate = learning_rate * min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * progress))
        loss = loop.step(*pool.pick(chosen), rate, step)
        if not math.isfinite(loss):
            raise SnpeSrganError(
                f"fine-tuning left the finite numbers at step {step}",
                where=f"learning rate {learning_rate:g}",
                hint="a smaller learning rate",
            )
        losses.append(loss)
        step += 1
        shown.advance()
        if traced is None:
            traced = clock.progress(step)


def _scale_of(teacher) -> int:
    return int(teacher(np.zeros((1, 8, 8, 3), np.float32)).shape[1]) // 8


def _draw(teacher, sampler, ground_truth: float, *, deadline: float) -> tuple[_Crops, _Crops]:
    """Crops to judge by, and crops to learn from until there are POOL of them or the time is up."""
    parts, count, step = [], 0, 0
    while count < KEPT_ASIDE + POOL and (count < 2 * KEPT_ASIDE or time.monotonic() < deadline):
        lr, hr = sampler.batch(step)
        sr = np.clip(teacher(lr.astype(np.float32) / 255).numpy(), -1, 1)
        target = sr + ground_truth * (hr.astype(np.float32) / WHITE - 1 - sr)
        parts.append((lr, target.astype(np.float16)))
        count, step = count + len(lr), step + 1
    lr, target = (np.concatenate(x) for x in zip(*parts, strict=True))
    return _Crops(lr[:KEPT_ASIDE], target[:KEPT_ASIDE]), _Crops(lr[KEPT_ASIDE:], target[KEPT_ASIDE:])


def _psnr(loss: float) -> float:
    """What the loss is in dB of 8-bit pixels."""
    return decibel(10 ** (loss / 10), peak=255.0)


class _Loop:
    """The training step and the averaged weights, as TensorFlow graphs."""

    def __init__(self, student, side: int):
        import tensorflow as tf

        from snpe_srgan.training.adam import Adam

        self.student = student
        self.adam = Adam(student.variables, beta1=BETA1)
        self.average = [tf.Variable(v, trainable=False) for v in student.variables]

        def lost(lr, target):
            squared = tf.reduce_mean(tf.square(student(lr / 255.0) - target), axis=[1, 2, 3]) * WHITE**2
            return tf.reduce_mean(tf.math.log(squared + FLOOR)) * (10 / math.log(10))

        @tf.function(reduce_retracing=True, autograph=False)  # no control flow in it to be rewritten
        def train(lr, target, numbers):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(student.variables)
                loss = lost(lr, target)
                steep = loss * STEEP
            gradients = tape.gradient(steep, student.variables)
            rate, beta1_power, beta2_power, decay = tf.unstack(numbers)
            self.adam.apply(gradients, rate, beta1_power, beta2_power)
            for average, variable in zip(self.average, student.variables, strict=True):
                average.assign_add((1 - decay) * (variable - average))
            return loss

        self._train, self._lost = train, tf.function(lost, reduce_retracing=True, autograph=False)

    def step(self, lr: np.ndarray, target: np.ndarray, rate: float, step: int) -> float:
        decay = min(AVERAGING, (1 + step) / (10 + step))
        return float(self._train(lr, target, np.array([rate, *self.adam.powers(step), decay], np.float32)))

    def judge(self, crops: _Crops) -> float:
        """The loss of the averaged weights."""
        current = [v.numpy() for v in self.student.variables]
        self.restore(self.averages())
        n = len(crops.lr)
        size = next(k for k in (4, 2, 1) if n % k == 0)
        losses = [float(self._lost(*crops.pick(slice(i, i + size)))) for i in range(0, n, size)]
        self.restore(current)
        return float(np.asarray(losses).mean())

    def averages(self) -> list[np.ndarray]:
        return [v.numpy() for v in self.average]

    def restore(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.student.variables, values, strict=True):
            variable.assign(value)
