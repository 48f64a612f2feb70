"""Mixed precision: the few places that deserve 16 bits, chosen by what they give the picture and what they cost.

    encodings, choices = choose(plan, score, cost=cost, budget=1.1)      # score(encodings) -> dB, cost(encodings)
    plan = regrid(plan, encodings)

One wide tensor between narrow ones gains nothing: an operator computes in one width (see `qdq`), so what it reads is
rounded to 8 bits again. What is tried is therefore a convolution together with the operator behind it: both then
write 16 bits, and what the second one reads is never rounded to 8. Such places help each other, so each is measured on
top of those taken before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snpe_srgan.quantization.calibration import Statistics
from snpe_srgan.quantization.encodings import MARGIN, Encoding, known_encoding, spanning
from snpe_srgan.quantization.network import MOVES, Network
from snpe_srgan.quantization.plan import Plan
from snpe_srgan.quantization.qdq import compute_bits, prelu_bits, read_encodings, slope_grids
from snpe_srgan.quantization.weights import widen_for_bias
from snpe_srgan.quantization.wires import channel_counts

BUDGET = 1.1  # times the cost of the network as it was
TRIES = 12  # places measured alone, those of the largest share first: 1 to 2 s each for the 16 x 64 network
LEAST_GAIN = 0.05  # dB: less is the accident of a few crops
PASSES = 2  # a place that gains nothing alone may gain beside one that was taken later
BYTE = 100.0  # multiplications that take as long as writing a byte
UNSEEN = 2.0  # of a range nobody observed: a 16-bit grid reaches so much farther, with 128 times finer steps

Encodings = Mapping[str, Encoding]


@dataclass(frozen=True)
class Choice:
    """A place that went to more bits.

    Attributes:
        name: the convolution.
        tensors: those that are wide now (moved copies of them are, too).
        gain: dB of the score, on top of the choices before.
        cost: what it added, in the cost function's unit; negative where it became cheaper.
    """

    name: str
    tensors: tuple[str, ...]
    gain: float
    cost: float


def candidates(network: Network) -> dict[str, tuple[str, ...]]:
    """Convolution -> its output and that of the (P)ReLU, addition or tanh behind it, by groups' first tensors.

    Convolutions that meet in one operator (a skip branch, an anchor) are one candidate, under the first one's name.
    """
    found: list[tuple[str, list[str]]] = []
    for node in network.nodes:
        if node.kind != "Conv":
            continue
        own = network.groups[network.stored(node)]
        behind = [
            network.groups[network.stored(reader)]
            for x in network.members(own)
            for reader in network.readers[x]
            if reader.kind not in ("Conv", *MOVES)
        ]
        groups = list(dict.fromkeys([own, *behind]))
        shared = next((entry for entry in found if set(entry[1]) & set(groups)), None)
        if shared is None:
            found.append((node.name, groups))
        else:
            shared[1].extend(g for g in groups if g not in shared[1])
    return {name: tuple(groups) for name, groups in found}


def widened(plan: Plan, encodings: Encodings, tensors: Sequence[str], *, bits: int = 16) -> dict[str, Encoding]:
    """Encodings with the groups of `tensors` on `bits`-bit grids that hold all that was seen, with a margin.

    The old grid stays as `narrow`, for operators that still compute in fewer bits.
    """
    network, wide = Network(plan.model), dict(encodings)
    for group in dict.fromkeys(network.groups[x] for x in tensors):
        members = network.members(group)
        old = encodings[members[0]]
        if old.bits >= bits:
            continue
        new = known_encoding(network, group, bits) or _seen(network, group, plan.statistics, old, bits)
        wide.update(dict.fromkeys(members, replace(new, narrow=old)))
    return wide


def _seen(network: Network, group: str, statistics: Mapping[str, Statistics] | None, old: Encoding, bits: int):
    sources = [x for x in network.sources(group) if x in (statistics or {})]
    if not sources:
        return spanning(UNSEEN * old.low, UNSEEN * old.high, bits)
    low = min(float(statistics[x].low.min()) for x in sources)
    high = max(float(statistics[x].high.max()) for x in sources)
    return spanning(MARGIN * low, MARGIN * high, bits)


def regrid(plan: Plan, encodings: Encodings) -> Plan:
    """The plan on other activation grids: slopes and scales of operators whose width changed follow."""
    network = Network(plan.model)
    before, after = prelu_bits(network, plan.encodings), prelu_bits(network, encodings)
    fresh = slope_grids(network, plan.statistics, bits=after)
    slopes = {name: grid if before[name] == after[name] else fresh[name] for name, grid in plan.slopes.items()}
    scales = dict(plan.scales)
    for node in network.nodes:
        if node.kind == "Conv" and 2 in node.constants:
            read = read_encodings(network, node, encodings)[0]
            scales[node.name] = widen_for_bias(scales[node.name], node.constants[2], read.scale)
    return replace(plan, encodings=dict(encodings), scales=scales, slopes=slopes)


def choose(
    plan: Plan,
    score: Callable[[Encodings], float],
    *,
    cost: Callable[[Encodings], float],
    budget: float = BUDGET,
    bits: int = 16,
    shares: Mapping[str, float] | None = None,
    tries: int = TRIES,
) -> tuple[dict[str, Encoding], tuple[Choice, ...]]:
    """Encodings with the places wide that gain most for what they cost, and what each gave, in the order taken.

    Each candidate is measured alone; then, best gain a cost first (those that cost nothing before all), on top of those
    taken so far, and kept when it still gains LEAST_GAIN dB and the whole costs at most `budget` times the start. What
    was refused is tried once more at the end.

    Args:
        score: dB of a set of encodings, higher is better.
        cost: of a set of encodings, in any unit.
        shares: tensor -> its part of the picture's error, a guide to which `tries` candidates are worth a measurement;
            all of them in the network's order without it.
    """
    places = candidates(Network(plan.model))
    if shares is not None:
        places = dict(sorted(places.items(), key=lambda item: -sum(shares.get(x, 0.0) for x in item[1])))
    places = dict(list(places.items())[:tries])
    start = dict(plan.encodings)
    first_score, first_cost = score(start), cost(start)
    alone = {}
    for name, tensors in places.items():
        trial = widened(plan, start, tensors, bits=bits)
        alone[name] = (score(trial) - first_score, cost(trial) - first_cost)

    def worth(name: str) -> tuple[bool, float]:
        gain, added = alone[name]
        return (True, gain) if added <= 0 else (False, gain / added)

    best, best_score, best_cost, choices = start, first_score, first_cost, []
    waiting = sorted(places, key=worth, reverse=True)
    for _ in range(PASSES):
        for name in list(waiting):
            trial = widened(plan, best, places[name], bits=bits)
            trial_cost = cost(trial)
            if trial_cost > budget * first_cost:
                continue
            trial_score = score(trial)
            if trial_score >= best_score + LEAST_GAIN:
                choices.append(Choice(name, places[name], trial_score - best_score, trial_cost - best_cost))
                best, best_score, best_cost = trial, trial_score, trial_cost
                waiting.remove(name)
    return best, tuple(choices)


def arithmetic_cost(network: Network, encodings: Encodings) -> float:
    """Multiplications a LR pixel, 16-bit ones counted twice, and BYTE for each byte an operator writes.

    For machines without Qualcomm's cost model (`toolchains.qnn.estimate_cost`): it only ranks.
    """
    area, total = {network.input: 1.0}, 0.0
    for node in network.nodes:
        x = node.inputs[0]
        area[node.output] = area[x]
        if node.kind == "DepthToSpace":
            area[node.output] *= int(node.attributes["blocksize"]) ** 2
    width = channel_counts(network)
    for node in network.nodes:
        if node.kind in MOVES:
            continue
        factor = compute_bits(network, node, encodings) // 8
        if node.kind == "Conv":
            total += area[node.output] * float(np.size(node.constants[1])) * factor
        total += BYTE * area[node.output] * width[node.output] * factor
    return total
