"""A graph of others as a network of our own layers: what trains on, is compressed, and is written as `.npz`.

graph, weights = to_layers(tidy(model))

Only operators that our layers have; whatever else is refused by its name. The layers compute what the graph does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.operators import NEAREST
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node, clip_bounds, resize_factor
from snpe_srgan.onnx_graphs.operators_others import channel_slice

Arrays = dict[str, np.ndarray]
FAR = 1e30  # a clip without a bound, as a number
HINT = "export the network with operators that our layers have, or use it as a graph: run, convert and quantize take it"


def to_layers(model, *, name: str = "foreign", where: object = None) -> tuple[Graph, Arrays]:
    """(description, weights) of a graph that is tidy.

    Args:
        model: an ONNX model in our form, after `tidy`.
        name: what the network is called in its description.
        where: the file, for errors.

    Returns:
        The weights are `layer/array` -> float32, in the layouts of `models/graph.py`.

    Raises:
        InputError: an operator that is none of our layers.
    """
    network, facts = Network(model), onnx_facts(model, where=where)
    unit = facts.multiple
    walk = _Walk(network, Builder(scale=facts.scale, unit=unit), where)
    walk.made[network.input] = walk.net.lr
    for node in network.nodes:
        walk.add(node)
    last = walk.made[network.output]
    if last != next(reversed(walk.net._layers)):
        raise InputError("the graph gives what is not its last result", where=where, hint=HINT)
    return walk.net.graph(last, network=name, options={}), walk.weights


class _Walk:
    def __init__(self, network: Network, net: Builder, where: object):
        self.network, self.net, self.where = network, net, where
        self.made: dict[str, str] = {}  # tensor -> layer
        self.weights: Arrays = {}
        self.count = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def add(self, node: Node) -> None:
        rule = RULES.get(node.kind)
        if rule is None:
            raise self.refuse(node, "is none of our layers")
        self.made[node.output] = rule(self, node, [self.made[x] for x in node.inputs])

    def refuse(self, node: Node, why: str) -> InputError:
        return InputError(f"the operator '{node.kind}' {why}", where=f"{self.where}, {node.name}", hint=HINT)

    def conv(self, x: str, kernel: np.ndarray, bias: np.ndarray | None, kind: str = "conv") -> str:
        """kernel (out, in, h, w)."""
        name = self.net.conv(x, len(kernel), tuple(kernel.shape[2:]), name=self.name(kind), bias=bias is not None)
        self.weights[f"{name}/kernel"] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32)
        if bias is not None:
            self.weights[f"{name}/bias"] = np.asarray(bias, np.float32)
        return name


def _conv(w: _Walk, node: Node, x: list[str]) -> str:
    kernel, own = np.asarray(node.constants[1]), node.attributes
    height, width = kernel.shape[2:]
    same = [(height - 1) // 2, (width - 1) // 2, height // 2, width // 2]
    strides, dilations = own.get("strides", (1, 1)), own.get("dilations", (1, 1))
    if list(own.get("pads", (0, 0, 0, 0))) != same or {*strides, *dilations} != {1}:
        raise w.refuse(node, "has a stride, a dilation or a padding that our convolution lacks")
    groups = int(own.get("group", 1))
    if groups > 1:  # a whole one, with zeros between the groups
        each, into = len(kernel) // groups, kernel.shape[1]
        whole = np.zeros((len(kernel), into * groups, height, width), kernel.dtype)
        for g in range(groups):
            whole[g * each : (g + 1) * each, g * into : (g + 1) * into] = kernel[g * each : (g + 1) * each]
        kernel = whole
    return w.conv(x[0], kernel, node.constants.get(2))


def _shuffle(w: _Walk, node: Node, x: list[str]) -> str:
    block, source = int(node.attributes["blocksize"]), x[0]
    if node.attributes.get("mode", b"DCR") == b"CRD":  # PyTorch's order of channels: ours is another
        channels = w.net.channels(source)
        order = np.arange(channels).reshape(channels // block**2, block**2).T.reshape(-1)
        layer = w.net._layers[source]
        if layer.kind == "conv" and len(w.network.readers[node.inputs[0]]) == 1:
            for part, axis in (("kernel", 3), ("bias", 0)):
                if (key := f"{source}/{part}") in w.weights:
                    w.weights[key] = np.take(w.weights[key], order, axis=axis)
        else:
            source = w.conv(source, np.eye(channels)[order][:, :, None, None], None, "reorder")
    return w.net.depth_to_space(source, block, name=w.name("shuffle"))


def _prelu(w: _Walk, node: Node, x: list[str]) -> str:
    name = w.net.prelu(x[0], name=w.name("prelu"))
    slopes = np.asarray(node.constants[1], np.float32).reshape(-1)
    w.weights[f"{name}/alpha"] = np.broadcast_to(slopes, (w.net.channels(x[0]),)).copy()
    return name


def _mul(w: _Walk, node: Node, x: list[str]) -> str:
    if not node.constants:
        return w.net.multiply(x[0], x[1], name=w.name("multiply"))
    (factor,) = node.constants.values()
    if np.size(factor) != 1:
        raise w.refuse(node, "by a number for each channel is none of our layers")
    return w.net.scale(x[0], float(np.reshape(factor, ())), name=w.name("scale"))


def _add(w: _Walk, node: Node, x: list[str]) -> str:
    if not node.constants:
        return w.net.add(x[0], x[1], name=w.name("add"))
    (shift,) = node.constants.values()
    layer = w.net._layers[x[0]]
    if layer.kind == "sigmoid" and np.size(shift) == 1 and float(np.reshape(shift, ())) == -0.5:
        half = w.net.scale(layer.inputs[0], 0.5, name=w.name("half"))  # sigmoid(x) - 0.5 = tanh(x / 2) / 2
        return w.net.scale(w.net.tanh(half, name=w.name("gate")), 0.5, name=w.name("scale"))
    channels = w.net.channels(x[0])
    if np.size(shift) not in (1, channels):
        raise w.refuse(node, "of numbers for each place is none of our layers")
    bias = np.broadcast_to(np.asarray(shift, np.float32).reshape(-1), (channels,))
    return w.conv(x[0], np.eye(channels)[:, :, None, None], bias, "shift")


def _slice(w: _Walk, node: Node, x: list[str]) -> str:
    span = channel_slice(node)
    if span is None:
        raise w.refuse(node, "cuts other things than channels")
    return w.conv(x[0], np.eye(w.net.channels(x[0]))[span[0] : span[1], :, None, None], None, "part")


def _clip(w: _Walk, node: Node, x: list[str]) -> str:
    low, high = clip_bounds(node)
    if (low, high) == (0.0, np.inf):
        return w.net.relu(x[0], name=w.name("relu"))
    return w.net.clip(x[0], name=w.name("clip"), low=max(low, -FAR), high=min(high, FAR))


def _resize(w: _Walk, node: Node, x: list[str]) -> str:
    factor = resize_factor(node.attributes, node.constants)
    if factor is None:
        raise w.refuse(node, f"is ours as {NEAREST['mode']} neighbour by a whole number alone")
    return w.net.resize(x[0], factor, name=w.name("resize"))


def _concat(w: _Walk, node: Node, x: list[str]) -> str:
    if node.constants or node.attributes.get("axis") != 1:
        raise w.refuse(node, "joins other things than channels")
    return w.net.concat(x, name=w.name("concat"))


def _plain(kind: str) -> Callable[[_Walk, Node, list[str]], str]:
    return lambda w, node, x: w.net.apply(kind, x[0], name=w.name(kind))


RULES: dict[str, Callable[[_Walk, Node, list[str]], str]] = {
    "Transpose": lambda w, node, x: x[0],  # only at the two ends of a tidy graph
    "Conv": _conv,
    "DepthToSpace": _shuffle,
    "SpaceToDepth": lambda w, node, x: w.net.space_to_depth(
        x[0], int(node.attributes["blocksize"]), name=w.name("unshuffle")
    ),
    "PRelu": _prelu,
    "Relu": _plain("relu"),
    "Tanh": _plain("tanh"),
    "Sigmoid": _plain("sigmoid"),
    "LeakyRelu": lambda w, node, x: w.net.leaky_relu(
        x[0], name=w.name("leaky_relu"), slope=float(node.attributes.get("alpha", 0.01))
    ),
    "GlobalAveragePool": lambda w, node, x: w.net.global_average_pool(x[0], name=w.name("mean")),
    "Mul": _mul,
    "Add": _add,
    "Clip": _clip,
    "Resize": _resize,
    "Concat": _concat,
    "Slice": _slice,
}  # fmt: skip
