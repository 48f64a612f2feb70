"""Every registered network, tiny, on the whole way but TensorFlow's part: file, quantization, .dlc, emulator, surgery.

A network that is registered joins by its entry in `helpers_networks.TINY`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_networks import TINY, random_weights, run_onnx, smooth_crops, zoo

from snpe_srgan.calibration.crops import Crops
from snpe_srgan.compression.apply import Full
from snpe_srgan.compression.structure import channel_groups, select_channels
from snpe_srgan.compression.units import CHANNELS, Costs, find_units
from snpe_srgan.config import load_config
from snpe_srgan.errors import ConfigError, InputError
from snpe_srgan.imaging.bicubic import upscale
from snpe_srgan.models.cost import graph_cost, macs_per_lr_pixel
from snpe_srgan.models.dsp_notes import dsp_notes
from snpe_srgan.models.graph import Builder
from snpe_srgan.models.initialize import initial_weights
from snpe_srgan.models.npz import load_npz, save_npz
from snpe_srgan.models.registry import MODULES, describe
from snpe_srgan.onnx_graphs.cost import onnx_cost
from snpe_srgan.onnx_graphs.from_layers import fold_scale, to_onnx
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import session
from snpe_srgan.quantization.graph.wires import Wires, rescaled
from snpe_srgan.quantization.observe.gradient import PREFIX, SEED_INPUT, gradient_model
from snpe_srgan.quantization.recipe import parse_recipe
from snpe_srgan.quantization.steps.run import make_plan
from snpe_srgan.stages.checked_dlc import write_checked_dlc
from snpe_srgan.toolchains.qnn import EmulatorSession, available

needs_qnn = pytest.mark.skipif(available() is not None, reason=str(available()))
CROPS = smooth_crops(count=2, size=16)
CONFIGS = Path(__file__).parent.parent / "configs"
FAST = ("zoo", "srcnn")  # between them they have every kind of layer that the other tests of the emulator lack


def made(name: str):
    graph = zoo() if name == "zoo" else describe(name, TINY[name])
    return graph, random_weights(graph, np.random.default_rng(0))


def fast_first(names):
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


def test_every_network_has_a_small_one():
    assert TINY.keys() == MODULES.keys()


@pytest.mark.parametrize("name", TINY)
def test_its_file_holds_the_network(name, tmp_path):
    graph, weights = made(name)
    again, arrays = load_npz(save_npz(tmp_path / "generator.npz", graph, weights))
    assert again == graph and all(np.array_equal(arrays[key], weights[key]) for key in weights)


@pytest.mark.parametrize("name", TINY)
def test_the_description_and_its_onnx_graph_cost_the_same(name):
    graph, weights = made(name)
    model, cost = to_onnx(graph, weights), graph_cost(graph)
    facts = onnx_facts(model)
    assert (facts.scale, facts.overlap) == (graph.scale, cost.receptive_radius)
    whole = 0 if facts.whole is None else 1  # layers of one pixel count for the picture, not for each of its pixels
    assert onnx_cost(model).macs_per_lr_pixel == pytest.approx(cost.macs_per_lr_pixel, abs=whole)


@needs_qnn
@pytest.mark.parametrize("name", fast_first(["zoo", *TINY]))
def test_the_quantized_dlc_on_the_emulator_draws_the_hosts_picture(name, tmp_path):
    """`write_checked_dlc` holds the file, read back, to the graph it was made from."""
    graph, weights = made(name)
    model = to_onnx(graph, weights)
    plan = make_plan(model, parse_recipe("w8a8"), scale=graph.scale, crops=Crops(tuple(CROPS), "test")).plan
    options = {"input_size": (16, 16), "scale": graph.scale, "soc": "SM8650", "against": "quantized"}
    checks, rebuilt = write_checked_dlc(plan.quantized(), tmp_path / "generator.dlc", **options)
    assert all(check.passed for check in checks)
    host, exact = run_onnx(plan.quantized(), CROPS[0]), run_onnx(model, CROPS[0])
    with EmulatorSession(rebuilt.SerializeToString()) as emulator:
        seen = emulator.run(CROPS[0])
    error = [np.abs(np.clip(a, -1, 1) - np.clip(exact, -1, 1)).mean() for a in (host, seen)]
    assert error[1] < 1.5 * error[0] + 0.5 / 127.5 and error[0] < 4 / 127.5


@pytest.mark.parametrize("name", ["zoo", "srcnn", "espcn", "esrgan", "rcan", "pff"])
def test_channels_that_nothing_reads_can_go_unseen(name):
    graph, weights = made(name)
    for group in channel_groups(graph):
        quiet = dict(weights)
        for conv in group.consumers:
            kernel = quiet[f"{conv}/kernel"] = weights[f"{conv}/kernel"].copy()
            kernel[:, :, group.channels[graph.layer(conv).inputs[0]][:1].reshape(-1)] = 0
        narrow = select_channels(graph, quiet, group.keep(range(1, group.size)))
        pictures = [run_onnx(to_onnx(*pair), CROPS[0]) for pair in (narrow, (graph, quiet))]
        np.testing.assert_allclose(*pictures, atol=5e-5)


def test_a_smaller_network_costs_what_is_said_before_it_is_built():
    """With concatenations, whose channels are of several groups."""
    graph, weights = made("esrgan")
    units = [unit for unit in find_units(graph, multiple=2) if unit.kind == CHANNELS]
    plan, full = {unit.name: unit.levels[0] for unit in units}, Full(graph, weights, tuple(units), None)
    small, described = full.build(plan), full.describe(plan)
    assert described.weight_shapes() == small.graph.weight_shapes()
    cost = graph_cost(described)
    assert (cost.parameters, cost.macs_per_lr_pixel) == (Costs(graph).parameters(plan), Costs(graph).macs(plan))
    assert np.isfinite(run_onnx(to_onnx(small.graph, small.weights), CROPS[0])).all()


def test_the_derivative_is_that_of_finite_differences():
    """Through gates of both shapes, a mean, an enlargement and a constant factor."""
    model, rng = to_onnx(*made("zoo")), np.random.default_rng(1)
    lr, direction = rng.random((1, 6, 7, 3), np.float32), rng.normal(0, 1, (1, 6, 7, 3)).astype(np.float32)
    seed = rng.choice(np.float32([-1, 1]), size=(1, 24, 28, 3))
    slope = session(gradient_model(model, ["lr"]))([PREFIX + "lr"], {"lr": lr, SEED_INPUT: seed})[0]
    step = 1e-3
    difference = (run_onnx(model, lr + step * direction).astype(float) - run_onnx(model, lr - step * direction)) / step
    assert (slope * direction).sum() == pytest.approx((seed * difference).sum() / 2, rel=0.02, abs=0.1)


@pytest.mark.parametrize("name", ["zoo", "esrgan", "rcan"])
def test_any_positive_factors_leave_the_function(name):
    model = to_onnx(*made(name))
    network = Network(model)
    wires = Wires(network)
    factors = np.exp(np.random.default_rng(1).uniform(-1, 1, wires.count))
    changed = rescaled(model, network, wires, factors)
    assert wires.count > 0
    np.testing.assert_allclose(run_onnx(changed, CROPS[0]), run_onnx(model, CROPS[0]), atol=2e-5)


def test_any_enlargement_by_constant_factors_is_quantized():
    model = to_onnx(*made("zoo"))
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    next(a for a in resize.attribute if a.name == "mode").s = b"linear"
    assert Network(model).channels["resize"] == 16
    resize.input[2] = "computed"
    with pytest.raises(InputError, match="computed size"):
        Network(model)


def test_factors_behind_convolutions_are_folded_and_others_stay(rng):
    graph, weights = made("zoo")
    folded, arrays = fold_scale(graph, weights)
    assert [layer.name for layer in folded.layers if layer.kind == "scale"] == ["half"]
    np.testing.assert_allclose(arrays["inner/bias"], 0.2 * weights["inner/bias"], rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_srcnn_starts_from_matlabs_bicubic(scale, rng):
    net = Builder(scale=scale)
    x = net.conv(net.lr, 3 * scale**2, 5, name="bicubic", init="bicubic", trainable=False)
    graph = net.graph(net.depth_to_space(x, scale, name="shuffle"), network="bicubic", options={})
    lr, inner = rng.random((1, 9, 11, 3), np.float32), slice(2 * scale, -2 * scale)
    sr = run_onnx(to_onnx(graph, initial_weights(graph)), lr)[0]
    np.testing.assert_allclose(sr[inner, inner], upscale(lr[0], scale)[inner, inner], atol=1e-5)
    assert describe("srcnn", scale=scale).layer("bicubic") == graph.layer("bicubic")


@pytest.mark.parametrize(("middle", "published"), [(5, 57_184), (1, 8_032)])
def test_srcnn_has_the_papers_size(middle, published):
    """TPAMI 2016, table 2 and section 4.3: weights without biases, of one channel in and out instead of three."""
    sizes = {key: np.prod(shape) for key, shape in describe("srcnn", {"middle": middle}).weight_shapes().items()}
    ends = sizes["patches/kernel"] + sizes["reconstruction/kernel"]
    assert ends // 3 + sizes["mapping/kernel"] == published


def test_espcn_has_the_papers_size():
    """Section 3.2: (5, 64), (3, 32), 3; for one channel 24,752 with biases, as commonly counted."""
    luma = (25 * 64 + 64) + (9 * 64 * 32 + 32) + (9 * 32 * 16 + 16)
    colour = luma + 2 * 25 * 64 + 2 * (9 * 32 * 16 + 16)
    assert luma == 24_752 and graph_cost(describe("espcn")).parameters == colour


def test_esrgan_has_the_size_of_the_authors_code():
    """RRDBNet(3, 3, 64, 23, gc=32), layer by layer: 16.70 M parameters."""

    def conv(inputs, outputs):
        return 9 * inputs * outputs

    dense = [conv(64 + 32 * k, 32) for k in range(4)] + [conv(64 + 32 * 4, 64)]
    biases = 64 + 23 * 3 * (4 * 32 + 64) + 64 * 4 + 3
    trunk = conv(3, 64) + 23 * 3 * sum(dense) + conv(64, 64)
    graph = describe("esrgan")
    assert graph_cost(graph).parameters == trunk + 3 * conv(64, 64) + conv(64, 3) + biases == 16_697_987
    assert macs_per_lr_pixel(graph) == trunk + (4 + 16 + 16) * conv(64, 64) + 16 * conv(64, 3)


@pytest.mark.parametrize(
    ("name", "word"),
    [("srcnn", "HR size"), ("espcn", "tanh"), ("esrgan", "constant"), ("rcan", "whole picture"), ("mobile", "by 4")],
)
def test_what_a_dsp_pays_for_is_said(name, word):
    assert any(word in note for note in dsp_notes(describe(name)))


def test_a_network_made_for_a_dsp_has_little_to_say():
    assert not dsp_notes(describe("mobile", {"width": 8, "skip": False}, scale=2))
    (note,) = dsp_notes(describe("mobile", {"width": 8}, scale=2))
    assert "concatenation" in note


@pytest.mark.parametrize("name", ["srcnn", "espcn", "esrgan"])
def test_configs_name_what_there_is(name):
    config = load_config(CONFIGS / f"{name}.yaml")
    assert describe(config.model.name, config.model.options).network == name


@pytest.mark.parametrize(
    ("name", "options"),
    [("srcnn", {"width": 0}), ("espcn", {"activation": "gelu"}), ("esrgan", {"blocks": 0}), ("esrgann", {})],
)
def test_what_cannot_be_is_refused(name, options):
    with pytest.raises(ConfigError):
        describe(name, options)
