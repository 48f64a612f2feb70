"""A plan carried out on a network: branches left out, channels selected, kernels fitted anew, pairs for kernels.

full = Full(graph, weights, find_units(graph), moments)
small = full.build({"block3_conv1": 32, "tail (ssvd)": 16})
small.graph, small.weights
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.compression.features import Moments
from snpe_srgan.compression.pruning import Reader, magnitude_order, reconstructed, removal_order
from snpe_srgan.compression.spatial_svd import data_pair, kernel_pair, most_ranks
from snpe_srgan.compression.structure import channel_groups, select_channels, with_pair, without_branch
from snpe_srgan.compression.units import BLOCK, CHANNELS, SSVD, Plan, Unit
from snpe_srgan.models.graph import Graph


@dataclass(frozen=True, eq=False)
class Built:
    """A smaller network."""

    graph: Graph
    weights: dict[str, np.ndarray]


class Full:
    """The network that is compressed, without batch norms, and what its convolutions read.

    Args:
        moments: by `collect_moments`; None: selection by magnitude, kernels cut and not fitted, plain SVD.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, np.ndarray],
        units: tuple[Unit, ...],
        moments: Mapping[str, Moments] | None,
    ):
        self.graph, self.weights, self.moments = graph, dict(weights), moments
        self.units = {unit.name: unit for unit in units}
        self.groups = {group.name: group for group in channel_groups(graph)}
        self.order = functools.lru_cache(None)(self._order)

    def build(self, plan: Plan) -> Built:
        """The network under `plan`, its kernels fitted to what the full network's layers read."""
        kinds = {kind: [n for n in plan if self.units[n].kind == kind] for kind in (BLOCK, CHANNELS, SSVD)}
        graph, weights = self.graph, dict(self.weights)
        for add in kinds[BLOCK]:
            if plan[add] == 0:
                graph, weights = without_branch(graph, weights, add)
        present = {layer.name for layer in graph.layers}
        gone = {layer.name for layer in self.graph.layers} - present
        kept = self._channels({n: self.order(n)[: self.groups[n].size - plan[n]] for n in kinds[CHANNELS]})
        narrowed = {x: own for x, own in kept.items() if x in present}
        self._fit(graph, weights, narrowed)
        graph, weights = select_channels(graph, weights, narrowed)
        for name in kinds[SSVD]:
            layer = self.units[name].layer
            if layer not in gone:
                pair = self._pair(graph, weights, layer, plan[name], kept)
                graph, weights = with_pair(graph, weights, layer, pair[0].shape[-1], pair)
        return Built(graph, {key: np.asarray(value, np.float32) for key, value in weights.items()})

    def describe(self, plan: Plan) -> Graph:
        """The smaller network's description alone, whichever channels go: what its cost depends on."""
        graph = self.graph
        for name, kept in plan.items():
            if self.units[name].kind == BLOCK and kept == 0:
                graph, _ = without_branch(graph, None, name)
        present = {layer.name for layer in graph.layers}
        counts = {name: kept for name, kept in plan.items() if self.units[name].kind == CHANNELS}
        left = self._channels({name: np.arange(kept, self.groups[name].size) for name, kept in counts.items()})
        graph, _ = select_channels(graph, None, {x: own for x, own in left.items() if x in present})
        for name, kept in plan.items():
            if self.units[name].kind == SSVD and self.units[name].layer in present:
                graph, _ = with_pair(graph, None, self.units[name].layer, kept)
        return graph

    def _channels(self, removed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tensor -> channels left, for tensors that lose any, without the `removed` bundles of each group. A
        concatenation has channels of several groups."""
        masks: dict[str, np.ndarray] = {}
        for name, bundles in removed.items():
            for x, own in self.groups[name].channels.items():
                mask = masks.setdefault(x, np.ones(self.graph.layer(x).channels, bool))
                mask[own[bundles].reshape(-1)] = False
        return {x: np.flatnonzero(mask) for x, mask in masks.items()}

    def _order(self, name: str) -> np.ndarray:
        """The bundles of a group, least needed first."""
        group, graph = self.groups[name], self.graph
        if self.moments is None:
            kernels = [self.weights[f"{p}/kernel"] for p in group.producers]
            return magnitude_order([
                kernel.reshape(-1, kernel.shape[3])[:, group.channels[p]]
                for p, kernel in zip(group.producers, kernels, strict=True)
            ])  # fmt: skip
        readers = []
        for conv in group.consumers:
            moments, kernel = self.moments[conv], self.weights[f"{conv}/kernel"]
            h, w, m, n = kernel.shape
            rows = np.arange(h * w * m).reshape(h * w, m)
            own = group.channels[graph.layer(conv).inputs[0]]
            bundles = rows[:, own].transpose(1, 0, 2).reshape(len(own), -1)
            readers.append(Reader(moments.gram, kernel.reshape(-1, n), bundles, moments.energy))
        return removal_order(readers, keep=min(self.units[name].levels))

    def _fit(self, graph: Graph, weights: dict[str, np.ndarray], kept: Mapping[str, np.ndarray]) -> None:
        """Kernels and biases that make up for the input channels that go; nothing without moments."""
        if self.moments is None:
            return
        for layer in graph.layers:
            if layer.kind != "conv" or layer.inputs[0] not in kept:
                continue
            key = f"{layer.name}/kernel"
            kernel, moments = weights[key], self.moments[layer.name]
            taps = taps_of(kernel.shape, kept[layer.inputs[0]])
            flat = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[3])
            fitted = np.zeros_like(flat)
            fitted[taps] = reconstructed(flat, moments.gram, taps)
            weights[key] = fitted.reshape(kernel.shape)
            if layer.attributes["bias"]:
                weights[f"{layer.name}/bias"] = weights[f"{layer.name}/bias"] + moments.mean @ (flat - fitted)

    def _pair(self, graph: Graph, weights, name: str, rank: int, kept) -> tuple[np.ndarray, np.ndarray]:
        kernel = weights[f"{name}/kernel"]
        rank = min(rank, most_ranks(kernel.shape))
        if self.moments is None:
            return kernel_pair(kernel, rank)
        source = self.graph.layer(name)
        full = (*kernel.shape[:2], self.graph.in_channels(source), kernel.shape[3])
        taps = taps_of(full, kept.get(source.inputs[0], np.arange(full[2])))
        return data_pair(kernel, self.moments[name].gram[np.ix_(taps, taps)], rank)


def taps_of(shape, channels: np.ndarray) -> np.ndarray:
    """The rows of a (h * w * in, out) kernel that read these input channels, in order."""
    h, w, m, _ = shape
    return np.arange(h * w * m).reshape(h * w, m)[:, channels].reshape(-1)
