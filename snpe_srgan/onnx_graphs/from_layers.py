"""A `Graph` and its weights as an ONNX model, without TensorFlow: what `run model.npz` executes, `convert` starts from.

    model = to_onnx(graph, weights)                         # any picture size
    model = to_onnx(graph, weights, input_size=(128, 128))  # fixed, as an accelerator wants it

Input `lr` and output `sr` are NHWC, as SNPE's files are; inside, ONNX's own NCHW. Nodes and their outputs carry the
layers' names. Batch norm and multiplication by a constant are folded into the convolution before them
(`fold_batch_norm`, `fold_scale`); PReLU, clip and depth_to_space stay whole, because the DSP and the 8-bit engines have
them as single operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.cost import receptive_radius
from snpe_srgan.models.graph import Graph, Layer
from snpe_srgan.models.npz import check_weights
from snpe_srgan.models.operators import OPERATORS, OnnxNode

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 9
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def fold_batch_norm(graph: Graph, weights: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """The same function with each batch norm inside the convolution it follows, which then has a bias.

    w' = w * g / sqrt(v + e) over output channels, b' = (b - m) * g / sqrt(v + e) + beta. A batch norm that follows
    something else, or a convolution that is read twice, stays.
    """
    weights = dict(weights)
    convs = _read_once(graph)
    renamed: dict[str, str] = {}
    layers: dict[str, Layer] = {}
    for layer in graph.layers:
        if layer.kind == "batch_norm" and layer.inputs[0] in convs:
            conv = convs[layer.inputs[0]]
            gamma, beta, mean, variance = (
                np.asarray(weights.pop(f"{layer.name}/{array}"), np.float64)
                for array in ("gamma", "beta", "mean", "variance")
            )
            factor = gamma / np.sqrt(variance + layer.attributes["epsilon"])
            bias = weights.get(f"{conv.name}/bias", np.zeros(conv.channels))
            weights[f"{conv.name}/kernel"] = (weights[f"{conv.name}/kernel"] * factor).astype(np.float32)
            weights[f"{conv.name}/bias"] = ((bias - mean) * factor + beta).astype(np.float32)
            layers[conv.name] = replace(layers[conv.name], attributes={**conv.attributes, "bias": True})
            renamed[layer.name] = conv.name
        else:
            layers[layer.name] = replace(layer, inputs=tuple(renamed.get(name, name) for name in layer.inputs))
    return replace(graph, layers=tuple(layers.values())), weights


def fold_scale(graph: Graph, weights: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """The same function with each multiplication by a constant inside the convolution it follows.

    w' = w * f, b' = b * f. One that follows something else, or a convolution that is read twice, stays.
    """
    weights, convs = dict(weights), _read_once(graph)
    renamed: dict[str, str] = {}
    layers = []
    for layer in graph.layers:
        if layer.kind == "scale" and layer.inputs[0] in convs:
            conv = renamed[layer.name] = layer.inputs[0]
            for key in (f"{conv}/kernel", f"{conv}/bias"):
                if key in weights:
                    weights[key] = weights[key] * np.float32(layer.attributes["factor"])
        else:
            layers.append(replace(layer, inputs=tuple(renamed.get(name, name) for name in layer.inputs)))
    return replace(graph, layers=tuple(layers)), weights


def needs_a_size(graph: Graph) -> bool:
    """Whether a chip takes the network at one size alone: it enlarges to a size that it computes from the picture's."""
    return any(layer.kind == "resize_to" for layer in graph.layers)


