"""The steps of a recipe, done in order: a float model in, the plan of its quantized form out.

    made = make_plan(model, parse_recipe("w8a8"), scale=4, crops=crops)
    made.plan.quantized()

Read `make_plan` from top to bottom: equalize, observe, choose ranges, round, correct, fine-tune.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from snpe_srgan.calibration.crops import Crops
from snpe_srgan.errors import UsageError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.quantization.graph import analytic
from snpe_srgan.quantization.graph.encodings import activation_encodings
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, kernel_bits, kernel_scales, slope_grids
from snpe_srgan.quantization.graph.wires import Wires, rescaled, with_convolutions
from snpe_srgan.quantization.kernels.weights import channel_scales
from snpe_srgan.quantization.observe.calibration import Statistics, collect
from snpe_srgan.quantization.recipe import Recipe
from snpe_srgan.quantization.steps.absorption import absorb
from snpe_srgan.quantization.steps.equalization import noise_factors, weight_factors
from snpe_srgan.quantization.steps.layerwise import Shift, mend
from snpe_srgan.quantization.steps.mixed import mix, regrid
from snpe_srgan.quantization.steps.search import mean_psnr, promising_groups, refine
from snpe_srgan.toolchains import qnn

NEED_PICTURES = ("eq", "minmax", "percentile", "mse", "decibel", "search", "mixed", "bc", "adaround", "qat")
SEARCH_CROPS = 6
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
    """Does a recipe's steps.

    Args:
        model: the float ONNX network of free size.
        crops: calibration crops; None when there are no pictures at all: ranges then come from `moments`.
        moments: of the tensors behind batch norms (`analytic.batch_norm_statistics`), which `absorb` and `abc` need.
        finetune: does the step `qat`.
    """
    _check(recipe, crops, moments)
    reference, notes = model, []
    before = _observe(model, scale, crops, say) if crops is not None else None
    statistics = before

    factors, wires = None, None
    if recipe.has("cle") or recipe.has("eq"):
        network = Network(model)
        wires = Wires(network)
        if recipe.has("cle"):
            factors = weight_factors(network, wires)
        else:
            bits = {"activation_bits": recipe.activation_bits, "weight_bits": recipe.weight_bits}
            factors = noise_factors(network, wires, before, **bits)
        spread = f", factors {factors.min():.3g} to {factors.max():.3g}" if wires.count else ": none is free"
        say(f"equalized {wires.count} channels{spread}")
        model = rescaled(model, network, wires, factors)
        moments = None if moments is None else analytic.scaled(moments, wires, factors)
    if recipe.has("absorb"):
        done = absorb(model, Network(model), moments)
        model, moments, count = done.model, done.moments, sum(done.absorbed.values())
        notes.append(f"absorb: {count} channels gave a constant to the next bias" + _why_none(count))
    if model is not reference and crops is not None:
        statistics = _observe(model, scale, crops, say)

    plan = _ranges(model, recipe, statistics, moments)
    if recipe.has("search"):
        plan = _searched(plan, crops, say)
    if recipe.has("mixed"):
        plan, chosen = _mixed(plan, crops, say)
        notes += chosen
    if recipe.has("abc"):
        plan = _analytic(plan, moments)
    shifts: tuple[Shift, ...] = ()
    if recipe.has("bc") or recipe.has("adaround"):
        say("layer by layer: " + " and ".join(s for s in recipe.steps if s in ("bc", "adaround")))
        few = crops.arrays[:: -(-len(crops.arrays) // MENDED_CROPS)]
        plan, shifts = mend(plan, (*few, *crops.calm), rounding=recipe.has("adaround"), correction=recipe.has("bc"))
    if recipe.has("qat"):
        plan = finetune(plan)
    return Made(plan, model, factors, shifts, tuple(notes))


def _check(recipe: Recipe, crops: Crops | None, moments) -> None:
    need = [s for s in recipe.steps if s in NEED_PICTURES]
    if crops is None and need:
        raise UsageError(
            f"without calibration pictures there is no {', '.join(need)}",
            where=f"--recipe {recipe.name}",
            hint="--recipe w8a8-cle-absorb-abc needs none; --calibration synthetic draws pictures",
        )
    if moments is None and (crops is None or recipe.has("absorb") or recipe.has("abc")):
        what = ", ".join(s for s in recipe.steps if s in ("absorb", "abc")) or "quantization without pictures"
        raise UsageError(
            f"{what} wants batch-norm statistics, which this model does not have",
            where=f"--recipe {recipe.name}",
            hint="name the .npz of a network with batch norm, or use --calibration synthetic and the step bc",
        )


def _observe(model, scale: int, crops: Crops, say) -> Mapping[str, Statistics]:
    say(f"watching {len(crops.watched)} crops flow through the network")
    return collect(model, crops.watched, scale=scale)


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


def _analytic(plan: Plan, moments) -> Plan:
    network = Network(plan.model)
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


def _searched(plan: Plan, crops: Crops, say) -> Plan:
    """Ranges moved where the finished picture gets better for it."""
    say("trying the ranges that lose most")
    groups = promising_groups(Network(plan.model), plan.statistics, plan.encodings)
    return regrid(plan, refine(plan.encodings, groups, _judge(plan, crops)))


def _mixed(plan: Plan, crops: Crops, say) -> tuple[Plan, list[str]]:
    """The plan with a few places in 16 bits, and a line on each."""
    modelled = qnn.available() is None
    say(f"trying 16 bits where most is lost; cost by {COSTED if modelled else 'multiplications and bytes'}")
    plan, choices = mix(plan, crops.arrays)
    unit = f" us of {COSTED}" if modelled else ""
    notes = [f"16 bits: {c.name} ({', '.join(c.tensors)}), +{c.gain:.2f} dB for {c.cost:+,.0f}{unit}" for c in choices]
    return plan, notes or ["16 bits: no place gained enough for what it costs"]
