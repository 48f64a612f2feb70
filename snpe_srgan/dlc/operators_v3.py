"""How the layers of SNPE 1.x (format 3) are said in ONNX: one small function each, chosen by the layer's type.

What numbers mean was read off real files (SNPE 1.37 to 1.56) and Netron's public schema; where a comment says *by
elimination*, no file has shown it yet. A number that is not listed is an error that names the layer, never a guess.
Shapes settle much: the file holds each output's, so paddings are computed from it, and the rebuilt graph is checked
against all of them. See `operators.py` for what a rule is.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.dlc import operators_layout as layout
from snpe_srgan.dlc import operators_v3_shapes as shapes
from snpe_srgan.dlc.operators import HWIO_TO_OIHW, same_value
from snpe_srgan.errors import InputError

VALID, SAME = 2, 3  # padding strategies; the others give the padding before in numbers
RELU, TANH, SIGMOID, CLIP = 1, 2, 3, 4  # of type Neuron; tanh by elimination
SUM, ABSOLUTE = 0, 8
MAX_POOL, AVERAGE_POOL = 0, 1  # max by elimination
BILINEAR, NEAREST = 0, 1  # nearest by elimination


def padding(size: int, result: int, kernel: int, stride: int, given: int, strategy: int) -> tuple[int, int]:
    """(before, after) along one axis. `kernel` is the dilated one; SAME puts the odd pixel behind, as TensorFlow.

    Args:
        size, result: pixels of the input and of the output.
        kernel: pixels that the window spans.
        stride: in pixels.
        given: the padding before, used where the strategy is neither VALID nor SAME.
        strategy: the file's number.

    Raises:
        InputError: that padding does not make `result` pixels of `size`.
    """
    total = max((result - 1) * stride + kernel - size, 0)
    before = {VALID: 0, SAME: total // 2}.get(strategy, given)
    after = max(total - before, 0)
    fits = stride > 0 and (size + before + after - kernel) // stride + 1 == result
    if not fits or (strategy == VALID and total) or after > before + stride:
        raise InputError(f"padding {given} (strategy {strategy}) does not make {result} of {size}")
    return before, after


def _window(op, sizes: tuple[str, str], strides: tuple[str, str], dilations, pads: tuple[str, str], strategy: str):
    """Attributes (kernel_shape, strides, dilations, pads) of a sliding window; names are given as (y, x)."""
    kernel, stride = [int(op.scalar(n)) for n in sizes], [int(op.scalar(n, 1)) for n in strides]
    dilation = [int(op.scalar(n, 1)) for n in dilations] if dilations else [1, 1]
    if min(kernel + stride + dilation) < 1 or max(kernel + stride + dilation) > 1 << 16:
        raise InputError(f"window {kernel}, stride {stride}, dilation {dilation} is impossible")
    if len(op.dims(0)) != 4 or len(op.output_dims) != 4:
        raise InputError(f"input of shape {op.dims(0)}: an image is expected")
    spans = [
        padding(
            op.dims(0)[1 + axis],
            op.output_dims[1 + axis],
            (kernel[axis] - 1) * dilation[axis] + 1,
            stride[axis],
            int(op.scalar(pads[axis], 0)),
            int(op.scalar(strategy, VALID)),
        )
        for axis in (0, 1)
    ]
    return {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": [before for before, _ in spans] + [after for _, after in spans],
        **({"dilations": dilation} if dilations else {}),
    }


def convolution(builder, op):
    """Weights are HWIO; `padding` and `stride` are along x, `padding_y` and `stride_y` along y."""
    if int(op.scalar("padding_mode", 0)) != 0:
        raise InputError(f"padding mode {op.scalar('padding_mode')} is not known")
    weight, bias = shapes.weights(op)
    group = int(op.scalar("groups", 1))
    window = _window(
        op,
        ("kernel_size_y", "kernel_size"),
        ("stride_y", "stride"),
        ("dilation_y", "dilation_x"),
        ("padding_y", "padding"),
        "padding_strategy",
    )
    kernel = tuple(window["kernel_shape"])
    if weight.dims != (*kernel, op.dims(0)[-1] // max(group, 1), op.output_dims[-1]):
        raise InputError(f"weights of shape {weight.dims} in {group} groups do not fit {op.dims(0)}")
    inputs = [builder.value(op.input(0)), builder.stored(weight, HWIO_TO_OIHW)]
    inputs += [builder.value(bias.name)] if bias else []
    return builder.op("Conv", inputs, f"{op.output}/value", group=group, **window)


def neuron(builder, op):
    """The activation functions. Tanh is a * tanh(b * x); 0 stands for 1."""
    number, inputs, wish = int(op.scalar("type")), [builder.value(op.input(0))], f"{op.output}/value"
    if number == CLIP:
        limits = [builder.constant(f"{wish}/{key}", np.float32(op.scalar(key))) for key in ("min_clamp", "max_clamp")]
        return builder.op("Clip", inputs + limits, wish)
    kinds = {RELU: "Relu", TANH: "Tanh", SIGMOID: "Sigmoid"}
    if number not in kinds:
        raise InputError(f"activation function number {number} is not known")
    if number == TANH and not {float(op.scalar("a", 1.0)), float(op.scalar("b", 1.0))} <= {0.0, 1.0}:
        raise InputError(f"a tanh scaled by {op.scalar('a', 1.0)} and {op.scalar('b', 1.0)} is not known")
    return builder.op(kinds[number], inputs, wish)


def elementwise(builder, op):
    """Sums of two or more inputs, each with its coefficient."""
    number, names = int(op.scalar("op")), op.inputs
    if number != SUM:
        raise InputError(f"arithmetic operation number {number} is not known")
    factors = op.node.attributes.get("coeffs") or (1.0,) * len(names)
    if len(factors) != len(names) or len(names) < 2:
        raise InputError(f"{len(factors)} coefficients for {len(names)} inputs")
    terms = []
    for index, (name, factor) in enumerate(zip(names, factors, strict=True)):
        value = builder.value(name)
        if factor != 1.0:
            constant = builder.constant(f"{op.output}/factor{index}", np.float32(factor))
            value = builder.op("Mul", [value, constant], f"{op.output}/term{index}")
        terms.append(value)
    total = terms[0]
    for term in terms[1:]:
        total = builder.op("Add", [total, term], f"{op.output}/value")
    return total


def unary(builder, op):
    """A function of one tensor, by number: the absolute value is the only one known."""
    if int(op.scalar("op")) != ABSOLUTE:
        raise InputError(f"element-wise function number {op.scalar('op')} is not known")
    return builder.op("Abs", [builder.value(op.input(0))], f"{op.output}/value")


def pool(builder, op):
    """Mean or largest value of a window; the padding follows from the output's size."""
    number = int(op.scalar("type"))
    if number not in (MAX_POOL, AVERAGE_POOL):
        raise InputError(f"pooling number {number} is not known")
    window = _window(
        op, ("size_y", "size_x"), ("stride_y", "stride_x"), None, ("pad_y", "pad_x"), "padding_size_strategy"
    )
    if number == AVERAGE_POOL:
        window["count_include_pad"] = int(op.scalar("pool_region_include_padding", 0))
    kind = "AveragePool" if number == AVERAGE_POOL else "MaxPool"
    return builder.op(kind, [builder.value(op.input(0))], f"{op.output}/value", **window)


