"""How much an error in each tensor matters: the network's own derivative, as a second ONNX graph.

An independent error e_i on value i of a tensor adds sum_o (d out_o / d x_i)^2 e_i^2 to the output's squared error. With
r a random +-1 for each output value, E[(sum_o r_o d out_o / d x_i)^2] is that sum's factor (Hutchinson 1990), so one
backward pass gives it for all values of all tensors at once. Ranges that are best by this measure are best for the
picture, not for the tensor: a PReLU's slope, a dead channel, the gain of everything behind are all in it.

    backward = gradient_model(model)      # d(seed . sr) / d tensor for a `seed` shaped like sr
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.onnx_graphs.network import Network, Node, enlarges, prelu_slopes

PREFIX = "gradient/"
SEED_INPUT = "gradient_seed"


def gradient_model(model, tensors: list[str]):
    """The model extended by its backward pass. Outputs `tensors` and `gradient/` + each of them."""
    import onnx
    from onnx import TensorProto, helper

    network = Network(model)
    backward = _Backward(network)
    backward.add_to(network.output, SEED_INPUT)
    for node in reversed(network.nodes):
        backward.through(node)
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
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
        self.network = network
        self.parts: dict[str, list[str]] = {}
        self.nodes: list = []
        self.initializers: list = []

    def add_to(self, tensor: str, gradient: str) -> None:
        self.parts.setdefault(tensor, []).append(gradient)

    def total(self, tensor: str) -> str:
        """The sum of what the readers sent back; final once all readers were visited."""
        parts = self.parts[tensor]
        if len(parts) > 1:
            self.parts[tensor] = parts = [self.node("Sum", parts)]
        return parts[0]

    def node(self, kind: str, inputs: list[str], **attributes) -> str:
        from onnx import helper

        name = f"gradient_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value) -> str:
        from onnx import numpy_helper

        name = f"gradient_constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def through(self, node: Node) -> None:
        """Sends the gradient of a node's output back to its inputs."""
        if node.output not in self.parts:
            return  # nothing that reaches the output reads it
        getattr(self, f"_{node.kind.lower()}")(node, self.total(node.output))

    def _conv(self, node: Node, g: str) -> None:
        kernel = self.constant(np.asarray(node.constants[1], np.float32))
        same = {k: v for k, v in node.attributes.items() if k in ("pads", "group", "dilations", "strides")}
        self.add_to(node.inputs[0], self.node("ConvTranspose", [g, kernel], **same))

    def _scaled_below_zero(self, node: Node, g: str, slope: np.ndarray) -> None:
        x = node.inputs[0]
        positive = self.node("Greater", [x, self.constant(np.float32(0))])
        below = self.node("Mul", [g, self.constant(np.asarray(slope, np.float32).reshape(-1, 1, 1))])
        self.add_to(x, self.node("Where", [positive, g, below]))

    def _prelu(self, node: Node, g: str) -> None:
        self._scaled_below_zero(node, g, prelu_slopes(node))

    _leakyrelu = _prelu

    def _relu(self, node: Node, g: str) -> None:
        self._scaled_below_zero(node, g, np.zeros(1))

    def _add(self, node: Node, g: str) -> None:
        for x in node.inputs:
            self.add_to(x, g)

    def _concat(self, node: Node, g: str) -> None:
        widths = [self.node("Shape", [x], start=1, end=2) for x in node.inputs]
        sizes = self.node("Concat", widths, axis=0)
        from onnx import helper

        outputs = [f"{node.name}_gradient_{i}" for i in range(len(node.inputs))]
        self.nodes.append(helper.make_node("Split", [g, sizes], outputs, axis=1))
        for x, part in zip(node.inputs, outputs, strict=True):
            self.add_to(x, part)

    def _depthtospace(self, node: Node, g: str) -> None:
        self.add_to(node.inputs[0], self.node("SpaceToDepth", [g], blocksize=node.attributes["blocksize"]))

    def _resize(self, node: Node, g: str) -> None:
        factor = enlarges(node)
        mean = self.node("AveragePool", [g], kernel_shape=[factor] * 2, strides=[factor] * 2)
        self.add_to(node.inputs[0], self.node("Mul", [mean, self.constant(np.float32(factor**2))]))

    def _globalaveragepool(self, node: Node, g: str) -> None:
        sides = self.node("Shape", [node.inputs[0]], start=2)
        pixels = self.node("Cast", [self.node("ReduceProd", [sides], keepdims=0)], to=1)
        whole = self.node("Expand", [g, self.node("Shape", [node.inputs[0]])])
        self.add_to(node.inputs[0], self.node("Div", [whole, pixels]))

    def _mul(self, node: Node, g: str) -> None:
        if node.constants:
            (factor,) = node.constants.values()
            self.add_to(node.inputs[0], self.node("Mul", [g, self.constant(np.asarray(factor, np.float32))]))
            return
        for x, other in (node.inputs, node.inputs[::-1]):
            part = self.node("Mul", [g, other])
            if x in self.network.pooled and node.output not in self.network.pooled:  # it was spread over the picture
                part = self.node("ReduceSum", [part, self.constant(np.array([2, 3]))], keepdims=1)
            self.add_to(x, part)

    def _sigmoid(self, node: Node, g: str) -> None:
        rest = self.node("Sub", [self.constant(np.float32(1)), node.output])
        self.add_to(node.inputs[0], self.node("Mul", [g, self.node("Mul", [node.output, rest])]))

    def _transpose(self, node: Node, g: str) -> None:
        self.add_to(node.inputs[0], self.node("Transpose", [g], perm=list(np.argsort(node.attributes["perm"]))))

    def _clip(self, node: Node, g: str) -> None:
        # |x - clip(x)| = 0 inside; the derivative there is 1, outside 0.
        same = self.node("Equal", [node.inputs[0], node.output])
        self.add_to(node.inputs[0], self.node("Where", [same, g, self.constant(np.float32(0))]))

    def _tanh(self, node: Node, g: str) -> None:
        square = self.node("Mul", [node.output, node.output])
        rest = self.node("Sub", [self.constant(np.float32(1)), square])
        self.add_to(node.inputs[0], self.node("Mul", [g, rest]))
