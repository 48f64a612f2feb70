"""A plan as a differentiable TensorFlow function: what the integers compute, with gradients through the rounding.

    student = FakeQuantized(plan)
    sr = student(lr)               # what plan.quantized() computes, float32 NHWC
    student.variables              # weights, biases, slopes, ranges: all counted in steps of their own grids
    tuned = student.plan()         # the same numbers as a Plan again

Rounding passes gradients straight through (Bengio et al. 2013, arXiv:1308.3432). A range's scale learns from the
rounding errors inside and from what is clipped (LSQ, Esser et al. 2020, arXiv:1902.08153), its zero point from what is
clipped (LSQ+, Bhalgat et al. 2020, arXiv:2004.09576); a scale is learned as a logarithm (TQT, Jain et al. 2020,
arXiv:1903.08066) and a zero point stays an integer. Every variable is counted in steps of its grid, so one learning
rate fits all of them, however an equalization has scaled the channels: for a scale's logarithm a step is 2^-(bits-1),
which moves the ends of an 8-bit grid by about one level. There are few activation ranges, and each learns from all
values of a tensor: they are counted in PACE such steps, and so move faster than weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.graph import copied
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import MOVES, Node, convolve, groups, hwio, oihw, operator_of, prelu
from snpe_srgan.quantization.graph.encodings import Encoding, known_encoding
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import _saturates, bits_of, compute_bits, read_encodings
from snpe_srgan.quantization.kernels.weights import LARGEST_BIAS

LONGEST = 0.5  # a scale's logarithm stays this near to where it started
PACE = 4.0  # steps


class FakeQuantized:
    """`plan`, trainable. Encodings that are known without data (input, output, tanh's input, anchor) stay fixed."""

    def __init__(self, plan: Plan):
        self.start = plan
        self.network = network = Network(plan.model)
        self.layers: dict[str, Any] = {
            n.output: _LAYERS[n.kind](n, plan, compute_bits(network, n, plan.encodings))
            for n in network.nodes
            if n.kind in _LAYERS
        }
        self.grids: dict[str, Grid] = {}
        for group in dict.fromkeys(network.groups[x] for x in network.integer_tensors):
            members = network.members(group)
            encodings = {plan.encodings[x] for x in members}
            if len(encodings) > 1:
                raise InputError("tensors that carry the same values have different grids", where=", ".join(members))
            (encoding,) = encodings
            grid = Grid(encoding, trainable=not self._fixed(group, members, encoding))
            self.grids.update(dict.fromkeys(members, grid))
        self.converted = {
            (x, node.output): Grid(e, trainable=False)
            for node in network.nodes
            if node.inputs[0] not in network.fused
            for x, e in zip(node.inputs, read_encodings(network, node, plan.encodings), strict=True)
            if e.bits < plan.encodings[x].bits
        }
        owners = [*self.layers.values(), *dict.fromkeys(self.grids.values())]
        self.variables: list[tf.Variable] = [v for owner in owners for v in owner.variables]

    def _fixed(self, group: str, members: list[str], encoding: Encoding) -> bool:
        """Whether a group keeps its grid: it is known without data, or another grid or a clip is bound to it."""
        network, encodings = self.network, self.start.encodings
        clipped = any(x in network.makers and network.makers[x].kind == "Clip" for x in members)
        narrowed = any(
            compute_bits(network, reader, encodings) < encoding.bits for x in members for reader in network.readers[x]
        )
        return clipped or narrowed or known_encoding(network, group, encoding.bits) is not None

    def __call__(self, lr: tf.Tensor) -> tf.Tensor:
        """(n, h, w, 3) float32 in [0, 1] -> (n, h * scale, w * scale, 3), as the QDQ graph computes it."""
        return _evaluate(self.network, lr, self._layer)

    def _layer(self, node: Node | None, inputs: list[tf.Tensor]) -> tf.Tensor:
        if node is None:
            return self.grids[self.network.input](inputs[0])
        if _saturates(self.network, node, self.start.encodings):
            return self.grids[node.output](inputs[0]) if node.inputs[0] in self.network.fused else inputs[0]
        inputs = [
            self.converted[x, node.output](value) if (x, node.output) in self.converted else value
            for x, value in zip(node.inputs, inputs, strict=True)
        ]
        if node.kind == "Conv":
            y = self.layers[node.output](inputs[0], self._input_scale(node))
        elif node.output in self.layers:
            y = self.layers[node.output](inputs[0])
        else:
            y = operator_of(node.kind).tensorflow(node, inputs)
        moved = node.kind in MOVES and node.kind != "Clip"  # on the grid already
        return y if moved or node.output in self.network.fused else self.grids[node.output](y)

    def _input_scale(self, conv: Node) -> tf.Tensor:
        x, bits = conv.inputs[0], compute_bits(self.network, conv, self.start.encodings)
        if (x, conv.output) in self.converted:
            return self.converted[x, conv.output].scale()
        grid = self.grids[x]
        return grid.scale() / ((2**bits - 1) // grid.top)  # the finer grid of `Encoding.at`, when `bits` are more

    def plan(self) -> Plan:
        """What the variables hold now. Weights and slopes lie on their grids, so that nothing is rounded twice."""
        encodings = {x: grid.encoding() for x, grid in self.grids.items()}
        scales, constants = dict(self.start.scales), {}
        for output, layer in self.layers.items():
            node = self.network.makers[output]
            constants[output] = layer.constants()
            if node.kind == "Conv":
                scales[node.name] = layer.scale().numpy()
        return replace(
            self.start, model=with_constants(self.start.model, constants), encodings=encodings, scales=scales
        )


class FloatNetwork:
    """A float ONNX network as a TensorFlow function: the teacher."""

    def __init__(self, model):
        self.network = Network(model)

    def __call__(self, lr: tf.Tensor) -> tf.Tensor:
        return _evaluate(self.network, lr, _float)


def _float(node: Node | None, inputs: list[tf.Tensor]) -> tf.Tensor:
    return inputs[0] if node is None else operator_of(node.kind).tensorflow(node, inputs)


def _evaluate(network: Network, lr: tf.Tensor, compute) -> tf.Tensor:
    """Calls `compute(node, inputs)` in execution order, first with node None for the input. All tensors are NHWC: the
    transposes to NCHW and back, which every ONNX network of pictures has at its ends, are left out."""
    values = {network.input: compute(None, [lr])}
    for node in network.nodes:
        values[node.output] = compute(node, [values[x] for x in node.inputs])
    return values[network.output]


class Grid:
    """The grid of one group of activations: real = (q - zero) * scale."""

    def __init__(self, encoding: Encoding, *, trainable: bool):
        self.start = encoding
        self.top = 2**encoding.bits - 1
        self.log_scale = tf.Variable(0.0, trainable=trainable, name="log_scale")
        self.shift = tf.Variable(0.0, trainable=trainable, name="zero_shift")
        # A grid that starts at 0 belongs to values that cannot be negative: its zero point is exact.
        self.variables = [self.log_scale, self.shift][: 2 if encoding.zero else 1] if trainable else []

    def scale(self) -> tf.Tensor:
        """The step now, a float32 scalar with gradients; within a factor of e^LONGEST of where it started."""
        log_scale = self.log_scale * (PACE * 2.0 ** (1 - self.start.bits))
        return self.start.scale * tf.exp(tf.clip_by_value(log_scale, -LONGEST, LONGEST))

    def zero(self) -> tf.Tensor:
        """The zero point now, a whole float32 scalar in 0..2^bits - 1; gradients go straight through the rounding."""
        return tf.clip_by_value(_straight_round(self.start.zero + PACE * self.shift), 0.0, float(self.top))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return _fake_quantize(x, self.scale(), self.zero(), self.start.bits)

    def encoding(self) -> Encoding:
        """The grid now, as plain numbers."""
        zero = int(self.zero().numpy())
        return replace(self.start, scale=float(self.scale().numpy()), zero=zero)


def _fake_quantize(x: tf.Tensor, scale: tf.Tensor, zero: tf.Tensor, bits: int) -> tf.Tensor:
    """To the unsigned grid of a scalar `scale` and a whole `zero`, and back.

    d y / d scale = (y - x) / scale inside the range, y / scale outside; d y / d zero = -scale outside. TensorFlow's own
    operators do most of it in one pass over memory each; rounding is half the work of a training step otherwise.
    """
    top = float(2**bits - 1)

    @tf.custom_gradient
    def rounded(x, scale, zero):
        low, high = -zero * scale, (top - zero) * scale
        y = tf.raw_ops.FakeQuantWithMinMaxVars(inputs=x, min=low, max=high, num_bits=bits)

        def backward(g):
            kept, below, above = tf.raw_ops.FakeQuantWithMinMaxVarsGradient(
                gradients=g, inputs=x, min=low, max=high, num_bits=bits
            )
            to_scale = (tf.reduce_sum(kept * (y - x)) + below * low + above * high) / scale
            return kept, to_scale, -scale * (below + above)

        return y, backward

    return rounded(x, scale, zero)


def _straight_round(x: tf.Tensor) -> tf.Tensor:
    return x + tf.stop_gradient(tf.round(x) - x)


class _Convolution:
    """Kernel HWIO, counted in steps of its channel's scale; biases in steps of the weights' scale times 128."""

    def __init__(self, node: Node, plan: Plan, bits: int):
        self.node = node
        kernel = np.asarray(node.constants[1], np.float64)
        self.limit = 2 ** (bits_of(plan.weight_bits, node.name) - 1) - 1
        self.start = np.asarray(plan.scales[node.name], np.float32)
        steps = kernel / self.start.astype(np.float64).reshape(-1, 1, 1, 1)
        self.kernel = tf.Variable(hwio(steps, node).astype(np.float32), name="kernel")
        bias = np.asarray(node.constants.get(2, np.zeros(len(kernel))), np.float64)
        self.unit = np.float32(plan.encodings[node.inputs[0]].at(bits).scale) * self.start * np.float32(self.limit)
        self.bias = tf.Variable((bias / self.unit).astype(np.float32), name="bias")
        self.log_scale = tf.Variable(tf.zeros(len(kernel)), name="weight_log_scale")
        self.variables = [self.kernel, self.bias, self.log_scale]

    def scale(self) -> tf.Tensor:
        return self.start * tf.exp(tf.clip_by_value(self.log_scale / (self.limit + 1), -LONGEST, LONGEST))

    def _quantized(self, input_scale) -> tuple[tf.Tensor, tf.Tensor]:
        scale = self.scale()
        integers = _straight_round(tf.clip_by_value(self.kernel, -self.limit, self.limit))
        grid = tf.stop_gradient(scale * input_scale)
        bias = _straight_round(tf.clip_by_value(self.bias * self.unit / grid, -LARGEST_BIAS, LARGEST_BIAS)) * grid
        return integers * (scale if groups(self.node) == 1 else scale[:, None]), bias

    def __call__(self, x: tf.Tensor, input_scale: tf.Tensor) -> tf.Tensor:
        kernel, bias = self._quantized(input_scale)
        return convolve(self.node, x, kernel, bias)

    def constants(self) -> dict[int, np.ndarray]:
        scale = self.scale().numpy().astype(np.float64).reshape(-1, 1, 1, 1)
        steps = oihw(np.clip(np.rint(self.kernel.numpy()), -self.limit, self.limit), self.node)
        return {1: (steps * scale).astype(np.float32), 2: self.bias.numpy() * self.unit}


class _Slopes:
    """A PReLU's slopes, counted in steps of their own fixed grid."""

    def __init__(self, node: Node, plan: Plan, bits: int):
        self.shape = np.shape(node.constants[1])
        self.scale, self.zero = (float(v) for v in plan.slopes[node.name])
        self.top = 2**bits - 1
        steps = np.asarray(node.constants[1], np.float64).reshape(-1) / self.scale
        self.steps = tf.Variable(steps.astype(np.float32), name="slopes")
        self.variables = [self.steps]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        steps = _straight_round(tf.clip_by_value(self.steps, -self.zero, self.top - self.zero))
        return prelu(x, steps * self.scale)

    def constants(self) -> dict[int, np.ndarray]:
        steps = np.clip(np.rint(self.steps.numpy()), -self.zero, self.top - self.zero)
        return {1: (steps.astype(np.float64) * self.scale).astype(np.float32).reshape(self.shape)}


_LAYERS = {"Conv": _Convolution, "PRelu": _Slopes}


def with_constants(model, constants):
    """A copy of the model with new constants: `constants` maps a node's output to {input position: array}."""
    from onnx import numpy_helper

    copy = copied(model)
    for node in copy.graph.node:
        for position, value in constants.get(node.output[0], {}).items():
            name = f"{node.output[0]}/tuned_{position}"
            while len(node.input) <= position:
                node.input.append("")
            node.input[position] = name
            stale = [t for t in copy.graph.initializer if t.name == name]
            for tensor in stale:  # of an earlier fine-tuning
                copy.graph.initializer.remove(tensor)
            copy.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    read = {x for node in copy.graph.node for x in node.input}
    unused = [t for t in copy.graph.initializer if t.name not in read]
    for tensor in unused:
        copy.graph.initializer.remove(tensor)
    return copy
