"""Learning rate and averaging decay as plain functions of the step."""

from __future__ import annotations

import math

from snpe_srgan.config import ScheduleConfig


def learning_rate(schedule: ScheduleConfig, base: float, step: int, progress: float) -> float:
    """The learning rate of one step.

    Args:
        base: the stage's learning rate.
        step: 0 for the stage's first step; decides warm-up and milestones.
        progress: how much of the stage is done, 0..1; decides the cosine (step / steps, or time: see plan.py).
    """
    if step < schedule.warmup:
        return base * (step + 1) / (schedule.warmup + 1)
    if schedule.kind == "step":
        return base * schedule.gamma ** sum(step >= milestone for milestone in schedule.milestones)
    if schedule.kind == "cosine":
        low = base * schedule.final
        return low + (base - low) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return base


def averaging_decay(decay: float, step: int) -> float:
    """Decay of the averaged weights after `step` (0 first): grows from 0.1, so early averages forget the start."""
    return min(decay, (1 + step) / (10 + step)) if decay > 0 else 0.0
