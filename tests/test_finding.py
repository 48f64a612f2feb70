"""The numbers of a network are found by what it draws: networks fitted to pictures in each range, of several shapes.

Features are drawn at random, with biases; the last convolution is fitted, so that each network is good in its own
numbers alone. A wrong range must never be taken in silence.
"""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snpe_srgan.calibration.synthetic import picture
from snpe_srgan.onnx_graphs import probing
from snpe_srgan.onnx_graphs.boundary import RANGES, Boundary
from snpe_srgan.onnx_graphs.finding import find_boundary, find_ranges
from snpe_srgan.onnx_graphs.probing import probe_pictures
from snpe_srgan.onnx_graphs.run import runner

SCALE, SIDE, WIDTH, RIDGE = 2, 40, 24, 1e-4
PAIRS = [(takes, gives) for takes in RANGES for gives in RANGES]


@functools.cache
def pictures():
    """(LR, HR) in [0, 1]: drawn ones, and flat ones as those who train networks see skies and walls."""
    hr = [picture(np.random.default_rng([5, i]), SIDE * SCALE, kind=i) for i in range(6)]
    hr += [np.full((SIDE * SCALE, SIDE * SCALE, 3), level) for level in (0.0, 1.0, 0.5)]
    return [(x.reshape(SIDE, SCALE, SIDE, SCALE, 3).mean((1, 3)), x) for x in hr]


def windows(x: np.ndarray, side: int = 3) -> np.ndarray:
    """(h, w, channels, side, side) of (h, w, channels), zeros around."""
    edge = side // 2
    padded = np.pad(x, ((edge, edge), (edge, edge), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))


def network(takes: str, gives: str, *, residual: bool, clip: bool = False, seed: int = 0) -> onnx.ModelProto:
    """NCHW: random features, a fitted convolution, with `residual` beside the picture enlarged by repeating pixels."""
    rng = np.random.default_rng(seed)
    (black, white), (low, high) = RANGES[takes], RANGES[gives]
    kernel = rng.normal(0, 0.4 / (white - black), (WIDTH, 3, 3, 3))
    bias, gain = rng.normal(0, 0.4, WIDTH), (high - low) / (white - black)
    phases = SCALE**2
    beside = np.zeros((3 * phases, 3, 1, 1))
    beside[np.arange(3 * phases), np.arange(3 * phases) % 3] = gain
    sums, wanted = 0.0, 0.0
    for lr, hr in pictures():
        x, y = lr * (white - black) + black, hr * (high - low) + low
        features = np.maximum(np.einsum("hwcij,ocij->hwo", windows(x), kernel) + bias, 0)
        rows = windows(features).reshape(SIDE * SIDE, -1)
        rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
        y = y.reshape(SIDE, SCALE, SIDE, SCALE, 3).transpose(0, 2, 1, 3, 4).reshape(SIDE * SIDE, -1)
        if residual:
            y = y - np.tile((x - black) * gain + low, phases).reshape(SIDE * SIDE, -1)
        sums, wanted = sums + rows.T @ rows, wanted + rows.T @ y
    found = np.linalg.solve(sums + np.trace(sums) / len(sums) * RIDGE * np.eye(len(sums)), wanted)
    arrays = {
        "k": kernel, "b": bias, "last": found[:-1].T.reshape(3 * phases, WIDTH, 3, 3), "bias": found[-1],
        "beside": beside, "offset": np.full(3 * phases, low - black * gain), "low": np.array(low),
        "high": np.array(high),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["in", "k", "b"], ["f"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["f"], ["r"]),
        helper.make_node("Conv", ["r", "last", "bias"], ["y"], kernel_shape=[3, 3], pads=[1] * 4),
    ]
    if residual:
        nodes.append(helper.make_node("Conv", ["in", "beside", "offset"], ["a"], kernel_shape=[1, 1]))
        nodes.append(helper.make_node("Add", ["y", "a"], ["s"]))
    nodes.append(helper.make_node("DepthToSpace", ["s" if residual else "y"], ["d"], blocksize=SCALE, mode="DCR"))
    end = ["d", "low", "high"] if clip else ["d"]
    nodes.append(helper.make_node("Clip" if clip else "Identity", end, ["out"]))
    read = {name for node in nodes for name in node.input}
    return graph_of(nodes, {name: array for name, array in arrays.items() if name in read})


