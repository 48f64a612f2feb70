"""Networks with an operator that reads the whole picture: run whole where memory allows, and never tiled in silence."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from helpers_onnx import Net, mobile
from PIL import Image

from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.runtimes import tiling
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.upscale import upscale_pixels
from snpe_srgan.stages.inspection import inspect_model
from snpe_srgan.zoo.resolve import resolve


def attentive(size=("height", "width"), pool="GlobalAveragePool", convs=2):
    """Convolutions and one channel attention; `size` names dimensions where it is free."""
    net = Net()
    x = net.conv(net.start(), 3, 8)
    for _ in range(convs - 1):
        x = net.op("Relu", net.conv(x, 8, 8))
    if pool == "GlobalAveragePool":
        mean = net.op(pool, x)
    elif pool == "keepdims=0":
        mean = net.op("ReduceMean", x, axes=[2, 3], keepdims=0)
        mean = net.op("Unsqueeze", mean, net.const(np.array([2, 3])))
    else:
        mean = net.op(pool, x, axes=[2, 3])
    gate = net.op("Sigmoid", net.conv(mean, 8, 8, 1, gain=30.0))
    x = net.conv(net.op("Mul", x, gate), 8, 48)
    model = net.model(net.op("DepthToSpace", x, blocksize=4, mode="DCR"), (1, 1))
    for value, scale in ((model.graph.input[0], 1), (model.graph.output[0], 4)):
        for i, side in enumerate(size, 1):
            if isinstance(side, str):
                value.type.tensor_type.shape.dim[i].dim_param = f"{side}{scale}"
            else:
                value.type.tensor_type.shape.dim[i].dim_value = side * scale
    return model


def opened(model, tmp_path, engine="onnxruntime"):
    onnx.save(model, tmp_path / "net.onnx")
    return open_session(resolve(tmp_path / "net.onnx"), engine=engine)


@pytest.fixture
def pixels(rng):
    """Dark above, bright below: the halves' means differ."""
    return rng.integers(0, 60, (48, 40, 3), dtype=np.uint8) + np.uint8(190) * (np.arange(48) >= 24)[:, None, None]


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "ReduceMean", "keepdims=0"])
@pytest.mark.parametrize("size", [("height", "width"), (24, 32)])
def test_a_mean_over_the_picture_is_found(pool, size):
    facts = onnx_facts(attentive(size, pool))
    assert facts.whole and facts.because is None and facts.overlap == 3
    assert facts.remarks and onnx_facts(mobile()).whole is None and not onnx_facts(mobile()).remarks


def test_a_pooling_of_channels_reads_one_pixel():
    net = Net()
    x = net.conv(net.start(), 3, 48)
    x = net.op("Mul", x, net.op("Sigmoid", net.op("ReduceMean", x, axes=[1])))
    facts = onnx_facts(net.model(net.op("DepthToSpace", x, blocksize=4, mode="DCR"), (8, 9)))
    assert (facts.whole, facts.because, facts.overlap) == (None, None, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_memory_decides_and_tiles_are_said(engine, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(tiling, "BUDGETS", [1])  # what would cut any other network in tiles
    with opened(attentive(), tmp_path, engine) as session:
        assert session.plan(*pixels.shape[:2]) == session.plan(*pixels.shape[:2], tile=None)
        assert session.plan(*pixels.shape[:2]).reason is None and session.plan(*pixels.shape[:2]).tile is None
        exact = upscale_pixels(session, pixels).pixels
        monkeypatch.setattr(tiling, "available_memory", lambda: 40 * 40 * session.description.bytes_per_pixel)
        tiled = session.plan(*pixels.shape[:2])
        assert tiled.tiles > 1 and "GlobalAveragePool" in tiled.reason
        assert np.any(upscale_pixels(session, pixels).pixels != exact)  # it is not only said
        assert session.plan(16, 16).reason is None


def test_a_fixed_input_says_what_it_does_to_the_means(pixels, tmp_path):
    with opened(attentive((24, 20)), tmp_path) as session:
        assert session.plan(24, 20).reason is None
        assert "tiles of 24x20" in session.plan(48, 40).reason
        assert "mirror" in session.plan(24, 19).reason


def test_no_overlap_is_asked_for_that_helps_nothing(tmp_path):
    """Deeper than its input is wide: any other network is refused there, because seams would be wrong."""
    with opened(attentive((16, 16), convs=12), tmp_path) as session:
        assert session.description.radius == 13 and tiling.overlap_for(session.description, (16, 16)) == 4
        assert session.plan(30, 16).tiles == 3


def test_a_chosen_overlap_is_near_and_says_so(pixels, tmp_path):
    """A deep network of small fixed input: refused without --overlap, near the whole picture's result with it."""
    rng = np.random.default_rng(0)
    graph = describe("mobile", {"width": 8, "depth": 14, "skip": False})
    weights = random_weights(graph, rng)
    save_npz(tmp_path / "deep.npz", graph, weights)
    onnx.save(to_onnx(graph, weights, input_size=(24, 20)), tmp_path / "deep.onnx")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    photo, fixed = tmp_path / "photo.png", ("run", tmp_path / "deep.onnx", tmp_path / "photo.png", "--json")
    assert_error(snpe_srgan(*fixed), 1, "too small", "sees 13 pixels far", "--overlap 5")
    near = snpe_srgan(*fixed, "--overlap", 8, "-o", tmp_path / "near.png")
    (picture,) = near.json["pictures"]
    assert picture["exact"] is False and "overlap by 8" in near.err and "13 pixels far" in picture["notes"][0]
    whole = snpe_srgan("run", tmp_path / "deep.npz", photo, "--overlap", 13, "-o", tmp_path / "whole.png", "--json")
    assert whole.json["pictures"][0]["exact"] is True  # what the network sees, and more, is no choice at all
    a, b = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("near", "whole"))
    assert np.abs(a - b).mean() < 0.5 and a.shape == b.shape
    assert_error(snpe_srgan(*fixed, "--overlap", 10, "-o", tmp_path / "x.png"), 1, "they overlap by 10")


def test_run_and_inspect_say_it(pixels, tmp_path):
    onnx.save(attentive(), tmp_path / "net.onnx")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    arguments = ("run", tmp_path / "net.onnx", tmp_path / "photo.png", "--engine", "onnxruntime", "--json")
    whole = snpe_srgan(*arguments, "-o", tmp_path / "whole.png")
    assert whole.json["pictures"][0]["exact"] is True and "tiles" not in whole.err
    tiled = snpe_srgan(*arguments, "-o", tmp_path / "tiled.png", "--tile", "24x40")
    (picture,) = tiled.json["pictures"]
    assert picture["exact"] is False and "means of its own" in picture["notes"][0] and "means of its own" in tiled.err
    assert "reads the whole picture" in inspect_model(resolve(tmp_path / "net.onnx")).remark
