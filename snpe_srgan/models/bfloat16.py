"""Which activations a bfloat16 step need not widen to float32 between two convolutions.

A convolution rounds what it reads to bfloat16 whatever it is. So a result that only convolutions read, directly or
through activations that are part of the convolution's kernel and concatenations, may as well stay in bfloat16: nothing
is rounded more often, and two passes over memory a layer are saved.
"""

from __future__ import annotations

from collections.abc import Collection

from snpe_srgan.models.graph import Graph, Layer

BETWEEN = ("relu", "leaky_relu", "concat")


def activated_by(graph: Graph, taps: Collection[str]) -> dict[str, str]:
    """ReLU or leaky ReLU -> the convolution with a bias in front of it, where nothing else looks at that one's result.

    Args:
        taps: layers whose result is wanted beside the output.
    """
    layers, readers, visible = {x.name: x for x in graph.layers}, _readers(graph), {graph.output, *taps}
    return {
        layer.name: source
        for layer in graph.layers
        for source in layer.inputs
        if layer.kind in ("relu", "leaky_relu") and _biased(layers[source])
        if len(readers[source]) == 1 and source not in visible
    }  # fmt: skip


def kept_narrow(graph: Graph, taps: Collection[str]) -> set[str]:
    """Layers whose results reach nothing but convolutions.

    Args:
        taps: layers whose result is wanted beside the output.
    """
    readers, visible = _readers(graph), {graph.output, *taps}
    kept = {x.name for x in graph.layers if (_biased(x) or x.kind in BETWEEN) and x.name not in visible}

    def fits(layer: Layer) -> bool:
        below = all(x.kind in ("conv", "strided_conv") or x.name in kept for x in readers[layer.name])
        return below and (layer.kind == "conv" or all(source in kept for source in layer.inputs))

    while True:
        fitting = {layer.name for layer in graph.layers if layer.name in kept and fits(layer)}
        if fitting == kept:
            return kept
        kept = fitting


def _biased(layer: Layer) -> bool:
    """A convolution of layers.py's `Conv2d` with a bias; a fixed one adds its own in float32."""
    return layer.kind == "conv" and bool(layer.attributes["bias"] and layer.attributes["trainable"])


def _readers(graph: Graph) -> dict[str, list[Layer]]:
    readers: dict[str, list[Layer]] = {layer.name: [] for layer in graph.layers}
    for layer in graph.layers:
        for source in layer.inputs:
            readers[source].append(layer)
    return readers
