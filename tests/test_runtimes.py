"""Sessions: every file kind on every engine gives the same picture; hostile and wrong models are errors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers_networks import random_weights
from helpers_onnx import Net, lr_batch, mobile, quantize, run_cpu, srgan
from onnx import TensorProto, helper

from snpe_srgan.errors import InputError, MissingToolError, UsageError
from snpe_srgan.imaging.tiles import plan_tiles
from snpe_srgan.models.cost import receptive_radius
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.model import fix_size, onnx_facts
from snpe_srgan.onnx_graphs.wide_convolution import widen
from snpe_srgan.runtimes import tiling
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.session import Description
from snpe_srgan.runtimes.tiling import choose_tile, plan_tiling
from snpe_srgan.runtimes.upscale import upscale_pixels
from snpe_srgan.toolchains import qnn
from snpe_srgan.zoo.resolve import resolve

SMALL = {"srgan": {"blocks": 2, "width": 8}, "mobile": {}}
needs_qnn = pytest.mark.skipif(qnn.available() is not None, reason=f"no emulator: {qnn.available()}")


def free(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its height and width free."""
    for value in (*model.graph.input, *model.graph.output):
        for axis in (1, 2):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    return model


def saved(model: onnx.ModelProto, folder, name="net.onnx"):
    onnx.save(model, folder / name)
    return resolve(folder / name)


@pytest.fixture
def npz(tmp_path, rng):
    graph = describe("srgan", SMALL["srgan"])
    save_npz(tmp_path / "net.npz", graph, random_weights(graph, rng))
    return resolve(tmp_path / "net.npz")


# -- engines agree ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("make", [srgan, mobile])
def test_host_engines_compute_the_onnx_graph(engine, make, tmp_path):
    with open_session(saved(make(), tmp_path), engine=engine, threads=1) as session:
        assert np.abs(session.run(lr_batch()) - run_cpu(make(), lr_batch())[0]).max() < 1e-5
        assert (session.description.engine, session.scale, session.input_size) == (engine, 4, (12, 16))


def test_npz_runs_at_any_size_on_both_engines(npz):
    with open_session(npz, engine="openvino") as one, open_session(npz, engine="onnxruntime") as two:
        for size in ((9, 14), (16, 5), (1, 1)):
            assert np.abs(one.run(lr_batch(size)) - two.run(lr_batch(size))).max() < 1e-5


@needs_qnn
def test_a_dlc_runs_as_the_graph_it_was_made_from(tmp_path):
    model = quantize(srgan())
    file = saved(model, tmp_path)
    qnn.write_dlc(file.path, tmp_path / "net.dlc")
    with open_session(resolve(tmp_path / "net.dlc"), engine="onnxruntime") as session:
        assert session.input_size == (12, 16) and session.description.radius == 12
        assert np.abs(session.run(lr_batch()) - run_cpu(model, lr_batch())[0]).max() < 0.02
    with open_session(file, on="emulator") as one, open_session(resolve(tmp_path / "net.dlc"), on="emulator") as two:
        np.testing.assert_array_equal(one.run(lr_batch()), two.run(lr_batch()))


@needs_qnn
def test_the_emulator_takes_a_free_size_model_at_the_size_of_the_picture(tmp_path):
    file = saved(free(srgan()), tmp_path)
    with open_session(file, on="emulator", chip="none") as session:
        assert session.input_size is None
        for size in ((8, 8), (6, 10)):
            expected = run_cpu(srgan(size), lr_batch(size))[0]
            assert np.abs(session.run(lr_batch(size)) - expected).max() < 1e-4


@needs_qnn
def test_after_a_failure_the_emulator_starts_again(tmp_path, monkeypatch):
    with open_session(saved(free(srgan()), tmp_path), on="emulator") as session:
        expected = session.run(lr_batch((6, 6)))
        session._lanes._idle[0][1]._worker._process.kill()
        with pytest.raises(Exception, match="signal 9"):
            session.run(lr_batch((6, 6)))
        np.testing.assert_array_equal(session.run(lr_batch((6, 6))), expected)


# -- facts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_facts_of_a_network_are_those_of_its_layers(name, rng):
    from snpe_srgan.onnx_graphs.from_layers import to_onnx

    graph = describe(name, SMALL[name])
    facts = onnx_facts(to_onnx(graph, random_weights(graph, rng)))
    assert (facts.scale, facts.overlap, facts.input_size) == (4, receptive_radius(graph), None)


@pytest.mark.parametrize("bits", [None, 8, 16])
def test_quantization_does_not_change_the_radius(bits):
    model = srgan((40, 48))
    assert onnx_facts(model if bits is None else quantize(model, bits)).overlap == 12


