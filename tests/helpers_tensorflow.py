"""Small super-resolution networks as others save them with TensorFlow and Keras. Every maker gives (file or folder,
what the framework itself computes of a picture); weights hand the picture on, so that its ends can be told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[[np.ndarray], np.ndarray]


def handing_on(shape: tuple[int, ...], rng: np.random.Generator, *, phases: int = 1) -> np.ndarray:
    """(h, w, in, out): the first three channels of each phase pass the first three inputs on, beside small noise."""
    kernel = rng.normal(0, 0.004, shape)
    outputs = shape[3] // phases
    for phase in range(phases):
        for c in range(min(3, shape[2], outputs)):
            kernel[shape[0] // 2, shape[1] // 2, c, phase * outputs + c] += 1
    return kernel.astype(np.float32)


def needs_shuffle() -> None:
    """Skips where Keras is older than 3.13 (Python 3.10), which has no pixel shuffle of its own."""
    import keras

    if not hasattr(keras.ops, "depth_to_space"):
        pytest.skip(f"Keras {keras.__version__} has no depth_to_space")


def keras_network(kind: str, rng, *, side: int | None = None):
    """A Keras model x2 that takes and gives [0, 1] (`scaled`: 0..255)."""
    import keras
    from keras import layers as L

    x = given = keras.Input((side, side, 3))
    if kind == "scaled":
        x = L.Rescaling(1 / 255)(x)
    x = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    if kind == "fsrcnn":
        x = L.PReLU(shared_axes=[1, 2])(x)
        x = L.Conv2DTranspose(3, 4, strides=2, padding="same")(x)
    else:
        if kind == "norm":
            x = L.BatchNormalization()(x)
        x = L.Conv2D(12, 3, padding="same")(x)
        x = (
            keras.ops.depth_to_space(x, 2)
            if kind != "resize"
            else L.Conv2D(3, 3, padding="same")(L.UpSampling2D(2, interpolation="bilinear")(x))
        )
    x = L.ReLU(max_value=1.0)(x)  # an HDF5 file holds layers alone, no operators
    model = keras.Model(given, L.Rescaling(255)(x) if kind == "scaled" else x)
    for layer in model.layers:
        if isinstance(layer, L.Conv2DTranspose):
            kernel = np.zeros(layer.kernel.shape, np.float32)
            for c in range(3):  # bilinear, by 2
                kernel[:, :, c, c] = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
            layer.kernel.assign(kernel)
        elif isinstance(layer, L.Conv2D):
            phases = 4 if layer.filters == 12 and kind != "resize" else 1
            layer.kernel.assign(handing_on(tuple(layer.kernel.shape), rng, phases=phases))
            layer.bias.assign(np.full(layer.filters, 0.008))  # which tells 0..255 from 0..1
    return model


def keras_file(path: Path, kind: str, rng, **options: Any) -> tuple[Path, Run]:
    model = keras_network(kind, rng, **options)
    model.save(path)
    return path, lambda lr: np.asarray(model(lr))


def saved_model(path: Path, kind: str, rng) -> tuple[Path, Run]:
    model = keras_network(kind, rng)
    model.export(path, verbose=False)
    return path, lambda lr: np.asarray(model(lr))


def tflite_file(path: Path, kind: str, rng, *, quantized: bool = False) -> tuple[Path, Run]:
    import tensorflow as tf

    model = keras_network(kind, rng, side=24)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([rng.random((1, 24, 24, 3), np.float32)] for _ in range(3))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path.write_bytes(converter.convert())
    return path, lambda lr: np.asarray(model(lr))


def tensorflow_1(path: Path, rng, *, switch: str, saved: bool = False) -> tuple[Path, Run]:
    """FSRCNN-like, of TensorFlow 1: variables, a training switch of one of the usual kinds, and a transposed
    convolution whose size the graph computes. Frozen to a `.pb`, or a SavedModel's folder."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_control_flow_v2()  # a branch is Switch and Merge, as it was then
    with tf.Graph().as_default() as graph, v1.Session() as session:
        given = v1.placeholder(tf.float32, [None, None, None, 3], name="images")
        kernel = v1.get_variable("feature/kernel", initializer=handing_on((3, 3, 3, 8), rng), use_resource=saved)
        x = tf.nn.relu(tf.nn.conv2d(given, kernel, 1, "SAME"))
        if switch == "default":
            training = v1.placeholder_with_default(False, [], name="is_training")
            x = v1.cond(training, lambda: tf.nn.dropout(x, rate=0.5), lambda: x * 1.0)
        elif switch == "plain":
            training = v1.placeholder(tf.bool, [], name="is_training")
            x = v1.cond(tf.logical_not(training), lambda: x + 0.0, lambda: tf.nn.dropout(x, rate=0.5))
        elif switch == "keep_prob":
            x = x * v1.placeholder(tf.float32, [], name="keep_prob")
        up = np.zeros((4, 4, 3, 8), np.float32)
        for c in range(3):
            up[:, :, c, c] = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
        size = tf.shape(x)
        shape = tf.stack([size[0], size[1] * 2, size[2] * 2, 3])
        y = tf.nn.conv2d_transpose(x, v1.get_variable("up/kernel", initializer=up, use_resource=saved), shape, 2)
        y = tf.identity(y, name="output")
        session.run(v1.global_variables_initializer())
        feed = {"plain": {"is_training:0": False}, "keep_prob": {"keep_prob:0": 1.0}}.get(switch, {})
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
        if saved:
            v1.saved_model.simple_save(session, str(path), {"images": given}, {"output": y})
        else:
            path.write_bytes(frozen.SerializeToString())

    def run(lr: np.ndarray) -> np.ndarray:
        with tf.Graph().as_default(), v1.Session() as session:
            tf.import_graph_def(frozen, name="")
            return session.run("output:0", {"images:0": lr, **feed})

    return path, run
