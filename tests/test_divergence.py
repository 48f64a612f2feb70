"""Where two runs of a network part: ten faults put into a sound file are named with their layers; sound pairs pass."""

from __future__ import annotations

import json
from pathlib import Path

import helpers_onnx as nets
import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from onnx import helper, numpy_helper
from PIL import Image

from snpe_srgan.divergence.engines import Emulator, Host
from snpe_srgan.divergence.find import diverge
from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.layers import LOCAL, cut_model, layers_of, seen_model
from snpe_srgan.onnx_graphs.run import session
from snpe_srgan.toolchains import qnn
from snpe_srgan.toolchains.hexagon import LOST_UNIT

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=str(qnn.available()))
SIZE = (12, 16)


def picture(size=SIZE) -> np.ndarray:
    return (np.rint(nets.lr_batch(size) * 255) / 255).astype(np.float32)


class Editor:
    """A copy of a graph that a test may break."""

    def __init__(self, model: onnx.ModelProto):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        self.arrays = {t.name: t for t in self.graph.initializer}

    def maker(self, tensor: str) -> onnx.NodeProto:
        return next(n for n in self.graph.node if tensor in n.output)

    def change(self, name: str, function) -> None:
        array = numpy_helper.to_array(self.arrays[name])
        self.arrays[name].CopyFrom(numpy_helper.from_array(np.asarray(function(array.copy()), array.dtype), name))

    def stored(self, tensor: str, place: int) -> str:
        """The initializer behind an operator's constant input: the integers, or the array itself."""
        name = self.maker(tensor).input[place]
        return name if name in self.arrays else self.maker(name).input[0]

    def insert_before(self, tensor: str, kind: str, *constants: np.ndarray, **attributes) -> None:
        """An operator between what makes a tensor's maker's first input and that maker."""
        node = self.maker(tensor)
        names = []
        for i, value in enumerate(constants):
            self.graph.initializer.append(numpy_helper.from_array(value, f"{tensor}_{kind}_{i}"))
            names.append(f"{tensor}_{kind}_{i}")
        out = f"{tensor}_{kind}"
        made = helper.make_node(kind, [node.input[0], *names], [out], name=out, **attributes)
        index = next(i for i, n in enumerate(self.graph.node) if n is node)
        node.input[0] = out
        self.graph.node.insert(index, made)


QUANTIZED = nets.quantize(nets.srgan(SIZE))
CONV, RAW = "conv_14", "conv_14_raw"  # in the middle of the first block, read by an addition


def set_weight(array):
    index = np.unravel_index(int(np.abs(array.astype(int)).argmax()), array.shape)
    array[index] = np.int8(np.uint8(int(array[index]) + 256 - 2 * int(array[index]) & 255))  # its sign is lost
    return array


def wrong_scale(e):
    e.change(f"{CONV}_dq_scale", lambda s: s * 2)


def wrong_zero_point(e):
    e.change(f"{CONV}_dq_zero", lambda z: z + 20)


def wrapped_weight(e):
    e.change(e.stored(RAW, 1), set_weight)


def shifted_bias(e):
    e.change(e.stored(RAW, 2), lambda b: b + 3000)


def wrong_padding(e):
    node = e.maker(RAW)
    next(a for a in node.attribute if a.name == "pads").ints[:] = [2, 2, 0, 0]


def transposed_kernel(e):
    e.change(e.stored(RAW, 1), lambda w: w.swapaxes(2, 3))


def clipped_range(e):
    for name in (f"{CONV}_dq_scale",):
        e.change(name, lambda s: s / 3)


def swapped_channels(e):
    e.change(e.stored(RAW, 1), lambda w: w[[1, 0, *range(2, len(w))]])
    for place in (1, 2):
        name = e.maker(e.maker(RAW).input[place]).input[1]
        e.change(name, lambda s: s[[1, 0, *range(2, len(s))]])
    e.change(e.stored(RAW, 2), lambda b: b[[1, 0, *range(2, len(b))]])


def misrounded_shuffle(e):
    scale = numpy_helper.to_array(e.arrays["depthtospace_32_dq_scale"])
    e.insert_before("depthtospace_32_dq_q", "Add", np.float32(-0.51) * scale)


FAULTS = {
    "scale": (wrong_scale, CONV),
    "zero-point": (wrong_zero_point, CONV),
    "weights": (wrapped_weight, CONV),
    "bias": (shifted_bias, CONV),
    "padding": (wrong_padding, CONV),
    "kernel": (transposed_kernel, CONV),
    "clipped-range": (clipped_range, CONV),
    "channels": (swapped_channels, CONV),
    "shuffle-rounding": (misrounded_shuffle, "depthtospace_32"),
}


