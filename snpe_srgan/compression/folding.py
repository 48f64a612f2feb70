"""The last convolution before its pixel shuffle instead of after it: the same pictures, most of the time saved.

    graph, weights = with_folded_tail(graph, weights)

SRGAN shuffles 256 channels to 64 of twice the size and reads those with a 9x9 convolution of three outputs. A matrix
unit computes 32 outputs or more at once, so nearly all of that largest layer is padding. A convolution of a shuffled
tensor is a convolution of the tensor before the shuffle with block**2 as many outputs, shuffled after (the sub-pixel
convolution of Shi et al. 2016 read backwards): 5x5, 256 -> 12 channels at half the size. Its taps are those of the 9x9
kernel and zeros, so that it has 1.23 times the MACs. PReLU, one slope a channel, commutes with the shuffle.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snpe_srgan.compression.structure import W
from snpe_srgan.models.graph import Graph, Layer
from snpe_srgan.models.operators import OPERATORS


def foldable(graph: Graph) -> tuple[Layer, list[Layer], Layer] | None:
    """(depth_to_space, the pointwise layers after it, the convolution that reads them) or None.

    That convolution must give the picture: it is the one whose few outputs waste a matrix unit.
    """
    by_name = {layer.name: layer for layer in graph.layers}
    readers = [x for layer in graph.layers for x in layer.inputs]
    last = by_name[graph.output]
    while last.kind in ("tanh", "clip"):
        last = by_name[last.inputs[0]]
    if last.kind != "conv" or not last.attributes["trainable"]:
        return None
    between: list[Layer] = []
    layer = by_name[last.inputs[0]]
    while OPERATORS[layer.kind].pointwise and OPERATORS[layer.kind].homogeneous and readers.count(layer.name) == 1:
        between.insert(0, layer)
        layer = by_name[layer.inputs[0]]
    if layer.kind != "depth_to_space" or readers.count(layer.name) != 1:
        return None
    return layer, between, last


def with_folded_tail(graph: Graph, weights: W) -> tuple[Graph, W]:
    """The same function; unchanged where `foldable` finds nothing."""
    found = foldable(graph)
    if found is None:
        return graph, None if weights is None else dict(weights)
    shuffle, conv = found[0], found[2]
    between: list[Layer] = found[1]
    block, before = shuffle.attributes["block"], shuffle.inputs[0]
    channels = shuffle.channels * block**2
    size = folded_size(conv.attributes["kernel"], block)
    changed = {
        layer.name: replace(layer, inputs=(x,), channels=channels, upscale=conv.upscale // block)
        for layer, x in zip(between, [before, *(b.name for b in between[:-1])], strict=True)
    }
    changed[conv.name] = replace(
        conv, inputs=(between[-1].name if between else before,), channels=conv.channels * block**2,
        upscale=conv.upscale // block, attributes={**conv.attributes, "kernel": size},
    )  # fmt: skip
    moved = f"{conv.name}_shuffle"
    layers = []
    for layer in graph.layers:
        if layer.name == shuffle.name:
            continue
        own = changed.get(layer.name, layer)
        if layer.name not in changed:
            own = replace(layer, inputs=tuple(moved if x == conv.name else x for x in layer.inputs))
        layers.append(own)
        if layer.name == conv.name:
            layers.append(Layer(moved, "depth_to_space", (conv.name,), conv.channels, conv.upscale, {"block": block}))
    return replace(graph, layers=tuple(layers)), _arrays(weights, between, conv, block)


def _arrays(weights: W, between: list[Layer], conv: Layer, block: int) -> W:
    if weights is None:
        return None
    arrays = dict(weights)
    for layer in between:
        if layer.kind == "prelu":
            arrays[f"{layer.name}/alpha"] = np.tile(arrays[f"{layer.name}/alpha"], block**2)
    arrays[f"{conv.name}/kernel"] = folded_kernel(arrays[f"{conv.name}/kernel"], block)
    if conv.attributes["bias"]:
        arrays[f"{conv.name}/bias"] = np.tile(arrays[f"{conv.name}/bias"], block**2)
    return arrays


def folded_size(kernel, block: int) -> list[int]:
    """(h, w) of the folded kernel, odd: 9 -> 5 for a block of 2."""
    sizes = []
    for side in kernel:
        before, after = (side - 1) // 2, side // 2
        sizes.append(2 * max(-(-before // block), (block - 1 + after) // block) + 1)
    return sizes


def folded_kernel(kernel: np.ndarray, block: int) -> np.ndarray:
    """(h, w, c, n) on the shuffled tensor -> (h', w', block**2 * c, block**2 * n) on the tensor before the shuffle.

    Output sub-pixel (p, q) reads tap (u, v) at shuffled row p + u - pad = block * a + r: row a of channel group r.
    """
    h, w, c, n = kernel.shape
    high, wide = folded_size((h, w), block)
    folded = np.zeros((high, wide, block, block, c, block, block, n), kernel.dtype)
    for p in range(block):
        for u in range(h):
            a, r = divmod(p + u - (h - 1) // 2, block)
            for q in range(block):
                for v in range(w):
                    b, t = divmod(q + v - (w - 1) // 2, block)
                    folded[a + high // 2, b + wide // 2, r, t, :, p, q] = kernel[u, v]
    return folded.reshape(high, wide, block**2 * c, block**2 * n)
