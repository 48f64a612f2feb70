"""Cuts away, inside a graph, what a tile computes and nobody keeps.

    narrow = Narrowing(model)                              # quantized, of fixed size, with its shapes (`fix_size`)
    made = narrow.cut(((0, 64), (0, 80)))                  # LR rows and columns of the tile that are kept
    made.model, made.rows, made.columns                    # its output covers these, the kept ones among them

A tile overlaps its neighbours as far as the network sees. Only the first layers need all of that: before the last one
a pixel or two around what is kept are enough. So the graph gets `Slice` operators on its way, each between two
roundings to the same grid, which change no number: what is kept has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied, shapes_of

if TYPE_CHECKING:
    import onnx

Span = tuple[int, int]  # from, to
Spans = tuple[Span, Span]  # rows, columns
ALIGN = 4  # LR pixels: widths that are multiples of 4 are compiled rightly (`runtimes/strip.py`)
POINTWISE = frozenset((
    "Clip", "DequantizeLinear", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "PRelu",
    "QuantizeLinear", "Relu", "Sigmoid", "Tanh",
))  # fmt: skip
JOINING = frozenset(("Add", "Concat", "Div", "Max", "Min", "Mul", "Sub"))


class CannotNarrow(SnpeSrganError):
    """The graph has an operator of which it is not known here what it reads."""


@dataclass(frozen=True, eq=False)
class Narrowed:
    """The graph, and the LR rows and columns of the tile that its output covers."""

    model: onnx.ModelProto
    rows: Span
    columns: Span


@dataclass(frozen=True)
class Layer:
    """A convolution's products for an LR pixel, and LR pixels around what is kept from which it is still read."""

    macs: float
    margin: int


@dataclass(frozen=True)
class _Place:
    """Where a tensor's pixels are: how many of them an LR pixel is along a side, which axes are rows and columns."""

    times: int
    axes: tuple[int, int]


