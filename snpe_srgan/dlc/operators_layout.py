"""The operators of a .dlc that look at shapes and axes: pixel shuffle, pooling, resizing, slices, changes of layout.

The .dlc says axes for NHWC; here they are said for NCHW. See `operators.py` for what a rule is.
"""

from __future__ import annotations

import math

import numpy as np

from snpe_srgan.errors import InputError

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
NHWC_AXIS_IN_NCHW = (0, 2, 3, 1)  # where each axis of NHWC lies in NCHW
PAD_SCHEMES = {0: "constant", 2: "reflect", 3: "edge"}
FAR = np.iinfo(np.int64).max  # of a slice: as far as there is anything
REDUCE = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")


def pads(op) -> list[int]:
    """[[top, bottom], [left, right]] in ONNX's order."""
    top, bottom, left, right = op.ints("pad_amount", 4, [0, 0, 0, 0])
    return [top, left, bottom, right]


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
    """The inverse of `depth_to_space`; mode 0, TensorFlow's order, alone is known."""
    block = op.ints("block_size", 2)
    if block[0] != block[1] or int(op.scalar("mode", 0)) != 0:
        raise InputError(f"block {block}, mode {op.scalar('mode', 0)} is not known")
    return builder.op("SpaceToDepth", [builder.value(op.input(0))], f"{op.output}/value", blocksize=block[0])


def _axis(axis: int, rank: int) -> int:
    """An axis of a .dlc tensor as an axis of the ONNX one."""
    if not -rank <= axis < rank:
        raise InputError(f"axis {axis} of a tensor with {rank} dimensions")
    return NHWC_AXIS_IN_NCHW[axis % rank] if rank == 4 else axis % rank


def axis_of(op, axis: int) -> int:
    """An axis of an operation's output as an axis of the ONNX one."""
    return _axis(axis, len(op.output_dims))


def to_nhwc(builder, op, index: int = 0) -> str:
    """An input in the file's own order of axes: images are transposed back, all else is as it is.

    Args:
        index: of the input, from 0.

    Returns:
        The ONNX name of the float values.
    """
    value = builder.value(op.input(index))
    return builder.op("Transpose", [value], f"{op.output}/nhwc", perm=TO_NHWC) if len(op.dims(index)) == 4 else value


def from_nhwc(builder, op, value: str) -> str:
    """A result in the file's own order of axes as the rest of the graph keeps it: images as NCHW.

    Args:
        value: the ONNX name of the first output's values, NHWC where it is an image.

    Returns:
        The ONNX name of the values, NCHW where it is an image.
    """
    return builder.op("Transpose", [value], f"{op.output}/nchw", perm=TO_NCHW) if len(op.output_dims) == 4 else value


def concat(builder, op):
    """Any number of tensors side by side along `axis`."""
    axis = _axis(int(op.scalar("axis")), len(op.output_dims))
    return builder.op("Concat", [builder.value(name) for name in op.inputs], f"{op.output}/value", axis=axis)


def split(builder, op) -> list[str]:
    """The outputs' shapes say where the input is cut along `axis`."""
    outputs = [builder.tensor(name) for name in op.node.outputs]
    axis = axis_of(op, int(op.scalar("axis")))
    place = TO_NCHW[axis] if len(op.output_dims) == 4 else axis
    if any(len(t.dims) != len(op.output_dims) for t in outputs):
        raise InputError("its outputs differ in rank")
    sizes = builder.constant(f"{op.output}/split", np.array([t.dims[place] for t in outputs], np.int64))
    return builder.ops("Split", [builder.value(op.input(0)), sizes], [f"{t.name}/value" for t in outputs], axis=axis)


def arg_max(kind: str):
    """The index of the largest (smallest) value, as a float."""

    def rule(builder, op):
        keep, wish = int(op.scalar("keep_dims", 0)), f"{op.output}/value"
        value = to_nhwc(builder, op)
        index = builder.op(kind, [value], f"{wish}/index", axis=int(op.scalar("axis")), keepdims=keep)
        return from_nhwc(builder, op, builder.op("Cast", [index], wish, to=1))

    return rule


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
    """To the output's shape, in the file's own order of axes; Squeeze and ExpandDims too."""
    if math.prod(op.dims(0)) != math.prod(op.output_dims):
        raise InputError(f"{op.dims(0)} cannot become {op.output_dims}")
    shape = builder.constant(f"{op.output}/shape", np.array(op.output_dims, np.int64))
    return from_nhwc(builder, op, builder.op("Reshape", [to_nhwc(builder, op), shape], f"{op.output}/value"))


def pool(builder, op):
    """Mean or largest value of a window: PoolAvg2d, PoolMax2d, and Pool with its kind by name."""
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
        pads=pads(op),
        **attributes,
    )


def reduce(builder, op):
    """Mean, sum, largest or smallest value over some axes; `keep_dims` 0, the default, drops them."""
    kind = str(op.scalar("reduce_type", op.node.type))
    if kind not in REDUCE:
        raise InputError(f"reduction '{kind}' is not known")
    keep, rank = int(op.scalar("keep_dims", 0)), len(op.dims(0))
    axes = op.ints("axes")
    value = builder.value(op.input(0)) if keep else to_nhwc(builder, op)
    axes = [_axis(axis, rank) for axis in axes] if keep else axes
    wanted = builder.constant(f"{op.output}/axes", np.array(axes, np.int64))
    result = builder.op(kind, [value, wanted], f"{op.output}/value", keepdims=keep)
    return result if keep else from_nhwc(builder, op, result)


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
    """TensorFlow's slice: a bit of `begin_mask` / `end_mask` opens that end, one of `shrink_axes` drops the axis."""
    rank = len(op.dims(0))
    if int(op.scalar("new_axes_mask", 0)):
        raise InputError("a slice that adds axes is not known")
    ranges = np.array(op.ints("ranges", 3 * rank), np.int64).reshape(rank, 3)
    shrunk = int(op.scalar("shrink_axes", 0))
    for axis, (start, end, step) in enumerate(ranges.tolist()):
        if int(op.scalar("begin_mask", 0)) >> axis & 1:
            start = 0 if step > 0 else FAR
        if int(op.scalar("end_mask", 0)) >> axis & 1:
            end = FAR if step > 0 else -FAR
        if shrunk >> axis & 1:
            end, step = (start + 1 if start != -1 else FAR), 1
        ranges[axis] = start, end, step
    axes = np.array([_axis(axis, rank) for axis in range(rank)], np.int64)
    columns = {"starts": ranges[:, 0], "ends": ranges[:, 1], "axes": axes, "steps": ranges[:, 2]}
    parameters = [builder.constant(f"{op.output}/{name}", column) for name, column in columns.items()]
    value = builder.op("Slice", [builder.value(op.input(0)), *parameters], f"{op.output}/value")
    if not shrunk:
        return value
    value = builder.op("Transpose", [value], f"{op.output}/nhwc", perm=TO_NHWC) if rank == 4 else value
    shape = builder.constant(f"{op.output}/shape", np.array(op.output_dims, np.int64))
    return from_nhwc(builder, op, builder.op("Reshape", [value, shape], f"{op.output}/shrunk"))


def pad(builder, op):
    """By a constant, a reflection or the border's own values; amounts are [before, after] for each axis of the file's
    order.
    """
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
