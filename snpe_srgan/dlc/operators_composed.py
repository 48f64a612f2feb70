"""Operators of a .dlc that take several ONNX nodes, or have settings ONNX lacks. See `operators.py` for a rule.

Numbers and names are those of Qualcomm's public operator definitions (QNN), as are the settings' defaults.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.dlc import operators_layout as layout
from snpe_srgan.errors import InputError


def rsqrt(builder, op):
    """1 / sqrt(x)."""
    root = builder.op("Sqrt", [builder.value(op.input(0))], f"{op.output}/root")
    return builder.op("Reciprocal", [root], f"{op.output}/value")


def plain_beta(op) -> None:
    """Refuses an operator whose argument is scaled: ONNX has none such."""
    if float(op.scalar("beta", 1.0)) != 1.0:
        raise InputError(f"beta {op.scalar('beta')} is not known")


def softplus(builder, op):
    """log(1 + exp(x)); a `beta` other than 1 is refused."""
    plain_beta(op)
    return builder.op("Softplus", [builder.value(op.input(0))], f"{op.output}/value")


def elu(builder, op):
    """x where it is positive, alpha * (exp(x) - 1) elsewhere."""
    return builder.op("Elu", [builder.value(op.input(0))], f"{op.output}/value", alpha=float(op.scalar("alpha", 1.0)))


def softmax(kind: str):
    """Softmax and LogSoftmax."""

    def rule(builder, op):
        plain_beta(op)
        axis = layout.axis_of(op, int(op.scalar("axis", len(op.output_dims) - 1)))
        return builder.op(kind, [builder.value(op.input(0))], f"{op.output}/value", axis=axis)

    return rule


def instance_norm(builder, op):
    """Mean and variance of each channel (the file's last axis) over the image, then scale and bias of each channel."""
    modes, rank = [int(op.scalar(name, 0)) for name in ("mode", "region")], len(op.dims(0))
    if any(modes) or not int(op.scalar("normalize_variance", 1)) or rank < 3:
        raise InputError(f"normalization of mode {modes[0]} over region {modes[1]}, {rank} dimensions, is not known")
    _each(op, (1, 2), op.dims(0)[-1])
    value, wish = builder.value(op.input(0)), f"{op.output}/value"
    if rank != 4:  # images alone are kept with the channels first
        value = builder.op("Transpose", [value], f"{op.output}/first", perm=[0, rank - 1, *range(1, rank - 1)])
    inputs = [value, *(builder.value(op.input(index)) for index in (1, 2))]
    value = builder.op("InstanceNormalization", inputs, wish, epsilon=float(op.scalar("epsilon", 1e-12)))
    return value if rank == 4 else builder.op("Transpose", [value], f"{op.output}/last", perm=[0, *range(2, rank), 1])


def layer_norm(builder, op):
    """Over the last axis, the channels; ONNX normalizes from an axis to the last."""
    rank = len(op.dims(0))
    if [axis % rank for axis in op.ints("axes")] != [rank - 1]:
        raise InputError(f"normalization over the axes {op.ints('axes')} is not known")
    _each(op, range(1, len(op.inputs)), op.dims(0)[-1])
    inputs = [layout.to_nhwc(builder, op), *(builder.value(name) for name in op.inputs[1:])]
    epsilon = float(op.scalar("epsilon", 1e-12))
    value = builder.op("LayerNormalization", inputs, f"{op.output}/value", axis=-1, epsilon=epsilon)
    return layout.from_nhwc(builder, op, value)


def _each(op, indices, channels: int) -> None:
    for index in indices:
        if op.dims(index) != (channels,):
            raise InputError(f"'{op.input(index)}' of shape {op.dims(index)} for {channels} channels")


def mat_mul(builder, op):
    """Matrices in the last two axes of the file's own order, either of them turned around."""
    sides = []
    for index in (0, 1):
        value, rank = layout.to_nhwc(builder, op, index), len(op.dims(index))
        if int(op.scalar(f"transpose_in{index}", 0)):
            if rank < 2:
                raise InputError(f"'{op.input(index)}' of shape {op.dims(index)} is no matrix")
            perm = [*range(rank - 2), rank - 1, rank - 2]
            value = builder.op("Transpose", [value], f"{op.output}/turned{index}", perm=perm)
        sides.append(value)
    value = builder.op("MatMul", sides, f"{op.output}/product")
    if len(op.inputs) > 2:
        value = builder.op("Add", [value, builder.value(op.input(2))], f"{op.output}/value")
    return layout.from_nhwc(builder, op, value)


def tile(builder, op):
    """Repeats the tensor along each axis of the file's order, as often as `multiples` says."""
    rank = len(op.dims(0))
    repeats = builder.constant(f"{op.output}/repeats", np.array(op.ints("multiples", rank), np.int64))
    value = builder.op("Tile", [layout.to_nhwc(builder, op), repeats], f"{op.output}/value")
    return layout.from_nhwc(builder, op, value)


def gather(builder, op):
    """Stored whole numbers choose along an axis, the rank stays."""
    indices, rank = builder.tensor(op.input(1)), len(op.output_dims)
    if indices.role != "static" or "int" not in indices.dtype or len(indices.dims) != 1 or len(op.dims(0)) != rank:
        raise InputError(f"indices '{indices.name}' of {indices.dtype} {indices.dims} are not known")
    chosen = builder.constant(f"{op.output}/indices", indices.data().astype(np.int64))
    axis = layout.axis_of(op, int(op.scalar("axis", 0)))
    return builder.op("Gather", [builder.value(op.input(0)), chosen], f"{op.output}/value", axis=axis)
