"""Mixed precision: the few places that deserve 16 bits, chosen by what they give the picture and what they cost.

    plan, choices = mix(plan, crops, budget=1.1)

One wide tensor between narrow ones gains nothing: an operator computes in one width (see `qdq`), so what it reads is
rounded to 8 bits again. What is tried is therefore a convolution together with the operator behind it: both then
write 16 bits, and what the second one reads is never rounded to 8. Such places help each other, so each is measured on
top of those taken before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import enlarges
from snpe_srgan.quantization.graph.encodings import MARGIN, Encoding, known_encoding, spanning, within_clips
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import compute_bits, prelu_bits, read_encodings, slope_grids
from snpe_srgan.quantization.kernels.ranges import range_error
from snpe_srgan.quantization.kernels.weights import widen_for_bias
from snpe_srgan.quantization.observe.calibration import Statistics

BUDGET = 1.1  # times the cost of the network as it was
TRIES = 8  # places, those of the largest share of the error: 5 s each for the 16 x 64 network
LEAST_GAIN = 0.1  # dB: less is the accident of a few crops
PASSES = 2  # a place that gains nothing alone may gain beside one that was taken later
CROPS = 6  # whose pictures are compared
CHIP = "SA8255P"  # has a cost model; Hexagon v73 with 8 MB, as the Snapdragon 8 Gen 2 has
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
            if reader.kind != "Conv" and not network.moves(reader)
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

    The old grid stays as `narrow`, for operators that still compute in fewer bits. Groups that have as many bits
    already stay as they are.

    Args:
        plan: whose network and statistics are looked at.
        encodings: tensor -> its grid, to start from; not changed.
        tensors: any of each group's.
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
    seen = [statistics[x] for x in network.sources(group) if x in statistics] if statistics else []
    if not seen:
        return spanning(*within_clips(network, group, UNSEEN * old.low, UNSEEN * old.high), bits)
    low = min(float(s.low.min()) for s in seen)
    high = max(float(s.high.max()) for s in seen)
    return spanning(*within_clips(network, group, MARGIN * low, MARGIN * high), bits)


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


def error_shares(plan: Plan) -> dict[str, float]:
    """Tensor -> its part of the picture's expected squared error by the network's derivative; {} without statistics."""
    errors = {
        x: float(range_error(s.weighed.sum(axis=0), s.edges, [e.low], [e.high], bits=e.bits)[0, 0])
        for x, s in (plan.statistics or {}).items()
        for e in (plan.encodings[x],)
    }
    total = sum(errors.values()) or 1.0
    return {x: error / total for x, error in errors.items()}


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
    """Encodings with the places wide that gain most, and what each gave, in the order taken.

    The place with the largest share of the error that still fits the budget is tried on top of those taken so far. It
    is kept when it gains LEAST_GAIN dB, or anything at all while it makes the network cheaper. Then again from the
    largest: a neighbour may have made conversions needless, so that what did not fit before fits now. What gained too
    little is tried once more at the end.

    Args:
        score: dB of a set of encodings, higher is better.
        cost: of a set of encodings, in any unit.
        budget: the most it may cost, in times of what `plan` costs.
        shares: tensor -> its part of the picture's error, which says what is tried first; `error_shares` by default.
        tries: only so many places, those of the largest shares.
    """
    shares = error_shares(plan) if shares is None else shares
    places = candidates(Network(plan.model))
    order = sorted(places, key=lambda name: -sum(shares.get(x, 0.0) for x in places[name]))[:tries]
    best, refused = dict(plan.encodings), set()
    choices: list[Choice] = []
    best_score, best_cost = score(best), cost(best)
    limit = budget * best_cost

    def take_one() -> bool:
        nonlocal best, best_score, best_cost
        for name in order:
            if name in refused or any(choice.name == name for choice in choices):
                continue
            trial = widened(plan, best, places[name], bits=bits)
            if (trial_cost := cost(trial)) > limit:
                continue
            gain = (trial_score := score(trial)) - best_score
            if gain >= (LEAST_GAIN if trial_cost > best_cost else 0.0):
                choices.append(Choice(name, places[name], gain, trial_cost - best_cost))
                best, best_score, best_cost = trial, trial_score, trial_cost
                return True
            refused.add(name)
        return False

    for _ in range(PASSES):
        refused.clear()
        while take_one():
            pass
    return best, tuple(choices)


def mix(
    plan: Plan,
    crops: Sequence[np.ndarray],
    *,
    exact=None,
    budget: float = BUDGET,
    chip: int | str = CHIP,
    size: tuple[int, int] = (128, 128),
    tried: Callable[[], None] = lambda: None,
) -> tuple[Plan, tuple[Choice, ...]]:
    """The plan with the places wide that gain most on calibration crops, by Qualcomm's cost model for a chip.

    Choice.cost is in its microseconds for LR pictures of `size`; without the model in `arithmetic_cost`'s unit.

    Args:
        crops: LR crops, (1, h, w, 3); CROPS of them are used.
        exact: the float network to be like; `plan.model` by default, right as long as nothing in it was corrected.
        budget: the most it may cost, in times of what `plan` costs.
        tried: called after each set of encodings that was judged.
    """
    from snpe_srgan.onnx_graphs.run import runner
    from snpe_srgan.quantization.steps.search import mean_psnr
    from snpe_srgan.toolchains import qnn

    few = crops[:: -(-len(crops) // CROPS)]
    float_runner = runner(exact or plan.model)
    wanted = [float_runner(crop) for crop in few]

    def score(encodings: Encodings) -> float:
        value = mean_psnr(runner(regrid(plan, encodings).quantized()), few, wanted)
        tried()
        return value

    def cost(encodings: Encodings) -> float:
        if qnn.available() is not None:
            return arithmetic_cost(Network(plan.model), encodings)
        return chip_cost(regrid(plan, encodings).quantized(), chip=chip, size=size)

    encodings, choices = choose(plan, score, cost=cost, budget=budget)
    return regrid(plan, encodings), choices


def chip_cost(model, *, chip: int | str, size: tuple[int, int]) -> float:
    """Microseconds of one inference, as Qualcomm's cost model estimates them: 2 to 5 s of preparation.

    Args:
        model: the quantized ONNX model, of any size.
        chip: the SoC's number or name.
        size: LR height and width.

    Raises:
        MissingToolError: the package with Qualcomm's libraries is not installed.
    """
    from pathlib import Path

    from snpe_srgan.onnx_graphs.model import fix_size
    from snpe_srgan.toolchains.qnn import estimate_cost

    with Scratch() as folder:
        path = Path(folder) / "quantized.onnx"
        path.write_bytes(fix_size(model, size).SerializeToString())
        return float(estimate_cost(path, chip=chip).microseconds)


def arithmetic_cost(network: Network, encodings: Encodings) -> float:
    """Multiplications a LR pixel, 16-bit ones counted twice, and BYTE for each byte an operator writes.

    For machines without Qualcomm's cost model (`toolchains.qnn.estimate_cost`): it only ranks.
    """
    area, total = {network.input: 1.0}, 0.0
    for node in network.nodes:
        x = node.inputs[0]
        area[node.output] = 0.0 if node.output in network.pooled else area[x] * enlarges(node) ** 2
    width = network.channels
    for node in network.nodes:
        if network.moves(node):
            continue
        factor = compute_bits(network, node, encodings) // 8
        if node.kind == "Conv":
            total += area[node.output] * float(np.size(node.constants[1])) * factor
        total += BYTE * area[node.output] * width[node.output] * factor
    return total
