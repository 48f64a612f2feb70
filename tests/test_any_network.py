"""Networks of others go through every verb as they are: layouts, numbers, channels and types of the ends.

Each is held to the picture that it draws itself, computed by ONNX Runtime on the file's own graph.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from onnx import TensorProto, helper, numpy_helper

from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.imaging.pictures import read_picture, write_picture
from snpe_srgan.onnx_graphs.adapt import adapt
from snpe_srgan.onnx_graphs.boundary import RANGES, Boundary, Said, bicubic_taps, chroma
from snpe_srgan.onnx_graphs.finding import find_boundary
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.onnx_graphs.our_form import in_our_form
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.toolchains import qnn

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
needs_qnn = pytest.mark.skipif(qnn.available() is not None, reason="onnxruntime-qnn is not installed")


def stranger(b: Boundary, *, scale=2, size=None, seed=0, block=1) -> onnx.ModelProto:
    """Nearly nearest neighbour by two convolutions and a PReLU, in the numbers and the layout of `b`; with `block` > 1
    behind a pixel unshuffle."""
    rng, inside = np.random.default_rng(seed), 1 if b.channels == "Y" else 3
    (black, white), (low, high) = RANGES[b.takes], RANGES[b.gives]
    gain, wide, out = (high - low) / (white - black), inside * block**2, inside * (scale * block) ** 2
    first = np.zeros((wide + 4, wide, 3, 3))
    first[np.arange(wide), np.arange(wide), 1, 1] = 1
    first[wide:] = rng.normal(0, 0.1, (4, wide, 3, 3))
    last = np.zeros((out, wide + 4, 3, 3))
    for i in range(scale * block):
        for j in range(scale * block):
            for c in range(inside):  # DepthToSpace's own order: place, then channel
                cell = (i // scale * block + j // scale) * inside + c
                last[(i * scale * block + j) * inside + c, cell, 1, 1] = gain
    last[:, wide:] = rng.normal(0, 0.004 * gain, (out, 4, 3, 3))
    kind = np.float16 if "float16" in b.dtypes else np.float32
    offset = low - black * gain + rng.normal(0, 0.003 * (high - low), out)  # small in the network's own numbers alone
    arrays = {"k": first, "s": rng.uniform(0.7, 0.9, (wide + 4, 1, 1)), "l": last, "o": offset}
    arrays["s"][:wide] = 1
    constants = [numpy_helper.from_array(v.astype(kind), name) for name, v in arrays.items()]
    nodes, x = [], "in"

    def op(name, *reads, **own):
        nonlocal x
        nodes.append(helper.make_node(name, [x, *reads], [f"t{len(nodes)}"], **own))
        x = f"t{len(nodes) - 1}"

    nhwc = b.layout == "NHWC"
    if b.dtypes[0] == "uint8":
        op("Cast", to=TensorProto.FLOAT)
    if nhwc:
        op("Transpose", perm=[0, 3, 1, 2])
    if block > 1:
        op("SpaceToDepth", blocksize=block)
    op("Conv", "k", kernel_shape=[3, 3], pads=[1] * 4)
    op("PRelu", "s")
    op("Conv", "l", "o", kernel_shape=[3, 3], pads=[1] * 4)
    op("DepthToSpace", blocksize=scale * block, mode="DCR")
    if b.dtypes[1] == "uint8":
        for name, value in (("zero", 0), ("top", 255)):
            constants.append(numpy_helper.from_array(np.array(value, np.float32), name))
        op("Clip", "zero", "top")
        op("Round")
        op("Cast", to=TensorProto.UINT8)
    if nhwc:
        op("Transpose", perm=[0, 2, 3, 1])
    h, w, big, across = (*size, size[0] * scale, size[1] * scale) if size else ("h", "w", "H", "W")
    shapes = [(1, h, w, inside), (1, big, across, inside)] if nhwc else [(1, inside, h, w), (1, inside, big, across)]
    ends = [helper.make_tensor_value_info(n, TYPES[t], s) for n, t, s in zip(("in", x), b.dtypes, shapes, strict=True)]
    graph = helper.make_graph(nodes, "theirs", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def draws(model: onnx.ModelProto, b: Boundary, pixels: np.ndarray) -> np.ndarray:
    """The picture (h, w, 3) in [0, 1] that the file itself draws of uint8 pixels."""
    lr = (pixels / 255)[None].astype(np.float32)
    return np.clip((b.drawn(np.asarray(runner(model)(b.given(lr))), lr)[0] + 1) / 2, 0, 1)


def photo(height: int, width: int) -> np.ndarray:
    """uint8 (h, w, 3): soft colours of small differences, so that a wrong order or range shows."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([100 + 90 * np.sin(x / 9 + y / 17), 90 + 80 * np.cos(y / 7), 120 + 70 * np.sin((x + y) / 11)], -1)
    return np.clip(waves, 0, 255).astype(np.uint8)


