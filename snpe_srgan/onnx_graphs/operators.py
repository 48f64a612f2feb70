"""Every ONNX operator that quantization knows, one record each; and those of which tiling knows how far they see.

`OPERATORS["Relu"]` says whether a ReLU only moves values, whether a positive factor passes through it, how TensorFlow
computes it and what its derivative is. To add an operator, add its record; a pointwise one needs a numpy function and
no more to take part in data-free quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.operators import nearest
from snpe_srgan.onnx_graphs.operator_record import Backward, Node, Operator
from snpe_srgan.onnx_graphs.operators_others import OTHERS, UNKNOWN

if TYPE_CHECKING:
    import tensorflow as tf

SEEN_ONLY = frozenset({  # each pixel of the result depends on the same pixel of what is read; more is not known of them
    "Abs", "BatchNormalization", "Cast", "Ceil", "DequantizeLinear", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "Max", "Min", "Neg", "Pow", "QuantizeLinear", "Round", "Softplus", "Split",
    "Sqrt", "Sub", "Sum",
})  # fmt: skip


# ---- facts of a node ----

REPEATS = ((b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor"))  # ways to say nearest neighbour


def resize_factor(attributes: Mapping[str, Any], constants: Mapping[int, np.ndarray]) -> int | None:
    """By how much a Resize enlarges height and width: None unless it repeats each pixel a whole number of times.

    Args:
        attributes: of the Resize; those left out have ONNX's defaults.
        constants: position among its inputs -> array; the scales (n, c, h, w) are the third.
    """
    mode = attributes.get("coordinate_transformation_mode", b"half_pixel")
    way = mode, attributes.get("nearest_mode", b"round_prefer_floor")
    scales = constants.get(2, np.zeros(0))
    if attributes.get("mode", b"nearest") != b"nearest" or way not in REPEATS or scales.size != 4:
        return None
    factor = int(scales[-1])
    return factor if factor >= 1 and scales.tolist() == [1, 1, factor, factor] else None


def operator_of(kind: str) -> Operator:
    """The record of an operator; of one that nobody knows, what can be said of any."""
    return OPERATORS.get(kind, UNKNOWN)


def enlarges(node: Node) -> int:
    """How many times as high and wide an operator's output is as its input."""
    if node.kind == "DepthToSpace":
        return int(node.attributes["blocksize"])
    return int(node.constants[2][-1]) if node.kind == "Resize" else 1


def slopes_of(node: Node) -> np.ndarray:
    """What a Relu, PRelu or LeakyRelu multiplies with below zero, (channels,) or (1,)."""
    if node.kind == "Relu":
        return np.zeros(1)
    if node.kind == "LeakyRelu":
        return np.array([node.attributes.get("alpha", 0.01)], np.float64)
    return np.asarray(node.constants[1], np.float64).reshape(-1)


def clip_bounds(node: Node) -> tuple[float, float]:
    """The (lowest, highest) value that a Clip lets through."""
    low, high = (float(node.constants[i]) if i in node.constants else end for i, end in ((1, -np.inf), (2, np.inf)))
    return low, high


def groups(node: Node) -> int:
    """Of a convolution: 1, or as many parts as its channels fall into."""
    return int(node.attributes.get("group", 1))


def other_bias(first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray]) -> bool:
    """Whether the constants of two versions of a convolution hold different biases.

    Args:
        first, second: position among the inputs -> array; the bias (out,) is the third.
    """
    one, two = first.get(2), second.get(2)
    return one is not two and (one is None or two is None or not np.array_equal(one, two))


# ---- TensorFlow ----


def prelu(x: tf.Tensor, slope: Any) -> tf.Tensor:
    """x where it is positive, slope (channels,) times x elsewhere; in fewer passes than automatic differentiation."""
    import tensorflow as tf

    @tf.custom_gradient
    def call(x, slope):
        below = tf.minimum(x, 0.0)

        def backward(g):
            return tf.where(x > 0, g, g * slope), tf.reduce_sum(g * below, axis=[0, 1, 2])

        return x + (slope - 1.0) * below, backward

    return call(x, tf.broadcast_to(slope, [x.shape[-1]]))


def hwio(kernel: np.ndarray, node: Node) -> np.ndarray:
    """ONNX's (out, in, h, w) as TensorFlow wants it; a depthwise kernel as (h, w, channels, multiplier).

    Raises:
        InputError: the convolution falls into groups and is not depthwise.
    """
    if groups(node) == 1:
        return np.ascontiguousarray(np.transpose(kernel, (2, 3, 1, 0)))
    if kernel.shape[1] != 1 or groups(node) != len(kernel):
        raise InputError("fine-tuning knows whole and depthwise convolutions, not other groups", where=node.name)
    return np.ascontiguousarray(np.transpose(kernel, (2, 3, 0, 1)))


