"""The loop of one stage: batches in, log lines, validations and checkpoints out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from snpe_srgan.config import StageConfig
from snpe_srgan.data.batches import Batches, prefetch
from snpe_srgan.errors import CheckFailed
from snpe_srgan.training.interrupt import Interrupt
from snpe_srgan.training.plan import Plan
from snpe_srgan.training.schedule import averaging_decay, learning_rate
from snpe_srgan.training.state import StageState
from snpe_srgan.training.steps import metric_names


@dataclass
class Position:
    """Where the stage stands; the loop moves it, checkpoints copy it."""

    step: int
    plan: Plan
    logged: int = 0  # steps in the running sums


@dataclass(frozen=True)
class Report:
    """Means over the steps since the last report. `waiting`: share of the time in which the step waited for input."""

    step: int
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float
    waiting: float
    seconds_left: float


@dataclass(frozen=True)
class Hooks:
    """What the loop calls: at a report, for a validation, to save the state, and for the time that is left."""

    report: Callable[[Report], None]
    validate: Callable[[], None]
    save: Callable[[], None]
    advance: Callable[[], None]
    seconds_left: Callable[[], float] | None  # of the stage's time budget; None without one


@dataclass(frozen=True)
class Every:
    """Steps between reports, validations and checkpoints."""

    report: int
    validate: int
    save: int


def run_stage(
    stage: StageConfig,
    state: StageState,
    step_function,
    batches: Batches,
    position: Position,
    *,
    deal: Callable,
    ema: float,
    every: Every,
    hooks: Hooks,
    interrupt: Interrupt,
) -> bool:
    """Trains from `position` to the end of its plan; returns whether it got there (False: interrupted).

    Args:
        state: all variables of the stage; trained in place.
        step_function: as of `steps.make_step`.
        batches: closed in the end.
        position: moved in place.
        deal: a batch -> values for the replicas, as of `Distribution.deal`.
        ema: decay of the averaged weights, 0 to below 1; 0: no averaging.
        every: steps between reports, validations and checkpoints.
        hooks: what is called then.
        interrupt: looked at after each step.

    Raises:
        CheckFailed: a loss or gradient was not finite.
    """
    names = metric_names(stage)
    speed: deque = deque(maxlen=20)  # (time, step) of the last reports, from which the pace is taken
    images = batches.batch_size
    clock, waited, begun = time.perf_counter(), 0.0, position.step
    source = prefetch(batches, start=position.step)
    try:
        while position.step < position.plan.end:
            before = time.perf_counter()
            pixels = deal(next(source))
            waited += time.perf_counter() - before
            step, progress = position.step, position.plan.at(position.step)
            rate = learning_rate(stage.schedule, stage.learning_rate, step, progress)
            vector = np.array([rate, *state.generator_adam.powers(step), averaging_decay(ema, step)], np.float32)
            step_function(pixels, tf.constant(vector), tf.constant(step, tf.int64))
            position.step, position.logged = step + 1, position.logged + 1
            hooks.advance()
            if not speed:  # the first step traced the graph, which says nothing about the pace
                speed.append((time.perf_counter(), position.step))
            if interrupt.requested:
                guard(state, stage, batches)
                return False
            done = position.step
            if done % every.report == 0 or done >= position.plan.end:
                guard(state, stage, batches)
                now, count = time.perf_counter(), position.logged
                span = max(now - clock, 1e-9)
                if done > speed[0][1]:
                    speed.append((now, done))
                pace = _pace(speed, span / (done - begun))
                if hooks.seconds_left is not None and len(speed) > 1 and done < position.plan.end:
                    position.plan = position.plan.corrected(
                        done, seconds_left=hooks.seconds_left(), seconds_per_step=pace, steps=stage.steps
                    )
                means = dict(zip(names, (state.take_sums() / count).tolist(), strict=True))
                position.logged = 0
                left = (position.plan.end - done) * pace
                hooks.report(Report(done, means, rate, (done - begun) * images / span, waited / span, left))
                clock, waited, begun = time.perf_counter(), 0.0, done
            last = done >= position.plan.end
            if done % every.validate == 0 or last:
                guard(state, stage, batches)
                hooks.validate()
            if done % every.save == 0 and not last:  # the last state is saved with the stage's results
                guard(state, stage, batches)
                hooks.save()
    finally:
        source.close()
    return True


def _pace(speed: deque, latest: float) -> float:
    """Seconds a step, validations and checkpoints included, over the last reports."""
    if len(speed) < 2:
        return latest
    (t0, s0), (t1, s1) = speed[0], speed[-1]
    return (t1 - t0) / (s1 - s0)


def guard(state: StageState, stage: StageConfig, batches: Batches) -> None:
    """Stops when a loss or gradient was not finite, naming the first such step and the batch it saw.

    Args:
        state: remembers that step.
        stage, batches: for the error's text.

    Raises:
        CheckFailed: there was such a step.
    """
    step = state.first_bad_step()
    if step is None:
        return
    crops = batches.crops(step)
    shown = ", ".join(f"{batches.cache.pictures[c.picture].name}@{c.top},{c.left}/{c.turn}" for c in crops[:4])
    raise CheckFailed(
        f"a loss or gradient became NaN or infinite in stage '{stage.name}' at step {step}; "
        "the checkpoint before it is kept",
        where=f"batch of seed {batches.seed}, step {step} (picture@top,left/turn): {shown}"
        + (f" and {len(crops) - 4} more" if len(crops) > 4 else ""),
        hint="a lower learning_rate, or training.gradient_clip: 1.0, and --overwrite",
    )
