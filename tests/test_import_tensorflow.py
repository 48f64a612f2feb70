"""TensorFlow's and Keras' networks come in by `import`: the same pictures, and no code of theirs is run."""

from __future__ import annotations

import json
import zipfile

import h5py
import helpers_tensorflow as make
import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import run_onnx

TAKEN = {
    "keras": lambda folder, rng: make.keras_file(folder / "net.keras", "norm", rng),
    "keras fsrcnn": lambda folder, rng: make.keras_file(folder / "net.keras", "fsrcnn", rng),
    "keras scaled": lambda folder, rng: make.keras_file(folder / "net.keras", "scaled", rng),
    "keras resize": lambda folder, rng: make.keras_file(folder / "net.keras", "resize", rng),
    "h5": lambda folder, rng: make.keras_file(folder / "net.h5", "fsrcnn", rng),
    "SavedModel": lambda folder, rng: make.saved_model(folder / "saved", "norm", rng),
    "SavedModel of TensorFlow 1": lambda folder, rng: make.tensorflow_1(
        folder / "saved", rng, switch="default", saved=True
    ),
    "frozen": lambda folder, rng: make.tensorflow_1(folder / "net.pb", rng, switch="default"),
    "frozen, switch": lambda folder, rng: make.tensorflow_1(folder / "net.pb", rng, switch="plain"),
    "frozen, keep_prob": lambda folder, rng: make.tensorflow_1(folder / "net.pb", rng, switch="keep_prob"),
    "tflite": lambda folder, rng: make.tflite_file(folder / "net.tflite", "plain", rng),
}  # fmt: skip


LITERT = "LiteRT is missing: pip install 'snpe-srgan[litert]'"


@pytest.mark.parametrize("kind", TAKEN)
def test_it_comes_in_and_draws_what_its_framework_draws(kind, tmp_path, rng):
    if kind == "tflite":
        pytest.importorskip("ai_edge_litert", reason=LITERT)
    if kind in ("keras", "keras scaled", "SavedModel"):
        make.needs_shuffle()
    source, run = TAKEN[kind](tmp_path, rng)
    done = snpe_srgan("import", source, "-o", tmp_path / "ours.onnx", "--json")
    assert done.code == 0, done
    assert done.json["certain"] and done.json["card"]["scale"] == 2
    white = 255 if kind == "keras scaled" else 1
    assert done.json["boundary"]["takes"] == f"0..{white}"
    # Keras from 3.13 on cannot trace that layer for a free size, which is said.
    side = 128 if "one size alone: 128x128" in done.err else 24
    assert side == 24 or kind == "keras resize"
    lr = rng.random((1, side, side, 3), np.float32)
    expected = run(lr * white) / white * 2 - 1
    np.testing.assert_allclose(run_onnx((tmp_path / "ours.onnx").read_bytes(), lr), expected, atol=1e-5)


