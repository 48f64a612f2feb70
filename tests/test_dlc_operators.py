"""Operators that the SDK's converters write and the wheel's serializer does not: graphs made by hand, no file."""

from __future__ import annotations

from pathlib import Path

import helpers_onnx as nets
import numpy as np
import pytest

from snpe_srgan.dlc.model import Dlc, Graph, Node, Tensor
from snpe_srgan.dlc.to_onnx import rebuild
from snpe_srgan.errors import InputError

X = np.random.default_rng(0).uniform(0.1, 8, (1, 4, 6, 8)).astype(np.float32)


def run(kind, shapes, *, attributes=None, weights=(), x=X):
    """The outputs of one format-4 operator on `x`."""
    tensors = [Tensor(0, "x", "input", x.shape, "float32")]
    tensors += [Tensor(1, f"y{i}", "output", shape, "float32") for i, shape in enumerate(shapes)]
    for index, value in enumerate(weights):
        data = memoryview(np.ascontiguousarray(value)).cast("B")
        tensors.append(Tensor(2, f"w{index}", "static", value.shape, "float32", None, data))
    inputs = ("x", *(f"w{index}" for index in range(len(weights))))
    node = Node("node", kind, inputs, tuple(f"y{i}" for i in range(len(shapes))), attributes or {})
    graph = Graph("g", (node,), {t.name: t for t in tensors})
    return nets.run_cpu(rebuild(Dlc(Path("x.dlc"), 4, 0, {}, {}, (graph,))), x)


FUNCTIONS = {
    "Relu": lambda x: np.maximum(x, 0),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "Relu1": lambda x: np.clip(x, -1, 1),
    "ElementWiseSquareRoot": np.sqrt,
    "ElementWiseLog": np.log,
    "ElementWiseNeg": np.negative,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions(kind):
    assert np.allclose(run(kind, [X.shape])[0], FUNCTIONS[kind](X), atol=1e-5)


def test_relu_with_limits():
    y = run("ReluMinMax", [X.shape], attributes={"min_value": 1.0, "max_value": 2.5})[0]
    assert np.array_equal(y, np.clip(X, 1, 2.5))


def test_fully_connected_takes_the_image_rows_first():
    weight, bias = np.random.default_rng(1).standard_normal((5, X.size)).astype(np.float32), np.arange(5.0, dtype="f4")
    y = run("FullyConnected", [(1, 5)], weights=(weight, bias))[0]
    assert np.allclose(y, X.reshape(1, -1) @ weight.T + bias, atol=1e-3)


@pytest.mark.parametrize(("axis", "shapes"), [(3, [(1, 4, 6, 3), (1, 4, 6, 5)]), (2, [(1, 4, 2, 8), (1, 4, 4, 8)])])
def test_split_along_the_files_own_axes(axis, shapes):
    parts = run("Split", shapes, attributes={"axis": axis})
    assert [p.shape for p in parts] == shapes and np.array_equal(np.concatenate(parts, axis), X)


def test_squeeze_and_arg_max():
    assert np.array_equal(run("Squeeze", [(4, 6, 8)])[0], X[0])
    assert np.array_equal(run("Argmax", [(1, 4, 6)], attributes={"axis": 3})[0], X.argmax(3))


@pytest.mark.parametrize(
    ("kind", "shape"), [("Relu", (1, 4, 6, 9)), ("Squeeze", (1, 5, 6, 8)), ("Argmax", (1, 4, 6, 8))]
)
def test_shapes_that_cannot_be_are_refused(kind, shape):
    with pytest.raises(InputError):
        run(kind, [shape], attributes={"axis": 3})
