"""How much an error in each tensor matters: the network's own derivative, as a second ONNX graph.

An independent error e_i on value i of a tensor adds sum_o (d out_o / d x_i)^2 e_i^2 to the output's squared error. With
r a random +-1 for each output value, E[(sum_o r_o d out_o / d x_i)^2] is that sum's factor (Hutchinson 1990), so one
backward pass gives it for all values of all tensors at once. Ranges that are best by this measure are best for the
picture, not for the tensor: a PReLU's slope, a dead channel, the gain of everything behind are all in it.

    backward = gradient_model(model)      # d(seed . sr) / d tensor for a `seed` shaped like sr
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snpe_srgan.onnx_graphs.graph import copied
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node, operator_of

PREFIX = "gradient/"
SEED_INPUT = "gradient_seed"
SPREADING = ("Add", "Sub", "Mul", "Div", "Max", "Min")  # may read one channel for all


def gradient_model(model, tensors: list[str]):
    """The model extended by its backward pass. Outputs `tensors` and `gradient/` + each of them."""
    from onnx import TensorProto, helper

    network = Network(model)
    backward = _Backward(network)
    backward.add_to(network.output, SEED_INPUT)
    for node in reversed(network.nodes):
        backward.through(node)
    extended = copied(model)
    extended.graph.input.append(helper.make_tensor_value_info(SEED_INPUT, TensorProto.FLOAT, None))
    extended.graph.node.extend(backward.nodes)
    extended.graph.initializer.extend(backward.initializers)
    present = {v.name for v in (*model.graph.input, *model.graph.output)}
    for name in tensors:
        if name not in present:
            extended.graph.output.append(helper.make_empty_tensor_value_info(name))
        extended.graph.node.append(helper.make_node("Identity", [backward.total(name)], [PREFIX + name]))
        extended.graph.output.append(helper.make_empty_tensor_value_info(PREFIX + name))
    return extended


class _Backward:
    """Collects nodes, last operator first; `parts[x]` are the gradients that x's readers send back."""

    def __init__(self, network: Network):
        self.pooled, self._network, self._narrow = network.pooled, network, set[str]()
        self.parts: dict[str, list[str]] = {}
        self.nodes: list = []
        self.initializers: list = []

    def add_to(self, tensor: str, gradient: str) -> None:
        if tensor in self._narrow:  # one channel was read for all
            gradient = self.node("ReduceSum", [gradient, self.constant(np.array([1]))], keepdims=1)
        self.parts.setdefault(tensor, []).append(gradient)

    def total(self, tensor: str) -> str:
        """The sum of what the readers sent back; final once all readers were visited."""
        if tensor not in self.parts:  # nothing of it reaches the picture, as far as derivatives go
            self.parts[tensor] = [self.node("Mul", [tensor, self.constant(np.float32(0))])]
        parts = self.parts[tensor]
        if len(parts) > 1:
            self.parts[tensor] = parts = [self.node("Sum", parts)]
        return parts[0]

    def node(self, kind: str, inputs: list[str], **attributes) -> str:
        from onnx import helper

        name = f"gradient_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def split(self, gradient: str, tensors: Sequence[str]) -> list[str]:
        """The parts of a concatenation's gradient, one for each tensor, by their channels."""
        from onnx import helper

        widths = [self.node("Shape", [x], start=1, end=2) for x in tensors]
        sizes = self.node("Concat", widths, axis=0)
        parts = [f"{sizes}_part_{i}" for i in range(len(tensors))]
        self.nodes.append(helper.make_node("Split", [gradient, sizes], parts, axis=1))
        return parts

    def constant(self, value) -> str:
        from onnx import numpy_helper

        name = f"gradient_constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def through(self, node: Node) -> None:
        """Sends the gradient of a node's output back to its inputs."""
        if node.output not in self.parts:
            return  # nothing that reaches the output reads it
        gradient = self.total(node.output)
        if node.kind in SPREADING:
            counts = self._network.channels
            self._narrow = {x for x in node.inputs if counts[x] == 1 < counts[node.output]}
        operator_of(node.kind).gradient(self, node, gradient)
        self._narrow = set()
