"""What can be taken out of a network, and the taking out: channels that go together, residual branches, SVD pairs.

    for group in channel_groups(graph): group.name, group.size       # head (the trunk), block1_conv1, ..., up1, up2
    graph, weights = select_channels(graph, weights, group.keep([0, 2, 5]))
    graph, weights = without_branch(graph, weights, "block3_add")
    graph, weights = with_pair(graph, weights, "tail", first, second)

Each edit gives a new description and, where weights are given, the arrays that belong to it.

Channels are tied where removing one removes others: both sides of an addition, a PReLU and what it reads, and the
block**2 channels that a depth_to_space interleaves into one. A tie that reaches the picture at either end cannot go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from snpe_srgan.models.graph import Graph, Layer

W = TypeVar("W", dict[str, np.ndarray], None)  # arrays by name, or None to rebuild the description alone


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can be removed one bundle at a time.

    Attributes:
        name: the first convolution that makes them.
        size: number of bundles.
        channels: tensor -> (size, n) its channels that belong to each bundle (n is 4 before a depth_to_space by 2).
        producers: convolutions whose outputs these are.
        consumers: convolutions that read them.
        widths: tensor -> all its channels; a concatenation's are of several groups.
    """

    name: str
    size: int
    channels: Mapping[str, np.ndarray]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    widths: Mapping[str, int]

    def keep(self, bundles: Sequence[int]) -> dict[str, np.ndarray]:
        """Tensor -> sorted channels that stay when these bundles do; for `select_channels`."""
        gone = np.setdiff1d(np.arange(self.size), np.asarray(bundles, int))
        return {x: np.setdiff1d(np.arange(self.widths[x]), own[gone]) for x, own in self.channels.items()}


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """All groups that do not touch the input or the output, in the order of their first convolutions."""
    start, total = {}, 0
    for layer in graph.layers:
        start[layer.name], total = total, total + layer.channels
    parent = list(range(total))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def tie(x: str, channels, y: str, others) -> None:
        for c, d in zip(channels, others, strict=True):
            parent[root(start[x] + int(c))] = root(start[y] + int(d))

    for layer in graph.layers:
        every = range(layer.channels)
        if layer.kind == "depth_to_space":
            for phase in range(layer.attributes["block"] ** 2):
                tie(layer.inputs[0], range(phase * layer.channels, (phase + 1) * layer.channels), layer.name, every)
        elif layer.kind == "space_to_depth":
            own = graph.layer(layer.inputs[0]).channels
            for phase in range(layer.attributes["block"] ** 2):
                tie(layer.inputs[0], range(own), layer.name, range(phase * own, (phase + 1) * own))
        elif layer.kind == "concat":
            first = 0
            for x in layer.inputs:
                own = graph.layer(x).channels
                tie(x, range(own), layer.name, range(first, first + own))
                first += own
        elif layer.kind == "resize_to":  # the other input gives it its size alone
            tie(layer.inputs[0], every, layer.name, every)
        elif layer.kind not in ("input", "conv", "strided_conv"):
            for x in layer.inputs:
                tie(x, every, layer.name, every)
    return _bundled(graph, start, root)


def _bundled(graph: Graph, start: Mapping[str, int], root) -> tuple[ChannelGroup, ...]:
    """Ties that run through the same tensors with as many channels of each form one group."""
    members: dict[int, dict[str, list[int]]] = {}
    for layer in graph.layers:
        for c in range(layer.channels):
            members.setdefault(root(start[layer.name] + c), {}).setdefault(layer.name, []).append(c)
    alike: dict[tuple, list[dict[str, list[int]]]] = {}
    for member in members.values():
        alike.setdefault(tuple((x, len(own)) for x, own in member.items()), []).append(member)
    ends, by_name, groups = {graph.layers[0].name, graph.output}, {la.name: la for la in graph.layers}, []
    for shape, bundles in alike.items():
        tensors = [x for x, _ in shape]
        producers = tuple(x for x in tensors if by_name[x].kind == "conv")
        consumers = tuple(la.name for la in graph.layers if la.kind == "conv" and la.inputs[0] in tensors)
        fixed = ends & set(tensors) or any(not by_name[x].attributes["trainable"] for x in producers)
        if fixed or not producers or not consumers:
            continue
        channels = {x: np.array([bundle[x] for bundle in bundles]) for x in tensors}
        widths = {x: by_name[x].channels for x in tensors}
        groups.append(ChannelGroup(producers[0], len(bundles), channels, producers, consumers, widths))
    order = [layer.name for layer in graph.layers]
    return tuple(sorted(groups, key=lambda group: order.index(group.name)))


