"""Graphs of others in our form: the same pictures whatever their layout and numbers, found out or said."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import run_onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.boundary import LAYOUTS, RANGES, TRIED, Boundary, is_ours
from snpe_srgan.onnx_graphs.finding import find_boundary
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.onnx_graphs.our_form import in_our_form

KINDS = {"float32": (np.float32, TensorProto.FLOAT), "float16": (np.float16, TensorProto.FLOAT16)}


def foreign(rng, layout: str, takes: str, gives: str, *, kind="float32", clip=True, colour="RGB", size=None, scale=2):
    """A network that enlarges: nearly nearest neighbour, with a bias that only its own numbers bear."""
    dtype, element = KINDS[kind]
    (b, w), (low, high) = RANGES[takes], RANGES[gives]
    gain = (high - low) / (w - b)
    kernel = rng.normal(0, 0.02, (3 * scale**2, 3, 3, 3))
    for i in range(3 * scale**2):
        kernel[i, i % 3, 1, 1] += 1
    bias = low - b * gain + rng.normal(0, 0.01 * (high - low), 3 * scale**2)
    arrays = {"k": kernel * gain, "b": bias, "low": np.array(low), "high": np.array(high)}
    nhwc = layout == "NHWC"
    nodes = [helper.make_node("Transpose", ["in"], ["x"], perm=[0, 3, 1, 2])] if nhwc else []
    nodes += [
        helper.make_node("Conv", ["x" if nhwc else "in", "k", "b"], ["y"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["y"], ["z"], blocksize=scale, mode="DCR"),
    ]
    last = "z"
    if clip:
        nodes.append(helper.make_node("Clip", ["z", "low", "high"], ["c"]))
        last = "c"
    end = helper.make_node("Transpose", [last], ["out"], perm=[0, 2, 3, 1])
    nodes.append(end if nhwc else helper.make_node("Identity", [last], ["out"]))
    h, w_, big, wide = (*size, size[0] * scale, size[1] * scale) if size else ("h", "w", "H", "W")
    shapes = [(1, h, w_, 3), (1, big, wide, 3)] if nhwc else [(1, 3, h, w_), (1, 3, big, wide)]
    graph = helper.make_graph(
        nodes, "theirs", [helper.make_tensor_value_info("in", element, shapes[0])],
        [helper.make_tensor_value_info("out", element, shapes[1])],
        [numpy_helper.from_array(a.astype(dtype), name) for name, a in arrays.items() if clip or name in "kb"],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def picture_of(model, lr, layout, takes, gives, kind="float32"):
    """What the network itself draws of lr in [0, 1], as [-1, 1] NHWC."""
    (b, w), (low, high) = RANGES[takes], RANGES[gives]
    x = lr * (w - b) + b
    raw = run_onnx(model, (x if layout == "NHWC" else x.transpose(0, 3, 1, 2)).astype(KINDS[kind][0]))
    raw = raw.astype(np.float32) if layout == "NHWC" else raw.astype(np.float32).transpose(0, 2, 3, 1)
    return (raw - low) / (high - low) * 2 - 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("takes, gives", TRIED)
@pytest.mark.parametrize("kind, clip", [("float32", True), ("float32", False), ("float16", True)])
def test_the_rewritten_graph_draws_the_same_picture(rng, layout, takes, gives, kind, clip):
    model = foreign(rng, layout, takes, gives, kind=kind, clip=clip)
    lr = rng.random((1, 10, 12, 3)).astype(np.float32)
    ours = in_our_form(model, Boundary(layout, takes, gives, "RGB", (kind, kind)))
    onnx.checker.check_model(ours)
    assert is_ours(ours) and not is_ours(model)
    facts = onnx_facts(ours)
    assert (facts.scale, facts.input_size, facts.overlap) == (2, None, 1)
    tolerance = 2e-6 if kind == "float32" else 3e-3
    np.testing.assert_allclose(
        run_onnx(ours, lr), picture_of(model, lr, layout, takes, gives, kind), atol=tolerance
    )
    extra = [n.op_type for n in ours.graph.node].count("Conv") - 1
    assert extra == (takes == "-1..1")  # all but an offset of the input is folded into the convolutions that it has


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("takes, gives", TRIED)
def test_the_numbers_are_found_by_a_picture(rng, layout, takes, gives):
    found = find_boundary(foreign(rng, layout, takes, gives, size=(32, 40)), where="theirs.onnx")
    assert found.certain and found.boundary.layout == layout and len(found.evidence) == len(TRIED) + 2
    assert (found.boundary.takes, found.boundary.gives) == (takes, gives)


def test_a_network_that_draws_nothing_alike_is_not_certain(rng):
    model = foreign(rng, "NCHW", "0..1", "0..1")
    for tensor in model.graph.initializer:
        if tensor.name == "k":
            tensor.CopyFrom(numpy_helper.from_array(rng.normal(0, 1, (12, 3, 3, 3)).astype(np.float32), "k"))
    assert not find_boundary(model, where="x").certain


def test_red_and_blue_are_exchanged_when_the_user_says_so(rng):
    model = foreign(rng, "NCHW", "0..1", "0..1")
    lr = rng.random((1, 8, 8, 3)).astype(np.float32)
    ours = in_our_form(model, Boundary("NCHW", "0..1", "0..1", "BGR"))
    expected = picture_of(model, lr[..., ::-1], "NCHW", "0..1", "0..1")[..., ::-1]
    np.testing.assert_allclose(run_onnx(ours, lr), expected, atol=2e-6)


@pytest.mark.parametrize("shape", [(1, 2, "h", "w"), (1, "h", "w", 5), (1, 4, "h", "w"), (1, 3, "h"), (2, 3, 8, 8)])
def test_ends_that_are_no_rgb_picture_are_named(shape):
    value = helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Relu", ["in"], ["out"])], "g", [value],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)])  # fmt: skip
    with pytest.raises(InputError, match="'in'"):
        find_boundary(helper.make_model(graph), where="x")


def test_import_takes_a_graph_and_every_verb_takes_the_result(rng, tmp_path):
    from snpe_srgan.imaging.picture import Picture
    from snpe_srgan.imaging.pictures import read_picture, write_picture

    source, out, photo = tmp_path / "theirs.onnx", tmp_path / "ours.onnx", tmp_path / "p.png"
    model = foreign(rng, "NCHW", "0..255", "0..255")
    onnx.save(model, source)
    y, x = np.mgrid[0:24, 0:30]
    pixels = np.stack([8 * y, 8 * x, 4 * (x + y)], -1).clip(0, 255).astype(np.uint8)
    write_picture(photo, Picture(pixels))
    done = snpe_srgan("import", source, "-o", out, "--json")
    assert done.code == 0 and done.json["boundary"]["takes"] == "0..255" and done.json["certain"], done
    assert snpe_srgan("run", out, photo, "-o", tmp_path / "big.png").code == 0
    drawn = picture_of(model, (pixels / 255.0)[None].astype(np.float32), "NCHW", "0..255", "0..255")[0]
    result = read_picture(tmp_path / "big.png").rgb
    assert np.abs(result - np.clip((drawn + 1) * 127.5, 0, 255)).max() < 1
    assert snpe_srgan("inspect", out).code == 0
    done = snpe_srgan("import", source, "-o", tmp_path / "x.npz")  # as layers of ours
    assert done.code == 0 and snpe_srgan("run", tmp_path / "x.npz", photo, "-o", tmp_path / "n.png").code == 0, done
    assert np.abs(read_picture(tmp_path / "n.png").rgb.astype(int) - result).max() <= 1
    assert_error(snpe_srgan("import", source, "-o", tmp_path / "x.pb"), 2, ".onnx")
    assert_error(snpe_srgan("import", source, "-o", source, "--overwrite"), 1, "theirs.onnx")


def test_a_size_that_is_no_multiple_is_continued_and_cut(rng, tmp_path):
    from snpe_srgan.imaging.picture import Picture
    from snpe_srgan.imaging.pictures import read_picture, write_picture

    kernel = np.zeros((48, 12, 3, 3), np.float32)  # of an unshuffled picture: each pixel twice as high and wide
    for i in range(4):
        for j in range(4):
            for c in range(3):
                kernel[(i * 4 + j) * 3 + c, ((i // 2) * 2 + j // 2) * 3 + c, 1, 1] = 1
    kernel += rng.normal(0, 0.01, kernel.shape).astype(np.float32)
    nodes = [
        helper.make_node("SpaceToDepth", ["in"], ["small"], blocksize=2),
        helper.make_node("Conv", ["small", "k"], ["y"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["y"], ["out"], blocksize=4, mode="DCR"),
    ]
    shapes = (1, 3, "h", "w"), (1, 3, "H", "W")
    graph = helper.make_graph(
        nodes, "unshuffle", [helper.make_tensor_value_info("in", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shapes[1])], [numpy_helper.from_array(kernel, "k")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "x2plus.onnx")
    pixels = rng.integers(0, 256, (13, 11, 3), np.uint8)
    write_picture(tmp_path / "p.png", Picture(pixels))
    assert snpe_srgan("import", tmp_path / "x2plus.onnx", "-o", tmp_path / "ours.onnx", "--takes", "0..1").code == 0
    done = snpe_srgan("run", tmp_path / "ours.onnx", tmp_path / "p.png", "-o", tmp_path / "big.png")
    assert done.code == 0, done
    padded = np.pad(pixels, ((0, 1), (0, 1), (0, 0)), mode="symmetric")
    whole = run_onnx(model, (padded / 255.0)[None].transpose(0, 3, 1, 2).astype(np.float32))[0].transpose(1, 2, 0)
    expected = np.clip(whole[:26, :22] * 255, 0, 255)
    assert np.abs(read_picture(tmp_path / "big.png").rgb - expected).max() < 1


@pytest.mark.parametrize("kind", ["Clip", "Identity", "Min"])
def test_a_network_that_does_not_look_at_its_picture_is_refused(tmp_path, kind):
    reads = {"Clip": ["c"], "Identity": ["c"], "Min": ["c", "d"]}[kind]
    nodes = [helper.make_node("Relu", ["lr"], ["seen"]), helper.make_node(kind, reads, ["sr"])]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s, s, 3]) for n, s in (("lr", 16), ("sr", 64))]
    constants = [numpy_helper.from_array(np.zeros((1, 64, 64, 3), np.float32), name) for name in "cd"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    path = tmp_path / "blind.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    Image.new("RGB", (16, 16)).save(tmp_path / "p.png")
    for verb, *more in (("run", tmp_path / "p.png"), ("quantize", "--onnx-only")):
        assert_error(snpe_srgan(verb, path, *more), 1, "does not depend on its input")
    assert "does not depend on its input" in snpe_srgan("inspect", path).out
