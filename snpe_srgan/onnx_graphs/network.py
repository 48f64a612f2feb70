"""What quantization must know of an ONNX network: who reads what, which tensors carry the same numbers, what follows.

network = Network(onnx.load("generator.onnx"))
network.groups["up1_d2s"]      # -> "up1_c": depth_to_space only moves values, so both share one encoding
network.integer_tensors        # the tensors that get an encoding, in execution order
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import InputError

MOVES = ("Transpose", "DepthToSpace", "Concat", "Clip", "Resize")  # the output's values are the inputs' values
COMPUTES = ("Conv", "PRelu", "LeakyRelu", "Relu", "Add", "Tanh", "Sigmoid", "Mul", "GlobalAveragePool")
REPEATS = ((b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor"))  # ways to say nearest neighbour
PRELUS = ("PRelu", "LeakyRelu")


@dataclass(frozen=True)
class Node:
    """One operator; `inputs` are tensors, constants by name in `constants` (position -> array)."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: Mapping[int, np.ndarray]
    output: str
    attributes: Mapping[str, object]


class Network:
    """A float ONNX super-resolution model, read once. `InputError` for an operator quantization does not know.

    Attributes:
        nodes: in execution order.
        input, output: names of the graph's ends.
        readers: tensor -> the nodes that read it.
        pooled: tensors of one pixel: a mean over the whole picture, and what is computed from that alone.
        makers: tensor -> the node that writes it.
        groups: tensor -> the first tensor of its group; a group shares one encoding.
        fused: convolution outputs that are read by one ReLU only: the ReLU becomes part of the convolution
            (the integer grid starts at 0), and the tensor between them never exists.
        integer_tensors: every other activation, in execution order.
    """

    def __init__(self, model):
        from onnx import helper, numpy_helper

        constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        inputs = [i.name for i in model.graph.input if i.name not in constants]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise InputError("only networks with one input and one output can be quantized", where=model.graph.name)
        self.input, self.output = inputs[0], model.graph.output[0].name
        self.nodes: list[Node] = []
        for n in model.graph.node:
            if n.op_type in ("QuantizeLinear", "DequantizeLinear"):
                raise InputError("the network is quantized already", where=n.name, hint="name the float model")
            if n.op_type not in MOVES + COMPUTES:
                known = ", ".join(sorted(MOVES + COMPUTES))
                raise InputError(f"cannot quantize the operator '{n.op_type}'", where=n.name, hint=f"known: {known}")
            read = {i: constants[x] for i, x in enumerate(n.input) if x in constants}
            if n.op_type == "Add" and read:
                raise InputError("cannot quantize the addition of a constant", where=n.name)
            if n.op_type == "Conv" and 1 not in read:
                raise InputError("cannot quantize a convolution whose weights are computed", where=n.name)
            if n.op_type == "Resize" and resize_factor(n, read) is None:
                raise InputError("cannot quantize an enlargement but nearest neighbour by a whole number", where=n.name)
            tensors = tuple(x for i, x in enumerate(n.input) if x and i not in read)
            attributes = {a.name: helper.get_attribute_value(a) for a in n.attribute}
            self.nodes.append(Node(n.name or n.output[0], n.op_type, tensors, read, n.output[0], attributes))
        self.makers = {node.output: node for node in self.nodes}
        self.readers: dict[str, list[Node]] = {self.input: []} | {node.output: [] for node in self.nodes}
        for node in self.nodes:
            for x in node.inputs:
                if x not in self.readers:
                    raise InputError(f"reads '{x}', which nothing writes", where=node.name)
                self.readers[x].append(node)
        self.pooled: set[str] = set()
        for node in self.nodes:
            if node.kind == "GlobalAveragePool" or all(x in self.pooled for x in node.inputs):
                self.pooled.add(node.output)
        self.fused = {node.inputs[0] for node in self.nodes if node.kind == "Relu" and self._fusable(node.inputs[0])}
        self.integer_tensors = [x for x in [self.input, *(n.output for n in self.nodes)] if x not in self.fused]
        self.groups = self._group()

    def _fusable(self, tensor: str) -> bool:
        maker = self.makers.get(tensor)
        return maker is not None and maker.kind in ("Conv", "Add") and len(self.readers[tensor]) == 1

    def _group(self) -> dict[str, str]:
        parent = {x: x for x in self.readers}

        def root(x: str) -> str:
            while parent[x] != x:
                x = parent[x]
            return x

        for node in self.nodes:
            if node.kind in MOVES:
                for x in node.inputs:
                    parent[root(node.output)] = root(x)
        return {x: root(x) for x in parent}

    def stored(self, node: Node) -> str:
        """The integer tensor that a node's result ends in: behind the ReLU where that is part of the node."""
        return self.readers[node.output][0].output if node.output in self.fused else node.output

    def members(self, group: str) -> list[str]:
        """The tensors of a group that exist as integers, in execution order."""
        return [x for x in self.integer_tensors if self.groups[x] == group]

    def sources(self, group: str) -> list[str]:
        """The members that are computed (not moved): between them they hold all the group's values."""
        made = self.makers
        return [x for x in self.members(group) if x not in made or made[x].kind not in MOVES]


def resize_factor(proto, constants: Mapping[int, np.ndarray]) -> int | None:
    """By how much a Resize enlarges height and width: None unless it repeats each pixel a whole number of times."""
    from onnx import helper

    own = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    way = own.get("coordinate_transformation_mode", b"half_pixel"), own.get("nearest_mode", b"round_prefer_floor")
    scales = constants.get(2, np.zeros(0))
    if own.get("mode", b"nearest") != b"nearest" or way not in REPEATS or scales.size != 4:
        return None
    factor = int(scales[-1])
    return factor if factor >= 1 and scales.tolist() == [1, 1, factor, factor] else None


def enlarges(node: Node) -> int:
    """How many times as high and wide an operator's output is as its input."""
    if node.kind == "DepthToSpace":
        return int(node.attributes["blocksize"])
    return int(node.constants[2][-1]) if node.kind == "Resize" else 1


def prelu_slopes(node: Node) -> np.ndarray:
    """Slopes of a PRelu or LeakyRelu, (channels,) or (1,)."""
    if node.kind == "LeakyRelu":
        return np.array([node.attributes.get("alpha", 0.01)], np.float64)
    return np.asarray(node.constants[1], np.float64).reshape(-1)


def clip_bounds(node: Node) -> tuple[float, float]:
    """The (lowest, highest) value that a Clip lets through."""
    low, high = (float(node.constants[i]) if i in node.constants else end for i, end in ((1, -np.inf), (2, np.inf)))
    return low, high