def select_channels(
    graph: Graph, weights: W, kept: Mapping[str, np.ndarray]
) -> tuple[Graph, W]:
    """The network with only the `kept` channels of the named tensors.

    Args:
        weights: `layer/array` -> array; None where only the description is wanted.
        kept: tensor -> sorted indices of the channels that stay, as of `ChannelGroup.keep`.

    Returns:
        (graph, weights), both new; None for weights that are None.
    """
    layers, arrays = [], None if weights is None else dict(weights)
    for layer in graph.layers:
        own = kept.get(layer.name)
        if arrays is not None:
            for key in layer.weight_shapes(0):
                name, value = f"{layer.name}/{key}", arrays[f"{layer.name}/{key}"]
                if key == "kernel" and layer.inputs[0] in kept:
                    value = value[:, :, kept[layer.inputs[0]]]
                arrays[name] = value if own is None else value[..., own]
        layers.append(layer if own is None else replace(layer, channels=len(own)))
    return replace(graph, layers=tuple(layers)), arrays


def branches(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Addition -> the layers of its residual branch: a chain that only it needs, from what its other input is.
    A branch that holds other branches (the long skip) is none."""
    readers = _readers(graph)
    by_name = {layer.name: layer for layer in graph.layers}
    found = {}
    for layer in graph.layers:
        if layer.kind != "add":
            continue
        for skip, x in (layer.inputs, layer.inputs[::-1]):
            chain = []
            while x != skip and len(by_name[x].inputs) == 1 and readers[x] == 1:
                chain.append(x)
                x = by_name[x].inputs[0]
            if x == skip and chain and any(by_name[c].kind == "conv" for c in chain):
                found[layer.name] = tuple(reversed(chain))
                break
    return found


def without_branch(graph: Graph, weights: W, add: str) -> tuple[Graph, W]:
    """The network in which the addition gives its skip alone.

    Args:
        weights: `layer/array` -> array, or None.
        add: a key of `branches(graph)`.

    Returns:
        (graph, weights), both new; None for weights that are None.
    """
    gone: tuple[str, ...] = branches(graph)[add]
    skip = next(x for x in graph.layer(add).inputs if x != gone[-1])
    layers = [
        replace(layer, inputs=tuple(skip if x == add else x for x in layer.inputs))
        for layer in graph.layers
        if layer.name not in (*gone, add)
    ]
    return replace(graph, layers=tuple(layers)), _without(weights, (*gone, add))


def with_pair(
    graph: Graph, weights: W, name: str, rank: int, pair: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Graph, W]:
    """The network whose convolution `name` (h, w) is `<name>_v` (h, 1) of `rank` channels and `name` (1, w).

    Args:
        weights: `layer/array` -> array, or None.
        rank: channels between the two.
        pair: kernels (h, 1, in, rank) and (1, w, rank, out), needed where weights are given; the second keeps the bias.

    Returns:
        (graph, weights), both new; None for weights that are None.
    """
    layers = []
    for layer in graph.layers:
        if layer.name == name:
            h, w = layer.attributes["kernel"]
            first = {**layer.attributes, "kernel": [h, 1], "bias": False, "init": "glorot"}
            layers.append(Layer(f"{name}_v", "conv", layer.inputs, rank, layer.upscale, first))
            layer = replace(layer, inputs=(f"{name}_v",), attributes={**layer.attributes, "kernel": [1, w]})
        layers.append(layer)
    if weights is not None and pair is not None:
        weights = {**weights, f"{name}_v/kernel": pair[0], f"{name}/kernel": pair[1]}
    return replace(graph, layers=tuple(layers)), weights


def _readers(graph: Graph) -> dict[str, int]:
    count = {layer.name: 0 for layer in graph.layers}
    for layer in graph.layers:
        for x in layer.inputs:
            count[x] += 1
    return count


def _without(weights: W, layers: Sequence[str]) -> W:
    return None if weights is None else {k: v for k, v in weights.items() if k.rsplit("/", 1)[0] not in layers}
