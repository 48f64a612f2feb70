"""How each operator of a .dlc is said in ONNX: one small function each, chosen by the node's type.

A rule gets the growing graph and the operation, adds nodes and returns the name of the float result, with every
four-dimensional tensor as NCHW. Names and numbers of the operations are Qualcomm's, found by converting one-operator
networks (`tests/test_dlc.py` does it again).
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError

HWIO_TO_OIHW = (3, 2, 0, 1)
HWIO_TO_IOHW = (2, 3, 0, 1)
TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
NHWC_AXIS_IN_NCHW = (0, 2, 3, 1)  # where each axis of NHWC lies in NCHW
PAD_SCHEMES = {0: "constant", 2: "reflect", 3: "edge"}
BINARY = {0: "Add", 2: "Div", 10: "Max", 11: "Min", 13: "Mul", 16: "Pow", 18: "Sub"}
UNARY = {0: "Abs", 3: "Ceil", 5: "Exp", 6: "Floor", 7: "Log", 8: "Neg", 15: "Sqrt"}
REDUCE = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")


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
        pads=_pads(op),
        group=group,
    )


def transpose_convolution(builder, op):
    weight = builder.tensor(op.input(1))
    inputs = [builder.value(op.input(0)), _weight(builder, weight, HWIO_TO_IOHW), *_bias(builder, op)]
    return builder.op(
        "ConvTranspose",
        inputs,
        f"{op.output}/value",
        kernel_shape=weight.dims[:2],
        strides=op.ints("stride", 2),
        pads=_pads(op),
        output_padding=op.ints("output_padding", 2, [0, 0]),
        group=int(op.scalar("group", 1)),
    )


def _weight(builder, tensor, perm) -> str:
    if tensor.role != "static" or len(tensor.dims) != 4:
        raise InputError(f"weights '{tensor.name}' are not a stored tensor of four dimensions")
    return builder.stored(tensor, perm)


def _bias(builder, op) -> list[str]:
    return [builder.value(op.input(2))] if len(op.inputs) > 2 else []


def _pads(op) -> list[int]:
    top, bottom, left, right = op.ints("pad_amount", 4, [0, 0, 0, 0])
    return [top, left, bottom, right]


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
    kinds = {1: "Gelu", 3: "HardSwish", 4: "Relu", 6: "Sigmoid", 7: "Softplus", 8: "Tanh"}
    if number not in kinds:
        raise InputError(f"activation function number {number} is not known")
    return builder.op(kinds[number], inputs, wish)


def binary(builder, op):
    number = int(op.scalar("operation"))
    if number not in BINARY:
        raise InputError(f"arithmetic operation number {number} is not known")
    return elementwise(BINARY[number])(builder, op)


def elementwise(kind: str):
    def rule(builder, op):
        return builder.op(kind, [_operand(builder, op, index) for index in range(2)], f"{op.output}/value")

    return rule


def unary(builder, op):
    number = int(op.scalar("operation"))
    if number not in UNARY:
        raise InputError(f"element-wise function number {number} is not known")
    return builder.op(UNARY[number], [builder.value(op.input(0))], f"{op.output}/value")


def depth_to_space(builder, op):
    """Mode 0 is DCR (TensorFlow's order), 1 is CRD (PyTorch's)."""
    block = op.ints("block_size", 2)
    mode = int(op.scalar("mode", 0))
    if block[0] != block[1] or mode not in (0, 1):
        raise InputError(f"block {block}, mode {mode} is not known")
    name = ("DCR", "CRD")[mode]
    value = builder.value(op.input(0))
    return builder.op("DepthToSpace", [value], f"{op.output}/value", blocksize=block[0], mode=name)


def space_to_depth(builder, op):
    block = op.ints("block_size", 2)
    if block[0] != block[1] or int(op.scalar("mode", 0)) != 0:
        raise InputError(f"block {block}, mode {op.scalar('mode', 0)} is not known")
    return builder.op("SpaceToDepth", [builder.value(op.input(0))], f"{op.output}/value", blocksize=block[0])


def _axis(axis: int, rank: int) -> int:
    """An axis of a .dlc tensor as an axis of the ONNX one."""
    if not -rank <= axis < rank:
        raise InputError(f"axis {axis} of a tensor with {rank} dimensions")
    return NHWC_AXIS_IN_NCHW[axis % rank] if rank == 4 else axis % rank


def _to_nhwc(builder, op, index: int = 0) -> str:
    value = builder.value(op.input(index))
    return builder.op("Transpose", [value], f"{op.output}/nhwc", perm=TO_NHWC) if len(op.dims(index)) == 4 else value


def _from_nhwc(builder, op, value: str) -> str:
    return builder.op("Transpose", [value], f"{op.output}/nchw", perm=TO_NCHW) if len(op.output_dims) == 4 else value


def concat(builder, op):
    axis = _axis(int(op.scalar("axis")), len(op.output_dims))
    return builder.op("Concat", [builder.value(name) for name in op.inputs], f"{op.output}/value", axis=axis)


def transpose(builder, op):
    """Between images, the change of axes is said in NCHW: often it is none at all."""
    rank = len(op.output_dims)
    perm, value = op.ints("perm", rank), builder.value(op.input(0))
    if sorted(perm) != list(range(rank)) or len(op.dims(0)) != rank:
        raise InputError(f"the order of axes {perm} is impossible")
    if rank == 4:
        perm = [TO_NHWC[perm[axis]] for axis in TO_NCHW]
    return value if perm == sorted(perm) else builder.op("Transpose", [value], f"{op.output}/value", perm=perm)


def reshape(builder, op):
    shape = builder.constant(f"{op.output}/shape", np.array(op.output_dims, np.int64))
    return _from_nhwc(builder, op, builder.op("Reshape", [_to_nhwc(builder, op), shape], f"{op.output}/value"))


def pool(builder, op):
    kind = str(op.scalar("pool_type", op.node.type))
    attributes = {"ceil_mode": int(op.scalar("rounding_mode", 0))}
    if kind == "PoolAvg2d":
        attributes["count_include_pad"] = int(op.scalar("count_pad_for_edges", 0))
    elif kind != "PoolMax2d":
        raise InputError(f"pooling '{kind}' is not known")
    return builder.op(
        "AveragePool" if kind == "PoolAvg2d" else "MaxPool",
        [builder.value(op.input(0))],
        f"{op.output}/value",
        kernel_shape=op.ints("filter_size", 2),
        strides=op.ints("stride", 2, [1, 1]),
        pads=_pads(op),
        **attributes,
    )


def reduce(builder, op):
    kind = str(op.scalar("reduce_type", op.node.type))
    if kind not in REDUCE:
        raise InputError(f"reduction '{kind}' is not known")
    keep, rank = int(op.scalar("keep_dims", 0)), len(op.dims(0))
    axes = op.ints("axes")
    value = builder.value(op.input(0)) if keep else _to_nhwc(builder, op)
    axes = [_axis(axis, rank) for axis in axes] if keep else axes
    wanted = builder.constant(f"{op.output}/axes", np.array(axes, np.int64))
    result = builder.op(kind, [value, wanted], f"{op.output}/value", keepdims=keep)
    return result if keep else _from_nhwc(builder, op, result)


def resize(builder, op):
    """ResizeNearestNeighbor, ResizeBilinear, and Resize with its modes by number."""
    attributes: dict[str, object] = {}
    if op.node.type == "Resize":
        mode = ("nearest", "linear", "cubic")[int(op.scalar("interpolation_mode", 0))]
        places = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        place = places[int(op.scalar("transformation_mode", 0))]
        if mode == "nearest":
            modes = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
            attributes["nearest_mode"] = modes[int(op.scalar("nearest_mode", 0))]
        elif mode == "cubic":
            attributes["cubic_coeff_a"] = float(op.scalar("cubic_coeff", -0.75))
            attributes["exclude_outside"] = int(op.scalar("exclude_outside", 0))
    else:
        mode = "nearest" if op.node.type == "ResizeNearestNeighbor" else "linear"
        half, corners = int(op.scalar("half_pixel_centers", 0)), int(op.scalar("align_corners", 0))
        place = "align_corners" if corners else "half_pixel" if half else "asymmetric"
        if mode == "nearest":
            attributes["nearest_mode"] = "floor" if place == "asymmetric" else "round_prefer_floor"
    n, h, w, c = op.output_dims
    sizes = builder.constant(f"{op.output}/sizes", np.array([n, c, h, w], np.int64))
    inputs = [builder.value(op.input(0)), "", "", sizes]
    wish = f"{op.output}/value"
    return builder.op("Resize", inputs, wish, mode=mode, coordinate_transformation_mode=place, **attributes)


def strided_slice(builder, op):
    rank = len(op.dims(0))
    if any(int(op.scalar(mask, 0)) for mask in ("begin_mask", "end_mask", "shrink_axes", "new_axes_mask")):
        raise InputError("a slice with masks is not known")
    ranges = np.array(op.ints("ranges", 3 * rank), np.int64).reshape(rank, 3)
    axes = np.array([_axis(axis, rank) for axis in range(rank)], np.int64)
    columns = {"starts": ranges[:, 0], "ends": ranges[:, 1], "axes": axes, "steps": ranges[:, 2]}
    parameters = [builder.constant(f"{op.output}/{name}", column) for name, column in columns.items()]
    return builder.op("Slice", [builder.value(op.input(0)), *parameters], f"{op.output}/value")


def pad(builder, op):
    rank = len(op.dims(0))
    scheme = int(op.scalar("scheme", 0))
    if scheme not in PAD_SCHEMES:
        raise InputError(f"padding scheme {scheme} is not known")
    amount = np.array(op.ints("pad_amount", 2 * rank), np.int64).reshape(rank, 2)
    if rank == 4:
        amount = amount[list(TO_NCHW)]
    inputs = [builder.value(op.input(0)), builder.constant(f"{op.output}/pads", amount.T.reshape(-1))]
    if scheme == 0:
        inputs.append(builder.constant(f"{op.output}/fill", np.float32(op.scalar("pad_constant_value", 0.0))))
    return builder.op("Pad", inputs, f"{op.output}/value", mode=PAD_SCHEMES[scheme])


def softmax(builder, op):
    rank = len(op.output_dims)
    axis = _axis(int(op.scalar("axis", rank - 1)), rank)
    return builder.op("Softmax", [builder.value(op.input(0))], f"{op.output}/value", axis=axis)


def batch_norm(builder, op):
    """The file holds scale and bias with mean and variance folded in: mean 0 and variance 1 leave them as they are."""
    channels = op.dims(0)[-1]
    mean = builder.constant(f"{op.output}/mean", np.zeros(channels, np.float32))
    variance = builder.constant(f"{op.output}/variance", np.ones(channels, np.float32))
    inputs = [builder.value(op.input(index)) for index in range(3)] + [mean, variance]
    return builder.op("BatchNormalization", inputs, f"{op.output}/value", epsilon=0.0)


def same_value(builder, op):
    """Quantize, Dequantize, Convert, Cast: what changes is how the output tensor stores the value."""
    return builder.value(op.input(0))


OPERATORS = {
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
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Concat": concat,
    "Transpose": transpose,
    "Reshape": reshape,
    "Pool": pool,
    "PoolAvg2d": pool,
    "PoolMax2d": pool,
    "Reduce": reduce,
    **{kind: reduce for kind in REDUCE},
    "ElementWiseAdd": elementwise("Add"),
    "ElementWiseSubtract": elementwise("Sub"),
    "ElementWiseMultiply": elementwise("Mul"),
    "ElementWiseDivide": elementwise("Div"),
    "ElementWiseMaximum": elementwise("Max"),
    "ElementWiseMinimum": elementwise("Min"),
    "Resize": resize,
    "ResizeNearestNeighbor": resize,
    "ResizeBilinear": resize,
    "StridedSlice": strided_slice,
    "Pad": pad,
    "Softmax": softmax,
    "Batchnorm": batch_norm,
    "Quantize": same_value,
    "Dequantize": same_value,
    "Convert": same_value,
    "Cast": same_value,
}