def measured_radius(model, size: int) -> int:
    """The largest distance from a changed pixel, in LR pixels, at which an output pixel changes."""
    lr, spot = lr_batch((size, size)), size // 2
    changed = lr.copy()
    changed[0, spot, spot] = 1 - changed[0, spot, spot]
    rows = np.nonzero((run_cpu(model, lr)[0] != run_cpu(model, changed)[0]).any(axis=(0, 2, 3)))[0] // 4
    return int(np.abs(rows - spot).max())


@pytest.mark.parametrize("make", [srgan, mobile])
def test_the_radius_covers_what_a_pixel_reaches(make):
    size = 41
    radius = onnx_facts(make((size, size), blocks=1)).overlap
    assert radius - 1 <= measured_radius(make((size, size), blocks=1), size) <= radius


@pytest.mark.parametrize(
    ("place", "rounding"),
    [("asymmetric", "floor"), ("asymmetric", "ceil"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "floor")],
)
def test_an_enlargement_that_moves_the_picture_reaches_further(place, rounding, tmp_path):
    net = Net()
    scales = net.const(np.array([1, 1, 4, 4], np.float32))
    how = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    model = net.model(net.op("Resize", net.start(), "", scales, mode="nearest", **how), (11, 11))
    reached = measured_radius(model, 11)
    assert onnx_facts(model).overlap == reached
    onnx.save(free(model), tmp_path / "net.onnx")
    with open_session(resolve(tmp_path / "net.onnx"), engine="openvino") as session:
        assert session.description.radius == reached


def test_an_operator_that_sees_everything_leaves_the_radius_unknown(tmp_path):
    net = Net()
    x = net.conv(net.start(), 3, 48)
    x = net.op("Mul", x, net.op("LpNormalization", x, axis=2))
    model = net.model(net.op("DepthToSpace", x, blocksize=4, mode="DCR"), (12, 16))
    with open_session(saved(model, tmp_path), engine="onnxruntime") as session:
        assert session.plan(12, 16).tiles == 1
        with pytest.raises(InputError, match="LpNormalization"):
            session.plan(30, 30)


# -- tiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_tiled_equals_whole(engine, npz, rng):
    pixels = rng.integers(0, 256, (70, 64, 3), dtype=np.uint8)
    with open_session(npz, engine=engine) as session:
        whole = upscale_pixels(session, pixels, tile=(70, 64)).pixels
        np.testing.assert_array_equal(upscale_pixels(session, pixels, tile=(40, 33)).pixels, whole)


