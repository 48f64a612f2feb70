"""Every step of the grammar, done on a small network: it runs, it does what its name says, better recipes lose less."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers_networks import random_weights, run_onnx, smooth_crops

from snpe_srgan.calibration.crops import Crops, calibration_crops
from snpe_srgan.calibration.synthetic import JOINED
from snpe_srgan.errors import UsageError
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.quantization.graph.analytic import batch_norm_statistics
from snpe_srgan.quantization.graph.qdq import bits_of
from snpe_srgan.quantization.recipe import parse_recipe
from snpe_srgan.quantization.steps.run import make_plan

CROPS = smooth_crops(count=4)


@functools.cache
def built():
    graph = describe("srgan", {"width": 8, "blocks": 2})
    weights = random_weights(graph, np.random.default_rng(4))
    return to_onnx(graph, weights), batch_norm_statistics(graph, weights)


@functools.cache
def made(recipe, pictures=True):
    model, moments = built()
    crops = Crops(tuple(CROPS), "test") if pictures else None
    return make_plan(model, parse_recipe(recipe), scale=4, crops=crops, moments=moments)


def loss(recipe, **options):
    model, _ = built()
    quantized = made(recipe, **options).plan.quantized()
    error = np.mean([np.square(run_onnx(quantized, c) - run_onnx(model, c)).mean() for c in CROPS])
    return -10 * np.log10(error / 4)


@pytest.mark.parametrize("step", ["cle", "eq", "minmax", "percentile", "mse", "perchannel", "bc", "adaround", "search"])
def test_each_step_alone_gives_a_picture_like_the_float_one(step):
    assert loss(f"w8a8-{step}") > loss("w8a8-plain") - 3


def test_more_steps_and_more_bits_lose_less():
    assert loss("w8a8") > loss("w8a8-pertensor") and loss("w8a8-perchannel") == loss("w8a8-plain")
    assert loss("w8a16") > loss("w8a8") + 3
    assert loss("w4a16") > loss("w4a16-minmax") + 1


def test_one_scale_for_a_kernel_is_one_scale():
    assert all(len(set(s)) == 1 for s in made("w8a8-pertensor").plan.scales.values())
    assert any(len(set(s)) > 1 for s in made("w8a8-plain").plan.scales.values())


def test_four_bits_are_for_the_inside_of_the_network():
    plan = made("w4a16").plan
    convs = [n.name for n in Network(plan.model).nodes if n.kind == "Conv"]
    assert [bits_of(plan.weight_bits, n) for n in (convs[0], convs[-1])] == [8, 8]
    assert {bits_of(plan.weight_bits, n) for n in convs[1:-1]} == {4}


def test_no_picture_at_all_needs_batch_norms_and_steps_that_look_at_nothing():
    assert loss("w8a8-cle-absorb-abc", pictures=False) > 15
    model, moments = built()
    with pytest.raises(UsageError, match="without calibration pictures"):
        make_plan(model, parse_recipe("w8a8"), scale=4, crops=None, moments=moments)
    with pytest.raises(UsageError, match="batch-norm"):
        make_plan(model, parse_recipe("w8a8-abc"), scale=4, crops=Crops(tuple(CROPS), "test"))


def test_the_exact_model_is_the_float_one_in_other_scales():
    model, _ = built()
    assert np.abs(run_onnx(made("w8a8").exact, CROPS[0]) - run_onnx(model, CROPS[0])).max() < 1e-5
    assert made("w8a8").factors is not None and made("w8a8-plain").factors is None


def test_calm_pictures_join_photographs_but_are_not_judged_on():
    crops = calibration_crops(["sample"], scale=4, count=2, size=16)
    assert len(crops.arrays) == 2 and len(crops.watched) == 2 + JOINED
    levels = [float(c.mean()) for c in crops.calm]
    assert max(c.std() for c in crops.calm) < 0.1 and min(levels) < 0.2 and max(levels) > 0.8
    assert not calibration_crops(["synthetic"], scale=4, count=4, size=16).calm


@pytest.mark.slow
def test_sixteen_bit_places_are_said():
    notes = made("w8a8-mixed").notes
    assert notes and all(note.startswith("16 bits:") for note in notes)
