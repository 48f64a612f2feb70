"""The networks as descriptions, first weights, cost, and the ONNX graphs made from them (no TensorFlow here)."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_networks import random_weights, run_onnx

from snpe_srgan.errors import ConfigError, InputError
from snpe_srgan.models.cost import graph_cost, receptive_radius
from snpe_srgan.models.graph import Builder, graph_from_json
from snpe_srgan.models.initialize import initial_weights
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx


def test_fresh_mobile_is_nearest_neighbour_upsampling(rng):
    lr = rng.random((1, 5, 7, 3), np.float32)
    graph = describe("mobile")
    sr = run_onnx(to_onnx(graph, initial_weights(graph)), lr)
    np.testing.assert_allclose(sr, (2 * lr - 1).repeat(4, axis=1).repeat(4, axis=2), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"batch_norm": False}])
def test_fresh_srgan_is_close_to_nearest_neighbour_upsampling(rng, options):
    lr = rng.random((1, 9, 9, 3), np.float32)
    graph = describe("srgan", {"blocks": 1, "width": 8, "start_as_nearest": True, **options})
    sr = run_onnx(to_onnx(graph, initial_weights(graph)), lr)
    nearest = (2 * lr - 1).repeat(4, axis=1).repeat(4, axis=2)
    assert np.corrcoef(sr.ravel(), nearest.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_icnr_starts_without_a_checkerboard(rng, scale):
    graph = _upscaler(scale, init="icnr")
    sr = run_onnx(to_onnx(graph, initial_weights(graph)), rng.random((1, 6, 5, 3), np.float32))
    blocks = sr.reshape(1, 6, scale, 5, scale, 3)
    np.testing.assert_allclose(blocks, np.broadcast_to(blocks[:, :, :1, :, :1], blocks.shape), atol=1e-6)


def _upscaler(scale: int, *, init: str = "glorot"):
    net = Builder(scale=scale)
    x = net.conv(net.lr, 3 * scale**2, 3, name="up", init=init)
    return net.graph(net.depth_to_space(x, scale, name="shuffle"), network="upscaler", options={})


def test_the_same_seed_gives_the_same_weights():
    graph = describe("srgan", {"blocks": 1, "width": 8})
    one, same, other = (initial_weights(graph, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[key], same[key]) for key in one)
    assert not np.array_equal(one["head/kernel"], other["head/kernel"])


def test_sizes_of_the_published_network():
    """Parameters as Keras counts krasserm's weight file, and with batch norm folded; MACs by hand, layer by layer."""
    cost = graph_cost(describe("srgan"))
    assert (cost.parameters, cost.deployed_parameters) == (1_554_883, 1_546_435)
    by_hand = 81 * 3 * 64 + 33 * 9 * 64 * 64 + 9 * 64 * 256 * (1 + 4) + 16 * 81 * 64 * 3
    assert cost.macs_per_lr_pixel == by_hand


def test_mobile_is_small():
    assert graph_cost(describe("mobile")).parameters <= 60_000


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_network_survives_its_own_file_format(scale):
    for network in ("srgan", "mobile"):
        graph = describe(network, scale=scale)
        assert graph_from_json(graph.to_json()).weight_shapes() == graph.weight_shapes()


@pytest.mark.parametrize("name, options", [("srgan", {"blocks": 0}), ("mobile", {"depth": 1}), ("srgan", {"widht": 8})])
def test_impossible_options_are_refused(name, options):
    with pytest.raises(ConfigError):
        describe(name, options)


@pytest.mark.parametrize(
    "network, options, scale",
    [
        ("srgan", {"blocks": 1, "width": 4}, 2),
        ("srgan", {"blocks": 1, "width": 4}, 4),
        ("srgan", {"blocks": 1, "width": 4}, 3),
        ("mobile", {"width": 4, "depth": 3}, 4),
    ],
)
def test_receptive_radius_is_exactly_the_reach_of_one_pixel(rng, network, options, scale):
    graph = describe(network, options, scale=scale)
    radius, size = receptive_radius(graph), 41
    model = to_onnx(graph, random_weights(graph, rng))
    lr = rng.random((1, size, size, 3), np.float32)
    touched = lr.copy()
    touched[0, size // 2, size // 2] += 0.5
    changed = np.abs(run_onnx(model, touched) - run_onnx(model, lr)).max(axis=(0, 3)) > 0
    for axis in (0, 1):
        pixels = np.flatnonzero(changed.any(axis=axis)) // scale
        assert max(size // 2 - pixels.min(), pixels.max() - size // 2) == radius


def test_weights_that_do_not_fit_are_refused(rng):
    graph = describe("mobile")
    weights = random_weights(graph, rng)
    with pytest.raises(InputError, match="missing"):
        to_onnx(graph, {k: v for k, v in weights.items() if k != "conv1/bias"})


def test_fixed_and_free_size(rng):
    graph = describe("mobile", {"width": 8})
    fixed = to_onnx(graph, random_weights(graph, rng), input_size=(6, 9)).graph
    assert [d.dim_value for d in fixed.input[0].type.tensor_type.shape.dim] == [1, 6, 9, 3]
    assert [d.dim_value for d in fixed.output[0].type.tensor_type.shape.dim] == [1, 24, 36, 3]