def oihw(kernel: np.ndarray, node: Node) -> np.ndarray:
    """The way back from `hwio`: TensorFlow's kernel as ONNX's (out, in, h, w)."""
    return np.ascontiguousarray(np.transpose(kernel, (3, 2, 0, 1) if groups(node) == 1 else (2, 3, 0, 1)))


def convolve(node: Node, x: tf.Tensor, kernel: Any, bias: Any) -> tf.Tensor:
    """A convolution with the node's own padding, strides, dilations and groups; `kernel` as `hwio` gives it.

    Args:
        x: (n, h, w, in).
        kernel: (h, w, in, out), or (h, w, channels, 1) for a depthwise one.
        bias: (out,).

    Returns:
        (n, h', w', out).
    """
    import tensorflow as tf

    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    strides, dilations = node.attributes.get("strides", (1, 1)), node.attributes.get("dilations", (1, 1))
    if groups(node) > 1:
        x = tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]])
        y = tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], "VALID", dilations=list(dilations))
    else:
        height, width = kernel.shape[:2]
        same = (top, left) == (bottom, right) == (height // 2, width // 2) and height % 2 == width % 2 == 1
        if same and list(strides) == [1, 1] == list(dilations):
            padding: Any = "SAME"  # faster than the same numbers written out
        else:
            padding = [[0, 0], [top, bottom], [left, right], [0, 0]]
        y = tf.nn.conv2d(x, kernel, list(strides), padding, dilations=list(dilations))
    return tf.nn.bias_add(y, bias)


def _tf_conv(node: Node, x: Sequence[Any]) -> tf.Tensor:
    bias = np.asarray(node.constants.get(2, np.zeros(len(node.constants[1]))), np.float32)
    return convolve(node, x[0], hwio(np.asarray(node.constants[1], np.float32), node), bias)


def _tf_depth_to_space(node: Node, inputs: Sequence[Any]) -> tf.Tensor:
    import tensorflow as tf

    x, block = inputs[0], int(node.attributes["blocksize"])
    if node.attributes.get("mode", b"DCR") == b"CRD":  # channel (c, row, column) -> TensorFlow's own (row, column, c)
        shape = tf.shape(x)
        x = tf.reshape(x, [*tf.unstack(shape[:3]), x.shape[-1] // block**2, block**2])
        x = tf.reshape(tf.transpose(x, [0, 1, 2, 4, 3]), shape)
    return tf.nn.depth_to_space(x, block)


def _tf(function: Callable[[Any, Node, Sequence[Any]], Any]) -> Callable[[Node, Sequence[Any]], Any]:
    """`function(tf, node, inputs)` with TensorFlow imported when it is called."""

    def call(node: Node, inputs: Sequence[Any]) -> Any:
        import tensorflow

        return function(tensorflow, node, inputs)

    return call


def _tf_mul(tf: Any, node: Node, x: Sequence[Any]) -> Any:
    return tf.multiply(*x, *[np.asarray(value, np.float32).reshape(-1) for value in node.constants.values()])


def _tf_add(node: Node, x: Sequence[Any]) -> Any:
    if not node.constants:
        return x[0] + x[1]
    (value,) = node.constants.values()
    return x[0] + np.asarray(value, np.float32).reshape(-1)


# ---- derivatives ----


def _back_conv(b: Backward, node: Node, g: str) -> None:
    kernel = b.constant(np.asarray(node.constants[1], np.float32))
    same = {k: v for k, v in node.attributes.items() if k in ("pads", "group", "dilations", "strides")}
    strides, dilations = same.get("strides", (1, 1)), same.get("dilations", (1, 1))
    pads, sides = same.get("pads", (0, 0, 0, 0)), np.shape(node.constants[1])[2:]
    if tuple(strides) != (1, 1):  # a side that the stride divides, as everywhere in an enlarging network
        spans = [(k - 1) * d + 1 for k, d in zip(sides, dilations, strict=True)]
        same["output_padding"] = [(pads[i] + pads[i + 2] - spans[i]) % strides[i] for i in (0, 1)]
    b.add_to(node.inputs[0], b.node("ConvTranspose", [g, kernel], **same))


def _back_slopes(b: Backward, node: Node, g: str) -> None:
    positive = b.node("Greater", [node.inputs[0], b.constant(np.float32(0))])
    below = b.node("Mul", [g, b.constant(np.asarray(slopes_of(node), np.float32).reshape(-1, 1, 1))])
    b.add_to(node.inputs[0], b.node("Where", [positive, g, below]))


def _back_add(b: Backward, node: Node, g: str) -> None:
    for x in node.inputs:
        b.add_to(x, g)


def _back_concat(b: Backward, node: Node, g: str) -> None:
    for x, part in zip(node.inputs, b.split(g, node.inputs), strict=True):
        b.add_to(x, part)


def _back_depth_to_space(b: Backward, node: Node, g: str) -> None:
    b.add_to(node.inputs[0], b.node("SpaceToDepth", [g], blocksize=node.attributes["blocksize"]))


def _back_resize(b: Backward, node: Node, g: str) -> None:
    factor = enlarges(node)
    mean = b.node("AveragePool", [g], kernel_shape=[factor] * 2, strides=[factor] * 2)
    b.add_to(node.inputs[0], b.node("Mul", [mean, b.constant(np.float32(factor**2))]))


def _back_pool(b: Backward, node: Node, g: str) -> None:
    sides = b.node("Shape", [node.inputs[0]], start=2)
    pixels = b.node("Cast", [b.node("ReduceProd", [sides], keepdims=0)], to=1)
    whole = b.node("Expand", [g, b.node("Shape", [node.inputs[0]])])
    b.add_to(node.inputs[0], b.node("Div", [whole, pixels]))


def _back_mul(b: Backward, node: Node, g: str) -> None:
    if node.constants:
        (factor,) = node.constants.values()
        b.add_to(node.inputs[0], b.node("Mul", [g, b.constant(np.asarray(factor, np.float32))]))
        return
    for x, other in (node.inputs, node.inputs[::-1]):
        part = b.node("Mul", [g, other])
        if x in b.pooled and node.output not in b.pooled:  # it was spread over the picture
            part = b.node("ReduceSum", [part, b.constant(np.array([2, 3]))], keepdims=1)
        b.add_to(x, part)


def _back_sigmoid(b: Backward, node: Node, g: str) -> None:
    rest = b.node("Sub", [b.constant(np.float32(1)), node.output])
    b.add_to(node.inputs[0], b.node("Mul", [g, b.node("Mul", [node.output, rest])]))


def _back_transpose(b: Backward, node: Node, g: str) -> None:
    b.add_to(node.inputs[0], b.node("Transpose", [g], perm=list(np.argsort(node.attributes["perm"]))))


def _back_clip(b: Backward, node: Node, g: str) -> None:
    # |x - clip(x)| = 0 inside; the derivative there is 1, outside 0.
    same = b.node("Equal", [node.inputs[0], node.output])
    b.add_to(node.inputs[0], b.node("Where", [same, g, b.constant(np.float32(0))]))


def _back_tanh(b: Backward, node: Node, g: str) -> None:
    square = b.node("Mul", [node.output, node.output])
    rest = b.node("Sub", [b.constant(np.float32(1)), square])
    b.add_to(node.inputs[0], b.node("Mul", [g, rest]))


def _never(node: Node) -> bool:
    return False


# ---- the table ----

OPERATORS: dict[str, Operator] = {
    "Conv": Operator(_tf_conv, _back_conv, local=False),
    "PRelu": Operator(
        lambda node, x: prelu(x[0], np.asarray(node.constants[1], np.float32).reshape(-1)), _back_slopes
    ),
    "LeakyRelu": Operator(
        _tf(lambda tf, node, x: tf.nn.leaky_relu(x[0], alpha=float(node.attributes.get("alpha", 0.01)))), _back_slopes
    ),
    "Relu": Operator(_tf(lambda tf, node, x: tf.nn.relu(x[0])), _back_slopes),
    "Add": Operator(_tf_add, _back_add, homogeneous=lambda node: not node.constants),
    "Tanh": Operator(_tf(lambda tf, node, x: tf.tanh(x[0])), _back_tanh, homogeneous=_never, function=np.tanh),
    "Sigmoid": Operator(
        _tf(lambda tf, node, x: tf.sigmoid(x[0])),
        _back_sigmoid,
        homogeneous=_never,
        function=lambda x: 1 / (1 + np.exp(-x)),
    ),
    "Mul": Operator(_tf(_tf_mul), _back_mul),
    "GlobalAveragePool": Operator(
        _tf(lambda tf, node, x: tf.reduce_mean(x[0], axis=[1, 2], keepdims=True)), _back_pool, local=False
    ),
    "Transpose": Operator(lambda node, x: x[0], _back_transpose, moves=True),  # pictures are NHWC in TensorFlow anyway
    "DepthToSpace": Operator(_tf_depth_to_space, _back_depth_to_space, moves=True, local=False),
    "Concat": Operator(_tf(lambda tf, node, x: tf.concat(x, axis=-1)), _back_concat, moves=True),
    "Clip": Operator(
        _tf(lambda tf, node, x: tf.clip_by_value(x[0], *clip_bounds(node))),
        _back_clip,
        moves=True,
        homogeneous=lambda node: clip_bounds(node) == (0.0, np.inf),  # a ReLU
    ),
    "Resize": Operator(lambda node, x: nearest(x[0], enlarges(node)), _back_resize, moves=True, local=False),
}

OPERATORS.update({kind: record for kind, record in OTHERS.items() if kind not in OPERATORS})
MOVES = tuple(kind for kind, operator in OPERATORS.items() if operator.moves)
LOCAL = SEEN_ONLY | {kind for kind, operator in OPERATORS.items() if operator.local}
SLOPED = ("Relu", "PRelu", "LeakyRelu")
