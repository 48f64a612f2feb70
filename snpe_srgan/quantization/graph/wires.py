"""Which channels of which tensors must be scaled together, and the rescaling itself, exact by construction.

A convolution may give its output channel `c` multiplied by any s_c > 0 if whatever reads that channel divides by s_c.
PReLU, ReLU, enlargements, means, transposes and concatenations pass such a factor on unchanged (they are positively
homogeneous, or only move values); an addition passes it on if both of its inputs carry the same factor, a product with
a gate if the gate carries none. So the channels fall into *wires*: classes of (tensor, channel) that share one factor.
A residual trunk is one wire a channel, whatever number of blocks add to it: equalization need not stop at an addition
(Nagel et al. 2019, section 4.1, treats chains only). The picture at either end, and what tanh, a sigmoid or a clip with
bounds reads, cannot be scaled.

    wires = Wires(network)
    model = rescaled(model, network, wires, factors)      # factors (wires.count,) > 0: the same function
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snpe_srgan.onnx_graphs.graph import copied
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node, operator_of
from snpe_srgan.onnx_graphs.operators_others import channel_slice

FIXED = -1


class Wires:
    """The wires of a network.

    Attributes:
        count: number of free factors.
        of: tensor -> (channels,) index of each channel's wire; FIXED (-1) where the factor must stay 1.
    """

    count: int
    of: Mapping[str, np.ndarray]

    def __init__(self, network: Network):
        self.channels = network.channels
        self._start, total = {}, 0
        for tensor, channels in self.channels.items():
            self._start[tensor] = total
            total += channels
        self._parent = list(range(total))
        fixed = [network.input, network.output]
        for node in network.nodes:
            if not operator_of(node.kind).homogeneous(node) or self._spreads(node):
                fixed += [*node.inputs, node.output]
            else:
                fixed += node.inputs[1:] if node.kind == "Mul" else ()
                self._tie(node)
        roots = {x: np.array([self._root(s + c) for c in range(self.channels[x])]) for x, s in self._start.items()}
        stuck = {int(root) for x in fixed for root in roots[x]}
        index = {r: i for i, r in enumerate(dict.fromkeys(int(r) for x in roots for r in roots[x] if r not in stuck))}
        self.count = len(index)
        self.of = {x: np.array([index.get(int(r), FIXED) for r in own]) for x, own in roots.items()}

    def _spreads(self, node: Node) -> bool:
        """Whether an operator reads one channel for all: a map that weighs places, a brightness."""
        counts = {self.channels[x] for x in (*node.inputs, node.output)}
        if node.kind == "Mul":  # the second is a gate, and carries no factor
            counts = {self.channels[x] for x in (node.inputs[0], node.output)}
        return node.kind in ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu") and len(counts) > 1

    def factors_of(self, tensor: str, factors: np.ndarray) -> np.ndarray:
        """(channels,) factors of a tensor's channels; 1 where they are fixed."""
        return np.append(factors, 1.0)[self.of[tensor]]

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def _same(self, x: str, channels, y: str, others) -> None:
        for c, d in zip(channels, others, strict=True):
            self._parent[self._root(self._start[x] + int(c))] = self._root(self._start[y] + int(d))

    def _tie(self, node: Node) -> None:
        out, channels = node.output, self.channels[node.output]
        every = range(channels)
        if node.kind == "DepthToSpace":
            for phase in range(int(node.attributes["blocksize"]) ** 2):
                self._same(node.inputs[0], shuffled_channels(node, channels, phase), out, every)
        elif node.kind == "Concat":
            first = 0
            for x in node.inputs:
                own = self.channels[x]
                self._same(x, range(own), out, range(first, first + own))
                first += own
        elif node.kind == "SpaceToDepth":
            own = self.channels[node.inputs[0]]
            for phase in range(int(node.attributes["blocksize"]) ** 2):
                self._same(node.inputs[0], range(own), out, range(phase * own, (phase + 1) * own))
        elif node.kind == "Slice":
            first = (channel_slice(node) or (0, 0))[0]
            self._same(node.inputs[0], range(first, first + channels), out, every)
        elif node.kind == "Mul":  # of two tensors the second keeps its own: it is the gate
            self._same(node.inputs[0], every, out, every)
        elif node.kind != "Conv":
            for x in node.inputs:
                self._same(x, every, out, every)


def shuffled_channels(node: Node, channels: int, phase: int) -> np.ndarray:
    """The input channels of a DepthToSpace that become sub-pixel `phase` of its output.

    Args:
        node: the DepthToSpace, of mode DCR or CRD.
        channels: of its output.
        phase: 0 to blocksize^2 - 1, row after row.

    Returns:
        (channels,) indices.
    """
    own = np.arange(channels)
    block = int(node.attributes["blocksize"]) ** 2
    return own * block + phase if node.attributes.get("mode", b"DCR") == b"CRD" else phase * channels + own


def rescaled(model, network: Network, wires: Wires, factors: np.ndarray):
    """A copy of the float ONNX `model` whose tensors carry `factors`: the same function.

    w'[o, i] = w[o, i] * s_out[o] / s_in[i], b'[o] = b[o] * s_out[o]; in float64, stored as float32.

    Args:
        network, wires: of `model`.
        factors: (wires.count,) > 0.
    """
    arrays = {}
    for node in network.nodes:
        if node.kind == "Conv":
            out, into = (wires.factors_of(x, factors) for x in (node.output, node.inputs[0]))
            kernel = np.asarray(node.constants[1], np.float64)
            bias = np.asarray(node.constants.get(2, np.zeros(len(kernel))), np.float64)
            arrays[node.name] = (kernel * out[:, None, None, None] / read_by(node, into), bias * out)
    return with_convolutions(model, arrays)


def read_by(node: Node, channels: np.ndarray) -> np.ndarray:
    """(in,) numbers of a convolution's input channels, brought to its kernel's (out, in / group, 1, 1)."""
    groups = int(node.attributes.get("group", 1))
    rows = channels.reshape(groups, -1)
    return np.repeat(rows, len(node.constants[1]) // groups, axis=0)[:, :, None, None]


def with_convolutions(model, arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]):
    """A copy of the ONNX model with the (kernel, bias) of the named convolutions replaced; a bias is added where there
    was none and the new one is not 0. Other nodes that read the same initializers keep theirs."""
    from onnx import numpy_helper

    copy = copied(model)
    own = {}
    for node in copy.graph.node:
        key = node.name or node.output[0]
        if node.op_type != "Conv" or key not in arrays:
            continue
        kernel, bias = arrays[key]
        parts = {1: kernel}
        if (len(node.input) > 2 and node.input[2]) or np.any(bias):
            parts[2] = bias
        del node.input[3:]
        while len(node.input) <= max(parts):
            node.input.append("")
        for position, array in parts.items():
            name = f"{key}/{'kernel' if position == 1 else 'bias'}"
            node.input[position] = name
            own[name] = numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
    read = {x for node in copy.graph.node for x in node.input}
    kept = [t for t in copy.graph.initializer if t.name in read and t.name not in own]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend([*kept, *own.values()])
    return copy
