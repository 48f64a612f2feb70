"""Every kind of layer by its one record: ONNX and TensorFlow agree, and what the record says of it is true."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers_networks import random_weights, run_onnx
from test_tidy import Graph

from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Builder, graph_from_json
from snpe_srgan.models.operators import OPERATORS
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.operators import OPERATORS as ONNX
from snpe_srgan.onnx_graphs.operators_others import OTHERS
from snpe_srgan.onnx_graphs.run import session
from snpe_srgan.quantization.graph.analytic import Moments, function_moments
from snpe_srgan.quantization.observe.gradient import PREFIX, SEED_INPUT, gradient_model

COARSE = ("strided_conv", "max_pool", "resize_to")
EXTRA = {"depth_to_space": 2, "resize": 2}
ATTRIBUTES = {"leaky_relu": {"slope": 0.2}, "clip": {"low": -0.3, "high": 0.4}, "scale": {"factor": 0.7}}
LAYER_OF = {  # ONNX operator -> the layer that becomes it, where the names differ
    "LeakyRelu": "leaky_relu", "Mul": "multiply", "DepthToSpace": "depth_to_space", "Transpose": "relu",
    "GlobalAveragePool": "global_average_pool",
}  # fmt: skip
ALONE = [kind for kind in OPERATORS if kind != "input"]


def network_with(kind: str):
    """conv -> the layer -> conv, at the size that the layer gives."""
    net = Builder(scale=EXTRA.get(kind, 1))
    x = net.conv(net.lr, 8, 3, name="head")
    if kind == "batch_norm":
        x = net.batch_norm(net.relu(x, name="between"), name="layer")
    elif kind in EXTRA:
        x = getattr(net, kind)(x, EXTRA[kind], name="layer")
    elif kind == "conv":
        x = net.conv(x, 8, 3, name="layer")
    elif kind in COARSE:  # a gate from a coarse grid
        coarse = "layer" if kind != "resize_to" else "coarse"
        gate = net.max_pool(x, 3, 2, name=coarse) if kind == "max_pool" else net.strided_conv(x, 8, 3, 2, name=coarse)
        x = net.multiply(x, net.resize_to(gate, x, name="back" if coarse == "layer" else "layer"), name="gated")
    elif kind == "space_to_depth":
        x = net.space_to_depth(net.resize(x, 2, name="larger"), 2, name="layer")
    elif kind == "global_average_pool":
        x = net.multiply(x, net.global_average_pool(x, name="layer"), name="gated")
    elif kind == "concat":
        x = net.concat([x, net.relu(x, name="other")], name="layer")
    elif OPERATORS[kind].inputs == 2:
        x = getattr(net, kind)(x, net.relu(x, name="other"), name="layer")
    else:
        x = net.apply(kind, x, name="layer", **ATTRIBUTES.get(kind, {}))
    return net.graph(net.conv(x, 3, 3, name="tail"), network="one", options={})


@pytest.mark.parametrize("kind", ALONE)
def test_onnx_and_tensorflow_compute_the_same(kind, rng):
    import tensorflow as tf

    from snpe_srgan.models.activations import activations

    graph = network_with(kind)
    weights, lr = random_weights(graph, rng), rng.random((1, 9, 7, 3), np.float32)
    (expected,) = activations(graph, weights, tf.constant(lr), [graph.output])
    np.testing.assert_allclose(run_onnx(to_onnx(graph, weights), lr), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [k for k in ALONE if OPERATORS[k].homogeneous])
def test_a_positive_factor_passes_through_a_homogeneous_layer(kind, rng):
    import tensorflow as tf

    graph = network_with(kind)
    layer = graph.layer("layer")
    read = [rng.normal(size=(1, 4, 4, graph.in_channels(layer))).astype(np.float32)] * OPERATORS[kind].inputs
    arrays = {name: tf.constant(rng.normal(size=shape).astype(np.float32))
              for name, shape in layer.weight_shapes(graph.in_channels(layer)).items()}  # fmt: skip
    compute = OPERATORS[kind].tensorflow
    np.testing.assert_allclose(
        compute(layer, arrays, [3.5 * x for x in read], None), 3.5 * compute(layer, arrays, read, None),
        rtol=1e-5, atol=1e-6,
    )


DAMAGE = {
    "conv": [("kernel", [3]), ("kernel", [10**30, 3]), ("kernel", "33"), ("bias", 1), ("trainable", "yes")],
    "depth_to_space": [("block", 10**30), ("block", 0), ("block", 2.0), ("block", None)],
    "resize": [("factor", -1), ("factor", True)],
    "batch_norm": [("epsilon", "small"), ("epsilon", float("inf"))],
    "leaky_relu": [("slope", float("nan"))],
    "clip": [("low", [])],
    "scale": [("factor", {})],
    "strided_conv": [("kernel", [3]), ("stride", 0), ("bias", 1)],
    "max_pool": [("side", 0), ("stride", None)],
    "space_to_depth": [("block", 10**30)],
}


@pytest.mark.parametrize("kind, name, value", [(k, n, v) for k, rows in DAMAGE.items() for n, v in rows])
@pytest.mark.parametrize("missing", [False, True])
def test_a_file_whose_attributes_cannot_be_is_refused_by_name(kind, name, value, missing):
    data = json.loads(network_with(kind).to_json())
    layer = next(layer for layer in data["layers"] if layer["name"] == "layer")
    if missing:
        del layer["attributes"][name]
    else:
        layer["attributes"][name] = value
    with pytest.raises(InputError, match=f"'{name}' of a {kind} layer"):
        graph_from_json(json.dumps(data))


def test_every_attribute_is_damaged_once():
    assert {(k, n) for k, rows in DAMAGE.items() for n, _ in rows} | {
        ("conv", "init"), ("strided_conv", "init"), ("batch_norm", "decay"), ("batch_norm", "gamma"), ("clip", "high"),
    } == {(k, n) for k, operator in OPERATORS.items() for n in operator.attributes}  # fmt: skip


def test_an_unknown_kind_is_answered_with_the_nearest():
    data = json.loads(network_with("relu").to_json())
    next(layer for layer in data["layers"] if layer["name"] == "layer")["kind"] = "reluu"
    with pytest.raises(InputError) as error:
        graph_from_json(json.dumps(data))
    assert "relu" in error.value.hint


def _onnx_of_one(kind: str):
    """An ONNX node of this kind between two convolutions, as quantization sees it."""
    return network_with(LAYER_OF.get(kind, kind.lower()))


@pytest.mark.parametrize("kind", [kind for kind in ONNX if kind not in OTHERS])  # those: below
def test_tensorflow_computes_what_the_onnx_operator_does_and_the_derivative_is_right(kind, rng):
    import tensorflow as tf

    from snpe_srgan.quantization.steps.tf_network import FloatNetwork

    graph = _onnx_of_one(kind)
    model = to_onnx(graph, random_weights(graph, rng))
    assert kind in {node.op_type for node in model.graph.node}
    lr = rng.random((1, 6, 6, 3), np.float32)
    seed = rng.choice([-1.0, 1.0], (1, 6 * graph.scale, 6 * graph.scale, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        x = tf.constant(lr)
        tape.watch(x)
        sr = FloatNetwork(model)(x)
    np.testing.assert_allclose(sr, run_onnx(model, lr), atol=1e-5)
    run = session(gradient_model(model, ["lr"]))
    (gradient,) = run([PREFIX + "lr"], {"lr": lr, SEED_INPUT: seed})
    np.testing.assert_allclose(gradient, tape.gradient(sr, x, output_gradients=seed), atol=1e-4)


@pytest.mark.parametrize("kind", [k for k in ONNX if ONNX[k].function is not None])
def test_moments_of_a_function_are_those_of_many_draws(kind, rng):
    moments = Moments(np.array([-1.0, 0.3]), np.array([0.5, 1.0]))
    drawn = ONNX[kind].function(rng.normal(moments.mean, moments.std, (400_000, 2)))
    found = function_moments(moments, ONNX[kind].function)
    np.testing.assert_allclose(found.mean, drawn.mean(0), rtol=0.02, atol=0.01)
    np.testing.assert_allclose(found.std, drawn.std(0), rtol=0.02, atol=0.01)


EXACT = {  # of the operators of other networks: those whose derivative is no guess, and how a file says them
    "Sub": {}, "Div": {}, "Max": {}, "Min": {}, "Neg": {}, "Abs": {}, "HardSigmoid": {}, "HardSwish": {}, "Elu": {},
    "Softplus": {}, "Softsign": {}, "Exp": {}, "Sqrt": {}, "Erf": {}, "Gelu": {"opset": 20}, "Pow": {}, "Pad": {},
    "SpaceToDepth": {}, "Slice": {},
}  # fmt: skip
GUESSED = {"MaxPool", "AveragePool", "ReduceMean", "Softmax"}  # taken as 1


def _graph_of(kind: str, opset: int):
    """conv -> the operator of another network -> conv, as a file of theirs has it."""
    graph = Graph(seed=3)
    first = graph.conv(3, 8)
    if kind in ("Sub", "Div", "Max", "Min"):
        second = graph.op("Sigmoid", x=graph.conv(3, 8, x="t0"))
        graph.op(kind, second if kind != "Div" else graph.op("Add", graph.const(2.0), x=second), x=first)
    elif kind == "Sqrt":
        graph.op(kind, x=graph.op("Add", graph.const(4.0), x=graph.op("Sigmoid", x=first)))
    elif kind == "Pow":
        graph.op(kind, graph.const(2.0), x=first)
    elif kind == "SpaceToDepth":
        graph.op("DepthToSpace", x=graph.op(kind, x=first, blocksize=2), blocksize=2)
    elif kind == "Pad":
        graph.op(kind, graph.const([0, 0, 0, 0, 0, 0, 1, 1], np.int64), x=first)
        graph.conv(8, 3, side=2, pads=[0, 0, 0, 0])
        return graph.model(opset=opset)
    elif kind == "Slice":
        parts = [graph.op(kind, graph.const([at], np.int64), graph.const([at + 4], np.int64),
                          graph.const([1], np.int64), x=first) for at in (4, 0)]  # fmt: skip
        graph.op("Concat", parts[1], x=parts[0], axis=1)
    else:
        graph.op(kind, x=first)
    graph.conv(8, 3)
    return graph.model(opset=opset)


def test_every_operator_of_others_is_exact_or_known_to_be_guessed():
    assert {*EXACT, *GUESSED} == set(OTHERS)


@pytest.mark.parametrize("kind", EXACT)
def test_the_derivative_of_an_operator_of_others_is_the_slope_along_a_line(kind, rng):
    model = _graph_of(kind, EXACT[kind].get("opset", 17))
    lr, way = rng.random((1, 6, 6, 3), np.float32), rng.normal(size=(1, 6, 6, 3)).astype(np.float32)
    seed = rng.choice([-1.0, 1.0], (1, 6, 6, 3)).astype(np.float32)
    (gradient,) = session(gradient_model(model, ["lr"]))([PREFIX + "lr"], {"lr": lr, SEED_INPUT: seed})
    step = np.float32(2e-3)
    ends = [session(model)(["sr"], {"lr": lr + sign * step * way})[0].astype(np.float64) for sign in (1, -1)]
    slope = float((seed * (ends[0] - ends[1])).sum() / (2 * step))
    rel = 0.1 if kind in ("Max", "Min", "Abs") else 0.03  # the line crosses some of their kinks
    assert float((gradient * way).sum()) == pytest.approx(slope, rel=rel, abs=0.03)
