"""The smaller networks that strategies make of one: planned by measured errors, built, judged and priced.

candidates = Candidates(graph, weights, multiple=8, price=None, say=print)
candidates.prepare({"ssvd", "channels", "block"}, crops, validation)
candidates.attempt("joint", goals, target).built
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from snpe_srgan.compression.allocate import allocate
from snpe_srgan.compression.apply import Built, Full
from snpe_srgan.compression.features import collect_moments
from snpe_srgan.compression.folding import foldable, with_folded_tail
from snpe_srgan.compression.result import Compression, Row, Tried
from snpe_srgan.compression.sensitivity import Judge, measure, psnr
from snpe_srgan.compression.strategies import KINDS, MAGNITUDE
from snpe_srgan.compression.target import Target
from snpe_srgan.compression.units import BLOCK, CHANNELS, SSVD, Costs, Plan, Unit, find_units
from snpe_srgan.errors import InputError
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.graph import Graph
from snpe_srgan.onnx_graphs.from_layers import fold_batch_norm

CORRECTIONS = 2  # rounds in which the errors that kinds add up to are set right by measuring
TRIES = 5  # of a latency target, whose sum of savings is a guess


def _plain_start(graph: Graph) -> Graph:
    """Without the special first weights of some layers, which want neighbours that compression may take away."""
    layers = [
        replace(layer, attributes={**layer.attributes, "init": "glorot"})
        if layer.kind == "conv" and layer.attributes["trainable"] else layer
        for layer in graph.layers
    ]  # fmt: skip
    return replace(graph, layers=tuple(layers))


@dataclass(frozen=True, eq=False)
class Found:
    """A strategy's figures, and its network unless it failed."""

    tried: Tried
    built: Built | None = None
    plan: Plan | None = None


