"""SNPE 1.x files (format 3): read, described, rebuilt, compared, damaged. The shared ones were written by SNPE."""

from __future__ import annotations

from dataclasses import replace

import helpers_onnx as nets
import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_dlc import TINY, damaged_copies, read_all, repack
from helpers_dlc_v3 import Layer, fixed_point, small_network, write_v3

from snpe_srgan.dlc.compare import compare
from snpe_srgan.dlc.describe import describe
from snpe_srgan.dlc.operators_v3 import padding
from snpe_srgan.dlc.reader import read
from snpe_srgan.dlc.to_onnx import rebuild
from snpe_srgan.errors import InputError


@pytest.fixture
def small(tmp_path):
    return write_v3(tmp_path / "small.dlc", small_network())


def picture(size=(6, 8), seed=3):
    return np.random.default_rng(seed).random((1, *size, 3)).astype(np.float32)


def convolve(x, kernel, bias, *, groups=1):
    """SAME, stride 1, NHWC and HWIO, by its definition."""
    k, _, within, out = kernel.shape
    h, w = x.shape[1:3]
    padded = np.pad(x[0].astype(np.float64), [((k - 1) // 2, k // 2)] * 2 + [(0, 0)])
    result = np.zeros((h, w, out))
    for o in range(out):
        first = o // (out // groups) * within
        for i, j in np.ndindex(k, k):
            patch = padded[i : i + h, j : j + w, first : first + within]
            result[..., o] += patch @ kernel[i, j, :, o]
    return (result + bias)[None]


def expected(layers, x):
    """What `small_network` computes, without any of the code under test."""
    weights = {
        layer.name: [real(layer.weights[key]) for key in ("weights_0", "bias")] for layer in layers if layer.weights
    }
    relu = np.maximum(convolve(x, *weights["conv1"]), 0)
    total = convolve(relu, *weights["depthwise"], groups=8) + relu
    y = convolve(total, *weights["conv2"])[0].reshape(6, 8, 2, 2, 3)  # TensorFlow's order: row, column, colour
    return np.clip(y.transpose(0, 2, 1, 3, 4).reshape(1, 12, 16, 3), 0, 1)


def real(weight):
    return (weight[0] + float(weight[2])) * weight[1] if isinstance(weight, tuple) else weight.astype(np.float64)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_small_file_is_what_was_written(small):
    summary, layers = describe(read(small)), small_network()
    assert [layer.name for layer in summary.layers] == [layer.name for layer in layers[1:]]
    assert summary.parameters == sum(w.size for layer in layers for w in layer.weights.values())
    assert [(p.name, p.shape) for p in summary.inputs + summary.outputs] == [
        ("lr:0", (1, 6, 8, 3)),
        ("sr", (1, 12, 16, 3)),
    ]
    assert str(summary.history[0]) == "snpe-tensorflow-to-dlc 1.37.0.788"
    assert summary.layers[0].attributes["padding_strategy"] == 3


def test_weights_are_the_written_ones(small):
    tensors = read(small).graphs[0].tensors
    for layer in small_network():
        for name, weight in layer.weights.items():
            assert np.array_equal(tensors[f"{layer.name}/{name}"].data(), weight.astype(np.float32))


@pytest.mark.parametrize("new", [False, True])
def test_both_ways_of_writing_encodings_are_read(tmp_path, new):
    layers = [Layer("x", "Input", [], [(4, 5)], fixed_point(0.1, -3, new=new))]
    layers.append(Layer("y", "ElementwiseUnaryOp", ["x"], [(4, 5)], {"op": 8}))
    graph = read(write_v3(tmp_path / "x.dlc", layers)).graphs[0]
    encoding = graph.tensors["x"].encoding
    assert (encoding.bits, encoding.offset.tolist(), encoding.axis) == (8, [-3], None)
    assert graph.tensors["x"].dtype == "ufxp8" and graph.tensors["y"].dtype == "float32"


def test_oldest_files_without_a_head_are_read(tmp_path, small):
    bare = write_v3(tmp_path / "bare.dlc", small_network(), head=b"")
    assert compare(read(small), read(bare)).changed == ()


def test_other_formats_are_named(tmp_path, small):
    for head, why in (
        (b"\xd5\x0a\x02\x00" + bytes(4), "format 2"),
        (b"\xd5\x0a\x05\x00" + bytes(4), "unknown .dlc format"),
    ):
        with pytest.raises(InputError, match=why):
            read(write_v3(tmp_path / "x.dlc", small_network(), head=head))
    with pytest.raises(InputError, match="caches only"):
        read(repack(small, tmp_path / "y.dlc", {"model": None, "htp.cache.sm8650.0": b"x"}))


# -- the rebuilt graph ------------------------------------------------------------------------------------------------


def test_rebuilt_network_computes_what_the_layers_say(small):
    result = nets.run_cpu(rebuild(read(small)), picture())[0]
    assert np.abs(result - expected(small_network(), picture())).max() < 1e-5


def test_quantized_network_too(tmp_path):
    layers = small_network(quantized=True)
    result = nets.run_cpu(rebuild(read(write_v3(tmp_path / "q.dlc", layers))), picture())[0]
    assert np.abs(result - expected(layers, picture())).mean() < 0.03
    assert np.allclose(result * 255, np.rint(result * 255), atol=1e-3)  # on the grid of the output


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "given", "strategy", "wanted"),
    [
        (512, 3, 2, 0, 3, (0, 1)),  # TensorFlow's SAME, as a real file has it
        (512, 3, 1, 1, 3, (1, 1)),
        (32, 32, 1, 0, 2, (0, 0)),
        (256, 3, 2, 1, 4, (1, 0)),
        (255, 3, 2, 1, 4, (1, 1)),
    ],
)
def test_padding_follows_from_the_shapes(size, kernel, stride, given, strategy, wanted):
    result = (size + sum(wanted) - kernel) // stride + 1
    assert padding(size, result, kernel, stride, given, strategy) == wanted


def test_padding_that_cannot_be_is_an_error():
    for size, result, kernel, stride, given, strategy in ((8, 8, 3, 1, 0, 2), (8, 12, 3, 1, 1, 4), (8, 3, 3, 1, 1, 3)):
        with pytest.raises(InputError):
            padding(size, result, kernel, stride, given, strategy)


def changed(tmp_path, name, **values):
    layers = [replace(layer, **values) if layer.name == name else layer for layer in small_network()]
    return write_v3(tmp_path / "changed.dlc", layers)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("add", {"type": "Wormhole"}, ["'Wormhole'", "layer 'add'"]),
        ("add", {"attributes": {"op": 77}}, ["number 77", "layer 'add'"]),
        ("relu1", {"attributes": {"type": 9}}, ["number 9", "layer 'relu1'"]),
        ("conv1", {"weights": {}}, ["layer 'conv1'", "0 stored tensors"]),
        ("shuffle", {"shapes": [(1, 12, 16, 4)]}, ["'shuffle' is (1, 4, 12, 16)"]),
        ("conv2", {"inputs": ["nowhere"]}, ["nowhere"]),
    ],
)
def test_what_is_not_known_is_named(tmp_path, name, values, words):
    with pytest.raises(InputError) as caught:
        rebuild(read(changed(tmp_path, name, **values)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def one(tmp_path, kind, shape, attributes, weights, x=(1, 4, 5, 3)):
    """What one layer computes on a picture."""
    layers = [Layer("x", "Input", [], [x]), Layer("y", kind, ["x"], [shape], attributes, weights)]
    value = np.random.default_rng(1).standard_normal(x).astype(np.float32)
    return value, nets.run_cpu(rebuild(read(write_v3(tmp_path / "one.dlc", layers))), value)[0]


def test_layers_that_their_shapes_explain(tmp_path):
    slope, weight = np.array([0.1, 0.2, 0.3]), np.random.default_rng(2).standard_normal((60, 7))
    x, y = one(tmp_path, "Prelu", (1, 4, 5, 3), {}, {"coefficients": slope})
    assert np.allclose(y, np.where(x > 0, x, x * slope), atol=1e-6)
    x, y = one(tmp_path, "BatchNorm", (1, 4, 5, 3), {}, {"weights": slope, "bias": slope + 1})
    assert np.allclose(y, x * slope + slope + 1, atol=1e-6)
    for lying in (weight, weight.T):
        x, y = one(tmp_path, "FullyConnected", (1, 7), {}, {"weights": lying, "bias": np.arange(7.0)})
        assert np.allclose(y, x.reshape(1, -1) @ weight + np.arange(7), atol=1e-4)
    x, y = one(tmp_path, "Permute", (1, 5, 4, 3), {"some_order": (0, 2, 1, 3)}, {})
    assert np.array_equal(y, x.transpose(0, 2, 1, 3))
    x, y = one(tmp_path, "SoftMax", (1, 4, 5, 3), {}, {})
    assert np.allclose(y, np.exp(x) / np.exp(x).sum(-1, keepdims=True), atol=1e-6)


def test_deconvolution_is_the_adjoint_of_convolution(tmp_path):
    """TensorFlow's definition: <conv(y), x> = <y, deconv(x)>; here with stride 1, both ways of storing weights."""
    kernel = np.random.default_rng(2).standard_normal((3, 3, 2, 3)).astype(np.float32)  # conv: 2 -> 3 channels
    for stored in (kernel, kernel.transpose(0, 1, 3, 2)):
        x, y = one(tmp_path, "Deconvolution", (1, 4, 5, 2), {"stride": 1}, {"weights_0": stored})
        probe = np.random.default_rng(3).standard_normal(y.shape)
        assert np.isclose((convolve(probe, kernel, 0) * x).sum(), (probe * y).sum(), rtol=1e-4)


def test_square_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="between 60 inputs and 60 outputs"):
        one(tmp_path, "FullyConnected", (1, 60), {}, {"weights": np.zeros((60, 60))})


# -- differences ------------------------------------------------------------------------------------------------------


def test_a_file_equals_itself(small):
    result = compare(read(small), read(small))
    assert result.equal and result.same == 7


def test_differences_are_found(tmp_path, small):
    layers = [x for x in small_network() if x.name != "add"]
    layers[4].inputs[0] = "depthwise"
    layers[1].weights["bias"] = layers[1].weights["bias"] + 0.5
    result = compare(read(small), read(write_v3(tmp_path / "other.dlc", layers)))
    assert [layer.name for layer in result.removed] == ["add"] and not result.added
    assert {change.name: [d.what for d in change.differences] for change in result.changed} == {
        "conv1": ["values of conv1/bias"],
        "conv2": ["inputs"],
    }


def test_quantization_is_a_difference(tmp_path, small):
    result = compare(read(small), read(write_v3(tmp_path / "q.dlc", small_network(quantized=True))))
    assert len(result.changed) == 7 and not result.added and not result.removed
    assert {"output encoding", "output dtype"} <= {d.what for d in result.changed[0].differences}


def test_inspect_on_the_command_line(tmp_path, small):
    report = snpe_srgan("inspect", small, "--json").json
    assert report["facts"]["format"] == 3 and report["layers"][0]["attributes"]["kernel_size"] == 3
    assert len(report["tensors"]) == 8 + 6
    assert "3 Convolutional" in snpe_srgan("inspect", small, "--layers").out
    assert "no difference in 7 layers" in snpe_srgan("inspect", small, small).out
    assert "7 removed" in snpe_srgan("inspect", small, TINY).out
    assert len(snpe_srgan("inspect", small, TINY, "--json").json["removed"]) == 7
    assert_error(snpe_srgan("inspect", small, "mobile"), 1, ".npz file")
    assert_error(snpe_srgan("inspect", small, small, "--to-onnx", tmp_path / "x.onnx"), 2, "compared")


def test_to_onnx_on_the_command_line(tmp_path, small):
    assert snpe_srgan("inspect", small, "--to-onnx", tmp_path / "x.onnx").code == 0
    assert nets.run_cpu(onnx.load(tmp_path / "x.onnx"), picture())[0].shape == (1, 12, 16, 3)


# -- files from strangers ---------------------------------------------------------------------------------------------


def test_damaged_files_are_read_or_refused(small):
    """300 damaged copies; `scripts/fuzz dlc --count N` does more."""
    for path in damaged_copies(small, 300, seed=5):
        try:
            read_all(path)
        except InputError as error:
            assert 1 <= len(error.lines()) <= 3


def test_every_truncation_is_refused(tmp_path, small):
    data, path = small.read_bytes(), tmp_path / "cut.dlc"
    for length in range(0, len(data), 499):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_all(path)


def test_attributes_within_attributes_end(tmp_path):
    deep: object = 1
    for _ in range(100):
        deep = {"0": deep}
    layers = [
        Layer("x", "Input", [], [(4,)], {"deep": deep}),
        Layer("y", "Neuron", ["x"], [(4,)], {"type": 1, "deep": deep}),
    ]
    assert read_all(write_v3(tmp_path / "deep.dlc", layers)) is None


@pytest.mark.parametrize("shape", [(1, -3), (2**31 - 1,) * 8, (1,) * 9, (0,)])
def test_impossible_shapes_are_refused(tmp_path, shape):
    with pytest.raises(InputError):
        read_all(changed(tmp_path, "add", shapes=[shape]))


# -- files that SNPE wrote --------------------------------------------------------------------------------------------

REAL = {
    "sensifai_sr": (96_464, {"float32": 385_856}, "1.37.0.788"),
    "mlperf_v07_deeplab_hta": (2_256_272, {"ufxp8": 2_256_272}, "1.42.2.2266"),
    "ort_test_abs": (0, {}, "1.51.0.2663"),
    "ort_test_abs_q": (0, {}, "1.56.2.3050"),
    "ort_test_split_equal_parts_2d": (0, {}, "1.51.0.2663"),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_files(shared_data, name):
    """Counts as SNPE's own tools and the files' makers give them."""
    dlc = read(shared_data / "dlc" / f"{name}.dlc")
    summary, (parameters, sizes, version) = describe(dlc), REAL[name]
    assert (dlc.version, summary.parameters, summary.bytes_by_dtype) == (3, parameters, sizes)
    assert summary.history[0].version == version and summary.history[0].command.startswith(summary.history[0].tool)
    rebuild(dlc)


@pytest.mark.shared
def test_real_small_files_compute(shared_data):
    x = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    assert np.array_equal(nets.run_cpu(rebuild(read(shared_data / "dlc/ort_test_abs.dlc")), x)[0], np.abs(x))
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    parts = nets.run_cpu(rebuild(read(shared_data / "dlc/ort_test_split_equal_parts_2d.dlc")), x)
    assert np.array_equal(np.concatenate(parts, 1), x)
    x = np.random.default_rng(1).uniform(-23, 23, (3, 4, 5)).astype(np.float32)
    y = nets.run_cpu(rebuild(read(shared_data / "dlc/ort_test_abs_q.dlc")), x)[0]
    assert np.abs(y - np.abs(x)).max() <= 0.184 / 2 + 0.095 / 2


@pytest.mark.shared
def test_real_super_resolution_network_sharpens(shared_data):
    """SNPE 1.37's network, made for pictures enlarged by 4 (0..255): nearer to the truth than what it is given."""
    from PIL import Image

    truth = Image.open(shared_data / "test/Set14/HR/lenna.png").convert("RGB").crop((0, 0, 480, 512))
    blurred = truth.resize((120, 128), Image.BICUBIC).resize((480, 512), Image.BICUBIC)
    page = np.zeros((1, 852, 480, 3), np.float32)
    page[0, :512] = blurred
    result = np.clip(nets.run_cpu(rebuild(read(shared_data / "dlc/sensifai_sr.dlc")), page)[0][0, :512], 0, 255)

    def psnr(picture):
        return 10 * np.log10(255**2 / np.mean((np.asarray(picture, np.float64) - np.asarray(truth)) ** 2))

    assert psnr(result) > psnr(blurred) + 0.9