@pytest.mark.parametrize("cause", FAULTS)
def test_a_fault_in_a_file_is_named(cause):
    fault, layer = FAULTS[cause]
    editor = Editor(QUANTIZED)
    fault(editor)
    found = diverge(QUANTIZED, editor.model, picture(), where=Host()).report
    assert found.first.name == layer
    assert found.first.cause.name == cause, found.first.cause
    assert found.worst.name == layer  # and no other layer is blamed for what it was given
    assert found.picture.psnr is not None and found.disturbed == 0
    assert found.layers[[row.name for row in found.layers].index(layer)].differs
    assert [row.name for row in found.layers if row.departs] == [layer]


def loud() -> onnx.ModelProto:
    """A float network whose second convolution gives values beyond float16."""
    e = Editor(nets.srgan(SIZE))
    for place in (1, 2):
        e.change(e.graph.node[3].input[place], lambda w: w * np.float32(1e5))
    return e.model


def test_float16_that_overflows_is_named():
    sound = loud()
    tensor = sound.graph.node[3].output[0]
    broken = Editor(sound)
    reader = next(n for n in broken.graph.node if tensor in n.input)
    half = helper.make_node("Cast", [tensor], ["half"], name="half", to=onnx.TensorProto.FLOAT16)
    back = helper.make_node("Cast", ["half"], ["back"], name="back", to=onnx.TensorProto.FLOAT)
    index = next(i for i, n in enumerate(broken.graph.node) if n is reader)
    reader.input[0] = "back"
    broken.graph.node.insert(index, back)
    broken.graph.node.insert(index, half)
    found = diverge(sound, broken.model, picture(), where=Host()).report
    assert found.first.kind == "Conv" and found.first.cause.name == "float16-overflow"
    assert found.first.local.broken > 0


@pytest.mark.parametrize("model", [QUANTIZED, nets.quantize(nets.mobile(SIZE), bits=16), nets.srgan(SIZE)])
def test_a_file_does_not_part_from_itself(model):
    found = diverge(model, model, picture(), where=Host()).report
    assert found.first is None and found.worst is None and found.picture.psnr is None and not found.unpaired


@pytest.mark.parametrize("model", [QUANTIZED, nets.quantize(nets.mobile(SIZE)), nets.mobile(SIZE)])
def test_layers_hold_the_whole_graph_and_compute_alone_what_they_do_in_it(model):
    layers = layers_of(model)
    computing = {n.output[0] for n in model.graph.node}
    assert {n.output[0] for layer in layers for n in layer.nodes} == computing
    names = [layer.output for layer in layers]
    seen = session(seen_model(model, layers), integer_kernels=False)(names, {"lr": picture()})
    values = dict(zip(names, seen, strict=True))
    read = {name for layer in layers for name in layer.inputs}
    given = {name: value for name, value in (values | {"lr": picture()}).items() if name in read}
    alone = session(cut_model(model, layers), integer_kernels=False)([LOCAL + name for name in names], given)
    assert all(np.array_equal(one, values[name]) for one, name in zip(alone, names, strict=True))


def test_two_networks_are_no_two_forms_of_one():
    with pytest.raises(InputError, match="not two forms of one network"):
        diverge(nets.mobile(SIZE), QUANTIZED, picture(), where=Host())


def test_a_network_of_another_width_is_refused_with_the_layer():
    narrow, wide = nets.srgan(SIZE, blocks=1, width=4), nets.srgan(SIZE, blocks=1, width=8)
    with pytest.raises(InputError, match=r"layer .* gives \[1, 4, .*\] in one and \[1, 8, .*not two forms"):
        diverge(narrow, wide, picture(), where=Host())


def test_a_float_file_beside_its_quantized_form_parts_by_rounding_alone():
    model = nets.mobile(SIZE)
    report = diverge(model, nets.quantize(model), picture(), where=Host()).report
    assert report.picture.psnr is not None
    assert {layer.cause.name for layer in report.layers if layer.cause} <= {"quantization"}
    with pytest.raises(InputError, match="float"):
        diverge(nets.quantize(model), model, picture(), where=Host())


# ---- the command ----


def written(path, model):
    onnx.save(model, path)
    return str(path)