def test_fixed_size_tiles_equal_whole(tmp_path, rng):
    pixels = rng.integers(0, 65536, (50, 61, 3), dtype=np.uint16)
    with open_session(saved(mobile((20, 24)), tmp_path)) as fixed:
        tiled = upscale_pixels(fixed, pixels).pixels
    with open_session(saved(free(mobile()), tmp_path, "free.onnx")) as session:
        difference = np.abs(tiled.astype(int) - upscale_pixels(session, pixels, tile=(50, 61)).pixels.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # two shapes may round a half two ways


@pytest.mark.parametrize("size", [(100, 100), (37, 900), (900, 37), (2000, 3000), (50, 50)])
@pytest.mark.parametrize("overlap", [0, 3, 40])
def test_chosen_tiles_stay_within_the_budget_and_waste_little(size, overlap):
    pixels = 200 * 200
    tile = choose_tile(*size, overlap=overlap, pixels=pixels)
    if tile is None:
        assert size[0] * size[1] <= pixels
        return
    assert tile[0] * tile[1] <= pixels * 1.02  # lengths are rounded up
    work = sum(t.height * t.width for t in plan_tiles(*size, tile=tile, overlap=overlap))
    square = sum(t.height * t.width for t in plan_tiles(*size, tile=(200, 200), overlap=overlap))
    assert work <= square * 1.02


@pytest.mark.parametrize(("overlap", "a_pixel"), [(0, 1), (6, 576), (40, 12000)])
@pytest.mark.parametrize("size", [(50, 50), (866, 1155), (300, 9000)])
def test_more_memory_is_taken_only_where_it_saves_work(size, overlap, a_pixel, monkeypatch):
    monkeypatch.setattr(tiling, "available_memory", lambda: 64 << 30)
    description = Description(Path("here"), "none", radius=overlap, bytes_per_pixel=a_pixel)

    def cost(tile):
        tiles = plan_tiles(*size, tile=tile or size, overlap=overlap)
        return tiles[0].height * tiles[0].width * a_pixel, sum(t.height * t.width for t in tiles) / (size[0] * size[1])

    memory, work = cost(plan_tiling(description, *size).tile)
    assert memory <= 1.02 * tiling.BUDGETS[-1] and (work <= tiling.TWICE or memory > tiling.BUDGETS[-1] / 2)
    half = choose_tile(*size, overlap=overlap, pixels=int(memory / 2.1) // a_pixel)
    assert memory <= 1.02 * tiling.BUDGETS[0] or cost(half)[1] > tiling.TWICE


def test_a_fixed_size_below_twice_the_radius_names_the_size_to_convert_with(tmp_path):
    with (
        open_session(saved(srgan(), tmp_path), engine="onnxruntime") as session,
        pytest.raises(InputError) as error,
    ):
        session.plan(30, 30)
    assert "--input-size 56x56" in error.value.hint


# -- wrong and hostile models ---------------------------------------------------------------------------------------


def broken(kind: str) -> onnx.ModelProto:
    """A model that is wrong in one way."""
    model = srgan()
    graph, lr = model.graph, model.graph.input[0]
    if kind == "external":
        tensor = graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
    elif kind == "external constant":
        value = TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        value.external_data.add(key="location", value="../secret")
        graph.node.append(helper.make_node("Constant", [], ["k"], value=value))
    elif kind == "two inputs":
        graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    elif kind == "two outputs":
        graph.output.append(helper.make_tensor_value_info(graph.node[0].output[0], TensorProto.FLOAT, [1, 3, 12, 16]))
    elif kind == "one channel":
        lr.type.tensor_type.shape.dim[3].dim_value = 1
    elif kind == "nchw":
        for axis, length in enumerate((1, 3, 12, 16)):
            lr.type.tensor_type.shape.dim[axis].dim_value = length
    elif kind == "integers":
        lr.type.tensor_type.elem_type = TensorProto.UINT8
    elif kind == "loop":
        body = helper.make_graph([], "body", [], [])
        graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body))
    elif kind == "foreign operator":
        graph.node[1].domain = "evil"
    elif kind == "half fixed":
        lr.type.tensor_type.shape.dim[1].dim_param = "h"
    elif kind == "not enlarged":
        net = Net()
        return net.model(net.conv(net.start(), 3, 8), (12, 16), scale=1)
    elif kind == "bomb":
        net = Net()
        shape = net.const(np.array([1, 3, 1 << 17, 1 << 17]))
        return net.model(net.op("Expand", net.conv(net.start(), 3, 3), shape), (1, 1))
    return model


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("external", "another file"),
        ("external constant", "another file"),
        ("two inputs", "2 inputs"),
        ("two outputs", "2 outputs"),
        ("one channel", "cannot be run"),
        ("nchw", "cannot be run"),
        ("integers", "cannot be run"),
        ("loop", "branches"),
        ("foreign operator", "evil"),
        ("half fixed", "fixed"),
        ("not enlarged", "not a super-resolution model"),
        ("bomb", "not a network for pictures"),
    ],
)
def test_a_model_that_is_wrong_is_an_error(kind, said, tmp_path):
    (tmp_path / "net.onnx").write_bytes(broken(kind).SerializeToString())
    with pytest.raises(InputError) as error:
        open_session(resolve(tmp_path / "net.onnx"))
    assert said in str(error.value)


@pytest.mark.parametrize("suffix", ["onnx", "npz", "dlc", "pb"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(range(256)) * 8])
def test_files_that_are_no_models(suffix, content, tmp_path):
    (tmp_path / f"x.{suffix}").write_bytes(content)
    with pytest.raises(InputError):
        open_session(resolve(tmp_path / f"x.{suffix}"))


