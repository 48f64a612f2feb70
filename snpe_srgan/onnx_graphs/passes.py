"""Rewrites of an ONNX graph that came from TensorFlow, so that a chip finds the operators it knows whole.

model = clean(model)

TensorFlow has no PReLU operator and freezes it as Relu / Neg / Relu / Mul / Add, and a clip as Minimum / Maximum. Five
operators in place of one cost accuracy at 8 bits and time everywhere. Every pass keeps the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of
from snpe_srgan.onnx_graphs.size_passes import drop_reshapes, fuse_deconvolution, fuse_pool, fuse_resize

if TYPE_CHECKING:
    import onnx

AFFINE = ("Mul", "Div", "Add", "Sub")


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """All passes; changes and returns `model`."""
    net = OnnxGraph(model)
    passes = (drop_identities, cancel_transposes, explicit_attributes, fold_affine, fuse_prelu, fuse_clip)
    for step in (fuse_deconvolution, *passes, fuse_resize, fuse_pool, drop_reshapes):
        step(net)
        net.drop_unused()
    plain_names(net)
    return net.model()


def drop_identities(net: OnnxGraph) -> None:
    """Takes out every Identity, except one that gives a constant out as the graph's result."""
    for node in list(net.nodes):
        if node.op_type == "Identity" and not (node.output[0] in net.outputs and node.input[0] in net.constants):
            net.remove(node, gives=node.input[0])


def cancel_transposes(net: OnnxGraph) -> None:
    """Two transposes in a row that undo each other."""
    makers = net.makers()
    for second in list(net.nodes):
        first = makers.get(second.input[0]) if second.op_type == "Transpose" else None
        if first is None or first.op_type != "Transpose":
            continue
        one, two = (list(attributes_of(node).get("perm", ())) for node in (first, second))
        if one and len(one) == len(two) and [one[i] for i in two] == list(range(len(one))):
            net.remove(second, gives=first.input[0])
            makers = net.makers()


def explicit_attributes(net: OnnxGraph) -> None:
    """SAME padding as numbers, and every attribute written out: what reads the graph need not know the defaults."""
    from onnx import helper

    for node in net.nodes:
        if node.op_type == "DepthToSpace" and not any(a.name == "mode" for a in node.attribute):
            node.attribute.append(helper.make_attribute("mode", "DCR"))
        if node.op_type != "Conv" or node.input[1] not in net.constants:
            continue
        kernel = list(net.constants[node.input[1]].shape[2:])
        own = attributes_of(node)
        full = {"kernel_shape": kernel, "strides": [1, 1], "dilations": [1, 1], "group": 1, **own}
        auto = full.pop("auto_pad", b"NOTSET")
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            if list(full["strides"]) != [1, 1]:
                continue  # how much is padded then depends on the size of the picture
            total = [(k - 1) * d for k, d in zip(kernel, full["dilations"], strict=True)]
            small, large = [n // 2 for n in total], [n - n // 2 for n in total]
            full["pads"] = [*small, *large] if auto == b"SAME_UPPER" else [*large, *small]
        full.setdefault("pads", [0, 0, 0, 0])
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(name, full[name]) for name in sorted(full))


def fold_affine(net: OnnxGraph) -> None:
    """Conv followed by batch norm, or by a product / sum with one number a channel: into the convolution (exact)."""
    for conv in list(net.nodes):
        if conv.op_type != "Conv" or conv.input[1] not in net.constants:
            continue
        while (after := net.only_reader(conv.output[0])) is not None:
            kernel = net.constants[conv.input[1]]
            affine = _affine(net, after, conv.output[0], kernel.shape[0])
            if affine is None:
                break
            factor, shift = affine
            bias = net.constants[conv.input[2]] if len(conv.input) > 2 else np.zeros(kernel.shape[0])
            name = conv.name or conv.output[0]
            del conv.input[1:]
            conv.input.append(net.constant(f"{name}/kernel", kernel * factor.reshape(-1, 1, 1, 1)))
            conv.input.append(net.constant(f"{name}/bias", bias * factor + shift))
            # The later name stands for the whole, as in to_onnx a convolution's does for its batch norm.
            conv.output[0] = after.output[0]
            net.nodes = [node for node in net.nodes if node is not after]


def _affine(net: OnnxGraph, node, source: str, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """`node` as y = x * factor + shift, one factor and shift a channel, in float64; None when it is something else."""
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "BatchNormalization" and node.input[0] == source and len(node.output) == 1:
        if not all(name in net.constants for name in node.input[1:]):
            return None
        gamma, beta, mean, variance = (net.constants[name].astype(np.float64) for name in node.input[1:5])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(variance + epsilon)
        return factor, beta - mean * factor
    if node.op_type in AFFINE:
        other = next((name for name in node.input if name != source), source)
        value = _per_channel(net.constants.get(other), channels)
        if value is None or (node.op_type in ("Div", "Sub") and node.input[0] != source):
            return None
        return {
            "Mul": (value, zeros),
            "Div": (1 / value, zeros),
            "Add": (ones, value),
            "Sub": (ones, -value),
        }[node.op_type]
    return None


def _per_channel(value: np.ndarray | None, channels: int | None = None) -> np.ndarray | None:
    """A constant that is one number, or one a channel of an NCHW tensor, as a float64 vector; else None."""
    if value is None or value.dtype.kind != "f":
        return None
    if value.size == 1:
        return np.full(channels or 1, value.item(), np.float64)
    shape = (1,) * (4 - value.ndim) + value.shape
    if len(shape) != 4 or shape[1] != value.size or (channels and value.size != channels):
        return None
    return value.reshape(-1).astype(np.float64)


def fuse_prelu(net: OnnxGraph) -> None:
    """Any group of elementwise operators that makes x -> x for x > 0 and x -> slope * x below: one PRelu.

    Relu, Neg, Abs, products with a constant, sums and maxima of such are all positively homogeneous, so what a group
    makes of +1 and -1 says what it makes of every number. `seen[t][s]` holds that pair for tensor t as a function of s.
    """
    from onnx import helper

    seen: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}

    def states(tensor: str):
        return seen.setdefault(tensor, {}) | {tensor: (np.ones(1), -np.ones(1))}

    for node in list(net.nodes):
        found = dict(_homogeneous(net, node, states))
        out = node.output[0] if node.output else ""
        if node.op_type in ("Add", "Sub", "Max", "Min"):
            for source, (plus, minus) in found.items():
                if np.all(plus == 1) and not np.all(minus == -1):
                    slope = net.constant(f"{out}/slope", -minus.reshape(-1, 1, 1))
                    net.replace(node, helper.make_node("PRelu", [source, slope], [out], name=node.name))
                    found = {}
                    break
        seen[out] = found


