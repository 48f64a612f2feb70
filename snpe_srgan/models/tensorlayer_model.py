"""A `Graph` as a TensorLayer model: what trains, and what is frozen to a `.pb`.

    model = build(graph, seed=1)
    sr = model(lr, is_train=True)           # inside a tf.function; batch-norm statistics are updated
    weights = get_weights(model, graph)     # {'layer/array': float32}, what `save_npz` takes

Height and width are free. The mode is given with each call; do not mix that with `model.train()` / `model.eval()`.
"""

from __future__ import annotations

import functools
import itertools
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from snpe_srgan.models.bfloat16 import activated_by, kept_narrow
from snpe_srgan.models.graph import Graph, Layer
from snpe_srgan.models.initialize import initial_weights
from snpe_srgan.models.layers import (
    BatchNorm2d,
    Clip,
    Conv2d,
    ExpandedConv2d,
    FixedConv2d,
    Function,
    LeakyReLU,
    PReLU,
    ReLU,
    tl,
)
from snpe_srgan.models.npz import check_weights
from snpe_srgan.models.operators import COARSE, OPERATORS

ATTRIBUTES = {
    # array -> attribute of the TensorLayer layer that holds it
    "kernel": "W",
    "bias": "b",
    "alpha": "alpha",
    "gamma": "gamma",
    "beta": "beta",
    "mean": "moving_mean",
    "variance": "moving_var",
}
BUILT = 32  # pixels a side of the picture that a network with a smaller grid inside is built with; any may come later
_serial = itertools.count()


def build(
    graph: Graph, *, name: str | None = None, seed: int | None = None, taps: Sequence[str] = (), expand: int = 0
) -> tl.models.Model:
    """A static TensorLayer model with fresh weights (the same for the same seed).

    With `taps` it gives a list: its output, and what these layers give. With `expand` each trained convolution is two
    while it trains (models/expansion.py).

    Args:
        name: of the model; None takes the network's. A serial number is added.
        seed: of the first weights; None draws one.
        taps: names of layers whose outputs come behind the SR picture, in this order.
        expand: channels in the middle of an expanded convolution; 0 for plain ones.

    Returns:
        A model: float32 (n, h, w, 3) in [0, 1] -> (n, h * scale, w * scale, 3) in [-1, 1], or a list with `taps`.
    """
    seed = secrets.randbits(64) if seed is None else seed
    weights = initial_weights(graph, seed=seed)
    tensors: dict[str, Any] = {}
    # TensorLayer calls each layer once with a picture of ones, of one pixel where a side is free: too small for some.
    coarse = graph.unit > 1 or any(layer.upscale == COARSE for layer in graph.layers)
    side = BUILT * graph.unit if coarse else None
    activated, narrow = activated_by(graph, taps), kept_narrow(graph, taps)
    convolutions: dict[str, Conv2d] = {}
    for layer in graph.layers:
        if layer.kind == "input":
            tensors[layer.name] = tl.layers.Input([None, side, side, layer.channels], name=layer.name)
            continue
        inputs = [tensors[x] for x in layer.inputs]
        made = _layer(layer, weights, expand, seed)
        if isinstance(made, Conv2d):
            convolutions[layer.name], made.keeps_narrow = made, layer.name in narrow
        elif isinstance(made, (ReLU, LeakyReLU)) and layer.name in activated:
            convolutions[activated[layer.name]].slope = layer.attributes.get("slope", 0.0)
            made.done_before = True
        tensors[layer.name] = made(inputs[0] if len(inputs) == 1 else inputs)
    # TensorLayer wants model names to be unique in a process.
    unique = f"{name or graph.network}_{next(_serial)}"
    outputs = [tensors[name] for name in (graph.output, *taps)]
    return tl.models.Model(inputs=tensors[graph.layers[0].name], outputs=outputs if taps else outputs[0], name=unique)