def test_inspect_names_the_layer_of_the_second_file(tmp_path):
    editor = Editor(QUANTIZED)
    transposed_kernel(editor)
    good, bad = written(tmp_path / "good.onnx", QUANTIZED), written(tmp_path / "bad.onnx", editor.model)
    arguments = ["inspect", good, bad, "--on", "host", "--input-size", "12x16"]
    result = snpe_srgan(*arguments, "--json", "-o", tmp_path / "out").json
    assert result["first"] == result["worst"] == CONV
    assert [Path(p).is_file() for p in result["files"]] == [True] * 3
    assert json.loads(Path(result["files"][0]).read_text())["first"] == CONV
    assert f"first layer that departs: {CONV}" in snpe_srgan(*arguments).out
    assert_error(snpe_srgan(*arguments, "-o", tmp_path / "out"), 1, "good.divergence.json")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--on", "host"], 2, "the same twice"),
        (["--picture", "x.png"], 2, "goes with --on"),
        (["--on", "host", "--chip", "57"], 2, "--chip goes with --on emulator"),
        (["--on", "host", "--to-onnx", "x.onnx"], 2, "exclude each other"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(tmp_path, options, code, said):
    assert_error(snpe_srgan("inspect", written(tmp_path / "a.onnx", QUANTIZED), *options), code, said)


def test_a_picture_that_is_too_small_is_said(tmp_path):
    a = written(tmp_path / "a.onnx", QUANTIZED)
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    assert_error(snpe_srgan("inspect", a, a, "--on", "host", "--picture", tmp_path / "small.png"), 1, "smaller than")


@needs_wheel
def test_operators_that_onnx_does_not_know_are_named(tmp_path):
    node = helper.make_node("QLinearAdd", ["lr"], ["sr"], domain="com.microsoft")
    sizes = {"lr": [1, 8, 8, 3], "sr": [1, "h", "w", 3]}
    ports = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size)] for name, size in sizes.items()]
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", *ports), opset_imports=domains, ir_version=9)
    path = written(tmp_path / "a.onnx", model)
    assert_error(snpe_srgan("inspect", path, "--on", "emulator"), 1, "com.microsoft.QLinearAdd", "QDQ")


# ---- the chip ----


@needs_wheel
@pytest.mark.parametrize("bits", [8, 16])
def test_looking_into_the_emulator_leaves_the_picture_as_it_is(bits):
    model = nets.quantize(nets.srgan(SIZE, blocks=1), bits=bits)
    found = diverge(model, model, picture(), where=Emulator("SM8650")).report
    assert found.disturbed == 0
    assert found.first is None or found.first.cause.name == "fused"


@needs_wheel
def test_a_fault_in_the_file_that_the_emulator_runs_is_named():
    editor = Editor(QUANTIZED)
    wrapped_weight(editor)
    found = diverge(QUANTIZED, editor.model, picture(), where=Emulator("SM8650")).report
    assert (found.first.name, found.first.cause.name, found.disturbed) == (CONV, "weights", 0)


@needs_wheel
def test_float16_that_overflows_on_the_emulator_is_named():
    found = diverge(loud(), loud(), picture(), where=Emulator("SM8650")).report
    assert found.first.kind.startswith("Conv") and found.first.cause.name == "float16-overflow"
    exact = diverge(loud(), loud(), picture(), where=Emulator(None)).report  # in true float32
    assert exact.first is None and exact.disturbed == 0


@needs_wheel
def test_the_chip_adds_up_16_bits_without_the_low_ones():
    """What `toolchains/hexagon.py` says, measured: without bias and zero point the loss is uniform in 0..255."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**16, (1, 16, 16, 32)).astype(np.int64)
    w = rng.integers(-7, 8, (32, 32, 1, 1))
    sums = np.einsum("nhwc,oc->nohw", x, w[:, :, 0, 0])
    y = (float(sums.max() - sums.min()) * 1.1) / 65535
    model = one_convolution(w.astype(np.int8), scale=np.float32(y), zero=int(-sums.min() * 1.05 / y))
    got = Emulator("SM8650").run(model, {"x": x.astype(np.float32)})["y"]
    units = np.rint(got.transpose(0, 3, 1, 2) / y) * y - sums
    assert -LOST_UNIT / 2 - 8 < units.mean() < -LOST_UNIT / 2 + 8
    assert abs(units.std() - LOST_UNIT / np.sqrt(12)) < 8


def one_convolution(weights: np.ndarray, *, scale: np.float32, zero: int) -> onnx.ModelProto:
    """1x1, 16-bit activations with a product's worth of 1: x -> y, both NHWC."""
    arrays = {
        "one": np.float32(1), "x0": np.uint16(0), "w": weights, "ws": np.ones(len(weights), np.float32),
        "w0": np.zeros(len(weights), np.int8), "b": np.zeros(len(weights), np.int32),
        "b0": np.zeros(len(weights), np.int32), "ys": scale, "y0": np.uint16(zero),
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 3, 1, 2]),
        helper.make_node("QuantizeLinear", ["xt", "one", "x0"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "x0"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "w0"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "ws", "b0"], ["bd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["c", "ys", "y0"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "ys", "y0"], ["cd"]),
        helper.make_node("Transpose", ["cd"], ["y"], perm=[0, 2, 3, 1]),
    ]
    ports = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 16, 16, len(weights)]) for n in "xy"]
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    graph = helper.make_graph(nodes, "one", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
