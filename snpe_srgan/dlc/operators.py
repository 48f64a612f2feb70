"""How each operator of a .dlc is said in ONNX: one small function each, chosen by the node's type.

A rule gets the growing graph (`to_onnx.Builder`) and the operation (`operation.Operation`), adds nodes and returns the
ONNX name of the float result, with every four-dimensional tensor as NCHW. It raises `InputError` for an attribute that
is missing, a shape that does not fit, or a setting that is not known: nothing is guessed. Names and numbers of the
operations are Qualcomm's, found by converting one-operator networks (`tests/test_dlc.py` does it again).
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.dlc import operators_composed as composed
from snpe_srgan.dlc import operators_layout as layout
from snpe_srgan.dlc.operators_layout import TO_NCHW
from snpe_srgan.errors import InputError

HWIO_TO_OIHW = (3, 2, 0, 1)
HWIO_TO_IOHW = (2, 3, 0, 1)
BINARY = {0: "Add", 2: "Div", 10: "Max", 11: "Min", 13: "Mul", 16: "Pow", 18: "Sub"}
FLOOR_DIVIDE, SQUARED_DIFFERENCE, RSQRT = 4, 17, 12
UNARY = {0: "Abs", 1: "Asin", 2: "Atan", 3: "Ceil", 4: "Cos", 5: "Exp", 6: "Floor", 7: "Log", 8: "Neg",
         10: "Reciprocal", 11: "Round", 13: "Sign", 14: "Sin", 15: "Sqrt"}  # fmt: skip


def convolution(builder, op):
    """Conv2d and DepthWiseConv2d: weights HWIO, padding [[top, bottom], [left, right]]."""
    weight = builder.tensor(op.input(1))
    group = int(op.scalar("group", 1))
    if op.node.type.startswith("DepthWise"):
        group = op.dims(0)[-1]
    inputs = [builder.value(op.input(0)), _weight(builder, weight, HWIO_TO_OIHW), *_bias(builder, op)]
    return builder.op(
        "Conv",
        inputs,
        f"{op.output}/value",
        kernel_shape=weight.dims[:2],
        strides=op.ints("stride", 2),
        dilations=op.ints("dilation", 2, [1, 1]),
        pads=layout.pads(op),
        group=group,
    )


def transpose_convolution(builder, op):
    """TransposeConv2d: weights HWIO, padding as in `convolution`, cut off the result."""
    weight = builder.tensor(op.input(1))
    inputs = [builder.value(op.input(0)), _weight(builder, weight, HWIO_TO_IOHW), *_bias(builder, op)]
    return builder.op(
        "ConvTranspose",
        inputs,
        f"{op.output}/value",
        kernel_shape=weight.dims[:2],
        strides=op.ints("stride", 2),
        pads=layout.pads(op),
        output_padding=op.ints("output_padding", 2, [0, 0]),
        group=int(op.scalar("group", 1)),
    )


def _weight(builder, tensor, perm) -> str:
    if tensor.role != "static" or len(tensor.dims) != 4:
        raise InputError(f"weights '{tensor.name}' are not a stored tensor of four dimensions")
    return builder.stored(tensor, perm)


def _bias(builder, op) -> list[str]:
    return [builder.value(op.input(2))] if len(op.inputs) > 2 else []


def prelu(builder, op):
    """The slope is stored as [1, 1, 1, C], or one number. LeakyReLU is a Prelu too."""
    return builder.op("PRelu", [_operand(builder, op, index) for index in range(2)], f"{op.output}/value")


def _operand(builder, op, index: int) -> str:
    """An input that is broadcast along NHWC's last axes: a stored vector beside an image becomes [1, C, 1, 1]."""
    tensor, rank = builder.tensor(op.input(index)), len(op.output_dims)
    if rank == 4 and len(tensor.dims) < 4 and tensor.role == "static":
        return builder.stored(tensor, TO_NCHW, shape=(1,) * (4 - len(tensor.dims)) + tensor.dims)
    if len(tensor.dims) not in (rank, 0):
        raise InputError(f"'{tensor.name}' of shape {tensor.dims} beside {op.output_dims}")
    return builder.value(tensor.name)


