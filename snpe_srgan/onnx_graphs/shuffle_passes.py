"""Passes over operators that move pixels: pixel shuffles said as Reshapes, transposed convolutions, changes of layout.

fuse_shuffles(graph, shapes), unroll_transposed(graph, shapes), sink_transposes(graph, shapes)      # among tidy's
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.onnx_graphs.boundary import TO_NCHW, TO_NHWC, perm_of
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of

Shapes = dict[str, list[int]]
SHUFFLES = {(0, 1, 4, 2, 5, 3): "CRD", (0, 3, 4, 1, 5, 2): "DCR"}
UNSHUFFLES = {(0, 1, 3, 5, 2, 4): "torch", (0, 3, 5, 1, 2, 4): "DCR"}
UNARY = (
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid", "HardSwish", "Gelu", "Neg", "Abs", "Sqrt",
    "Exp", "Softplus", "Erf", "Cast", "Identity",
)  # fmt: skip
BINARY = ("Add", "Mul", "Sub", "Div", "Max", "Min", "PRelu", "Pow")


def fuse_shuffles(graph: OnnxGraph, shapes: Shapes) -> None:
    """Reshape to six dimensions, Transpose, Reshape to four: DepthToSpace, or SpaceToDepth."""
    for last in [n for n in graph.nodes if n.op_type == "Reshape"]:
        turn = graph.makers().get(last.input[0])
        first = graph.makers().get(turn.input[0]) if turn is not None and turn.op_type == "Transpose" else None
        if turn is None or first is None or first.op_type != "Reshape":
            continue
        six, before, after = (shapes.get(x, []) for x in (first.output[0], first.input[0], last.output[0]))
        if len(six) == 6 and len(before) == len(after) == 4:
            _fuse(graph, last, first.input[0], tuple(perm_of(turn)), six, before, after)


def _fuse(graph: OnnxGraph, last, source: str, perm: tuple[int, ...], six, before, after) -> None:
    from onnx import helper

    _, channels, height, width = before
    name = last.output[0]
    for kind, mode in SHUFFLES.items():
        at = (2, 3) if mode == "CRD" else (1, 2)
        block = six[at[0]]
        wanted = [1, channels // block**2, height * block, width * block]
        if perm == kind and six[at[1]] == block and list(after) == wanted:
            node = helper.make_node("DepthToSpace", [source], [name], blocksize=block, mode=mode)
            graph.replace(last, node)
            return
    for kind, mode in UNSHUFFLES.items():
        block = six[3]
        wanted = [1, channels * block**2, height // block, width // block]
        if perm != kind or six[5] != block or list(after) != wanted or six[1] != channels:
            continue
        if mode == "torch" and not _reorder_readers(graph, name, channels, block):
            return
        graph.replace(last, helper.make_node("SpaceToDepth", [source], [name], blocksize=block))
        return


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
