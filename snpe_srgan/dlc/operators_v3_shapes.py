"""Layers of SNPE 1.x that no real file has shown us yet, as far as their shapes alone say what they compute.

Where shapes leave a choice (square weights could lie either way round) the layer is refused. See `operators_v3.py`.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.dlc import operators_layout as layout
from snpe_srgan.dlc.operators import HWIO_TO_IOHW
from snpe_srgan.errors import InputError

HWOI_TO_IOHW = (3, 2, 0, 1)


def weights(op) -> tuple:
    """(weight, bias or None): the layer's stored tensors, told apart by their names.

    Raises:
        InputError: there is not just one tensor of weights, or more than one of biases.
    """
    stored = op.stored()
    bias = [t for t in stored if "bias" in t.name.rsplit("/", 1)[-1].lower()]
    weight = [t for t in stored if t not in bias]
    if len(weight) != 1 or len(bias) > 1:
        raise InputError(f"it has {len(stored)} stored tensors, not one of weights and one of biases")
    return weight[0], bias[0] if bias else None


def prelu(builder, op):
    """One stored slope a channel, whatever it is called."""
    stored = op.stored()
    if len(stored) != 1 or stored[0].dims not in ((op.dims(0)[-1],), (1,)):
        raise InputError("it has no single slope for each channel")
    rank = len(op.dims(0))
    slope = builder.stored(stored[0], layout.TO_NCHW if rank == 4 else None, shape=(1,) * (rank - 1) + stored[0].dims)
    return builder.op("PRelu", [builder.value(op.input(0)), slope], f"{op.output}/value")


def batch_norm(builder, op):
    """Scale and bias with mean and variance folded in: a multiplication and an addition."""
    weight, bias = weights(op)
    channels, rank = op.dims(0)[-1], len(op.dims(0))
    if bias is None or weight.dims != (channels,) or bias.dims != (channels,):
        raise InputError("it has no scale and bias for each channel")
    perm, shape = layout.TO_NCHW if rank == 4 else None, (1,) * (rank - 1) + (channels,)
    scale, shift = builder.stored(weight, perm, shape=shape), builder.stored(bias, perm, shape=shape)
    product = builder.op("Mul", [builder.value(op.input(0)), scale], f"{op.output}/scaled")
    return builder.op("Add", [product, shift], f"{op.output}/value")


def _lies(found: tuple[int, int], inputs: int, outputs: int) -> bool:
    """Whether weights lie as (inputs, outputs), not as (outputs, inputs)."""
    if inputs == outputs or set(found) != {inputs, outputs}:
        raise InputError(f"weights of {found[0]} by {found[1]} between {inputs} inputs and {outputs} outputs")
    return found == (inputs, outputs)


def fully_connected(builder, op):
    """A matrix product with the flattened image; the sizes say which way round the weights lie."""
    weight, bias = weights(op)
    count, outputs = int(np.prod(op.dims(0)[1:])), op.output_dims[-1]
    if len(weight.dims) != 2:
        raise InputError(f"weights of shape {weight.dims}")
    transposed = int(not _lies(weight.dims, count, outputs))
    shape = builder.constant(f"{op.output}/shape", np.array([-1, count], np.int64))
    flat = builder.op("Reshape", [layout.to_nhwc(builder, op), shape], f"{op.output}/flat")
    inputs = [flat, builder.value(weight.name), *([builder.value(bias.name)] if bias else [])]
    return builder.op("Gemm", inputs, f"{op.output}/value", transB=transposed)


def deconvolution(builder, op):
    """The output's size says how much is cut off on both sides; the odd pixel behind, as in TensorFlow."""
    weight, bias = weights(op)
    if int(op.scalar("groups", 1)) != 1 or len(weight.dims) != 4 or len(op.dims(0)) != len(op.output_dims):
        raise InputError(f"weights of shape {weight.dims} in {op.scalar('groups', 1)} groups")
    straight = _lies(weight.dims[2:], op.dims(0)[-1], op.output_dims[-1])
    strides = [int(op.scalar("stride_y", op.scalar("stride"))), int(op.scalar("stride"))]
    cut = [(op.dims(0)[1 + a] - 1) * strides[a] + weight.dims[a] - op.output_dims[1 + a] for a in (0, 1)]
    if any(not 0 <= n < weight.dims[axis] for axis, n in enumerate(cut)):
        raise InputError(f"stride {strides} does not make {op.output_dims} of {op.dims(0)}")
    kernel = builder.stored(weight, HWIO_TO_IOHW if straight else HWOI_TO_IOHW)
    inputs = [builder.value(op.input(0)), kernel, *([builder.value(bias.name)] if bias else [])]
    pads = [n // 2 for n in cut] + [n - n // 2 for n in cut]
    wish = f"{op.output}/value"
    return builder.op("ConvTranspose", inputs, wish, kernel_shape=weight.dims[:2], strides=strides, pads=pads)


def permute(builder, op):
    """The only list among the attributes that is an order of axes."""
    rank = len(op.output_dims)
    orders = [v for v in op.node.attributes.values() if isinstance(v, tuple) and sorted(v) == list(range(rank))]
    if len(set(orders)) != 1 or len(op.dims(0)) != rank:
        raise InputError("it gives no order of axes")
    value = builder.op("Transpose", [layout.to_nhwc(builder, op)], f"{op.output}/value", perm=orders[0])
    return layout.from_nhwc(builder, op, value)


def softmax(builder, op):
    """Over `axis`, the last of the file's order where it is left out."""
    axis = layout.axis_of(op, int(op.scalar("axis", len(op.output_dims) - 1)))
    return builder.op("Softmax", [builder.value(op.input(0))], f"{op.output}/value", axis=axis)
