"""How many steps a stage has left when the clock decides.

Without a time budget a stage has its configured steps and progress is step / steps. With `training.minutes` the number
of steps is not known beforehand, and the machine may slow down half way; a schedule that ends before or after the
training is worth much less. So the plan is corrected at every log line: what is left of the progress is spread over the
steps that the measured speed still allows. Progress never jumps, and reaches 1 when the time is up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """A straight line: at `step` the progress is `progress`, at `end` it is 1. Stored in every checkpoint."""

    step: int
    progress: float
    end: int

    def at(self, step: int) -> float:
        """The progress of a step, 0 to 1."""
        if step >= self.end:
            return 1.0
        return self.progress + (1 - self.progress) * max(step - self.step, 0) / max(self.end - self.step, 1)

    def corrected(self, step: int, *, seconds_left: float, seconds_per_step: float, steps: int) -> Plan:
        """The plan from `step` on, with what the time allows and at most `steps` in all.

        Args:
            step: done.
            seconds_left: of the stage's share of the time; below 0 ends it now.
            seconds_per_step: at the pace that was measured last.
            steps: the stage's configured ones.
        """
        allowed = step + max(int(seconds_left / max(seconds_per_step, 1e-9)), 0)
        return Plan(step=step, progress=self.at(step), end=max(min(allowed, steps), step))

    def extended(self, steps: int) -> Plan:
        """The plan when the configured steps changed on resume: a line from 0, as if it had always been so."""
        return replace(self, step=0, progress=0.0, end=steps)


def stage_seconds(minutes: float, elapsed: float, steps: list[int], index: int) -> float:
    """The share of a time budget that ends with stage `index`: what is left, divided in proportion to the steps.

    Args:
        minutes: the whole budget.
        elapsed: seconds that are spent.
        steps: configured steps of every stage.
        index: of the stage that begins now.

    Returns:
        Seconds, 0 where nothing is left.
    """
    left = max(minutes * 60 - elapsed, 0.0)
    return left * steps[index] / sum(steps[index:])
