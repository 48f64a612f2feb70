"""A quantized network as .tflite: the same integers as the QDQ graph, whatever its operators; the file read back."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import TINY, random_weights, zoo

from snpe_srgan.deploy.from_qdq import from_qdq
from snpe_srgan.deploy.make_tflite import make_tflite
from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.models.npz import load_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import fix_size, onnx_facts
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.tflite import schema
from snpe_srgan.tflite.graph import Grid, Network, Operator
from snpe_srgan.tflite.read import read_tflite
from snpe_srgan.tflite.rewrite import to_pixels
from snpe_srgan.tflite.write import write
from snpe_srgan.zoo.resolve import RUNNABLE, resolve

pytestmark = pytest.mark.skipif(not schema.available(), reason="ai-edge-litert is not installed")
SIZE = (20, 28)


def quantized(graph, tmp_path):
    """The QDQ model of fixed size of a network with random weights."""
    from snpe_srgan.models.npz import save_npz
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.session import Source

    path = tmp_path / "generator.npz"
    save_npz(path, graph, random_weights(graph, np.random.default_rng(0)))
    source = Source(resolve(path), ("synthetic",), lr=False, count=2, minutes=1, say=lambda text: None)
    return fix_size(source.make(parse_recipe("w8a8-plain")).plan.quantized(), SIZE)


def litert(path, pixels):
    with open_session(resolve(path, kinds=RUNNABLE)) as session:
        return sr_to_pixels(session.run(pixels.astype(np.float32)[None] / np.float32(255)))[0]


@pytest.mark.parametrize("name", [*sorted(set(TINY) - {"esrgan"}), "zoo"])
@pytest.mark.parametrize("borders", ["uint8", "float32"])
def test_litert_draws_what_the_qdq_graph_draws(name, borders, tmp_path):
    from helpers_networks import run_onnx

    model = quantized(zoo() if name == "zoo" else describe(name, TINY[name]), tmp_path)
    path = tmp_path / "model.tflite"
    path.write_bytes(make_tflite(model, metadata={"scale": 4})[borders])
    pixels = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    expected = sr_to_pixels(run_onnx(model, pixels.astype(np.float32)[None] / np.float32(255)))[0]
    error = litert(path, pixels).astype(int) - expected
    assert 10 * np.log10(255**2 / max(np.mean(error**2.0), 1e-9)) > 35, (np.abs(error).max(), error.mean())
    assert abs(error.mean()) < 0.5


def test_the_scales_in_the_file_are_the_graphs_own(tmp_path):
    model = quantized(describe("srcnn", TINY["srcnn"]), tmp_path)
    path = tmp_path / "model.tflite"
    path.write_bytes(make_tflite(model, metadata={})["uint8"])
    network = from_qdq(model)
    written = {t.name: t for t in read_tflite(path).tensors}
    inner = [op.output for op in network.operators[:-1]]
    found = [written[name.removesuffix("_quantized")] for name in inner if name.removesuffix("_quantized") in written]
    assert found
    for tensor in found:
        grid = network.grids[f"{tensor.name}_quantized"]
        assert tensor.scale == pytest.approx(np.float32(grid.scale)) and tensor.zero == grid.zero - 128


def test_pixels_at_the_output_cost_no_operator_where_the_scales_can_be_relabelled():
    grid, shape = Grid(1 / 127, 127), (1, 4, 4, 3)
    conv = Operator(
        "CONV_2D", ["a"], "b", weights=np.ones((3, 1, 1, 3), np.int8), weight_scales=np.full(3, 0.01),
        bias=np.zeros(3, np.int64), attributes={"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)},
    )  # fmt: skip
    network = Network([conv], {"a": Grid(1 / 255, 0), "b": grid}, {"a": shape, "b": shape}, "a", "b")
    to_pixels(network)
    assert network.operators == [conv] and network.grids["b"] == Grid(pytest.approx(0.5 / 127), 0)
    assert conv.weight_scales == pytest.approx(0.005)
    assert conv.bias * conv.weight_scales / 255 == pytest.approx(0.5, abs=1e-4)


def test_pixels_at_the_output_take_an_operator_where_they_cannot():
    grid, shape = Grid(1 / 127, 127), (1, 4, 4, 3)
    relu = Operator("RELU", ["a"], "b")
    network = Network([relu], {"a": grid, "b": grid}, {"a": shape, "b": shape}, "a", "b")
    to_pixels(network)
    assert [op.kind for op in network.operators] == ["RELU", "DEPTHWISE_CONV_2D"]
    last = network.operators[-1]
    black, white = (((q - 127) / 127 * 127 + last.bias[0] / 127 * 127) for q in (0, 254))
    assert (white - black) > 0 and network.grids[network.output] == Grid(1 / 255, 0)


def test_a_tanh_at_the_end_is_rounded_as_in_the_qdq_graph(tmp_path):
    """All 256 numbers that it can read: the same pixel but for ties, and no shift."""
    grid, source, shape = Grid(2 / 254, 127), Grid(6 / 255, 128), (1, 16, 16, 3)
    same = Operator(
        "CONV_2D", ["lr"], "x", weights=(np.eye(3) * 127).astype(np.int8).reshape(3, 1, 1, 3),
        weight_scales=np.full(3, 1 / 127), bias=np.zeros(3, np.int64),
        attributes={"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)},
    )  # fmt: skip
    grids = {"lr": source, "x": source, "y": grid}
    network = Network([same, Operator("TANH", ["x"], "y")], grids, dict.fromkeys(grids, shape), "lr", "y")
    to_pixels(network)
    (tmp_path / "model.tflite").write_bytes(write(network, borders="float32", metadata={}))
    steps = np.repeat(np.arange(256).reshape(1, 16, 16, 1), 3, axis=3)
    values = ((steps - source.zero) * source.scale).astype(np.float32)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    drawn = np.rint(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]) * 255)
    on_grid = np.clip(np.rint(np.tanh(values) / grid.scale) + grid.zero, 0, 255)
    error = drawn - np.clip(np.rint((on_grid - grid.zero) * grid.scale * 127.5 + 127.5), 0, 255)
    assert np.abs(error).max() <= 1 and (error != 0).mean() < 0.02 and abs(error.mean()) < 0.01, error.mean()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflite")
    model = quantized(describe("mobile", TINY["mobile"]), folder)
    path = folder / "model.tflite"
    path.write_bytes(make_tflite(model, metadata={"scale": 4, "network": "mobile"})["uint8"])
    return path


def test_reach_is_read_from_the_operators_of_a_file_without_a_record(file):
    from snpe_srgan.runtimes.litert import tflite_facts

    facts = tflite_facts(read_tflite(file))
    assert (facts.scale, facts.input_size, facts.because) == (4, SIZE, None)
    told = onnx_facts(to_onnx(*load_npz(file.with_name("generator.npz"))))
    assert facts.overlap == told.overlap > 0


def test_damaged_files_are_refused_and_never_crash(file, tmp_path):
    data, rng = file.read_bytes(), np.random.default_rng(0)
    broken = tmp_path / "broken.tflite"
    refused = 0
    for _ in range(150):
        damaged = bytearray(data[: rng.integers(8, len(data))] if rng.random() < 0.3 else data)
        for place in rng.integers(8, len(damaged), 6):
            damaged[place] = rng.integers(0, 256)
        broken.write_bytes(damaged)
        try:
            read_tflite(broken)
        except InputError:
            refused += 1
    assert refused > 20
    broken.write_bytes(b"not a model at all")
    with pytest.raises(InputError, match=r"not a \.tflite"):
        read_tflite(broken)


def test_inspect_and_wrong_places_say_what_they_are(file, tmp_path):
    told = snpe_srgan("inspect", file, "--json").json
    assert told["kind"] == "tflite" and told["scale"] == 4 and told["operators"]["CONV_2D"] >= 3
    picture = tmp_path / "a.png"
    from PIL import Image

    Image.new("RGB", (9, 9), (200, 30, 90)).save(picture)
    done = snpe_srgan("run", file, picture, "-o", tmp_path / "b.png")
    assert done.code == 0 and Image.open(tmp_path / "b.png").size == (36, 36)
    assert_error(snpe_srgan("run", file, picture, "-o", tmp_path / "c.png", "--engine", "openvino"), 2, "LiteRT")
    assert_error(snpe_srgan("run", file, picture, "-o", tmp_path / "c.png", "--on", "emulator"), 1, "NPU code")
    assert_error(snpe_srgan("run", file, picture, "-o", tmp_path / "c.png", "--on", "sdk"), 2, ".tflite")
    assert_error(snpe_srgan("quantize", file, "-o", tmp_path), 1, ".tflite")
    assert_error(snpe_srgan("convert", file, "-o", tmp_path), 1, ".tflite")


def test_without_the_package_the_command_that_installs_it_is_named(file, monkeypatch, tmp_path):
    monkeypatch.setattr(schema, "available", lambda: False)
    with pytest.raises(MissingToolError, match="ai-edge-litert") as caught:
        read_tflite(file)
    assert caught.value.exit_code == 3 and "pip install" in caught.value.hint