def _homogeneous(net: OnnxGraph, node, states) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    unary: dict[str, Callable] = {"Relu": lambda v: np.maximum(v, 0), "Neg": np.negative, "Abs": np.abs}
    if any(name in net.constants and net.constants[name].dtype.kind != "f" for name in node.input):
        return  # a picture's size, not a picture
    pairs: dict[str, Callable] = {"Add": np.add, "Sub": np.subtract, "Max": np.maximum, "Min": np.minimum}
    if node.op_type in unary:
        for source, pair in states(node.input[0]).items():
            yield source, tuple(unary[node.op_type](v) for v in pair)
    elif node.op_type == "Mul":
        for value, other in (node.input, node.input[::-1]):
            factor = _per_channel(net.constants.get(value))
            if factor is not None:
                for source, pair in states(other).items():
                    yield source, tuple(v * factor for v in pair)
    elif node.op_type in pairs and len(node.input) == 2:
        zero = (np.zeros(1), np.zeros(1))
        one, two = (
            None if np.any(net.constants.get(name, 0)) else (states(name) if name not in net.constants else {})
            for name in node.input
        )
        if one is None or two is None:
            return
        constant = [name in net.constants for name in node.input]
        for source in (one.keys() & two.keys()) if not any(constant) else (one.keys() | two.keys()):
            left, right = one.get(source, zero), two.get(source, zero)
            yield source, tuple(pairs[node.op_type](a, b) for a, b in zip(left, right, strict=True))


def fuse_clip(net: OnnxGraph) -> None:
    """Max(Min(x, high), low) or Min(Max(x, low), high) with single numbers: one Clip."""
    from onnx import helper

    def bound(node, operator: str) -> tuple[str, float] | None:
        if node.op_type != operator or len(node.input) != 2:
            return None
        for value, other in (node.input, node.input[::-1]):
            constant = net.constants.get(value)
            if (
                constant is not None
                and constant.size == 1
                and constant.dtype.kind == "f"
                and other not in net.constants
            ):
                return other, float(constant.reshape(()))
        return None

    for inner in list(net.nodes):
        for first, second in (("Min", "Max"), ("Max", "Min")):
            one = bound(inner, first)
            outer = net.only_reader(inner.output[0]) if one else None
            two = bound(outer, second) if outer is not None else None
            if one is None or outer is None or two is None:
                continue
            low, high = (two[1], one[1]) if first == "Min" else (one[1], two[1])
            if low <= high:
                name = outer.output[0]
                limits = [net.constant(f"{name}/low", np.array(low)), net.constant(f"{name}/high", np.array(high))]
                net.replace(outer, helper.make_node("Clip", [one[0], *limits], [name], name=outer.name))


def plain_names(net: OnnxGraph) -> None:
    """Names as `to_onnx` gives them: TensorFlow's `name:0` as `name`, a convolution's without the `_bn` or
    `_scale` of what it took in, nodes after what they give, constants after the node that reads them."""
    given = {*net.inputs, *net.outputs}
    used = {name for node in net.nodes for name in [*node.input, *node.output]} | given
    renamed: dict[str, str] = {}

    def rename(old: str, new: str) -> None:
        if old not in given and new not in used and new:
            used.add(new)
            renamed[old] = new

    for node in net.nodes:
        for name in node.output:
            short = name.removesuffix(":0")
            rename(name, short.removesuffix("_scale").removesuffix("_bn") if node.op_type == "Conv" else short)
    roles = {
        "Conv": {1: "kernel", 2: "bias"},
        "PRelu": {1: "alpha"},
        "Clip": {1: "low", 2: "high"},
        "Mul": {1: "factor"},
    }
    _own_constants(net, roles)
    for node in net.nodes:
        label = renamed.get(node.output[0], node.output[0])
        for i, role in roles.get(node.op_type, {}).items():
            if i < len(node.input) and node.input[i] in net.constants and len(net.readers(node.input[i])) == 1:
                rename(node.input[i], f"{label}/{role}")
    for node in net.nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(name, name)
        node.name = node.output[0]
    net.constants = {renamed.get(name, name): value for name, value in net.constants.items()}


def _own_constants(net: OnnxGraph, roles: Mapping[str, Mapping[int, str]]) -> None:
    """TensorFlow keeps equal numbers once; each node that reads such a single number gets its own."""
    for node in net.nodes:
        for i in roles.get(node.op_type, {}):
            name = node.input[i] if i < len(node.input) else ""
            if name in net.constants and net.constants[name].size == 1 and len(net.readers(name)) > 1:
                node.input[i] = f"{node.output[0]}/own{i}"
                net.constants[node.input[i]] = net.constants[name]
