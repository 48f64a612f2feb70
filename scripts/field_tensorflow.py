"""Networks as users of Keras and TensorFlow have them, for `scripts/field_networks`: a module, not a script itself.

`NETWORKS` maps a name to a maker: (folder) -> (file or folder, what the framework itself draws). Weights are the
shipped network's, in Keras' layers, or bilinear enlargement.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from field_kinds import SIDE, Draw, Made

from snpe_srgan.models.npz import load_npz
from snpe_srgan.quiet import import_tensorflow
from snpe_srgan.zoo.named import WEIGHTS


def keras_twin(*, white: float = 1.0, side: int | None = None, name: str = "mobile") -> Any:
    """A shipped network in Keras' layers; takes and gives 0..`white`."""
    import keras
    from keras import layers as L

    graph, weights = load_npz(WEIGHTS / f"{name}.npz")
    given = keras.Input((side, side, 3))
    values = {graph.layers[0].name: given if white == 1 else L.Rescaling(1 / white)(given)}
    for layer in graph.layers[1:]:
        read = [values[x] for x in layer.inputs]
        if layer.kind == "conv":
            made = L.Conv2D(layer.channels, layer.attributes["kernel"], padding="same", name=layer.name)
            values[layer.name] = made(read[0])
            made.set_weights([weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]])
        elif layer.kind == "depth_to_space":
            values[layer.name] = keras.ops.depth_to_space(read[0], layer.attributes["block"])
        elif layer.kind == "clip":
            values[layer.name] = keras.ops.clip(read[0], layer.attributes["low"], layer.attributes["high"])
        else:
            kinds = {
                "relu": lambda x: L.ReLU()(x[0]),
                "add": lambda x: L.Add()(x),
                "concat": lambda x: L.Concatenate()(x),
            }
            values[layer.name] = kinds[layer.kind](read)
    return keras.Model(given, L.Rescaling(white / 2, offset=white / 2)(values[graph.output]))


def _draw(model: Any, white: float = 1.0) -> Draw:
    return lambda lr: np.asarray(model((lr * white).astype(np.float32))) / white


def _keras(name: str, **options: Any) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        model = keras_twin(**options)
        if name == "exported":
            model.export(folder / name, verbose=False)
        else:
            model.save(folder / name)
        return folder / name, _draw(model, options.get("white", 1.0))

    return make


def _fsrcnn(name: str) -> Callable[[Path], Made]:
    """A PReLU and a transposed convolution; an HDF5 file holds no operators, only layers."""

    def make(folder: Path) -> Made:
        import keras
        from keras import layers as L

        given = keras.Input((None, None, 3))
        first, last = L.Conv2D(8, 5, padding="same"), L.Conv2DTranspose(3, 4, strides=2, padding="same")
        model = keras.Model(given, last(L.PReLU(shared_axes=[1, 2])(first(given))))
        rng = np.random.default_rng(0)
        first.set_weights([_passing((5, 5, 3, 8), rng), np.zeros(8)])
        last.set_weights([_bilinear(8), np.zeros(3)])
        model.save(folder / name)
        return folder / name, _draw(model)

    return make


def _passing(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    kernel = rng.normal(0, 0.01, shape)
    for c in range(3):
        kernel[shape[0] // 2, shape[1] // 2, c, c] += 1
    return kernel.astype(np.float32)


def _bilinear(inputs: int) -> np.ndarray:
    kernel = np.zeros((4, 4, 3, inputs), np.float32)
    for c in range(3):
        kernel[:, :, c, c] = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    return kernel


def _tf2onnx(**options: Any) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        tf = import_tensorflow()
        import onnx
        import tf2onnx

        white = options.get("white", 1.0)
        model = keras_twin(white=white)
        call = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec([None, None, None, 3])])
        nchw = ["x"] if options.get("nchw") else None
        made, _ = tf2onnx.convert.from_function(
            call, input_signature=call.input_signature, opset=options.get("opset", 15), inputs_as_nchw=nchw
        )
        onnx.save(made, folder / "net.onnx")
        return folder / "net.onnx", _draw(model, white)

    return make


def _tflite(folder: Path) -> Made:
    tf = import_tensorflow()
    model = keras_twin(side=SIDE)
    with contextlib.redirect_stdout(io.StringIO()):  # the converter tells the table's reader what he did not ask
        converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (folder / "net.tflite").write_bytes(converted)
    return folder / "net.tflite", _draw(model)


def _lambda(folder: Path) -> Made:
    tf = import_tensorflow()
    import keras
    from keras import layers as L

    given = keras.Input((None, None, 3))
    model = keras.Model(given, L.Lambda(lambda x: tf.nn.depth_to_space(x, 2))(L.Conv2D(12, 3, padding="same")(given)))
    model.save(folder / "net.keras")
    return folder / "net.keras", _draw(model)


def _tensorflow_1(*, saved: bool, training: str) -> Callable[[Path], Made]:
    """FSRCNN-like, with a switch between training and inference and a transposed convolution of computed size."""

    def make(folder: Path) -> Made:
        tf = import_tensorflow()
        v1, rng = tf.compat.v1, np.random.default_rng(0)
        v1.disable_control_flow_v2()
        v1.logging.set_verbosity(v1.logging.ERROR)
        with tf.Graph().as_default() as graph, v1.Session() as session:
            given = v1.placeholder(tf.float32, [None, None, None, 3], name="images")
            x = tf.nn.conv2d(given, v1.get_variable("feature", initializer=_passing((5, 5, 3, 8), rng)), 1, "SAME")
            switch = (
                v1.placeholder_with_default(False, [], name="is_training")
                if training == "default" else v1.placeholder(tf.bool, [], name="is_training")
            )  # fmt: skip
            x = v1.cond(switch, lambda: tf.nn.dropout(x, rate=0.3), lambda: tf.nn.relu(x))
            size = tf.shape(x)
            shape = tf.stack([size[0], size[1] * 2, size[2] * 2, 3])
            y = tf.nn.conv2d_transpose(x, v1.get_variable("up", initializer=_bilinear(8)), shape, 2)
            y = tf.identity(y, name="output")
            session.run(v1.global_variables_initializer())
            frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
            path = folder / ("saved" if saved else "net.pb")
            if saved:
                v1.saved_model.simple_save(session, str(path), {"images": given}, {"output": y})
            else:
                path.write_bytes(frozen.SerializeToString())

        def draw(lr: np.ndarray) -> np.ndarray:
            with tf.Graph().as_default(), v1.Session() as session:
                tf.import_graph_def(frozen, name="")
                return session.run("output:0", {"images:0": lr, "is_training:0": False})

        return path, draw

    return make


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
NETWORKS: dict[str, Callable[[Path], Made]] = {
    "tf2onnx | NHWC, free size": _tf2onnx(),
    "tf2onnx | NCHW by its option": _tf2onnx(nchw=True),
    "tf2onnx | opset 9, 0..255": _tf2onnx(opset=9, white=255.0),
    "Keras | .keras": _keras("net.keras"),
    "Keras | .keras, 0..255, one size": _keras("net.keras", white=255.0, side=SIDE),
    "Keras | .h5, transposed convolution": _fsrcnn("net.h5"),
    "Keras | SavedModel": _keras("exported"),
    "Keras | .keras with a Lambda layer": _lambda,
    "TensorFlow 1 | frozen .pb with a switch": _tensorflow_1(saved=False, training="plain"),
    "TensorFlow 1 | SavedModel, a default": _tensorflow_1(saved=True, training="default"),
    "TFLite | float .tflite": _tflite,
}
