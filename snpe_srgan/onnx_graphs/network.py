"""What quantization must know of an ONNX network: who reads what, which tensors carry the same numbers, what follows.

network = Network(onnx.load("generator.onnx"))
network.groups["up1_d2s"]      # -> "up1_c": depth_to_space only moves values, so both share one encoding
network.integer_tensors        # the tensors that get an encoding, in execution order
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, shapes_of
from snpe_srgan.onnx_graphs.operators import MOVES, OPERATORS, Node
from snpe_srgan.onnx_graphs.operators_others import channel_slice


class Network:
    """A float ONNX super-resolution model, read once. `InputError` for what no integer graph is made of. An operator
    without a record (`operators.operator_of`) gets a grid of its own, and equalization leaves it alone.

    Attributes:
        nodes: in execution order.
        input, output: names of the graph's ends.
        readers: tensor -> the nodes that read it.
        pooled: tensors of one pixel: a mean over the whole picture, and what is computed from that alone.
        makers: tensor -> the node that writes it.
        groups: tensor -> the first tensor of its group; a group shares one encoding.
        fused: outputs of convolutions and additions that are read by one ReLU or Clip only: it becomes part of the
            operator (the integer grid lies within its bounds), and the tensor between them never exists. A clip of the
            finished picture moves values: its grid is known.
        integer_tensors: every other activation, in execution order.
    """

    def __init__(self, model):
        graph = OnnxGraph(model)
        self._model = model
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise InputError("only networks with one input and one output can be quantized", where=model.graph.name)
        (self.input,), (self.output,) = graph.inputs, graph.outputs
        self.nodes: list[Node] = []
        for n in graph.nodes:
            if n.op_type in ("QuantizeLinear", "DequantizeLinear"):
                raise InputError("the network is quantized already", where=n.name, hint="name the float model")
            if len(n.output) != 1:
                raise InputError(f"cannot quantize the operator '{n.op_type}' of several results", where=n.name)
            read = {i: graph.constants[x] for i, x in enumerate(n.input) if x in graph.constants}
            if n.op_type == "Conv" and 1 not in read:
                raise InputError("cannot quantize a convolution whose weights are computed", where=n.name)
            attributes = attributes_of(n)
            if n.op_type == "Resize" and np.size(read.get(2, ())) != 4:
                raise InputError("cannot quantize an enlargement to a computed size", where=n.name)
            tensors = tuple(x for i, x in enumerate(n.input) if x and i not in read)
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
        picture = self._finished()
        self.fused = {
            node.inputs[0] for node in self.nodes
            if node.kind in ("Relu", "Clip") and node.output not in picture and self._fusable(node.inputs[0])
        }  # fmt: skip
        self.integer_tensors = [x for x in [self.input, *(n.output for n in self.nodes)] if x not in self.fused]
        self.groups = self._group()

    @cached_property
    def channels(self) -> dict[str, int]:
        """Tensor -> number of channels, 3 at the input; `InputError` for one that is no picture of channels."""
        counts = {self.input: 3}
        for node in self.nodes:
            own = _channels(node, [counts[x] for x in node.inputs])
            counts[node.output] = self._shape(node)[1] if own is None else own
        return counts

    def _shape(self, node: Node) -> list[int]:
        """The sizes of a result, inferred at one size of the picture."""
        shape = [n or 0 for n in self._shapes.get(node.output, [])]
        if len(shape) != 4 or not shape[1]:
            raise InputError(
                f"cannot quantize a network whose '{node.kind}' gives {len(shape)} dimensions: quantization is for "
                "networks of convolutions", where=node.name, hint="convert writes it as a float .dlc",
            )  # fmt: skip
        return shape

    @cached_property
    def _shapes(self) -> dict[str, list[int | None]]:
        from snpe_srgan.onnx_graphs.model import PROBE, fix_size, input_size

        return shapes_of(fix_size(self._model, input_size(self._model) or PROBE).graph)

    @property
    def left_alone(self) -> dict[str, int]:
        """How many there are of each operator that equalization does not know, by kind."""
        return dict(Counter(node.kind for node in self.nodes if node.kind not in OPERATORS))

    def _fusable(self, tensor: str) -> bool:
        maker = self.makers.get(tensor)
        return maker is not None and maker.kind in ("Conv", "Add") and len(self.readers[tensor]) == 1

    def _finished(self) -> set[str]:
        """The output, and the tensors that hold the same values."""
        found, waiting = set(), [self.output]
        while waiting:
            found.add(tensor := waiting.pop())
            maker = self.makers.get(tensor)
            if maker is not None and maker.kind in MOVES:
                waiting += maker.inputs
        return found

    def moves(self, node: Node) -> bool:
        """Whether a node only moves integers: its result lies on the grid of what it reads."""
        return node.kind in MOVES and node.inputs[0] not in self.fused

    def _group(self) -> dict[str, str]:
        parent = {x: x for x in self.readers}

        def root(x: str) -> str:
            while parent[x] != x:
                x = parent[x]
            return x

        for node in self.nodes:
            if self.moves(node):
                for x in node.inputs:
                    parent[root(node.output)] = root(x)
        return {x: root(x) for x in parent}

    def stored(self, node: Node) -> str:
        """The integer tensor that a node's result ends in: behind the ReLU or Clip where that is part of the node."""
        return self.readers[node.output][0].output if node.output in self.fused else node.output

    def members(self, group: str) -> list[str]:
        """The tensors of a group that exist as integers, in execution order."""
        return [x for x in self.integer_tensors if self.groups[x] == group]

    def sources(self, group: str) -> list[str]:
        """The members that are computed (not moved): between them they hold all the group's values."""
        made = self.makers
        return [x for x in self.members(group) if x not in made or not self.moves(made[x])]


SAME = (  # as many channels as the first tensor that they read
    "Transpose", "Clip", "Resize", "Relu", "PRelu", "LeakyRelu", "Tanh", "Sigmoid", "GlobalAveragePool", "Neg", "Abs",
    "HardSwish", "HardSigmoid", "Gelu", "Elu", "Softplus", "Exp", "Sqrt", "Erf", "Pow", "MaxPool", "AveragePool",
)  # fmt: skip


def _channels(node: Node, read: Sequence[int]) -> int | None:
    """The channels of a result by what is read; None where the operator's kind does not say it."""
    if node.kind == "Conv":
        return len(node.constants[1])
    if node.kind in ("DepthToSpace", "SpaceToDepth"):
        block = int(node.attributes["blocksize"]) ** 2
        return read[0] // block if node.kind == "DepthToSpace" else read[0] * block
    if node.kind == "Concat" and node.attributes.get("axis") == 1:
        return sum(read)
    if node.kind in ("Add", "Mul", "Sub", "Div", "Max", "Min") and not node.constants:
        return max(read)
    if node.kind in SAME:
        return read[0]
    if (span := channel_slice(node)) is not None:
        return min(span[1], read[0]) - span[0]
    pads = np.asarray(node.constants.get(1, ()))
    return read[0] if node.kind == "Pad" and pads.size == 8 and not pads.reshape(2, 4)[:, :2].any() else None
