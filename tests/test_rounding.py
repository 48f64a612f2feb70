"""Learned rounding against exhaustive search and plain rounding; the layer-by-layer pass repairs what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers_networks import run_onnx
from test_equalization import CROPS, built

from snpe_srgan.onnx_graphs.run import session, with_outputs
from snpe_srgan.quantization.graph.encodings import activation_encodings, spanning
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import kernel_scales, slope_grids
from snpe_srgan.quantization.kernels.affine import fake_quantize
from snpe_srgan.quantization.kernels.rounding import DAMPING, round_weights, rounding_error
from snpe_srgan.quantization.observe.calibration import collect
from snpe_srgan.quantization.steps.layerwise import Walk, _centred, mend, on_grid, patches


def damped(gram):
    return gram + DAMPING * np.mean(np.diag(gram)) * np.eye(len(gram))


def correlated(taps, rng, rank=2):
    """Second moments of inputs that share a few strong causes, as patches of a picture do."""
    causes = rng.normal(size=(taps, rank))
    return causes @ causes.T + 0.05 * np.eye(taps)


def test_small_problems_are_solved_nearly_as_well_as_by_trying_everything():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        weights, gram = rng.normal(size=(1, 6)), correlated(6, rng)
        scale = np.array([0.5])
        down = np.floor(weights[0] / 0.5)
        best = min(
            rounding_error(weights, damped(gram), scale, (down + c)[None])
            for c in itertools.product((-1, 0, 1, 2), repeat=6)
        )
        found = round_weights(weights, gram, scale, bits=8)
        ratios.append(rounding_error(weights, damped(gram), scale, found) / best)
    assert np.median(ratios) < 1.1 and max(ratios) < 4


@pytest.mark.parametrize("bits", [4, 8])
def test_no_row_is_worse_than_rounding_to_nearest_and_all_are_integers(bits):
    rng = np.random.default_rng(1)
    weights, gram = rng.normal(size=(8, 50)), correlated(50, rng, 5)
    limit = 2 ** (bits - 1) - 1
    scale = np.abs(weights).max(axis=1) / limit
    integers = round_weights(weights, gram, scale, bits=bits)
    nearest = np.clip(np.rint(weights / scale[:, None]), -limit, limit)
    assert (integers == np.rint(integers)).all() and np.abs(integers).max() <= limit
    for row in range(8):
        one, two = (
            rounding_error(weights[row : row + 1], damped(gram), scale[row : row + 1], q[row : row + 1])
            for q in (integers, nearest)
        )
        assert one <= two
    assert rounding_error(weights, gram, scale, integers) < 0.3 * rounding_error(weights, gram, scale, nearest)


def test_independent_inputs_want_the_nearest_integers():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(4, 30))
    scale = np.full(4, 0.1)
    assert (round_weights(weights, np.diag(rng.uniform(1, 2, 30)), scale, bits=8) == np.rint(weights / 0.1)).all()


def test_inputs_that_depend_on_each_other_are_rounded_as_well(rng):
    """Features that are multiples of each other: their moments have no inverse, and no damping of 3 % gives it one."""
    few = rng.normal(0, 1, (50, 2)) @ rng.normal(0, 1, (2, 24)) * 10.0 ** rng.uniform(-9, 3, 24)
    gram, weights = few.T @ few, rng.normal(0, 1, (3, 24))
    scale = np.abs(weights).max(1) / 7
    for extra in (0.0, -1e-9 * np.trace(gram)):  # rounding may even leave it a little below zero
        integers = round_weights(weights, gram + extra * np.eye(24), scale, bits=4)
        assert np.isfinite(integers).all() and np.array_equal(integers, np.rint(integers))


def test_patches_times_kernel_is_the_convolution():
    model, network, _ = built("srgan")
    node = next(n for n in network.nodes if n.kind == "Conv")
    x = np.ascontiguousarray(CROPS[0].transpose(0, 3, 1, 2))
    rows = patches(x, node.constants[1].shape[2:], node.attributes["pads"], 1, most=10**9)[0]
    kernel, bias = node.constants[1], node.constants.get(2, 0)
    wanted = session(with_outputs(model, [node.output]))([node.output], {network.input: CROPS[0]})[0]
    inner = wanted[0][:, 2:-2, 2:-2].reshape(len(kernel), -1).T
    assert np.allclose(rows @ kernel.reshape(len(kernel), -1).T + bias, inner, atol=1e-4)


def test_on_grid_is_fake_quantize():
    x = np.random.default_rng(3).normal(0, 2, 1000).astype(np.float32)
    e = spanning(-1.5, 3.0, 8)
    assert np.abs(on_grid(x, e) - fake_quantize(x, e.scale, e.zero, bits=8)).max() < 1e-6


def made(name, **options):
    model, network, _ = built(name)
    statistics = collect(model, CROPS, scale=4)
    encodings = activation_encodings(network, statistics, bits=8, estimator="decibel")
    plan = Plan(
        model, statistics, encodings, kernel_scales(network, encodings), slope_grids(network, statistics, bits=8), 8
    )
    return plan, *mend(plan, CROPS, **options)


@pytest.mark.parametrize("name", ["srgan", "mobile"])
def test_mean_shift_is_gone_and_the_picture_is_nearer(name):
    plan, mended, shifts = made(name, rounding=True)
    assert len(shifts) == len(plan.scales)
    assert all(s.after <= 1e-5 * max(1.0, s.before) for s in shifts) and any(s.before > 1e-4 for s in shifts)

    def error(p):
        return np.mean([np.square(run_onnx(p.quantized(), c) - run_onnx(plan.model, c)).mean() for c in CROPS])

    assert error(mended) < error(plan)


def test_the_walk_computes_what_the_quantized_graph_computes():
    plan, _, _ = made("srgan", rounding=False)
    walk, quantized = Walk(plan, CROPS[:1]), plan.quantized()
    names = {node.output: f"{node.output}_dequantized" for node in walk.network.nodes[:8]}
    names = {x: name for x, name in names.items() if any(name in n.output for n in quantized.graph.node)}
    graph = session(with_outputs(quantized, list(names.values())), integer_kernels=False)
    wanted = dict(zip(names, graph(list(names.values()), {walk.network.input: CROPS[0]}), strict=True))
    seen = {}
    for _ in walk:
        for x in set(walk.integer) & set(wanted):
            seen[x] = walk.integer[x][0]
    assert len(seen) >= 4
    for x, values in seen.items():  # ties fall to the other side in another order of sums, more so layer after layer
        assert (np.abs(values - wanted[x]) > 0.5 * plan.encodings[x].scale).mean() < 0.02


def test_an_input_that_never_varies_still_has_moments(rng):
    """What is left of the variance is rounding noise of either sign; plain rounding is then as good as any."""
    mean, weights = rng.uniform(0.5, 1, 48), rng.normal(0, 1, (3, 48))
    noise = np.float32(2**-24) * rng.choice([-1, 1], (48, 48))
    power = np.outer(mean, mean) * (1 + noise + noise.T)
    integers = round_weights(weights, _centred(power, mean), np.full(3, 0.1), bits=8)
    assert np.abs(integers - weights / 0.1).max() <= 1