class Narrowing:
    """Raises `CannotNarrow` for a graph that cannot be cut."""

    def __init__(self, model: onnx.ModelProto, *, align: int = ALIGN):
        self._net = OnnxGraph(copied(model))
        (self._lr,), (self._sr,) = self._net.inputs, self._net.outputs
        height, width = (length or 0 for length in shapes_of(model.graph)[self._lr][1:3])
        self.size, self._align, self._model = (height, width), align, model
        self._makers = self._net.makers()
        self._places = {self._lr: _Place(1, (1, 2))}
        for node in self._net.nodes:
            if self._pictures(node):
                self._places[node.output[0]] = self._place(node)
        if self._places.get(self._sr, _Place(0, (0, 0))).axes != (1, 2):
            raise CannotNarrow("the output is no picture of the input")

    def layers(self) -> tuple[Layer, ...]:
        """The convolutions in order; for the margins the size must be more than twice the network's reach."""
        middle = ((self.size[0] // 2, self.size[0] // 2 + 1), (self.size[1] // 2, self.size[1] // 2 + 1))
        needed = self._needed(middle)
        found = []
        for node in self._net.nodes:
            if node.op_type == "Conv" and node.input[0] in needed:
                times = self._places[node.output[0]].times
                spans = needed[node.input[0]]
                margins = [
                    max(own[0] - start // times, -(-end // times) - own[1])
                    for own, (start, end) in zip(middle, spans, strict=True)
                ]
                found.append(Layer(float(np.prod(self._kernel(node))) * times**2, max(*margins, 0)))
        return tuple(found)

    def cut(self, kept: Spans) -> Narrowed:
        """A copy of the graph that computes the kept LR pixels of its fixed size, and little else."""
        return _Cut(self, kept).made()

    def _pictures(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name in self._places]

    def _place(self, node: onnx.NodeProto) -> _Place:
        sources = {self._places[name] for name in self._pictures(node)}
        if len(sources) != 1 or len(node.output) != 1:
            raise CannotNarrow(f"{node.op_type} joins pictures of several sizes")
        place, own = sources.pop(), attributes_of(node)
        if node.op_type == "Transpose":
            order = list(own["perm"])
            return _Place(place.times, (order.index(place.axes[0]), order.index(place.axes[1])))
        if node.op_type == "DepthToSpace" and place.axes == (2, 3):
            return _Place(place.times * own["blocksize"], place.axes)
        if node.op_type == "Conv" and place.axes == (2, 3):
            self._window(node)
            return place
        if node.op_type in POINTWISE | JOINING and not (node.op_type == "Concat" and own["axis"] % 4 in place.axes):
            return place
        raise CannotNarrow(f"it is not known what {node.op_type} reads")

    def _kernel(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """(out, in, height, width)"""
        maker = self._makers.get(node.input[1])
        name = maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else node.input[1]
        if name not in self._net.constants or self._net.constants[name].ndim != 4:
            raise CannotNarrow("a convolution's kernel is computed")
        return self._net.constants[name].shape

    def _window(self, node: onnx.NodeProto) -> Spans:
        """Pixels that a convolution reads before and behind the one that it computes, along rows and columns."""
        own = attributes_of(node)
        pads, steps = own.get("pads", [0] * 4), own.get("dilations", [1, 1])
        reads = [(length - 1) * step for length, step in zip(self._kernel(node)[2:], steps, strict=True)]
        same = all(pads[i] + pads[i + 2] == reads[i] for i in (0, 1))
        if not same or own.get("auto_pad", b"NOTSET") != b"NOTSET" or any(x != 1 for x in own.get("strides", ())):
            raise CannotNarrow("a convolution changes the size")
        return (pads[0], reads[0] - pads[0]), (pads[1], reads[1] - pads[1])

    def _read(self, node: onnx.NodeProto, spans: Spans) -> Spans:
        """What a node reads of its input to compute these spans of its output, both in the tensors' own pixels."""
        if node.op_type == "DepthToSpace":
            block = attributes_of(node)["blocksize"]
            rows, columns = ((start // block, -(-end // block)) for start, end in spans)
            return rows, columns
        if node.op_type != "Conv":
            return spans
        times = self._places[node.output[0]].times
        rows, columns = (
            (max(0, start - before), min(side * times, end + behind))
            for (start, end), (before, behind), side in zip(spans, self._window(node), self.size, strict=True)
        )
        return rows, columns

    def _needed(self, kept: Spans) -> dict[str, Spans]:
        """What of each tensor the kept LR pixels depend on, in its own pixels."""
        times = self._places[self._sr].times
        needed: dict[str, Spans] = {self._sr: _times(kept, times)}
        for node in reversed(self._net.nodes):
            if node.output[0] in needed:
                spans = self._read(node, needed[node.output[0]])
                for name in self._pictures(node):
                    needed[name] = _around(spans, needed.get(name, spans))
        return needed

    def _aligned(self, name: str, spans: Spans) -> Spans:
        """LR spans of whole blocks around those of a tensor."""
        step = self._align * self._places[name].times
        rows, columns = (
            (start // step * self._align, min(side, -(-end // step) * self._align))
            for (start, end), side in zip(spans, self.size, strict=True)
        )
        return rows, columns


class _Cut:
    """One pass from the input to the output: what each tensor covers (LR spans), and the operators with the slices."""

    def __init__(self, graph: Narrowing, kept: Spans):
        self.graph, self.needed = graph, graph._needed(kept)
        self.net = OnnxGraph(copied(graph._model))
        self.covers: dict[str, Spans] = {graph._lr: ((0, graph.size[0]), (0, graph.size[1]))}
        self.slices: dict[tuple[str, Spans], str] = {}
        self.nodes: list[onnx.NodeProto] = []

    def made(self) -> Narrowed:
        graph = self.graph
        for node in self.net.nodes:
            if sources := [name for name in node.input if name in graph._places]:
                covered = self._before(node, sources)
                self.covers[node.output[0]] = covered
            self.nodes.append(node)
        self.net.nodes = self.nodes
        model = self.net.model()
        rows, columns = self.covers[graph._sr]
        shape, times = model.graph.output[0].type.tensor_type.shape, graph._places[graph._sr].times
        for axis, (start, end) in ((1, rows), (2, columns)):
            shape.dim[axis].dim_value = (end - start) * times
        return Narrowed(model, rows, columns)

    def _before(self, node: onnx.NodeProto, sources: Sequence[str]) -> Spans:
        """Cuts what a node reads, where that is less than there is; what its output then covers."""
        wanted = self.covers[sources[0]]
        if node.op_type == "Conv" or node.op_type in JOINING:
            spans = self.graph._read(node, self.needed[node.output[0]])
            wanted = self.graph._aligned(sources[0], spans)
            uncut = {self.covers[name] for name in sources if not self._can_be_cut(name)}
            if uncut:
                wanted = uncut.pop()
        for index, name in enumerate(node.input):
            if name in sources and self.covers[name] != wanted:
                node.input[index] = self._cut(name, wanted)
        return wanted

    def _can_be_cut(self, name: str) -> bool:
        """Whether a tensor has just been rounded to a grid, so that another rounding to it changes nothing."""
        maker = self.graph._makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return False
        before = self.graph._makers.get(maker.input[0])
        return before is not None and before.op_type == "QuantizeLinear"

    def _cut(self, name: str, wanted: Spans) -> str:
        """The name of that part of a tensor."""
        from onnx import helper

        if (name, wanted) in self.slices:
            return self.slices[name, wanted]
        there = self.covers[name]
        inside = all(a <= c and d <= b for (a, b), (c, d) in zip(there, wanted, strict=True))
        if not inside or not self._can_be_cut(name):
            raise CannotNarrow(f"'{name}' cannot be cut")
        new, place, maker = f"{name}/cut{len(self.slices)}", self.graph._places[name], self.graph._makers[name]
        starts = [(part[0] - whole[0]) * place.times for part, whole in zip(wanted, there, strict=True)]
        ends = [(part[1] - whole[0]) * place.times for part, whole in zip(wanted, there, strict=True)]
        for what, values in (("starts", starts), ("ends", ends), ("axes", place.axes)):
            self.net.constants[f"{new}/{what}"] = np.array(values, np.int64)
        part = [f"{new}/starts", f"{new}/ends", f"{new}/axes"]
        made = (
            helper.make_node("Slice", [name, *part], [f"{new}/value"]),
            helper.make_node("QuantizeLinear", [f"{new}/value", *maker.input[1:]], [f"{new}/integer"]),
            helper.make_node("DequantizeLinear", [f"{new}/integer", *maker.input[1:]], [new]),
        )
        for node in made:
            node.name = node.output[0]
        for node in made[1:]:
            node.attribute.extend(maker.attribute)
        self.nodes += made
        self.slices[name, wanted] = new
        return new


def _times(spans: Spans, times: int) -> Spans:
    (top, bottom), (left, right) = spans
    return (top * times, bottom * times), (left * times, right * times)


def _around(one: Spans, other: Spans) -> Spans:
    """The smallest spans that hold both."""
    rows, columns = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one, other, strict=True))
    return rows, columns