def _layer(layer: Layer, weights: Mapping[str, np.ndarray], expand: int, seed: int):
    def start(array: str):
        value = weights.get(f"{layer.name}/{array}")
        return None if value is None else lambda shape: tf.constant(value, shape=shape, dtype=tf.float32)

    attributes, name = layer.attributes, layer.name
    if layer.kind == "conv":
        kind: Callable[..., Conv2d] = Conv2d if attributes["trainable"] else FixedConv2d
        if expand and attributes["trainable"]:
            own = [seed, zlib.crc32(name.encode()), expand]
            kind = functools.partial(ExpandedConv2d, expand=expand, seed=own)
        return kind(
            layer.channels, tuple(attributes["kernel"]), W_init=start("kernel"), b_init=start("bias"), name=name
        )
    if layer.kind == "strided_conv":
        step, start_w, start_b = attributes["stride"], start("kernel"), start("bias")
        return Conv2d(
            layer.channels, tuple(attributes["kernel"]), (step, step), padding="VALID", W_init=start_w, b_init=start_b,
            name=name,
        )  # fmt: skip
    if layer.kind == "batch_norm":
        return BatchNorm2d(
            decay=attributes["decay"],
            epsilon=attributes["epsilon"],
            gamma_init=start("gamma"),
            beta_init=start("beta"),
            moving_mean_init=start("mean"),
            moving_var_init=start("variance"),
            name=name,
        )
    if layer.kind == "prelu":
        return PReLU(alpha_init=start("alpha"), name=name)
    if layer.kind == "leaky_relu":
        return LeakyReLU(attributes["slope"], name=name)
    if layer.kind == "relu":
        return ReLU(name=name)
    if layer.kind == "clip":
        return Clip(attributes["low"], attributes["high"], name=name)
    compute = OPERATORS[layer.kind].tensorflow
    return Function(lambda x: compute(layer, {}, x if isinstance(x, list) else [x], name), name=name)


def variables(model: tl.models.Model, graph: Graph) -> dict[str, tf.Variable]:
    """`layer/array` -> the variable that holds it, trained or not, in layer order; of an expanded convolution's kernel
    the two that make it."""
    layers = {layer.name: layer for layer in model.all_layers}
    found: dict[str, tf.Variable] = {}
    for key in graph.weight_shapes():
        name, array = key.rsplit("/", 1)
        if array == "kernel" and isinstance(layers[name], ExpandedConv2d):
            found |= {f"{name}/expansion": layers[name].expansion, f"{name}/projection": layers[name].projection}
        else:
            found[key] = getattr(layers[name], ATTRIBUTES[array])
    return found


def tensors(model: tl.models.Model, graph: Graph) -> dict[str, tf.Tensor]:
    """`layer/array` -> what it is now, for every array of the graph: expanded convolutions as one kernel.

    Kernels are (h, w, in, out), all else is (channels,).
    """
    layers = {layer.name: layer for layer in model.all_layers}
    found = {}
    for key in graph.weight_shapes():
        name, array = key.rsplit("/", 1)
        layer = layers[name]
        found[key] = layer.kernel() if array == "kernel" else tf.convert_to_tensor(getattr(layer, ATTRIBUTES[array]))
    return found


def get_weights(model: tl.models.Model, graph: Graph) -> dict[str, np.ndarray]:
    """`layer/array` -> float32 copy of its value now, for every array of the graph (see `tensors`)."""
    return {key: tensor.numpy() for key, tensor in tensors(model, graph).items()}


def set_weights(model: tl.models.Model, graph: Graph, weights: Mapping[str, np.ndarray]) -> None:
    """Assigns every array; `InputError` when names, shapes or numbers do not fit.

    Args:
        weights: `layer/array` -> array, exactly those of `graph`; an expanded convolution's kernel is split anew.
    """
    check_weights(graph, weights, where=graph.network)
    layers = {layer.name: layer for layer in model.all_layers}
    for key, value in weights.items():
        name, array = key.rsplit("/", 1)
        if array == "kernel":
            layers[name].assign_kernel(value)
        else:
            getattr(layers[name], ATTRIBUTES[array]).assign(value)