def neuron(builder, op):
    """ElementWiseNeuron: one type for the activation functions."""
    number, inputs, wish = int(op.scalar("operation")), [builder.value(op.input(0))], f"{op.output}/value"
    if number == 5:
        limits = [builder.constant(f"{wish}/{key}", np.float32(op.scalar(key))) for key in ("min_value", "max_value")]
        return builder.op("Clip", inputs + limits, wish)
    if number == 0:
        return builder.op("Elu", inputs, wish, alpha=float(op.scalar("alpha", 1.0)))
    if number == 2:
        alpha, beta = float(op.scalar("alpha", 0.2)), float(op.scalar("beta", 0.5))
        return builder.op("HardSigmoid", inputs, wish, alpha=alpha, beta=beta)
    if number == 7:
        return composed.softplus(builder, op)
    kinds = {1: "Gelu", 3: "HardSwish", 4: "Relu", 6: "Sigmoid", 8: "Tanh"}
    if number not in kinds:
        raise InputError(f"activation function number {number} is not known")
    return builder.op(kinds[number], inputs, wish)


def binary(builder, op):
    """Eltwise_Binary and ElementWiseBinary: arithmetic of two tensors, by number."""
    number = int(op.scalar("operation"))
    if number in (FLOOR_DIVIDE, SQUARED_DIFFERENCE):
        return (floor_divide if number == FLOOR_DIVIDE else squared_difference)(builder, op)
    if number not in BINARY:
        raise InputError(f"arithmetic operation number {number} is not known")
    return elementwise(BINARY[number])(builder, op)


def elementwise(kind: str):
    """The rule of an operator of two tensors whose type says what it computes; `kind` is ONNX's name."""

    def rule(builder, op):
        return builder.op(kind, [_operand(builder, op, index) for index in range(2)], f"{op.output}/value")

    return rule


def floor_divide(builder, op):
    """floor(x / y)."""
    return builder.op("Floor", [elementwise("Div")(builder, op)], f"{op.output}/floor")


def squared_difference(builder, op):
    """(x - y) squared."""
    difference = elementwise("Sub")(builder, op)
    return builder.op("Mul", [difference, difference], f"{op.output}/square")


def unary(builder, op):
    """Eltwise_Unary and ElementWiseUnary: a function of one tensor, by number."""
    number = int(op.scalar("operation"))
    if number == RSQRT:
        return composed.rsqrt(builder, op)
    if number not in UNARY:
        raise InputError(f"element-wise function number {number} is not known")
    return builder.op(UNARY[number], [builder.value(op.input(0))], f"{op.output}/value")


def batch_norm(builder, op):
    """The file holds scale and bias with mean and variance folded in: mean 0 and variance 1 leave them as they are."""
    channels = op.dims(0)[-1]
    if any(builder.tensor(op.input(i)).dims != (channels,) or not builder.tensor(op.input(i)).nbytes for i in (1, 2)):
        raise InputError(f"it has no stored scale and bias for each of {channels} channels")
    mean = builder.constant(f"{op.output}/mean", np.zeros(channels, np.float32))
    variance = builder.constant(f"{op.output}/variance", np.ones(channels, np.float32))
    inputs = [builder.value(op.input(index)) for index in range(3)] + [mean, variance]
    return builder.op("BatchNormalization", inputs, f"{op.output}/value", epsilon=0.0)


def same_value(builder, op):
    """Quantize, Dequantize, Convert, Cast: what changes is how the output tensor stores the value."""
    return builder.value(op.input(0))


def function(kind: str):
    """An operator of one input that has a type of its own, as the SDK's converters write them."""

    def rule(builder, op):
        return builder.op(kind, [builder.value(op.input(0))], f"{op.output}/value")

    return rule