class Candidates:
    """One network, its units and their errors, and the networks that strategies make of it."""

    def __init__(self, graph: Graph, weights, multiple: int, price, say):
        self.original = graph_cost(graph)
        graph, weights = fold_batch_norm(graph, weights)
        self.full_price = functools.lru_cache(None)(functools.partial(self._priced, graph))
        self._folded, self._before = foldable(graph), graph_cost(graph).macs_per_lr_pixel
        self.graph, self.weights = with_folded_tail(_plain_start(graph), weights)
        self.units = find_units(self.graph, multiple=multiple)
        self.costs = Costs(self.graph)
        self.cut = Full(self.graph, self.weights, self.units, None)
        self.price, self.say = price, say
        branch_of = self.costs.branch_of
        self.inside = {unit.name: branch_of[unit.layer] for unit in self.units if unit.layer in branch_of}
        self._prices: dict[tuple, float] = {}
        self._alone = functools.lru_cache(None)(self._price_alone)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the network before anything was made smaller."""
        if self._folded is None:
            return ()
        more = graph_cost(self.graph).macs_per_lr_pixel / self._before - 1
        note = f"{self._folded[2].name} now stands before the pixel shuffle: the same pictures, {more:.1%} more MACs"
        if self.price:
            left = self._priced(self.graph) / self.full_price()
            note += f"; that alone leaves {left:.0%} of the estimated DSP time in 8 bits"
        return (note,)

    def refuse(self, names: Sequence[str], goals, target: Target | None) -> None:
        """Ends the search early when it cannot succeed.

        Args:
            names: strategies.
            goals: strategy -> the share of the full cost that each of its steps is to leave, 0 to 1.
            target: what the cost is counted in; None: MACs.

        Raises:
            InputError: none of the strategies can reach its goals, even with all units at their smallest.
        """
        if target is not None and target.kind == "latency":
            # A pair may take longer than what it replaces. No network is faster than the narrowest with fewest blocks.
            narrowest = self._smallest({BLOCK, CHANNELS})
            least = self._priced(self.cut.describe(narrowest)) / self.full_price() if narrowest else 0.0
            if least > target.ratio:
                raise _unreachable(self.graph, target, f"the narrowest network leaves {least:.3f} of the time at least")
            return
        cost, full = self._cost(target)
        missed = {}
        for name in names:
            for i, goal in enumerate(goals[name], 1):
                kinds = {kind for step in KINDS[name][:i] for kind in step}
                least = min(cost(self._smallest(some)) for some in (kinds, kinds - {SSVD})) / full
                if least > goal:
                    when = f", after its first step, which is to leave {goal:.3f}" if i < len(goals[name]) else ""
                    missed[name] = least, f"{name} leaves {least:.3f} at least{when}"
                    break
        if len(missed) == len(names):
            raise _unreachable(self.graph, target, min(missed.values())[1])

    def as_it_is(self, goal: float, target: Target | None) -> bool:
        """Whether the goal is met before anything is made smaller: a time often is, with the tail folded."""
        cost, full = self._cost(target)
        return cost({}) <= goal * full

    def _smallest(self, kinds: set[str]) -> dict[str, int]:
        return {u.name: u.levels[-1] for u in self.units if u.kind in kinds}

    def prepare(self, kinds: set[str], crops, validation) -> None:
        """Everything that is measured once; `attempt` and `rows` need it.

        Args:
            kinds: of the units that any strategy will use: `ssvd`, `channels`, `block`.
            crops: LR (1, h, w, 3) float32 in [0, 1], to reconstruct layers on.
            validation: other such crops, to judge by.
        """
        self.say("watching what each layer reads")
        moments = collect_moments(self.graph, self.weights, crops)
        self.full = Full(self.graph, self.weights, self.units, moments)
        self.judge = Judge(self.graph, self.weights, validation)
        self.say("measuring what each unit costs the picture")
        self.errors = measure(self.full, [u for u in self.units if u.kind in kinds], self.judge, say=self.say)

    def unchanged(self, name: str, validation) -> Compression:
        """The network with its tail folded and nothing made smaller."""
        self.say("the target is met by moving the last convolution: nothing has to be made smaller")
        self.judge = Judge(self.graph, self.weights, validation)
        built = self.cut.build({})
        return Compression(built.graph, built.weights, name, (), (self._tried(name, {}, built),), self.notes)

    def attempt(self, name: str, goals, target: Target | None) -> Found:
        """The network that a strategy makes, and its figures. For a latency, up to TRIES plans are built and priced.

        Args:
            goals: strategy -> the share of the full cost that each of its steps is to leave, 0 to 1.
            target: what the cost is counted in; None: MACs.

        Returns:
            Without a network where no plan fits; `tried.met` is False where the time was not reached.
        """
        cost, full = self._cost(target)
        latency = target is not None and target.kind == "latency"
        scale = 1.0
        for _ in range(TRIES if latency else 1):
            plan, built = self._plan(name, [goal * full * scale for goal in goals[name]], cost)
            if plan is None or built is None:
                return self._failed(name)
            tried = self._tried(name, plan, built)
            if not latency or tried.latency is None or tried.latency <= goals[name][-1]:
                return Found(tried, built, plan)
            scale *= 0.98 * goals[name][-1] / tried.latency
        return Found(replace(tried, met=False, why_not=f"{tried.latency:.3f} of the time was reached"), built, plan)

    def _plan(self, name: str, budgets: Sequence[float], cost) -> tuple[dict[str, int] | None, Built | None]:
        """Plan and network; with several kinds in a step, the errors they add up to are corrected by measuring."""
        plan: dict[str, int] = {}
        for kinds, budget in zip(KINDS[name], budgets, strict=True):
            units = [unit for unit in self.units if unit.kind in kinds]
            errors, best = dict(self.errors), None
            for _ in range(1 + CORRECTIONS * (len(kinds) > 1)):
                found = allocate(units, errors, cost, budget, start=plan, inside=self.inside)
                if found is None:
                    break
                built = self.full.build(found)
                error = self.judge.error(built.graph, built.weights)
                self.say(f"{name}: {psnr(error):.2f} dB to the full network's pictures")
                if best is None or error < best[0]:
                    best = error, found
                errors = self._corrected(found, errors, units)
            if best is None:
                return None, None
            plan = best[1]
        if name == MAGNITUDE:
            return plan, self.cut.build(plan)
        return plan, self.full.build(plan)

    def _corrected(self, plan: Plan, errors, units: Sequence[Unit]) -> dict[str, dict[int, float]]:
        """Errors of each kind multiplied by what its units together cost over what they were thought to."""
        fixed = dict(errors)
        for kind in {unit.kind for unit in units}:
            part = {u.name: plan[u.name] for u in units if u.kind == kind and u.name in plan}
            thought = sum(errors[name][level] for name, level in part.items())
            if not thought:
                continue
            built = self.full.build(part)
            factor = self.judge.error(built.graph, built.weights) / thought
            for unit in units:
                if unit.kind == kind:
                    fixed[unit.name] = {level: error * factor for level, error in errors[unit.name].items()}
        return fixed

    def _cost(self, target: Target | None) -> tuple[Callable[[Plan], float], float]:
        """(cost of a plan, cost of the network as it came)."""
        if target is not None and target.kind == "size":
            return self.costs.parameters, self.original.deployed_parameters
        if target is not None and target.kind == "latency":
            return self._latency, self.full_price()
        return self.costs.macs, self.original.macs_per_lr_pixel

    def _latency(self, plan: Plan) -> float:
        """The whole network's price less what each unit saves alone: a guess that `attempt` checks."""
        there = {name: level for name, level in plan.items() if plan.get(self.inside.get(name, ""), 1)}
        saved = sum(self._alone() - self._alone(name, level) for name, level in there.items())
        return self._alone() - saved

    def _priced(self, graph: Graph) -> float:
        """Microseconds; asked only where the search has a price."""
        if self.price is None:
            raise ValueError("this search has no price")
        return self.price(graph)

    def _price_alone(self, name: str | None = None, level: int = 0) -> float:
        """The price of a network with one unit made smaller, or none; blocks of one shape are asked about once."""
        graph = self.cut.describe({} if name is None else {name: level})
        key = tuple(sorted(
            (layer.kind, layer.channels, graph.in_channels(layer), layer.upscale, str(layer.attributes.get("kernel")))
            for layer in graph.layers
        ))  # fmt: skip
        if key not in self._prices:
            self._prices[key] = self._priced(graph)
        return self._prices[key]

    def _tried(self, name: str, plan: Plan, built: Built) -> Tried:
        latency = self._priced(built.graph) / self.full_price() if self.price else None
        error = self.judge.error(built.graph, built.weights)
        return Tried(
            name, self.costs.macs(plan) / self.original.macs_per_lr_pixel,
            self.costs.parameters(plan) / self.original.deployed_parameters, latency, psnr(error), True,
        )  # fmt: skip

    def _failed(self, name: str) -> Found:
        return Found(Tried(name, 1.0, 1.0, None, 0.0, False, "its units together cannot save so much"))

    def rows(self, plan: Plan) -> tuple[Row, ...]:
        """What each unit of a plan gave up: the picture's PSNR with it alone smaller, and the MACs it alone saves."""
        whole, rows = self.costs.macs({}), []
        for unit in self.units:
            if unit.name in plan:
                kept = plan[unit.name]
                error = self.errors[unit.name][kept]
                rows.append(
                    Row(unit.name, unit.kind, unit.full, kept, psnr(error), whole - self.costs.macs({unit.name: kept}))
                )
        return tuple(rows)


def _unreachable(graph: Graph, target: Target | None, why: str) -> InputError:
    more = "a larger share, or --strategy joint" if target else "larger shares"
    return InputError(
        f"{target or 'this share'} cannot be met: {why}", where=graph.network, hint=f"{more}, or a smaller --multiple"
    )
