"""Kinds of damaged files of Keras and TensorFlow: `.keras` models and SavedModels, as far as the checks read them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from helpers_fuzz import Kind, injure_bytes, injure_json, injure_protobuf

LAYERS = [
    {"module": "keras.layers", "class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 8, 8, 3]},
     "registered_name": None},
    {"module": "keras.layers", "class_name": "Conv2D", "config": {"name": "c", "filters": 3, "kernel_size": [3, 3]},
     "registered_name": None, "inbound_nodes": []},
]  # fmt: skip


def make_keras(folder: Path) -> list[bytes]:
    import h5py

    with h5py.File(folder / "w.h5", "w") as file:
        file.create_dataset("layers/c/vars/0", data=np.zeros((3, 3, 3, 3), np.float32))
    model = {"module": "keras", "class_name": "Sequential", "config": {"layers": LAYERS}, "registered_name": None}
    return [_keras(model, (folder / "w.h5").read_bytes())]


def _keras(model: object, weights: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(model).encode("utf-8", "replace"))
        archive.writestr("model.weights.h5", weights)
    return out.getvalue()


def injure_keras(data: bytes, rng: np.random.Generator) -> bytes:
    if rng.integers(0, 4) == 0:
        return injure_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        model, weights = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    if rng.integers(0, 3) == 0:
        return _keras(model, injure_bytes(weights[:2048], rng) + weights[2048:])
    return _keras(injure_json(model, rng), weights)


def read_keras(path: Path) -> None:
    """The check alone: what passes it is built by Keras in a child."""
    from snpe_srgan.onnx_graphs.keras_files import check_keras
    from snpe_srgan.onnx_graphs.tensorflow_models import kind_of

    kind_of(path)
    check_keras(path)


def make_saved_model(folder: Path) -> list[bytes]:
    from test_import_tensorflow import node, saved

    nodes = (node(b"x", b"Placeholder"), node(b"out", b"StatefulPartitionedCall", b"x", function=b"go"))
    functions = ((b"go", (node(b"r", b"Relu"), node(b"c", b"PartitionedCall", function=b"deep"))),
                 (b"deep", (node(b"k", b"Conv2D"),)))  # fmt: skip
    return [(saved(folder / "whole", nodes=nodes, functions=functions) / "saved_model.pb").read_bytes()]


def read_saved_model(path: Path) -> None:
    """The check alone: what passes it is loaded by TensorFlow in a child."""
    from snpe_srgan.onnx_graphs.saved_model import NAME, check_saved_model

    folder = path.parent / f"{path.stem}_folder"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(path.read_bytes())
    check_saved_model(folder)


TENSORFLOW = (
    Kind("keras", ".keras", make_keras, injure_keras, read_keras, seconds=100, native=True),
    Kind("saved_model", ".pb", make_saved_model, injure_protobuf, read_saved_model),
)
