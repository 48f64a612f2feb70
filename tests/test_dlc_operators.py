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
    "ElementWiseRsqrt": lambda x: 1 / np.sqrt(x),
    "ElementWiseSoftplus": lambda x: np.log1p(np.exp(x)),
    "ElementWiseSin": np.sin,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions(kind):
    assert np.allclose(run(kind, [X.shape])[0], FUNCTIONS[kind](X), atol=1e-5)


def test_relu_with_limits():
    y = run("ReluMinMax", [X.shape], attributes={"min_value": 1.0, "max_value": 2.5})[0]
    assert np.array_equal(y, np.clip(X, 1, 2.5))


@pytest.mark.parametrize(
    ("kind", "number", "wanted"),
    [
        ("ElementWiseUnary", 10, 1 / X),
        ("ElementWiseUnary", 12, 1 / np.sqrt(X)),
        ("ElementWiseBinary", 4, np.floor(X / X[0, 0, 0])),
        ("ElementWiseBinary", 17, (X - X[0, 0, 0]) ** 2),
        ("ElementWiseFloorDiv", None, np.floor(X / X[0, 0, 0])),
        ("ElementWiseSquaredDifference", None, (X - X[0, 0, 0]) ** 2),
    ],
)
def test_arithmetic_by_number_and_by_name(kind, number, wanted):
    given = {} if number is None else {"operation": number}
    weights = () if kind.endswith("Unary") else (X[0, 0, 0],)
    assert np.allclose(run(kind, [X.shape], attributes=given, weights=weights)[0], wanted, atol=1e-3)


def test_elu_has_its_slope_and_a_scaled_softmax_is_refused():
    x = X - 4
    y = run("Elu", [X.shape], attributes={"alpha": 0.25}, x=x)[0]
    assert np.allclose(y, np.where(x > 0, x, 0.25 * np.expm1(x)), atol=1e-5)
    with pytest.raises(InputError, match="beta"):
        run("Softmax", [X.shape], attributes={"beta": 2.0})


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


def numbers(values) -> Tensor:
    """A stored list of whole numbers, as operators have them."""
    array = np.array(values, "<i4")
    return Tensor(9, "list", "static", array.shape, "int32", None, memoryview(array.reshape(-1)).cast("B"))


@pytest.mark.parametrize(
    ("ranges", "masks", "wanted"),
    [
        ([(0, 1, 1), (1, 3, 1), (5, 0, -2), (0, 8, 3)], {}, X[:, 1:3, 5:0:-2, ::3]),
        ([(0, 1, 1), (1, 2, 1), (2, 3, 1), (4, 0, 1)], {"begin_mask": 0b0010, "end_mask": 0b1000}, X[:, :2, 2:3, 4:]),
        ([(0, 1, 1), (0, 4, 1), (-1, 0, 1), (0, 8, 1)], {"shrink_axes": 0b0100}, X[:, :, -1]),
        ([(0, 1, 1), (3, 4, 1), (0, 6, 1), (0, 0, -1)], {"shrink_axes": 0b10, "begin_mask": 8, "end_mask": 8},
         X[:, 3, :, ::-1]),
    ],
)  # fmt: skip
def test_slices_with_open_ends_and_dropped_axes(ranges, masks, wanted):
    y = run("StridedSlice", [wanted.shape], attributes={"ranges": numbers(ranges), **masks})[0]
    assert np.array_equal(y, wanted)


@pytest.mark.parametrize(
    ("kind", "shape"), [("Relu", (1, 4, 6, 9)), ("Squeeze", (1, 5, 6, 8)), ("Argmax", (1, 4, 6, 8))]
)
def test_shapes_that_cannot_be_are_refused(kind, shape):
    with pytest.raises(InputError):
        run(kind, [shape], attributes={"axis": 3})