def coarse_sides(graph: Graph, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """(height, width) of what each layer of a network with a coarse grid gives, by name; empty for others.

    Raises:
        InputError: a picture of that size has no coarse grid.
    """
    if not needs_a_size(graph):
        return {}
    sides: dict[str, tuple[int, int]] = {}
    for layer in graph.layers:
        step = layer.attributes.get("stride", 1)
        window = layer.attributes.get("side", 0) or layer.attributes.get("kernel", [1])[0]
        if layer.upscale > 0:
            sides[layer.name] = (size[0] * layer.upscale // graph.unit, size[1] * layer.upscale // graph.unit)
        elif layer.kind in ("strided_conv", "max_pool"):
            height, width = sides[layer.inputs[0]]
            sides[layer.name] = ((height - window) // step + 1, (width - window) // step + 1)
        else:
            sides[layer.name] = sides[layer.inputs[0]] if layer.upscale else (1, 1)
        if min(sides[layer.name]) < 1:
            raise InputError(f"a picture of {size[0]}x{size[1]} is too small for the network", where=layer.name)
    return sides


def _of_a_size(layer: Layer, sides: Mapping[str, tuple[int, int]]) -> list[OnnxNode]:
    """An enlargement to a computed size by constant factors, where the sizes are known; their millionth more keeps
    rounding from losing a pixel."""
    if layer.kind != "resize_to" or layer.name not in sides:
        return []
    small, large = sides[layer.inputs[0]], sides[layer.name]
    factors = np.array([1, 1, *(b / a * (1 + 1e-6) for a, b in zip(small, large, strict=True))])
    return [OnnxNode("Resize", {"roi": None, "scales": factors}, {"mode": "linear"}, of=0)]


def _read_once(graph: Graph) -> dict[str, Layer]:
    """The convolutions that one layer reads."""
    read = [name for layer in graph.layers for name in layer.inputs]
    return {layer.name: layer for layer in graph.layers if layer.kind == "conv" and read.count(layer.name) == 1}


def to_onnx(
    graph: Graph, weights: Mapping[str, np.ndarray], *, input_size: tuple[int, int] | None = None
) -> onnx.ModelProto:
    """The ONNX model; `input_size` (height, width) fixes the LR size, None leaves it free.

    Args:
        weights: `layer/array` -> array, exactly those of `graph`.

    Returns:
        `lr` (1, h, w, 3) float32 in [0, 1] -> `sr` (1, h * scale, w * scale, 3) in [-1, 1]; batch norm and scalings are
        folded into the convolutions.

    Raises:
        InputError: the weights do not fit the graph, or `input_size` is too small for a coarse grid inside it.
    """
    from onnx import TensorProto, helper, numpy_helper

    check_weights(graph, weights, where=graph.network)
    radius = receptive_radius(graph)
    graph, weights = fold_scale(*fold_batch_norm(graph, weights))
    initializers, nodes = [], []

    def constant(name: str, value: np.ndarray | None) -> str:
        if value is None:
            return ""  # an input that is left out
        initializers.append(numpy_helper.from_array(np.array(value, np.float32, order="C"), name))
        return name

    sides = {} if input_size is None else coarse_sides(graph, input_size)
    source = graph.layers[0].name
    inside = {source: "lr_nchw", **({"sr": "sr_nchw"} if graph.output == "sr" else {})}
    nodes.append(helper.make_node("Transpose", ["lr"], ["lr_nchw"], name="lr_nchw", perm=TO_NCHW))
    for layer in graph.layers[1:]:
        own = {key.rsplit("/", 1)[1]: value for key, value in weights.items() if key.rsplit("/", 1)[0] == layer.name}
        read = [inside.get(x, x) for x in layer.inputs]
        for made in _of_a_size(layer, sides) or OPERATORS[layer.kind].onnx(layer, own):
            inputs = read if made.of is None else [read[made.of]]
            inputs = inputs + [f"{layer.name}/{part}" for part in made.reads]
            inputs += [constant(f"{layer.name}/{array}", value) for array, value in made.constants.items()]
            inputs += [f"{layer.name}/{part}" for part in made.last]
            part = f"{layer.name}/{made.suffix}"
            name, result = (part, part) if made.suffix else (layer.name, inside.get(layer.name, layer.name))
            nodes.append(helper.make_node(made.kind, inputs, [result], name=name, **made.attributes))
    last = inside.get(graph.output, graph.output)
    nodes.append(helper.make_node("Transpose", [last], ["sr"], name="sr_nhwc", perm=TO_NHWC))

    height, width = input_size or ("height", "width")
    high, wide = (n * graph.scale for n in input_size) if input_size else ("sr_height", "sr_width")
    model = helper.make_model(
        helper.make_graph(
            nodes,
            graph.network,
            [helper.make_tensor_value_info("lr", TensorProto.FLOAT, [1, height, width, 3])],
            [helper.make_tensor_value_info("sr", TensorProto.FLOAT, [1, high, wide, 3])],
            initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="snpe-srgan",
    )
    properties = {"scale": graph.scale, "network": graph.network, "receptive_radius": radius}
    helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
    return model
