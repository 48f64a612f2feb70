"""Equalization: the function stays, over trunks, PReLU and pixel shuffles too; what is to be balanced is balanced."""

from __future__ import annotations

import functools

import helpers_onnx as nets
import numpy as np
import pytest
from helpers_networks import run_onnx, smooth_crops
from scipy.optimize import check_grad

from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import free_size
from snpe_srgan.quantization.graph.wires import FIXED, Wires, rescaled
from snpe_srgan.quantization.observe.calibration import collect, positions
from snpe_srgan.quantization.steps.equalization import noise_factors, weight_factors

CROPS = smooth_crops()
BUILDERS = {"srgan": nets.srgan, "mobile": nets.mobile}


@pytest.fixture(params=BUILDERS)
def name(request):
    return request.param


@functools.cache
def built(name):
    model = free_size(BUILDERS[name](seed=5))
    network = Network(model)
    return model, network, Wires(network)


@functools.cache
def observed(name):
    return collect(built(name)[0], CROPS[:3], scale=4)


def same_function(one, two):
    x = np.random.default_rng(0).random((1, 20, 24, 3), dtype=np.float32)
    return np.abs(run_onnx(one, x) - run_onnx(two, x)).max()


def test_any_positive_factors_leave_the_function(name):
    model, network, wires = built(name)
    factors = np.exp(np.random.default_rng(1).uniform(-2, 2, wires.count))
    changed = rescaled(model, network, wires, factors)
    assert same_function(model, changed) < 1e-5
    before, after = (Network(m) for m in (model, changed))
    assert any(
        not np.allclose(a.constants[1], b.constants[1])
        for a, b in zip(before.nodes, after.nodes, strict=True) if a.kind == "Conv"
    )  # fmt: skip


def test_a_trunk_is_one_wire_a_channel_and_the_ends_are_fixed():
    _, network, wires = built("srgan")
    trunk = {x for n in network.nodes if n.kind == "Add" for x in (*n.inputs, n.output)}
    assert len({tuple(wires.of[x]) for x in trunk}) == 1 and len(set(wires.of[next(iter(trunk))])) > 1
    assert (wires.of[network.input] == FIXED).all() and (wires.of[network.output] == FIXED).all()
    before_tanh = next(n.inputs[0] for n in network.nodes if n.kind == "Tanh")
    assert (wires.of[before_tanh] == FIXED).all()


def test_a_pixel_shuffle_ties_the_channels_that_become_one():
    _, network, wires = built("srgan")
    for node in network.nodes:
        if node.kind == "DepthToSpace":
            own, out = wires.of[node.inputs[0]], wires.of[node.output]
            assert (own.reshape(-1, len(out)) == out).all()  # DCR: sub-pixel first, then channel


def test_weights_of_a_chain_become_balanced():
    model, network, wires = built("mobile")
    factors = weight_factors(network, wires)
    changed = Network(rescaled(model, network, wires, factors))
    assert same_function(model, rescaled(model, network, wires, factors)) < 1e-5
    checked = 0
    for node in changed.nodes:
        readers = changed.readers[node.output]
        if node.kind == "Relu" and [r.kind for r in readers] == ["Conv"]:
            writer = changed.makers[node.inputs[0]]
            written = np.abs(writer.constants[1]).max(axis=(1, 2, 3))
            read = np.abs(readers[0].constants[1]).max(axis=(0, 2, 3))
            assert written == pytest.approx(read, rel=1e-3)  # equation 11 of Nagel et al. 2019
            checked += len(written)
    assert checked


def test_the_slope_of_the_noise_is_its_derivative(name, monkeypatch):
    _, network, wires = built(name)
    seen = {}

    def grab(error, start, **kwargs):
        seen["error"], seen["start"] = error, start
        raise StopIteration

    monkeypatch.setattr("scipy.optimize.minimize", grab)
    with pytest.raises(StopIteration):
        noise_factors(network, wires, observed(name))
    point = np.random.default_rng(2).normal(0, 0.5, len(seen["start"]))
    slope = seen["error"](point)[1]
    assert check_grad(lambda u: seen["error"](u)[0], lambda u: seen["error"](u)[1], point) < 1e-4 * np.linalg.norm(
        slope
    )


def test_noise_equalization_lowers_the_expected_error(name):
    model, network, wires = built(name)
    factors = noise_factors(network, wires, observed(name))
    assert same_function(model, rescaled(model, network, wires, factors)) < 1e-5

    def expected(factors):
        total = 0.0
        for x, s in observed(name).items():
            own = wires.factors_of(x, factors)
            high, low = np.quantile(s.highs, 0.75, axis=0) * own, np.quantile(s.lows, 0.25, axis=0) * own
            step = (max(high.max(), 0) - min(low.min(), 0)) / 255
            total += positions(s) * (s.gain / own**2).sum() * step**2 * (wires.of[x] != FIXED).any()
        return total

    assert expected(factors) < 0.9 * expected(np.ones(wires.count))
