"""The TensorLayer models: the same function as the ONNX graphs, and batch norm that trains (all of it tiny)."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_networks import TINY, random_weights, run_onnx, zoo

from snpe_srgan.models.graph import Builder
from snpe_srgan.models.initialize import initial_weights
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx


def imported(network: str):
    """Networks that come from weights of others alone, or with options that those have."""
    from snpe_srgan.models.distilled import rfdn, rlfn

    return {
        "zoo": zoo,
        "unshuffled": lambda: describe("esrgan", {**TINY["esrgan"], "unshuffle": 2}, scale=2),
        "brightness": lambda: describe("srvgg", {**TINY["srvgg"], "anchor": 5, "luma": True}),
        "rfdn": lambda: rfdn(width=8, blocks=2, scale=4),
        "rlfn": lambda: rlfn(width=8, middle=6, gate_width=3, blocks=1, scale=2),
    }[network]()


@pytest.mark.parametrize("network", [*TINY, "zoo", "unshuffled", "brightness", "rfdn", "rlfn"])
def test_tensorlayer_onnx_and_plain_activations_are_the_same_function(rng, network):
    from snpe_srgan.models.activations import activations
    from snpe_srgan.models.tensorlayer_model import build, get_weights, set_weights

    graph = describe(network, TINY[network]) if network in TINY else imported(network)
    size = (11, 9) if network in TINY else (24, 22)
    weights, lr = random_weights(graph, rng), rng.random((1, *size, 3), np.float32)
    model = build(graph)
    set_weights(model, graph, weights)
    expected = run_onnx(to_onnx(graph, weights), lr)
    np.testing.assert_allclose(model(lr, is_train=False), expected, atol=2e-5)
    np.testing.assert_allclose(activations(graph, weights, lr, [graph.output])[0], expected, atol=2e-5)
    assert all(np.array_equal(value, weights[key]) for key, value in get_weights(model, graph).items())


def test_every_kind_of_layer_agrees(rng):
    """What neither shipped network has: concat, leaky ReLU, an even kernel, batch norm that cannot be folded."""
    from snpe_srgan.models.tensorlayer_model import build, set_weights

    net = Builder(scale=2)
    x = net.leaky_relu(net.conv(net.lr, 6, (2, 3), name="even", bias=False), name="leaky")
    x = net.batch_norm(net.concat([x, net.relu(net.lr, name="relu")], name="both"), name="norm")
    graph = net.graph(
        net.depth_to_space(net.conv(x, 12, (4, 1), name="up", init="icnr"), 2, name="sr"), network="zoo", options={}
    )
    weights, lr = random_weights(graph, rng), rng.random((1, 6, 7, 3), np.float32)
    model = build(graph)
    set_weights(model, graph, weights)
    np.testing.assert_allclose(model(lr, is_train=False), run_onnx(to_onnx(graph, weights), lr), atol=1e-5)


def test_building_sets_the_weights_and_training_moves_the_statistics(rng):
    import tensorflow as tf

    from snpe_srgan.models.tensorlayer_model import build, get_weights

    graph = describe("srgan", {"blocks": 1, "width": 4}, scale=2)
    model = build(graph, seed=3)
    start, fresh = initial_weights(graph, seed=3), get_weights(model, graph)
    assert all(np.array_equal(fresh[key], start[key]) for key in start)
    step = tf.function(lambda x: model(x, is_train=True))
    step(tf.constant(rng.random((4, 6, 6, 3), np.float32)))
    moved = {key for key, value in get_weights(model, graph).items() if not np.array_equal(value, start[key])}
    assert moved == {key for key in start if key.endswith(("/mean", "/variance"))}


def test_the_anchor_is_not_trained():
    from snpe_srgan.models.tensorlayer_model import build, variables

    graph = describe("mobile", {"width": 8})
    model = build(graph)
    fixed = {v.ref() for v in variables(model, graph).values()} - {v.ref() for v in model.trainable_weights}
    assert fixed == {variables(model, graph)[key].ref() for key in ("anchor/kernel", "anchor/bias")}


@pytest.mark.parametrize("crop", [32, 48])
def test_the_discriminator_gives_one_logit_a_picture(rng, crop):
    from snpe_srgan.models.discriminator import build_discriminator

    model = build_discriminator(crop, width=4, seed=1)
    logits = model(rng.uniform(-1, 1, (2, crop, crop, 3)).astype(np.float32), is_train=True)
    assert logits.shape == (2, 1) and np.isfinite(logits).all()
