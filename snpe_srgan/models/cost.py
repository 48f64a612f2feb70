"""What a network costs, read from its description: parameters, multiply-accumulates, receptive radius.

cost = graph_cost(graph)
cost.parameters, cost.macs_per_lr_pixel, cost.receptive_radius

The receptive radius is what tiles must overlap by so that a tiled picture equals the whole one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snpe_srgan.models.graph import Graph, Layer
from snpe_srgan.models.operators import OPERATORS, Reach, widest


@dataclass(frozen=True)
class Cost:
    """`parameters` counts every stored array; `deployed_parameters` what is left once batch norm is folded."""

    parameters: int
    deployed_parameters: int
    macs_per_lr_pixel: int
    receptive_radius: int


def graph_cost(graph: Graph) -> Cost:
    """What a network costs: parameters (numbers, not bytes), multiply-accumulates and reach (LR pixels).

    Computed from the description alone: no weights are needed and nothing is run.
    """
    sizes = {key: int(np.prod(shape)) for key, shape in graph.weight_shapes().items()}
    norms = {layer.name for layer in graph.layers if layer.kind == "batch_norm"}
    folded = sum(size for key, size in sizes.items() if key.rsplit("/", 1)[0] in norms)
    # A convolution without a bias gets one when the batch norm after it is folded in.
    gained = sum(
        graph.layer(layer.inputs[0]).channels
        for layer in graph.layers
        if layer.kind == "batch_norm" and not graph.layer(layer.inputs[0]).attributes.get("bias", True)
    )
    return Cost(
        parameters=sum(sizes.values()),
        deployed_parameters=sum(sizes.values()) - folded + gained,
        macs_per_lr_pixel=macs_per_lr_pixel(graph),
        receptive_radius=receptive_radius(graph),
    )


def macs_per_lr_pixel(graph: Graph) -> int:
    """Multiply-accumulates of the convolutions for one LR pixel (a layer at x4 size works on 16 pixels for it; one
    behind a global pooling, once for the whole picture, is not counted)."""
    return sum(_unit_macs(graph, layer) for layer in graph.layers) // graph.unit**2


def layer_macs(graph: Graph, layer: Layer) -> int:
    """A layer's share of `macs_per_lr_pixel`."""
    return _unit_macs(graph, layer) // graph.unit**2


def _unit_macs(graph: Graph, layer: Layer) -> int:
    """For one pixel of the smallest grid."""
    if layer.kind != "conv":
        return 0
    h, w = layer.attributes["kernel"]
    return h * w * graph.in_channels(layer) * layer.channels * max(layer.upscale, 0) ** 2


def receptive_radius(graph: Graph) -> int:
    """The largest distance in LR pixels, up, down, left or right, from which an output pixel can be influenced. What
    comes through a global pooling comes from everywhere, and is left out: `onnx_graphs/reach.py` says so to tiling."""
    return graph.unit * max(_radius(graph, axis) for axis in (0, 1))


def _radius(graph: Graph, axis: int) -> int:
    reach: dict[str, Reach] = {}
    for layer in graph.layers:
        if layer.kind == "input":
            reach[layer.name] = ((0, 0),) * graph.unit
            continue
        known = [reach[name] for name in layer.inputs if name in reach]
        own = OPERATORS[layer.kind].reach(layer, axis, widest(known)) if known else None
        if own is not None:
            reach[layer.name] = own
    return max(max(pair) for pair in reach[graph.output])
