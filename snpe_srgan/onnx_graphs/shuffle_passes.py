"""Passes over operators that move pixels: pixel shuffles said as Reshapes, transposed convolutions, changes of layout.

fuse_shuffles(graph, shapes), unroll_transposed(graph, shapes), sink_transposes(graph, shapes)      # among tidy's
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from snpe_srgan.onnx_graphs.boundary import TO_NCHW, TO_NHWC, perm_of
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of

Shapes = dict[str, list[int]]
MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity")  # no number is changed or dropped
MOST = 1 << 27  # numbers of a tensor whose way is followed: 0.5 GB, and as much for what it becomes
UNARY = (
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid", "HardSwish", "Gelu", "Neg", "Abs", "Sqrt",
    "Exp", "Softplus", "Erf", "Cast", "Identity",
)  # fmt: skip
BINARY = ("Add", "Mul", "Sub", "Div", "Max", "Min", "PRelu", "Pow")


def fuse_shuffles(graph: OnnxGraph, shapes: Shapes) -> None:
    """Reshapes and Transposes between two pictures that together move pixels as DepthToSpace or SpaceToDepth does, in
    whatever words the exporter says it: that operator."""
    for last in [n for n in graph.nodes if n.op_type in MOVING]:
        makers, chain, sources = graph.makers(), [last], []
        while chain[-1].op_type in MOVING and (maker := makers.get(chain[-1].input[0])) is not None:
            if len(shapes.get(chain[-1].input[0], [])) == 4:
                sources.append((chain[-1].input[0], list(chain)))
            if maker.op_type not in MOVING:
                break
            chain.append(maker)
        if len(shapes.get(last.output[0], [])) != 4:
            continue
        for source, steps in reversed(sources):
            if any(n.op_type != "Transpose" for n in steps) and _fuse(graph, last, source, steps[::-1], shapes):
                break


def _fuse(graph: OnnxGraph, last, source: str, steps: Sequence, shapes: Shapes) -> bool:
    """Whether the steps from `source` to what `last` gives move pixels as one operator, which then takes its place."""
    from onnx import helper

    before, after, name = shapes[source], shapes[last.output[0]], last.output[0]
    if not 0 < _count(before) <= MOST or _count(after) != _count(before):
        return False
    moved = pixels = np.arange(_count(before), dtype=np.int32).reshape(before)
    for node in steps:
        if node.op_type == "Transpose":
            moved = moved.transpose(perm_of(node) or None)
        elif _count(shapes.get(node.output[0], [])) != moved.size:
            return False
        else:
            moved = moved.reshape(shapes[node.output[0]])
    up, down = after[2] // before[2], before[2] // max(after[2], 1)
    if up > 1 and before[1] % up**2 == 0:
        for mode in ("DCR", "CRD"):
            if _same(moved, depth_to_space(pixels, up, mode)):
                graph.replace(last, helper.make_node("DepthToSpace", [source], [name], blocksize=up, mode=mode))
                return True
    if down > 1 and not (before[2] % down or before[3] % down):
        small, places = space_to_depth(pixels, down), _colours_first(before[1], down)
        whole, by_colour = _same(moved, small), _same(moved, small[:, places])
        inner = name if whole or (by_colour and _reorder_readers(graph, name, before[1], down)) else f"{name}/places"
        if whole or by_colour:
            node = helper.make_node("SpaceToDepth", [source], [inner], blocksize=down)
            if inner == name:
                graph.replace(last, node)
                return True
            kernel = graph.constant(f"{name}/order", np.eye(len(places))[places][:, :, None, None])
            graph.nodes.insert(graph.place(last), node)
            graph.replace(last, helper.make_node("Conv", [inner, kernel], [name], kernel_shape=[1, 1]))
            return True
    return False


def _count(shape: Sequence[int | None]) -> int:
    """How many numbers a tensor has; 0 where a side is not known or a file claims one that cannot be."""
    return math.prod(side if side is not None and side > 0 else 0 for side in shape)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    return one.shape == two.shape and bool(np.array_equal(one, two))


def depth_to_space(x: np.ndarray, block: int, mode: str) -> np.ndarray:
    """What ONNX's DepthToSpace gives.

    Args:
        x: (n, channels, h, w) of any type; `channels` is a multiple of block * block.
        block: the factor by which height and width grow.
        mode: "DCR" or "CRD", as ONNX names the order of the channels.
    """
    n, channels, height, width = x.shape
    own = channels // block**2
    if mode == "DCR":
        x = x.reshape(n, block, block, own, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, own, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, own, height * block, width * block)


def space_to_depth(x: np.ndarray, block: int) -> np.ndarray:
    """What ONNX's operator gives for (1, channels, h, w): (row, column, colour) are its channels."""
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // block, block, width // block, block).transpose(0, 3, 5, 1, 2, 4)
    return x.reshape(n, channels * block**2, height // block, width // block)


def _colours_first(channels: int, block: int) -> np.ndarray:
    """The places of ONNX's channels in PyTorch's order, (colour, row, column)."""
    return np.arange(channels * block**2).reshape(block**2, channels).T.reshape(-1)


def _reorder_readers(graph: OnnxGraph, tensor: str, channels: int, block: int) -> bool:
    """PyTorch's unshuffle has (colour, row, column) where ONNX's has (row, column, colour): the convolutions that read
    it get their input channels in that order. False where something else reads it."""
    readers = graph.readers(tensor)
    whole = all(n.op_type == "Conv" and n.input[1] in graph.constants for n in readers)
    if not readers or not whole or any(attributes_of(n).get("group", 1) != 1 for n in readers):
        return False
    order = np.arange(channels * block**2).reshape(channels, block**2).T.reshape(-1)
    for node in readers:
        kernel = graph.constants[node.input[1]][:, order]
        node.input[1] = graph.constant(f"{node.output[0]}/kernel_reordered", kernel)
    return True


def unroll_transposed(graph: OnnxGraph, shapes: Shapes) -> None:
    """A transposed convolution of stride s that enlarges by s: a convolution and a pixel shuffle.

    out[s i + r] = sum_t x[i - t] w[s t + r + p]: each of the s phases r has taps of its own.
    """
    from onnx import helper

    for node in [n for n in graph.nodes if n.op_type == "ConvTranspose"]:
        own = attributes_of(node)
        before, after = (shapes.get(x, []) for x in (node.input[0], node.output[0]))
        kernel = graph.constants.get(node.input[1])
        strides = list(own.get("strides", (1, 1)))
        if kernel is None or own.get("group", 1) != 1 or list(own.get("dilations", (1, 1))) != [1, 1]:
            continue
        if len(before) != 4 or strides[0] != strides[1] or after[2:] != [n * strides[0] for n in before[2:]]:
            continue
        block, pads = strides[0], _begins(own, kernel.shape[2:], strides[0])
        weights, edges = _phases(kernel, block, pads)
        name = node.output[0]
        bias = graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(kernel.shape[1])
        inputs = [
            node.input[0], graph.constant(f"{name}/kernel", weights),
            graph.constant(f"{name}/bias", np.tile(bias, block**2)),
        ]  # fmt: skip
        phases = f"{name}/phases" if block > 1 else name
        conv = helper.make_node(
            "Conv", inputs, [phases], kernel_shape=list(weights.shape[2:]), pads=edges, strides=[1, 1],
            dilations=[1, 1], group=1,
        )  # fmt: skip
        made = [conv]
        if block > 1:
            made.append(helper.make_node("DepthToSpace", [phases], [name], blocksize=block, mode="DCR"))
        place = graph.place(node)
        graph.nodes[place : place + 1] = made


def _begins(own, sides, block: int) -> list[int]:
    """What is cut off above and to the left."""
    auto = own.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        totals = [max(k - block, 0) for k in sides]
        return [t // 2 if auto == b"SAME_UPPER" else t - t // 2 for t in totals]
    return list(own.get("pads", (0, 0, 0, 0)))[:2]


def _phases(kernel: np.ndarray, block: int, pads: list[int]) -> tuple[np.ndarray, list[int]]:
    """(out * block^2, in, taps, taps) of the convolution, phases first, and its pads."""
    lows, highs = [], []
    for axis in (0, 1):
        k, p = kernel.shape[2 + axis], pads[axis]
        lows.append(min(-((r + p) // block) for r in range(block)))
        highs.append(max((k - 1 - r - p) // block for r in range(block)))
    sizes = [high - low + 1 for low, high in zip(lows, highs, strict=True)]
    out = np.zeros((block, block, kernel.shape[1], kernel.shape[0], *sizes))
    for r in range(block):
        for q in range(block):
            for i, t in enumerate(range(highs[0], lows[0] - 1, -1)):  # a convolution reads x[i - high] first
                for j, u in enumerate(range(highs[1], lows[1] - 1, -1)):
                    y, x = block * t + r + pads[0], block * u + q + pads[1]
                    if 0 <= y < kernel.shape[2] and 0 <= x < kernel.shape[3]:
                        out[r, q, :, :, i, j] = kernel[:, :, y, x].T
    edges = [highs[0], highs[1], -lows[0], -lows[1]]
    return out.reshape(block**2 * kernel.shape[1], kernel.shape[0], *sizes), edges


def sink_transposes(graph: OnnxGraph, shapes: Shapes) -> None:
    """Operators on NHWC pictures between changes of layout: on NCHW ones, so that the changes cancel each other."""
    changed = True
    while changed:
        changed = any(_sink(graph, node, shapes) for node in list(graph.nodes))
        from snpe_srgan.onnx_graphs.passes import cancel_transposes

        cancel_transposes(graph)


def _sink(graph: OnnxGraph, node, shapes: Shapes) -> bool:
    from onnx import helper

    makers = graph.makers()

    def turned(x: str):
        maker = makers.get(x)
        if maker is None or maker.op_type != "Transpose" or perm_of(maker) != TO_NHWC:
            return None
        return maker.input[0]

    variables = [x for x in node.input if x and x not in graph.constants]
    if not variables or any(turned(x) is None for x in variables) or node.op_type not in (*UNARY, *BINARY, "Concat"):
        return False
    if node.op_type == "Concat" and attributes_of(node).get("axis") not in (3, -1):
        return False
    name, inputs = node.output[0], []
    for x in node.input:
        if x in variables:
            inputs.append(turned(x))
        elif x and node.op_type in BINARY and graph.constants[x].size > 1:
            wide = graph.constants[x]
            wide = wide.reshape((1,) * (4 - wide.ndim) + wide.shape)
            inputs.append(graph.constant(f"{name}/{x}/nchw", wide.transpose(TO_NCHW)))
        else:
            inputs.append(x)
    own = {**attributes_of(node), **({"axis": 1} if node.op_type == "Concat" else {})}
    inner = helper.make_node(node.op_type, inputs, [f"{name}/nchw"], **own)
    place = graph.place(node)
    graph.nodes[place : place + 1] = [inner, helper.make_node("Transpose", [f"{name}/nchw"], [name], perm=TO_NHWC)]
    shapes[f"{name}/nchw"] = [shapes[name][i] for i in TO_NCHW] if len(shapes.get(name, [])) == 4 else []
    return True
