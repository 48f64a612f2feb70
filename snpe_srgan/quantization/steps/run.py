"""The steps of a recipe, done in order: a float model in, the plan of its quantized form out.

    made = make_plan(model, parse_recipe("w8a8"), scale=4, crops=crops)
    made.plan.quantized()

`recipe.STEPS` says in which order and what each needs; ON_MODEL and ON_PLAN below hold what each does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from snpe_srgan.calibration.crops import Crops
from snpe_srgan.errors import UsageError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.progress import track
from snpe_srgan.quantization.graph import analytic
from snpe_srgan.quantization.graph.encodings import Encoding, activation_encodings
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, kernel_bits, kernel_scales, slope_grids
from snpe_srgan.quantization.graph.wires import Wires, rescaled, with_convolutions
from snpe_srgan.quantization.kernels.weights import channel_scales
from snpe_srgan.quantization.observe.calibration import Statistics, collect
from snpe_srgan.quantization.recipe import STEPS, Recipe
from snpe_srgan.quantization.steps.absorption import absorb
from snpe_srgan.quantization.steps.chip_sums import without_shift
from snpe_srgan.quantization.steps.equalization import noise_factors, weight_factors
from snpe_srgan.quantization.steps.layerwise import Shift, mend
from snpe_srgan.quantization.steps.mixed import mix, regrid
from snpe_srgan.quantization.steps.search import mean_psnr, promising_groups, refine
from snpe_srgan.toolchains import qnn
from snpe_srgan.toolchains.published import sixteen_bit_remark

SEARCH_CROPS = 6
SHIFT_CROPS = 5
MENDED_CROPS = 48  # held in memory at once, 35 MB each for the 16 x 64 network; more are only watched
COSTED = "Qualcomm's cost model for SA8255P at 128x128"


@dataclass(frozen=True, eq=False)
class Made:
    """The plan, and what the steps did on the way.

    Attributes:
        exact: the float model in the plan's own channel scales: equalized, not corrected or rounded.
        factors: (wires,) by which equalization multiplied the channels; None without that step.
        shifts: mean errors of the convolutions before and after bias correction.
        notes: what a user should know.
    """

    plan: Plan
    exact: object
    factors: np.ndarray | None = None
    shifts: tuple[Shift, ...] = ()
    notes: tuple[str, ...] = ()


def make_plan(
    model,
    recipe: Recipe,
    *,
    scale: int,
    crops: Crops | None,
    moments: Mapping[str, analytic.Moments] | None = None,
    finetune: Callable[[Plan], Plan] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Made:
    """Does a recipe's steps, in the order of `recipe.STEPS`.

    Args:
        model: the float ONNX network of free size.
        scale: how many times as high and wide SR is.
        crops: calibration crops; None when there are no pictures at all: ranges then come from `moments`.
        moments: of the tensors behind batch norms (`analytic.batch_norm_statistics`), which `absorb` and `abc` need.
        finetune: does the step `qat`.
        say: called with a line on what is being done.

    Raises:
        UsageError: the recipe has a step that needs pictures or statistics that are not there.
    """
    _check(recipe, crops, moments)
    work = Work(model, recipe, scale, crops, moments, finetune, say)
    if crops is not None:
        work.statistics = _observe(model, scale, crops, say)
    for step in recipe.steps:
        if step in ON_MODEL:
            ON_MODEL[step](work)
    if work.model is not model and crops is not None:
        work.statistics = _observe(work.model, scale, crops, say)
    plan = _ranges(work.model, recipe, work.statistics, work.moments)
    if crops is not None and recipe.weight_bits < 8 and recipe.activation_bits > 8:
        plan = _fine_sums(work, plan)
    for step in recipe.steps:
        if step in ON_PLAN:
            plan = ON_PLAN[step](work, plan)
    return Made(plan, work.model, work.factors, work.shifts, tuple(work.notes))


@dataclass(eq=False)
class Work:
    """What the steps share: the model as it is rewritten, what was observed of it, and what is reported."""

    model: Any
    recipe: Recipe
    scale: int
    crops: Crops | None
    moments: Mapping[str, analytic.Moments] | None
    finetune: Callable[[Plan], Plan] | None
    say: Callable[[str], None]
    statistics: Mapping[str, Statistics] | None = None
    factors: np.ndarray | None = None
    shifts: tuple[Shift, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> Crops:
        """The crops, for a step that `_check` has let pass because there are some."""
        assert self.crops is not None
        return self.crops

    @property
    def known_moments(self) -> Mapping[str, analytic.Moments]:
        """The batch-norm statistics, likewise."""
        assert self.moments is not None
        return self.moments


def _equalize(work: Work) -> None:
    network = Network(work.model)
    wires = Wires(network)
    if work.recipe.has("cle"):
        factors = weight_factors(network, wires)
    else:
        bits = {"activation_bits": work.recipe.activation_bits, "weight_bits": work.recipe.weight_bits}
        factors = noise_factors(network, wires, work.statistics or {}, **bits)
    spread = f", factors {factors.min():.3g} to {factors.max():.3g}" if wires.count else ": none is free"
    work.say(f"equalized {wires.count} channels{spread}")
    work.model, work.factors = rescaled(work.model, network, wires, factors), factors
    work.moments = None if work.moments is None else analytic.scaled(work.moments, wires, factors)


def _absorb(work: Work) -> None:
    done = absorb(work.model, Network(work.model), work.known_moments)
    work.model, work.moments, count = done.model, done.moments, sum(done.absorbed.values())
    work.notes.append(f"absorb: {count} channels gave a constant to the next bias" + _why_none(count))


def _fine_sums(work: Work, plan: Plan) -> Plan:
    """Weights of 8 bits for the few convolutions whose sums would shift the picture on the chip."""
    work.say("looking for sums whose low bits the chip drops")
    crops = work.pictures
    plan, finer = without_shift(plan, (*crops.arrays[:: -(-len(crops.arrays) // SHIFT_CROPS)], *crops.calm))
    if finer:
        named = ", ".join(f"{name} ({levels:.2f} levels)" for name, levels in finer.items())
        work.notes.append(f"8-bit weights where 4-bit ones would shift the picture on the chip: {named}")
    return plan


def _search(work: Work, plan: Plan) -> Plan:
    """Ranges moved where the finished picture gets better for it."""
    work.say("trying the ranges that lose most")
    groups = promising_groups(Network(plan.model), plan.observed, plan.encodings)
    judge = _judge(plan, work.pictures)
    with track(work.say, "trying", unit="range") as progress:

        def score(encodings: Mapping[str, Encoding]) -> float:
            progress.advance()
            return judge(encodings)

        return regrid(plan, refine(plan.encodings, groups, score))


def _mix(work: Work, plan: Plan) -> Plan:
    """A few places in 16 bits, and a note on each."""
    modelled = qnn.available() is None
    work.say(f"trying 16 bits where most is lost; cost by {COSTED if modelled else 'multiplications and bytes'}")
    with track(work.say, "trying", unit="place") as progress:
        plan, choices = mix(plan, work.pictures.arrays, tried=progress.advance)
    unit = f" us of {COSTED}" if modelled else ""
    notes = [f"16 bits: {c.name} ({', '.join(c.tensors)}), +{c.gain:.2f} dB for {c.cost:+,.0f}{unit}" for c in choices]
    work.notes += notes or ["16 bits: no place gained enough for what it costs"]
    if notes and modelled:
        work.notes.append(sixteen_bit_remark())
    return plan


def _mend(work: Work, plan: Plan) -> Plan:
    """Bias correction, learned rounding, or both: one walk through the network does either."""
    rounding, correction = work.recipe.has("adaround"), work.recipe.has("bc")
    work.say("correcting layer by layer: " + " and ".join(s for s in work.recipe.steps if s in ("bc", "adaround")))
    crops = work.pictures
    few = crops.arrays[:: -(-len(crops.arrays) // MENDED_CROPS)]
    with track(work.say, "correcting", unit="operator") as progress:
        plan, work.shifts = mend(
            plan, (*few, *crops.calm), rounding=rounding, correction=correction, progress=progress.to
        )
    return plan


def _rounding(work: Work, plan: Plan) -> Plan:
    return plan if work.recipe.has("bc") else _mend(work, plan)


def _qat(work: Work, plan: Plan) -> Plan:
    assert work.finetune is not None
    return work.finetune(plan)


def _check(recipe: Recipe, crops: Crops | None, moments) -> None:
    need = [s for s in recipe.steps if STEPS[s].pictures]
    if crops is None and need:
        raise UsageError(
            f"without calibration pictures there is no {', '.join(need)}",
            where=f"--recipe {recipe.name}",
            hint="--recipe w8a8-cle-absorb-abc needs none; --calibration synthetic draws pictures",
        )
    statistics = [s for s in recipe.steps if STEPS[s].moments]
    if moments is None and (crops is None or statistics):
        raise UsageError(
            f"{', '.join(statistics) or 'quantization without pictures'} needs batch-norm statistics, which this model "
            "does not have",
            where=f"--recipe {recipe.name}",
            hint="name the .npz of a network with batch norm, or use --calibration synthetic and the step bc",
        )


def _observe(model, scale: int, crops: Crops, say) -> Mapping[str, Statistics]:
    say(f"measuring the ranges of the layers on {len(crops.watched)} crops")
    with track(say, "calibrating", unit="crop") as progress:
        return collect(model, crops.watched, scale=scale, progress=progress.to)


def _why_none(count: int) -> str:
    return "" if count else " (none that would leave zero-padded borders right)"


def _ranges(model, recipe: Recipe, statistics, moments) -> Plan:
    """The plan with ranges and scales chosen, nothing corrected yet."""
    network = Network(model)
    bits = recipe.weight_bits if recipe.weight_bits >= 8 else kernel_bits(network, recipe.weight_bits)
    if statistics is None:
        expected = analytic.expected_moments(network, moments)
        encodings = analytic.gaussian_encodings(network, expected, bits=recipe.activation_bits)
    else:
        encodings = activation_encodings(network, statistics, bits=recipe.activation_bits, estimator=recipe.estimator)
    scales = kernel_scales(network, encodings, bits=bits)
    if recipe.has("pertensor"):
        kernels = {node.name: node.constants[1] for node in network.nodes if node.kind == "Conv"}
        scales = {
            name: np.maximum(s, channel_scales(kernels[name][None], bits=bits_of(bits, name))[0])
            for name, s in scales.items()
        }
        scales = {name: np.full_like(s, s.max()) for name, s in scales.items()}
    slopes = slope_grids(network, statistics or {}, bits=recipe.activation_bits)
    return Plan(model, statistics, encodings, scales, slopes, bits)


def _analytic(work: Work, plan: Plan) -> Plan:
    network, moments = Network(plan.model), work.known_moments
    biases = analytic.analytic_bias_correction(
        network, analytic.expected_moments(network, moments), plan.scales, plan.weight_bits
    )
    kernels = {node.name: node.constants[1] for node in network.nodes if node.kind == "Conv"}
    arrays = {name: (kernels[name], bias) for name, bias in biases.items()}
    return replace(plan, model=with_convolutions(plan.model, arrays))


def _judge(plan: Plan, crops: Crops) -> Callable[[Mapping], float]:
    """`score(encodings)`: dB of a few finished crops against the float network's."""
    few = crops.arrays[:: -(-len(crops.arrays) // SEARCH_CROPS)]
    wanted = [runner(plan.model)(crop) for crop in few]

    def score(encodings: Mapping) -> float:
        return mean_psnr(runner(regrid(plan, encodings).quantized()), few, wanted)

    return score


# Steps that rewrite the float model, before ranges are chosen; and those that change the plan, after.
ON_MODEL: dict[str, Callable[[Work], None]] = {"cle": _equalize, "eq": _equalize, "absorb": _absorb}
ON_PLAN: dict[str, Callable[[Work, Plan], Plan]] = {
    "search": _search, "mixed": _mix, "abc": _analytic, "bc": _mend, "adaround": _rounding, "qat": _qat,
}  # fmt: skip