def graph_of(nodes, arrays) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, *s]) for n, s in (("in", "hw"), ("out", "HW"))]
    constants = [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items()]
    graph = helper.make_graph(nodes, "fitted", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("takes, gives", PAIRS)
def test_a_fitted_network_is_taken_in_its_own_numbers(takes, gives, residual):
    found = find_boundary(network(takes, gives, residual=residual), where="x")
    assert (found.boundary.takes, found.boundary.gives) == (takes, gives), found
    assert found.certain or residual  # little of such a network knows its numbers: it may be said that it is close


@pytest.mark.parametrize("takes, gives", [("-1..1", "-1..1"), ("0..1", "-1..1"), ("0..255", "0..255")])
def test_black_and_white_come_out_black_and_white(takes, gives):
    model = network(takes, gives, residual=False, clip=True, seed=1)
    boundary = find_boundary(model, where="x").boundary
    for level in (0.0, 1.0):
        lr = np.full((1, 16, 16, 3), level, np.float32)
        sr = (boundary.drawn(runner(model)(boundary.given(lr)), lr) + 1) / 2
        assert abs(sr[0, 8:-8, 8:-8].mean() - level) < 0.02


def enlarging(kernel: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["in", "k", "b"], ["y"], kernel_shape=[1, 1]),
        helper.make_node("DepthToSpace", ["y"], ["out"], blocksize=SCALE, mode="DCR"),
    ]
    return graph_of(nodes, {"k": kernel, "b": bias})


REPEATED = np.tile(np.eye(3), (SCALE**2, 1))[:, :, None, None]


def test_a_network_without_biases_draws_the_same_in_several_ranges_and_gets_the_usual_one():
    found = find_boundary(enlarging(REPEATED, np.zeros(12)), where="x")
    assert found.certain and found.boundary == Boundary("NCHW", "0..1", "0..1")


def test_where_two_ranges_draw_other_pictures_equally_well_it_is_said():
    def run(x):
        signed = x.min() < 0  # errors of one size, and of opposite signs
        large = x.repeat(SCALE, 2).repeat(SCALE, 3)
        pattern = np.indices(large.shape).sum(0) % 2 - 0.5
        return large + pattern * (-0.1 if signed else 0.05)

    found = find_ranges(
        run, Boundary("NCHW", "0..1", "0..1"), [("0..1", "0..1"), ("-1..1", "-1..1")], size=(24, 24), first=None,
        where="x",
    )  # fmt: skip
    assert not found.certain and "as well if it takes" in found.sentence("theirs.onnx"), found
    assert "--values" in found.sentence("theirs.onnx")


def test_a_network_that_moves_its_greys_is_not_taken_in_silence():
    """Numbers that nobody tried: its contrast is too small in all of them."""
    found = find_boundary(enlarging(0.7 * REPEATED, np.zeros(12)), where="x")
    assert not found.certain and "levels off" in (found.doubt or "")


def test_the_scenes_are_the_same_at_every_size():
    small = probe_pictures(24, 30)
    for scale in (1, 2, 3, 4, 8):
        for lr, hr in zip(small, probe_pictures(24, 30, scale=scale), strict=True):
            means = hr.reshape(24, scale, 30, scale, 3).mean((1, 3))
            assert np.abs(means - lr[0]).max() < (1e-6 if scale in (1, 2, 4) else 0.15)
    assert [float(p.mean()) for p in (small[i] for i in probing.FLAT)] == [0, 1, 0.5]