@pytest.mark.parametrize("free", [True, False])
def test_a_result_of_the_other_layout_is_turned(free, tmp_path, rng):
    """As tf2onnx' --inputs-as-nchw makes them."""
    from onnx import TensorProto, helper, numpy_helper, save

    kernel = np.zeros((12, 3, 1, 1), np.float32)
    for phase in range(4):
        kernel[3 * phase : 3 * phase + 3, :, 0, 0] = np.eye(3)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("DepthToSpace", ["a"], ["b"], blocksize=2, mode="DCR"),
        helper.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1]),
    ]
    sides = ("h", "w", "H", "W") if free else (24, 24, 48, 48)
    ends = [helper.make_tensor_value_info(*end) for end in (
        ("x", TensorProto.FLOAT, [1, 3, *sides[:2]]), ("y", TensorProto.FLOAT, [1, *sides[2:], 3]))]  # fmt: skip
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [numpy_helper.from_array(kernel, "kernel")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx")
    done = snpe_srgan("import", tmp_path / "net.onnx", "-o", tmp_path / "ours.onnx")
    assert done.code == 0, done
    lr = rng.random((1, 24, 24, 3), np.float32)
    seen = run_onnx((tmp_path / "ours.onnx").read_bytes(), lr)
    np.testing.assert_allclose(seen, 2 * lr.repeat(2, 1).repeat(2, 2) - 1, atol=1e-6)


def test_a_quantized_tflite_is_refused_with_what_to_do(tmp_path, rng):
    pytest.importorskip("ai_edge_litert", reason=LITERT)
    source, _ = make.tflite_file(tmp_path / "net.tflite", "plain", rng, quantized=True)
    assert_error(snpe_srgan("import", source, "-o", tmp_path / "x.onnx"), 1, "quantized already", "float")


# ---- what a stranger's file may hold: nothing of it is run ----


def keras_archive(path, description, extra=()):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", description if isinstance(description, str) else json.dumps(description))
        archive.writestr("model.weights.h5", b"")
        for name in extra:
            archive.writestr(name, b"x")
    return path


def layers(*parts):
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"name": "in"}, "registered_name": None}
    config = {"name": "net", "layers": [first, *parts]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def layer(kind, module="keras.layers", registered=None, **config):
    return {"module": module, "class_name": kind, "config": {"name": "bad", **config}, "registered_name": registered}


CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
HOSTILE = {
    "Lambda": layers(layer("Lambda", function=CODE)),
    "Lambda in a layer": layers(layer("TimeDistributed", layer=layer("Lambda", function=CODE))),
    "TFSMLayer": layers(layer("TFSMLayer", filepath="/tmp/x")),
    "a custom class": layers(layer("Shuffle", module=None, registered="mine>Shuffle")),
    "a module of the system": layers(layer("system", module="os")),
    "a function of Keras": layers(layer("get_file", module="keras.utils", origin="http://x")),
    "a class elsewhere": layers(layer("Popen", module="subprocess")),
    "a way up": layers(layer("Model", module="keras.src.models.model.os")),
    "a function": layers(
        layer("Activation", activation={"module": "builtins", "class_name": "function", "config": "e", "name": "bad"})
    ),
    "keras.src.saving": layers(layer("KerasFileEditor", module="keras.src.saving.file_editor")),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("form", ["keras", "h5"])
def test_a_keras_file_with_anything_but_keras_layers_is_not_loaded(kind, form, tmp_path, monkeypatch):
    """The check needs no Keras: a child that would load the file is never started."""
    monkeypatch.setattr("snpe_srgan.onnx_graphs.tensorflow_models.Child", None)
    path = tmp_path / f"bad.{form}"
    if form == "keras":
        keras_archive(path, HOSTILE[kind])
    else:
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(HOSTILE[kind])
    assert_error(snpe_srgan("import", path, "-o", tmp_path / "x.onnx"), 1, "'bad'", "not run", "export")


@pytest.mark.parametrize("kind", ["external", "soft", "outside", "circle"])
@pytest.mark.parametrize("form", ["keras", "h5", "weights"])
def test_numbers_of_another_file_are_not_read(kind, form, tmp_path, monkeypatch):
    monkeypatch.setattr("snpe_srgan.onnx_graphs.tensorflow_models.Child", None)
    path = tmp_path / "weights.h5"
    (tmp_path / "secret").write_bytes(b"x" * 64)
    with h5py.File(path, "w") as file:
        if form != "weights":
            file.attrs["model_config"] = json.dumps(layers())
        group = file.create_group("part")
        if kind == "external":
            group["w"] = h5py.ExternalLink(str(tmp_path / "secret"), "/")
        elif kind == "soft":
            group["w"] = h5py.SoftLink("/part")
        elif kind == "circle":
            for i in range(20):  # a way of many parts through one group, which never ends
                group[f"w{i}"] = group
        else:
            group.create_dataset("w", (16,), np.float32, external=[(str(tmp_path / "secret"), 0, 64)])
    if form == "keras":
        with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
            archive.writestr("metadata.json", "{}")
            archive.writestr("config.json", json.dumps(layers()))
            archive.write(path, "model.weights.h5")
        path = tmp_path / "net.keras"
    out = tmp_path / ("x.npz" if form == "weights" else "x.onnx")
    words = {"circle": "more parts", "outside": "another file"}.get(kind, "link")
    assert_error(snpe_srgan("import", path, "-o", out), 1, words)


@pytest.mark.parametrize("description", ["", "{", "[" * 5000, '{"class_name": 1}', "null", '{"a": "b"}'])
def test_a_damaged_keras_file_is_one_plain_error(description, tmp_path):
    path = keras_archive(tmp_path / "bad.keras", description)
    assert_error(snpe_srgan("import", path, "-o", tmp_path / "x.onnx"), 1)


def test_a_file_hidden_in_a_keras_archive_is_named(tmp_path):
    path = keras_archive(tmp_path / "bad.keras", layers(), extra=["assets/run.py"])
    assert_error(snpe_srgan("import", path, "-o", tmp_path / "x.onnx"), 1, "assets/run.py")


def message(number, content):
    """One protobuf field that holds bytes."""
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def node(name, operator, *inputs, function=""):
    data = message(1, name) + message(2, operator) + b"".join(message(3, text) for text in inputs)
    call = message(5, message(1, b"f") + message(2, message(10, message(1, function)))) if function else b""
    return data + call


def saved(folder, *, nodes=(), functions=(), objects=b"", assets=b"", output=b"out:0"):
    """A SavedModel of these messages, its result `output`."""
    library = b"".join(
        message(1, message(1, message(1, name)) + b"".join(message(3, n) for n in inside)) for name, inside in functions
    )
    graph = b"".join(message(1, n) for n in nodes) + message(2, library)
    signature = message(2, message(1, b"y") + message(2, message(1, output)))
    ends = message(5, message(1, b"serving_default") + message(2, signature))
    folder.mkdir()
    meta = (
        message(2, graph) + ends + (message(6, assets) if assets else b"") + (message(7, objects) if objects else b"")
    )
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + message(2, meta))
    return folder


RESULT = node(b"out", b"Relu", b"bad")
MODELS = {
    "ReadFile": {"nodes": (node(b"bad", b"ReadFile"), RESULT)},
    "WriteFile": {"nodes": (node(b"bad", b"Const"), node(b"out", b"Relu", b"bad", b"^w"), node(b"w", b"WriteFile"))},
    "PyFunc": {"nodes": (node(b"bad", b"PyFunc"), RESULT)},
    "SaveV2": {
        "nodes": (node(b"out", b"StatefulPartitionedCall", function=b"go"),),
        "functions": ((b"go", (node(b"bad", b"SaveV2"),)),),
    },
    "RestoreV2": {
        "nodes": (node(b"out", b"PartitionedCall", function=b"go"),),
        "functions": (
            (b"go", (node(b"x", b"PartitionedCall", function=b"deep"),)), (b"deep", (node(b"bad", b"RestoreV2"),)),
        ),
    },
    "MatchingFiles": {  # offered by an object, and not reached by the signature
        "nodes": (node(b"out", b"Const"),), "functions": ((b"go", (node(b"bad", b"MatchingFiles"),)),),
        "objects": message(2, message(1, b"go")),
    },
    "asset": {"nodes": (node(b"out", b"Const"),), "assets": b"x"},
    "resource": {"nodes": (node(b"out", b"Const"),), "objects": message(1, message(10, b"table"))},
    "restore themselves": {"nodes": (node(b"out", b"Const"),), "objects": message(1, message(11, b"x"))},
}  # fmt: skip


@pytest.mark.parametrize("word", MODELS)
def test_a_saved_model_with_an_operator_of_no_network_is_not_loaded(word, tmp_path, monkeypatch):
    monkeypatch.setattr("snpe_srgan.onnx_graphs.tensorflow_models.Child", None)
    folder = saved(tmp_path / "bad", **MODELS[word])
    for path in (folder, folder / "saved_model.pb"):
        assert_error(snpe_srgan("import", path, "-o", tmp_path / "x.onnx"), 1, word, "tf2onnx")


@pytest.mark.parametrize("data", [b"", b"\x08\x01", b"\x08\x01\x12\x05\x12\xff", b"\x12\x02\x3a\x7f", b"\xff" * 40])
def test_a_damaged_saved_model_is_one_plain_error(data, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "saved_model.pb").write_bytes(data)
    assert_error(snpe_srgan("import", tmp_path / "bad", "-o", tmp_path / "x.onnx"), 1)


def test_other_verbs_say_how_such_files_come_in(tmp_path):
    folder = saved(tmp_path / "theirs", nodes=(node(b"out", b"Const"),))
    assert_error(snpe_srgan("inspect", folder), 1, f"snpe-srgan import {folder} -o theirs.onnx")
    path = keras_archive(tmp_path / "net.keras", layers())
    assert_error(snpe_srgan("convert", path, "-o", tmp_path / "out"), 1, f"snpe-srgan import {path} -o net.onnx")
