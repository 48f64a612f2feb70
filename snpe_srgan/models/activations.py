"""What the layers of a trained network give, with constant weights: a teacher inside another network's training.

    relu2, body = activations(graph, weights, lr, ["relu2", "body_add"])

Plain TensorFlow, as in the loss's feature networks: nothing of it can be trained by accident, and no variable has to
live in a distribution's scope. Nothing that the wanted layers do not need is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from snpe_srgan.models.graph import Graph, Layer


def activations(
    graph: Graph, weights: Mapping[str, np.ndarray], lr: tf.Tensor, wanted: Sequence[str]
) -> list[tf.Tensor]:
    """`lr` float32 (n, h, w, 3) in [0, 1] -> each wanted layer's output (n, h * upscale, w * upscale, channels).

    Batch norm uses its stored statistics.
    """
    needed = set(wanted)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    values = {graph.layers[0].name: lr}
    for layer in graph.layers[1:]:
        if layer.name in needed:
            arrays = {array: tf.constant(weights[f"{layer.name}/{array}"]) for array in layer.weight_shapes(0)}
            values[layer.name] = _KINDS[layer.kind](layer, arrays, [values[name] for name in layer.inputs])
    return [values[name] for name in wanted]


def nearest(x: tf.Tensor, factor: int, *, name: str | None = None) -> tf.Tensor:
    """(n, h, w, c) -> (n, h * factor, w * factor, c), each pixel repeated, as the operator that converters know."""
    size = tf.multiply(tf.shape(x)[1:3], factor, name=name and f"{name}/size")
    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, half_pixel_centers=True, name=name)


def _conv(layer: Layer, arrays, inputs):
    y = tf.nn.conv2d(inputs[0], arrays["kernel"], 1, "SAME")
    return tf.nn.bias_add(y, arrays["bias"]) if "bias" in arrays else y


def _batch_norm(layer: Layer, a, inputs):
    epsilon = layer.attributes["epsilon"]
    return tf.nn.batch_normalization(inputs[0], a["mean"], a["variance"], a["beta"], a["gamma"], epsilon)


_KINDS: dict[str, Callable] = {
    "conv": _conv,
    "batch_norm": _batch_norm,
    "prelu": lambda layer, a, x: tf.nn.relu(x[0]) - a["alpha"] * tf.nn.relu(-x[0]),
    "relu": lambda layer, a, x: tf.nn.relu(x[0]),
    "leaky_relu": lambda layer, a, x: tf.nn.leaky_relu(x[0], layer.attributes["slope"]),
    "depth_to_space": lambda layer, a, x: tf.nn.depth_to_space(x[0], layer.attributes["block"]),
    "tanh": lambda layer, a, x: tf.tanh(x[0]),
    "clip": lambda layer, a, x: tf.clip_by_value(x[0], layer.attributes["low"], layer.attributes["high"]),
    "sigmoid": lambda layer, a, x: tf.sigmoid(x[0]),
    "scale": lambda layer, a, x: x[0] * layer.attributes["factor"],
    "global_average_pool": lambda layer, a, x: tf.reduce_mean(x[0], axis=[1, 2], keepdims=True),
    "resize": lambda layer, a, x: nearest(x[0], layer.attributes["factor"]),
    "add": lambda layer, a, x: x[0] + x[1],
    "multiply": lambda layer, a, x: x[0] * x[1],
    "concat": lambda layer, a, x: tf.concat(x, axis=-1),
}