def clip(low: float | None = None, high: float | None = None):
    """Relu1, Relu6; ReluMinMax brings its limits along."""

    def rule(builder, op):
        wish = f"{op.output}/value"
        ends = op.scalar("min_value", low), op.scalar("max_value", high)
        limits = [builder.constant(f"{wish}/limit", np.float32(end)) for end in ends]
        return builder.op("Clip", [builder.value(op.input(0)), *limits], wish)

    return rule


def fully_connected(builder, op):
    """Weights [outputs, inputs]; the image before it is flattened in the file's order, rows first."""
    weight = builder.tensor(op.input(1))
    if weight.role != "static" or len(weight.dims) != 2 or len(op.output_dims) != 2:
        raise InputError(f"weights '{weight.name}' of shape {weight.dims}")
    shape = builder.constant(f"{op.output}/shape", np.array([-1, weight.dims[1]], np.int64))
    flat = builder.op("Reshape", [layout.to_nhwc(builder, op), shape], f"{op.output}/flat")
    return builder.op("Gemm", [flat, builder.value(weight.name), *_bias(builder, op)], f"{op.output}/value", transB=1)


OPERATORS = {
    **{kind: function(kind) for kind in ("Relu", "Sigmoid", "Tanh", "Gelu", "HardSwish")},
    **{f"ElementWise{kind}": function(kind) for kind in UNARY.values()},
    "ElementWiseSquareRoot": function("Sqrt"),
    "ElementWiseRsqrt": composed.rsqrt,
    "ElementWiseSoftplus": composed.softplus,
    "ElementWiseFloorDiv": floor_divide,
    "ElementWiseSquaredDifference": squared_difference,
    "Elu": composed.elu,
    "InstanceNorm": composed.instance_norm,
    "LayerNorm": composed.layer_norm,
    "MatMul": composed.mat_mul,
    "Tile": composed.tile,
    "Gather": composed.gather,
    "ElementWisePower": elementwise("Pow"),
    "Relu1": clip(-1.0, 1.0),
    "Relu6": clip(0.0, 6.0),
    "ReluMinMax": clip(),
    "FullyConnected": fully_connected,
    "Squeeze": layout.reshape,
    "ExpandDims": layout.reshape,
    "Split": layout.split,
    "Argmax": layout.arg_max("ArgMax"),
    "Argmin": layout.arg_max("ArgMin"),
    "Conv2d": convolution,
    "DepthWiseConv2d": convolution,
    "TransposeConv2d": transpose_convolution,
    "Prelu": prelu,
    "Neuron": neuron,
    "ElementWiseNeuron": neuron,
    "Eltwise_Binary": binary,
    "ElementWiseBinary": binary,
    "Eltwise_Unary": unary,
    "ElementWiseUnary": unary,
    "DepthToSpace": layout.depth_to_space,
    "SpaceToDepth": layout.space_to_depth,
    "Concat": layout.concat,
    "Transpose": layout.transpose,
    "Reshape": layout.reshape,
    "Pool": layout.pool,
    "PoolAvg2d": layout.pool,
    "PoolMax2d": layout.pool,
    "Reduce": layout.reduce,
    **{kind: layout.reduce for kind in layout.REDUCE},
    "ElementWiseAdd": elementwise("Add"),
    "ElementWiseSubtract": elementwise("Sub"),
    "ElementWiseMultiply": elementwise("Mul"),
    "ElementWiseDivide": elementwise("Div"),
    "ElementWiseMaximum": elementwise("Max"),
    "ElementWiseMinimum": elementwise("Min"),
    "Resize": layout.resize,
    "ResizeNearestNeighbor": layout.resize,
    "ResizeBilinear": layout.resize,
    "StridedSlice": layout.strided_slice,
    "Pad": layout.pad,
    "Softmax": composed.softmax("Softmax"),
    "LogSoftmax": composed.softmax("LogSoftmax"),
    "Batchnorm": batch_norm,
    "Quantize": same_value,
    "Dequantize": same_value,
    "Convert": same_value,
    "Cast": same_value,
}