def test_a_truncated_onnx_is_an_error(tmp_path):
    data = srgan().SerializeToString()
    for length in (len(data) // 3, len(data) - 7):
        (tmp_path / "x.onnx").write_bytes(data[:length])
        with pytest.raises(InputError):
            open_session(resolve(tmp_path / "x.onnx"))


def test_fix_size_leaves_the_model_alone():
    model = free(srgan())
    before = model.SerializeToString()
    fixed = fix_size(model, (10, 12))
    assert model.SerializeToString() == before
    assert [d.dim_value for d in fixed.graph.output[0].type.tensor_type.shape.dim] == [1, 40, 48, 3]


# -- what is missing ------------------------------------------------------------------------------------------------


def test_without_openvino_onnx_runtime_takes_over_by_name(npz, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with open_session(npz) as session:
        assert session.description.engine == "onnxruntime"
    with pytest.raises(MissingToolError, match="openvino"):
        open_session(npz, engine="openvino")


def test_a_pb_without_openvino_is_a_missing_tool(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    (tmp_path / "x.pb").write_bytes(b"x")
    with pytest.raises(MissingToolError, match="openvino"):
        open_session(resolve(tmp_path / "x.pb"))


def test_without_the_wheel_the_emulator_is_a_missing_tool(npz, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    with pytest.raises(MissingToolError, match=r"onnxruntime-qnn (is not installed|needs Python 3\.11)"):
        open_session(npz, on="emulator")


@pytest.mark.parametrize("on", ["sdk", "device"])
def test_sdk_and_device_say_what_they_need(npz, on):
    with pytest.raises(MissingToolError, match="SNPE or QAIRT SDK"):
        open_session(npz, on=on)


@pytest.mark.parametrize(
    "options",
    [{"on": "emulater"}, {"engine": "onnx"}, {"precision": "f16"}, {"engine": "onnxruntime", "precision": "bf16"}],
)
def test_contradictions_are_usage_errors(npz, options):
    with pytest.raises(UsageError):
        open_session(npz, **options)


# -- frozen graphs ----------------------------------------------------------------------------------------------------


def message(*fields: tuple[int, bytes]) -> bytes:
    """Length-delimited protobuf fields shorter than 128 bytes."""
    return b"".join(bytes([number << 3 | 2, len(value)]) + value for number, value in fields)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (message((1, message((1, b"w"), (2, b"VarHandleOp")))), "'w' is a variable"),
        (message((1, message((1, b"w")))), "without a name or an operator"),
        (message((1, message((1, b"\xff"), (2, b"Add")))), "utf-8"),
        (message((1, message((1, b"x"), (2, b"Add"))))[:-1], "cut short"),
        (b"\x08\x01" + message((2, b"")), "SavedModel"),
        (b"", "no nodes"),
    ],
)
def test_a_pb_that_is_no_frozen_graph(content, said, tmp_path, capfd):
    (tmp_path / "x.pb").write_bytes(content)
    with pytest.raises(InputError) as error:
        open_session(resolve(tmp_path / "x.pb"))
    assert said in str(error.value)
    assert capfd.readouterr() == ("", "")  # native readers say nothing of their own


def test_a_frozen_graph_runs_on_openvino_and_tensorflow_as_its_npz_does(tmp_path, rng):
    from snpe_srgan.models.freeze import freeze

    graph = describe("srgan", {"blocks": 1, "width": 4})
    weights = random_weights(graph, rng)
    save_npz(tmp_path / "net.npz", graph, weights)
    (tmp_path / "net.pb").write_bytes(freeze(graph, weights).SerializeToString())
    lr = lr_batch((9, 14))
    with open_session(resolve(tmp_path / "net.npz")) as session:
        expected = session.run(lr)
    for engine in ("openvino", "tensorflow"):
        with open_session(resolve(tmp_path / "net.pb"), engine=engine) as session:
            assert np.abs(session.run(lr) - expected).max() < 1e-5
            assert (session.scale, session.input_size) == (4, None)
            if engine == "openvino":
                assert session.description.radius == receptive_radius(graph)


# -- widened convolutions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize(("bits", "per_channel"), [(None, True), (8, True), (8, False), (16, True)])
def test_widened_convolutions_compute_the_same(block, bits, per_channel):
    model = srgan() if bits is None else quantize(srgan(), bits, per_channel)
    wide = widen(model, block=block)
    onnx.checker.check_model(wide, full_check=True)
    kernels = [t.dims for t in wide.graph.initializer if len(t.dims) == 4]
    assert [block * block * 3, 8, 8 + block, 8 + block] in [list(k) for k in kernels]
    assert not any(list(k) == [3, 8, 9, 9] for k in kernels)  # the narrow one is gone
    difference = np.abs(run_cpu(wide, lr_batch())[0] - run_cpu(model, lr_batch())[0])
    assert difference.max() < 1e-5 if bits is None else (difference > 1e-4).mean() < 0.01


def test_a_free_size_model_stays_free_when_widened():
    wide = widen(free(srgan()))
    for size in ((7, 9), (12, 16)):
        assert np.abs(run_cpu(wide, lr_batch(size))[0] - run_cpu(srgan(size), lr_batch(size))[0]).max() < 1e-5


def test_models_without_such_a_convolution_are_left_alone():
    model = mobile()
    assert widen(model) is model
    odd = srgan()  # x4, which blocks of 3 do not divide
    assert widen(odd, block=3) is odd


@pytest.mark.parametrize("change", [{"strides": [2, 2]}, {"pads": [0, 0, 0, 0]}, {"dilations": [2, 2]}])
def test_convolutions_that_are_not_plain_are_left_alone(change):
    model = srgan()
    last = [n for n in model.graph.node if n.op_type == "Conv"][-1]
    for name, value in change.items():
        for attribute in [a for a in last.attribute if a.name == name]:
            last.attribute.remove(attribute)
        last.attribute.append(helper.make_attribute(name, value))
    assert widen(model) is model