def scaling(builder, op):
    """Resizing as TensorFlow 1 does it: asymmetric unless corners are aligned or pixel centres halved."""
    mode = int(op.scalar("resize_mode"))
    if mode not in (BILINEAR, NEAREST) or len(op.output_dims) != 4:
        raise InputError(f"resize mode {mode} is not known")
    corners, half = int(op.scalar("align_corners", 0)), int(op.scalar("half_pixel_centers", 0))
    place = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    attributes = {"mode": "linear" if mode == BILINEAR else "nearest", "coordinate_transformation_mode": place}
    if mode == NEAREST:
        attributes["nearest_mode"] = "floor" if place == "asymmetric" else "round_prefer_floor"
    n, h, w, c = op.output_dims
    sizes = builder.constant(f"{op.output}/sizes", np.array([n, c, h, w], np.int64))
    return builder.op("Resize", [builder.value(op.input(0)), "", "", sizes], f"{op.output}/value", **attributes)


def shuffle(kind: str, factor: str):
    """Pixel shuffle and its inverse, in TensorFlow's order of channels."""

    def rule(builder, op):
        if int(op.scalar("mode", 0)) != 0:
            raise InputError(f"pixel shuffle mode {op.scalar('mode')} is not known")
        mode = {"mode": "DCR"} if kind == "DepthToSpace" else {}
        block = int(op.scalar(factor))
        return builder.op(kind, [builder.value(op.input(0))], f"{op.output}/value", blocksize=block, **mode)

    return rule


def split(builder, op) -> list[str]:
    """Type Slice: one input cut at `slice_points` along `axis`; the outputs' shapes say the same."""
    axis, points = int(op.scalar("axis")), op.node.attributes.get("slice_points", ())
    lengths = [builder.tensor(name).dims[axis] for name in op.node.outputs]
    if lengths[:-1] != list(np.diff((0, *points))):
        raise InputError(f"slice points {points} do not make {lengths}")
    return layout.split(builder, op)


def arg_max(builder, op):
    """The index of the largest value, or with `op` ARGMIN of the smallest, as a float."""
    kinds = {"ARGMAX": "ArgMax", "ARGMIN": "ArgMin"}
    if op.scalar("op", "ARGMAX") not in kinds:
        raise InputError(f"operation '{op.scalar('op')}' is not known")
    return layout.arg_max(kinds[op.scalar("op", "ARGMAX")])(builder, op)


OPERATORS = {
    "Convolutional": convolution,
    "Neuron": neuron,
    "ElementwiseOp": elementwise,
    "ElementwiseUnaryOp": unary,
    "Pooling": pool,
    "Scaling": scaling,
    "Concat": layout.concat,
    "Slice": split,
    "Reshape": layout.reshape,
    "PixelShuffle": shuffle("DepthToSpace", "upscale_factor"),
    "SpaceToDepth": shuffle("SpaceToDepth", "downscale_factor"),
    "ArgMax": arg_max,
    **{kind: shapes.prelu for kind in ("Prelu", "PRelu", "PReLU")},
    "BatchNorm": shapes.batch_norm,
    "Deconvolution": shapes.deconvolution,
    "FullyConnected": shapes.fully_connected,
    "Permute": shapes.permute,
    "SoftMax": shapes.softmax,
    "Dropout": same_value,
}
