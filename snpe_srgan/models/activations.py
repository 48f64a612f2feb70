"""What the layers of a trained network give, with constant weights: a teacher inside another network's training.

    relu2, body = activations(graph, weights, lr, ["relu2", "body_add"])

Plain TensorFlow, as in the loss's feature networks: nothing of it can be trained by accident, and no variable has to
live in a distribution's scope. Nothing that the wanted layers do not need is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from snpe_srgan.models.graph import Graph
from snpe_srgan.models.operators import OPERATORS


def activations(
    graph: Graph, weights: Mapping[str, np.ndarray], lr: tf.Tensor, wanted: Sequence[str]
) -> list[tf.Tensor]:
    """`lr` float32 (n, h, w, 3) in [0, 1] -> each wanted layer's output (n, h * upscale, w * upscale, channels).

    Batch norm uses its stored statistics.

    Args:
        weights: `layer/array` -> float32, at least the arrays of the layers that are computed.
        lr: float32 RGB in [0, 1].
        wanted: names of layers, in the order in which their outputs come back; may name `graph.output`.

    Returns:
        One tensor a name. A layer behind a global pooling gives (n, 1, 1, channels).

    Raises:
        KeyError: a name in `wanted` is no layer of the graph, or an array is missing.
    """
    needed = set(wanted)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    values = {graph.layers[0].name: lr}
    for layer in graph.layers[1:]:
        if layer.name in needed:
            arrays = {array: tf.constant(weights[f"{layer.name}/{array}"]) for array in layer.weight_shapes(0)}
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = OPERATORS[layer.kind].tensorflow(layer, arrays, inputs, None)
    return [values[name] for name in wanted]
