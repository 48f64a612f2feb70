"""npz -> .pb -> ONNX keeps the function and the operators a chip knows (tiny networks, one TensorFlow import)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers_networks import TINY, random_weights, run_onnx, zoo
from onnx import TensorProto, helper, numpy_helper

from snpe_srgan.errors import InputError
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.passes import clean


def operators(model) -> Counter:
    return Counter(node.op_type for node in model.graph.node)


def attributes(model) -> list:
    """What the convolutions and shuffles are, in a form that does not depend on names or order."""
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "DepthToSpace")]
    return sorted(str(sorted((a.name, helper.get_attribute_value(a)) for a in node.attribute)) for node in nodes)


def names(model) -> set[str]:
    """Of all operators but the two at the ends, and of their constants."""
    inner = {node.name for node in model.graph.node if node.op_type != "Transpose"}
    return inner | {tensor.name for tensor in model.graph.initializer}


@pytest.mark.parametrize("network", [*TINY, "zoo"])
def test_through_tensorflow_and_back_is_the_same_network(rng, network):
    from snpe_srgan.models.freeze import freeze, run_graph_def
    from snpe_srgan.onnx_graphs.from_tensorflow import find_ports, graph_def_to_onnx

    graph = zoo() if network == "zoo" else describe(network, TINY[network])
    weights, lr = random_weights(graph, rng), rng.random((1, 9, 7, 3), np.float32)
    direct, graph_def = to_onnx(graph, weights), freeze(graph, weights)
    assert find_ports(graph_def) == ("lr", "sr")
    assert not any(node.op in ("VarHandleOp", "ReadVariableOp") for node in graph_def.node)
    around = graph_def_to_onnx(graph_def, input_name="lr", output_name="sr")
    assert operators(around) == operators(direct)
    assert attributes(around) == attributes(direct)
    assert names(around) == names(direct)
    expected = run_onnx(direct, lr)
    np.testing.assert_allclose(run_graph_def(graph_def, lr), expected, atol=1e-5)
    np.testing.assert_allclose(run_onnx(around, lr), expected, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not a graph at all", b"\x0a\x02\x08\x01"])
def test_what_is_no_frozen_graph_is_refused(tmp_path, content):
    from snpe_srgan.models.freeze import read_graph_def

    (tmp_path / "bad.pb").write_bytes(content)
    with pytest.raises(InputError):
        read_graph_def(tmp_path / "bad.pb")


def elementwise(nodes, constants: dict) -> object:
    """An ONNX model [1,4,3,5] -> [1,4,3,5] of (operator, inputs, output) triples; reads `x`, gives `y`."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(operator, list(inputs), [output]) for operator, inputs, output in nodes],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 3, 5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 3, 5])],
            [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )


SLOPE = np.array([0.1, -0.4, 1.5, 0.0]).reshape(1, 4, 1, 1)
PRELUS = {
    "keras": [
        ("Relu", "x", "a"),
        ("Neg", "x", "b"),
        ("Relu", "b", "c"),
        ("Mul", ("minus", "c"), "d"),
        ("Add", "ad", "y"),
    ],
    "subtracted": [
        ("Relu", "x", "a"),
        ("Neg", "x", "b"),
        ("Relu", "b", "c"),
        ("Mul", ("c", "slope"), "d"),
        ("Sub", "ad", "y"),
    ],
    "absolute": [
        ("Relu", "x", "a"),
        ("Abs", "x", "b"),
        ("Sub", "xb", "c"),
        ("Mul", ("slope", "c"), "d"),
        ("Mul", ("d", "half"), "e"),
        ("Add", "ae", "y"),
    ],
    "minimum": [("Relu", "x", "a"), ("Min", ("x", "zero"), "b"), ("Mul", ("slope", "b"), "c"), ("Add", "ca", "y")],
}


@pytest.mark.parametrize("form", PRELUS)
def test_prelu_is_fused_in_every_way_it_is_written(rng, form):
    constants = {"slope": SLOPE, "minus": -SLOPE, "half": 0.5, "zero": 0.0}
    model, x = elementwise(PRELUS[form], constants), rng.normal(0, 2, (1, 4, 3, 5)).astype(np.float32)
    expected = run_onnx(model, x)
    fused = clean(model)
    assert operators(fused) == {"PRelu": 1}
    np.testing.assert_allclose(run_onnx(fused, x), expected, atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [("Relu", "x", "a"), ("Add", "ax", "y")],  # 2x above 0: no PReLU
        [("Add", ("x", "one"), "a"), ("Relu", "a", "b"), ("Add", "xb", "y")],  # not homogeneous
        [("Mul", "xx", "a"), ("Max", "ax", "y")],
        [("Relu", "x", "a"), ("Max", ("a", "one"), "y")],
    ],
)
def test_what_is_no_prelu_keeps_its_function(rng, nodes):
    model, x = elementwise(nodes, {"one": 1.0}), rng.normal(0, 2, (1, 4, 3, 5)).astype(np.float32)
    expected = run_onnx(model, x)
    cleaned = clean(model)
    assert "PRelu" not in operators(cleaned)
    np.testing.assert_allclose(run_onnx(cleaned, x), expected, atol=1e-6)


@pytest.mark.parametrize("order", [("Min", "Max"), ("Max", "Min")])
def test_clip_is_fused(rng, order):
    bounds = {"Min": 0.5, "Max": -1.0}
    model = elementwise([(order[0], ("x", "first"), "a"), (order[1], ("second", "a"), "y")],
                        {"first": bounds[order[0]], "second": [bounds[order[1]]]})  # fmt: skip
    x = rng.normal(0, 2, (1, 4, 3, 5)).astype(np.float32)
    fused = clean(model)
    assert operators(fused) == {"Clip": 1}
    np.testing.assert_array_equal(run_onnx(fused, x), np.clip(x, -1, 0.5))


def test_scaled_and_shifted_convolutions_are_folded(rng):
    nodes = [
        ("Conv", ("x", "kernel"), "a"),
        ("BatchNormalization", ("a", "gamma", "beta", "mean", "variance"), "b"),
        ("Mul", ("factor", "b"), "c"),
        ("Sub", ("c", "shift"), "y"),
    ]
    constants = {name: rng.uniform(0.5, 1.5, 4) for name in ("gamma", "beta", "mean", "variance")}
    constants |= {"kernel": rng.normal(0, 1, (4, 4, 1, 1)), "factor": rng.normal(0, 1, (4, 1, 1)), "shift": 0.3}
    model, x = elementwise(nodes, constants), rng.normal(0, 1, (1, 4, 3, 5)).astype(np.float32)
    expected = run_onnx(model, x)
    folded = clean(model)
    assert operators(folded) == {"Conv": 1}
    np.testing.assert_allclose(run_onnx(folded, x), expected, atol=1e-5)
