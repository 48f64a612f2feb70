"""Which units to make smaller, and how far, for the least error at a given cost.

    plan = allocate(units, errors, cost, budget)

Errors of the picture are taken to add up (they are small and hardly correlated); costs are not: narrowing a layer's
input and output multiplies, and a branch that is left out takes its layers' savings along. So the cost is that of the
whole plan at every step, and each step goes where the error grows least for what is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from snpe_srgan.compression.units import BLOCK, Plan, Unit

LEAST = 1e-9  # mean squared error in [-1, 1], 96 dB: below that all steps are equally free


def allocate(
    units: Sequence[Unit],
    errors: Mapping[str, Mapping[int, float]],
    cost: Callable[[Plan], float],
    budget: float,
    *,
    start: Plan | None = None,
    inside: Mapping[str, str] | None = None,
) -> dict[str, int] | None:
    """The plan, or None when all units together cannot bring the cost to the budget.

    Args:
        errors: unit -> level -> mean squared error of the picture with that level alone.
        cost: of a plan.
        start: what was decided before; it stays.
        inside: unit -> the block it belongs to: once that is left out, the unit has no error of its own.
    """
    start, inside = dict(start or {}), inside or {}
    plan, now = dict(start), cost(start)
    while now > budget:
        best = None
        for unit in units:
            for level, error in errors[unit.name].items():
                if level >= plan.get(unit.name, unit.full):
                    continue
                trial = _with(plan, unit, level, inside)
                saved = now - cost(trial)
                if saved <= 0:
                    continue
                growth = error - _error(unit, plan, errors)
                if unit.kind == BLOCK:
                    growth -= sum(
                        errors[name].get(plan[name], 0.0) for name, block in inside.items()
                        if block == unit.name and name in plan and name in errors
                    )  # fmt: skip
                price = max(growth, LEAST) / saved
                if best is None or price < best[0]:
                    best = price, trial
        if best is None:
            return None
        plan = best[1]
        now = cost(plan)
    return _relaxed(plan, units, errors, cost, budget, start)


def _with(plan: Plan, unit: Unit, level: int, inside: Mapping[str, str]) -> dict[str, int]:
    kept = {k: v for k, v in plan.items() if unit.kind != BLOCK or inside.get(k) != unit.name}
    return {**kept, unit.name: level}


def _error(unit: Unit, plan: Plan, errors) -> float:
    return errors[unit.name].get(plan.get(unit.name, unit.full), 0.0)


def _relaxed(plan, units, errors, cost, budget, start) -> dict[str, int]:
    """The last step often saves more than was needed: gives back what fits, the largest error first."""
    by_name = {unit.name: unit for unit in units}
    for name in sorted(set(plan) - set(start), key=lambda n: -_error(by_name[n], plan, errors)):
        unit = by_name[name]
        for level in (unit.full, *unit.levels):
            if level <= plan[name]:
                break
            trial = {**plan, name: level}
            if level == unit.full:
                del trial[name]
            if cost(trial) <= budget:
                plan = trial
                break
    return plan
