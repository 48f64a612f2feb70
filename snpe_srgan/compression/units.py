"""What can be made smaller, in which steps, and what the network then costs, without building it.

units = find_units(graph, multiple=8)
plan = {"block3_add": 0, "head": 48, "tail (ssvd)": 16}         # unit -> how much of it is kept; others are whole
Costs(graph).macs(plan), Costs(graph).parameters(plan)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snpe_srgan.compression.spatial_svd import useful_rank
from snpe_srgan.compression.structure import branches, channel_groups
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Graph

SSVD, CHANNELS, BLOCK = "ssvd", "channels", "block"
STEPS = 8  # levels of a unit, about: a finer search costs more than it finds
Plan = Mapping[str, int]


@dataclass(frozen=True)
class Unit:
    """One thing that can be made smaller.

    Attributes:
        name: its key in a plan.
        kind: ssvd (rank of a pair), channels (bundles kept), block (1 or 0).
        layer: the convolution, the first convolution of the group, or the addition.
        full: the count as it is; for ssvd the first rank that saves nothing.
        levels: what may be kept instead, falling.
    """

    name: str
    kind: str
    layer: str
    full: int
    levels: tuple[int, ...]


def find_units(graph: Graph, *, multiple: int = 8) -> tuple[Unit, ...]:
    """All units of a network without batch norms; counts are multiples of `multiple`.

    Raises:
        InputError: nothing is thick enough to be made smaller.
    """
    units = []
    for group in channel_groups(graph):
        units.append(Unit(group.name, CHANNELS, group.name, group.size, _levels(group.size, multiple)))
    for layer in graph.layers:
        if layer.kind == "conv" and min(layer.attributes["kernel"]) > 1 and layer.attributes["trainable"]:
            full = useful_rank((*layer.attributes["kernel"], graph.in_channels(layer), layer.channels)) + 1
            units.append(Unit(f"{layer.name} (ssvd)", SSVD, layer.name, full, _levels(full, multiple)))
    units += [Unit(add, BLOCK, add, 1, (0,)) for add in branches(graph)]
    units = [unit for unit in units if unit.levels]
    if not units:
        raise InputError(
            f"no layer is thick enough to be made smaller in steps of {multiple} channels",
            where=graph.network, hint="a smaller --multiple, if there is one",
        )  # fmt: skip
    return tuple(units)


def _levels(full: int, multiple: int) -> tuple[int, ...]:
    """Multiples below `full`, falling, in about STEPS steps."""
    step = multiple * max(1, round(full / multiple / STEPS))
    return tuple(range((full - 1) // step * step, 0, -step)) or tuple(
        range((full - 1) // multiple * multiple, 0, -step)
    )


@dataclass(frozen=True)
class _Conv:
    area: int
    pixels: int
    inputs: tuple[tuple[str | None, int], ...]  # (group, channels of each bundle) or (None, channels)
    outputs: tuple[tuple[str | None, int], ...]
    bias: bool
    side: tuple[int, int]


class Costs:
    """The cost of a network under a plan, by arithmetic on its description."""

    def __init__(self, graph: Graph):
        groups = channel_groups(graph)
        self.sizes, self.area = {group.name: group.size for group in groups}, graph.unit**2
        self.branch_of = {layer: add for add, layers in branches(graph).items() for layer in layers}
        parts: dict[str, tuple] = {}
        for layer in graph.layers:
            own = [(g.name, g.channels[layer.name].shape[1]) for g in groups if layer.name in g.channels]
            rest = layer.channels - sum(self.sizes[name] * n for name, n in own)
            parts[layer.name] = (*own, *([(None, rest)] if rest else []))
        self.convs = {
            layer.name: _Conv(
                layer.attributes["kernel"][0] * layer.attributes["kernel"][1], max(layer.upscale, 0) ** 2,
                parts[layer.inputs[0]], parts[layer.name], bool(layer.attributes["bias"]),
                tuple(layer.attributes["kernel"]),
            )
            for layer in graph.layers if layer.kind == "conv"
        }  # fmt: skip
        self.slopes = {layer.name: parts[layer.name] for layer in graph.layers if layer.kind == "prelu"}

    def macs(self, plan: Plan) -> int:
        """Multiply-accumulates for one LR pixel."""
        return sum(self._weights(name, conv, plan) * conv.pixels for name, conv in self.convs.items()) // self.area

    def parameters(self, plan: Plan) -> int:
        """Weights, biases and PReLU slopes of the network."""
        total = 0
        for name, conv in self.convs.items():
            if not self._gone(name, plan):
                total += self._weights(name, conv, plan) + conv.bias * self._count(conv.outputs, plan)
        return total + sum(self._count(p, plan) for name, p in self.slopes.items() if not self._gone(name, plan))

    def _gone(self, layer: str, plan: Plan) -> bool:
        add = self.branch_of.get(layer)
        return add is not None and plan.get(add, 1) == 0

    def _count(self, parts, plan: Plan) -> int:
        return sum(n if name is None else n * plan.get(name, self.sizes[name]) for name, n in parts)

    def _weights(self, name: str, conv: _Conv, plan: Plan) -> int:
        if self._gone(name, plan):
            return 0
        m, n = self._count(conv.inputs, plan), self._count(conv.outputs, plan)
        rank = plan.get(f"{name} (ssvd)")
        if rank is None:
            return conv.area * m * n
        return rank * (conv.side[0] * m + conv.side[1] * n)