def dB(pixels: np.ndarray, wanted: np.ndarray) -> float:
    return decibel(float(np.mean(np.square(pixels / 255 - wanted))) + 1e-12, peak=1.0)


ENDS = {
    "nchw": Boundary("NCHW", "0..1", "0..1"),
    "nchw signed": Boundary("NCHW", "0..1", "-1..1"),
    "nchw 255": Boundary("NCHW", "0..255", "0..255"),
    "nhwc": Boundary("NHWC", "0..1", "0..1"),
    "nhwc 255": Boundary("NHWC", "0..255", "0..255"),
    "brightness": Boundary("NCHW", "0..1", "0..1", "Y"),
    "brightness nhwc 255": Boundary("NHWC", "0..255", "0..255", "Y"),
    "half": Boundary("NCHW", "0..1", "0..1", "RGB", ("float16", "float16")),
    "bytes": Boundary("NHWC", "0..255", "0..255", "RGB", ("uint8", "uint8")),
    "bytes in": Boundary("NCHW", "0..255", "0..1", "RGB", ("uint8", "float32")),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write_picture(tmp_path / "p.png", Picture(photo(26, 30)))
    (tmp_path / "HR").mkdir()
    for i, side in enumerate((96, 100, 104, 112)):
        write_picture(tmp_path / "HR" / f"{i}.png", Picture(photo(side, side + 8)))
    return tmp_path


@pytest.mark.parametrize("name", ["nchw signed", "nhwc 255", "brightness", "half", "bytes"])
def test_run_and_evaluate_take_it_as_it_is_and_say_what_they_found(name, folder):
    b = ENDS[name]
    model = stranger(b)
    onnx.save(model, folder / "theirs.onnx")
    done = snpe_srgan("run", folder / "theirs.onnx", folder / "p.png", "-o", folder / "big.png")
    assert done.code == 0 and b.describe() in done.err, done
    wanted = draws(model, b, photo(26, 30))
    least = 45 if b.dtypes[1] == "uint8" else 50
    assert dB(read_picture(folder / "big.png").rgb, wanted) > least
    done = snpe_srgan("evaluate", folder / "theirs.onnx", folder / "HR", "--json")
    assert done.code == 0, done
    assert all(d["mean"]["psnr"] > 30 for d in done.json["datasets"])  # soft pictures: nonsense scores far below
    assert not list(folder.glob("*.json"))  # nothing was said, so nothing is kept


@pytest.mark.parametrize("name", ENDS)
def test_the_graph_in_our_form_is_the_same_computation(name):
    b = ENDS[name]
    for scale, size in ((1, None), (3, (12, 17)), (4, None)):
        model = stranger(b, scale=scale, size=size)
        ours = in_our_form(model, b)
        onnx.checker.check_model(ours)
        facts = onnx_facts(ours)
        assert (facts.scale, facts.input_size, facts.overlap) == (scale, size, 2)
        lr = np.random.default_rng(1).integers(0, 256, (1, 12, 17, 3)).astype(np.float32) / 255
        wanted = b.drawn(np.asarray(runner(model)(b.given(lr))), lr)
        tolerance = 0.012 if b.dtypes[1] == "uint8" else 0.01 if "float16" in b.dtypes else 2e-5
        np.testing.assert_allclose(runner(ours)(lr), wanted, atol=tolerance)


@needs_qnn
@pytest.mark.parametrize("name", ["nchw 255", "brightness nhwc 255", "bytes in"])
def test_convert_quantize_and_inspect_need_no_import(name, folder):
    b = ENDS[name]
    model = stranger(b, scale=2)
    onnx.save(model, folder / "theirs.onnx")
    wanted = draws(model, b, photo(26, 30))
    done = snpe_srgan("convert", folder / "theirs.onnx", "-o", folder / "c", "--input-size", "32x32")
    assert done.code == 0, done
    done = snpe_srgan("run", folder / "c" / "theirs.dlc", folder / "p.png", "-o", folder / "c.png")
    # the picture is continued to 32x32 by its mirror image: the last 2 LR pixels see that
    inner = np.s_[:-6, :-6]
    assert done.code == 0 and dB(read_picture(folder / "c.png").rgb[inner], wanted[inner]) > 48, done
    card = json.loads((folder / "c" / "theirs.dlc.json").read_text())
    assert card["ends"]["describes"] == b.describe() and card["ends"]["evidence"] and "said" not in card["ends"]
    done = snpe_srgan("quantize", folder / "theirs.onnx", "-o", folder / "q", "--calibration", folder / "HR",
                      "--recipe", "w8a8-plain", "--count", "4", "--onnx-only")  # fmt: skip
    assert done.code == 0, done
    quantized = folder / "q" / "theirs_w8a8-plain.onnx"
    done = snpe_srgan("run", quantized, folder / "p.png", "-o", folder / "q.png")
    assert done.code == 0 and dB(read_picture(folder / "q.png").rgb, wanted) > 33, done
    done = snpe_srgan("inspect", folder / "theirs.onnx", "--json")
    assert done.code == 0 and done.json["facts"]["takes_and_gives"] == b.describe() and done.json["scale"] == 2


def test_plan_benchmark_and_compare_need_no_import(folder):
    b = ENDS["nchw 255"]
    onnx.save(stranger(b, scale=4), folder / "theirs.onnx")
    done = snpe_srgan("plan", "--chip", "8 gen 3", "--output", "360x640", folder / "theirs.onnx", "--json")
    assert done.json["options"], done
    done = snpe_srgan("benchmark", folder / "theirs.onnx", "--engines", "onnxruntime", "--runs", "1", "--chip", "none",
                      "--input-size", "16x16", "--json")  # fmt: skip
    assert done.code == 0 and done.json["models"][0]["timings"], done
    done = snpe_srgan("compare", folder / "theirs.onnx", folder / "theirs.onnx", "--name", "a",
                      "--name", "b", "--picture", folder / "p.png", "-o", folder / "c.html")  # fmt: skip
    assert done.code == 0 and (folder / "c.html").exists(), done


def test_what_is_said_once_holds_for_every_later_command(folder):
    b = Boundary("NCHW", "0..1", "0..1", "BGR")
    model = stranger(b)
    onnx.save(model, folder / "theirs.onnx")
    wanted = draws(model, b, photo(26, 30))
    run = ("run", folder / "theirs.onnx", folder / "p.png", "-o", folder / "big.png", "--overwrite")
    assert snpe_srgan(*run, "--channels", "BGR").code == 0
    for extra in ((), ("--values", "0..1")):
        done = snpe_srgan(*run, *extra)
        assert done.code == 0
    assert dB(read_picture(folder / "big.png").rgb, draws(model, Boundary("NCHW", "0..1", "0..1"), photo(26, 30))) > 50
    assert snpe_srgan(*run, "--channels", "BGR", "--values", "0..1").code == 0
    done = snpe_srgan("inspect", folder / "theirs.onnx", "--json")
    assert done.json["facts"]["takes_and_gives"] == b.describe()
    done = snpe_srgan("import", folder / "theirs.onnx", "-o", folder / "ours.onnx", "--channels", "BGR", "--json")
    assert done.code == 0 and done.json["boundary"]["channels"] == "BGR"
    assert snpe_srgan("run", folder / "ours.onnx", folder / "p.png", "-o", folder / "ours.png").code == 0
    assert dB(read_picture(folder / "ours.png").rgb, wanted) > 50
    assert_error(snpe_srgan(*run[:1], folder / "ours.onnx", *run[2:], "--values", "0..1"), 2, "ends are known")


def test_a_network_that_resembles_nothing_is_a_warning_that_says_what_is_assumed(folder, rng):
    model = stranger(ENDS["nchw"])
    for tensor in model.graph.initializer:
        if tensor.name == "l":
            tensor.CopyFrom(numpy_helper.from_array(rng.normal(0, 1, tensor.dims).astype(np.float32), "l"))
    onnx.save(model, folder / "theirs.onnx")
    done = snpe_srgan("run", folder / "theirs.onnx", folder / "p.png", "-o", folder / "big.png")
    assert done.code == 0 and "warning: theirs.onnx: in no range" in done.err
    assert "assumed to be NCHW RGB, takes 0..1, gives 0..1" in done.err and "--values" in done.err
    assert not find_boundary(model, where="x").certain
    done = snpe_srgan("run", folder / "theirs.onnx", folder / "p.png", "-o", folder / "big.png", "--overwrite",
                      "--values", "0..255")  # fmt: skip
    assert done.code == 0 and "as the user says" in done.err


@pytest.mark.parametrize("options, says", [
    (("--channels", "Y"), "three channels"), (("--layout", "NHWC"), "input: in"),
    (("--values", "0..1", "--takes", "0..1"), "--takes"),
])  # fmt: skip
def test_what_cannot_be_is_refused(options, says, folder):
    onnx.save(stranger(ENDS["nchw"]), folder / "theirs.onnx")
    done = snpe_srgan("run", folder / "theirs.onnx", folder / "p.png", "-o", folder / "big.png", *options)
    assert done.code in (1, 2) and says in done.err, done


def test_bytes_hold_no_other_numbers(folder):
    onnx.save(stranger(ENDS["bytes"]), folder / "theirs.onnx")
    command = ("run", folder / "theirs.onnx", folder / "p.png", "-o", folder / "big.png", "--values", "0..1")
    assert_error(snpe_srgan(*command), 1, "0..255")


def test_sizes_that_are_no_multiple_are_continued_by_the_mirror_image_and_cut(folder):
    b = ENDS["nchw"]
    model = stranger(b, block=4)
    onnx.save(model, folder / "theirs.onnx")
    assert onnx_facts(adapt(model, where="x")[0]).multiple == 4
    pixels = photo(27, 30)
    write_picture(folder / "odd.png", Picture(pixels))
    run = ("run", folder / "theirs.onnx", folder / "odd.png", "-o", folder / "big.png", "--values", "0..1")
    assert snpe_srgan(*run).code == 0
    wanted = draws(model, b, np.pad(pixels, ((0, 1), (0, 2), (0, 0)), mode="symmetric"))[:54, :60]
    assert dB(read_picture(folder / "big.png").rgb, wanted) > 55


def test_tiles_of_an_unshuffling_network_are_exact(folder):
    b = ENDS["nchw"]
    model = stranger(b, block=2)
    onnx.save(model, folder / "theirs.onnx")
    pixels = photo(90, 84)
    write_picture(folder / "large.png", Picture(pixels))
    run = ("run", folder / "theirs.onnx", folder / "large.png", "--json", "-o", folder / "big.png")
    done = snpe_srgan(*run, "--tile", "40x40", "--values", "0..1")
    assert done.code == 0 and done.json["pictures"][0]["tiles"] > 4, done
    assert dB(read_picture(folder / "big.png").rgb, draws(model, b, pixels)) > 55


def test_colours_around_a_network_of_brightness_are_bicubic(rng):
    from snpe_srgan.imaging.bicubic import upscale

    lr = rng.random((1, 20, 24, 3)).astype(np.float32)
    for scale in (2, 3, 4):
        np.testing.assert_allclose(bicubic_taps(scale).sum(1), 1)
        rest = lr[0] - (lr[0] @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        inner = np.s_[2 * scale : -2 * scale, 2 * scale : -2 * scale]  # the border is the edge's pixel, not its mirror
        np.testing.assert_allclose(chroma(lr, scale)[0][inner], upscale(rest, scale)[inner], atol=2e-6)


def test_the_channels_of_a_graph_without_shapes_are_said():
    model = stranger(ENDS["brightness"])
    for value in (*model.graph.input, *model.graph.output):
        for axis in (1, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"axis{axis}"
    found = find_boundary(model, where="x", said=Said(channels="Y"))
    assert found.certain and found.boundary == ENDS["brightness"]
