"""Passes over what TensorFlow says with sizes: an enlargement by computed lengths, a mean over both axes.

fuse_resize(net), fuse_pool(net), drop_reshapes(net)      # among the passes of onnx_passes.clean

TensorFlow's nearest-neighbour enlargement takes the size of its result, which the frozen graph computes from the size
of the picture: a Shape, a product and half a dozen operators on three numbers, none of which a chip has. What they
compute is asked of two sizes; where both answers are the same whole factors, the operator gets those.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.models.operators import NEAREST
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of
from snpe_srgan.onnx_graphs.reach import REPEATS

SIZES = ((1, 8, 6, 10), (1, 8, 35, 9))  # asked of; NCHW
IMAGES = ("Conv", "DepthToSpace", "GlobalAveragePool", "Resize")  # give four dimensions
POINTWISE = ("Add", "Clip", "LeakyRelu", "Mul", "PRelu", "Relu", "Sigmoid", "Tanh")


def fuse_resize(net: OnnxGraph) -> None:
    """Resize to a computed size, nearest neighbour, by whole numbers: Resize by constant factors."""
    from onnx import helper

    for node in list(net.nodes):
        own = attributes_of(node)
        if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3] or own.get("mode") != b"nearest":
            continue
        place = own.get("coordinate_transformation_mode", b"half_pixel").decode()
        if (place, own.get("nearest_mode", b"round_prefer_floor").decode()) not in REPEATS:
            continue
        chain = _chain(net, node.input[3])
        factors = None if chain is None else _factors(net, chain, node)
        if chain is None or factors is None:
            continue
        # The product that TensorFlow's graph calls `<layer>/size` still knows the layer's name, which tf2onnx lost.
        made = [x.removesuffix(":0") for n in chain for x in n.output]
        sized = next((x.removesuffix("/size") for x in made if x.endswith("/size")), node.output[0])
        name = node.output[0] if node.output[0] in net.outputs else sized
        scales = net.constant(f"{name}/scales", factors)
        resize = helper.make_node("Resize", [node.input[0], "", scales], [name], name=name, **NEAREST)
        for other in net.readers(node.output[0]):
            for i, x in enumerate(other.input):
                other.input[i] = name if x == node.output[0] else x
        net.replace(node, resize)


def _chain(net: OnnxGraph, tensor: str) -> list | None:
    """The nodes that a tensor is computed by, first to last, back to where a shape is taken."""
    makers = net.makers()
    found, wanted = set(), [tensor]
    while wanted:
        x = wanted.pop()
        if x in net.constants or x in found or not x:
            continue
        if x not in makers:
            return None
        found.add(x)
        if makers[x].op_type != "Shape":
            wanted += makers[x].input
    return [node for node in net.nodes if found.intersection(node.output)]


def _factors(net: OnnxGraph, chain: list, node) -> np.ndarray | None:
    """(4,) whole factors by which the computed size enlarges what `node` reads, if it does so at every size."""
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    shapes = [n for n in chain if n.op_type == "Shape"]
    if any(n.input[0] != node.input[0] or n.attribute for n in shapes):
        return None
    nodes = [n for n in chain if n.op_type != "Shape"]
    read = {x for n in nodes for x in n.input}
    graph = helper.make_graph(
        nodes,
        "size",
        [helper.make_tensor_value_info(n.output[0], TensorProto.INT64, [4]) for n in shapes],
        [helper.make_tensor_value_info(node.input[3], TensorProto.INT64, [4])],
        [numpy_helper.from_array(v, name) for name, v in net.constants.items() if name in read],
    )
    run = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    answers = []
    for size in SIZES:
        made = np.asarray(next(iter(run.run(None, {n.output[0]: np.array(size, np.int64) for n in shapes}))))
        if made.shape != (4,) or np.any(made % size):
            return None
        answers.append(made // size)
    return answers[0].astype(np.float32) if np.array_equal(answers[0], answers[1]) else None


def fuse_deconvolution(net: OnnxGraph) -> None:
    """TensorFlow's transposed convolution has the size that the graph computes for it: whatever it is larger is sliced
    off, whatever it is smaller is padded. Where the same is cut at every size, that becomes the operator's padding."""
    from onnx import helper

    for node in list(net.nodes):
        own = attributes_of(node)
        if node.op_type != "ConvTranspose" or node.input[1] not in net.constants or any(own.get("pads", (0,))):
            continue
        after = [n for n in net.readers(node.output[0]) if n.op_type != "Shape"]
        cut = after[0] if len(after) == 1 and after[0].op_type == "Slice" else None
        if cut is None or list(net.constants.get(cut.input[3], ())) not in ([2, 3], [-2, -1]):
            continue
        more = net.only_reader(cut.output[0])
        pad = more if more is not None and more.op_type == "Pad" else None
        ends = _cut_ends(net, node, own, cut, pad)
        if ends is None:
            continue
        del node.attribute[:]
        full = {"dilations": [1, 1], "strides": [1, 1], "group": 1, **own, "pads": ends}
        full["kernel_shape"] = list(net.constants[node.input[1]].shape[2:])
        full.pop("auto_pad", None)
        node.attribute.extend(helper.make_attribute(name, full[name]) for name in sorted(full))
        net.remove(cut, gives=node.output[0])
        if pad is not None:
            net.remove(pad, gives=node.output[0])


def _cut_ends(net: OnnxGraph, node, own: dict, cut, pad) -> list[int] | None:
    """[top, left, bottom, right] that is cut off a transposed convolution at every size; None where that differs."""
    kernel = net.constants[node.input[1]].shape[2:]
    steps, spread = (list(own.get(name, (1, 1))) for name in ("strides", "dilations"))
    found = []
    for size in SIZES:
        grown = [
            (side - 1) * step + (k - 1) * d + 1
            for side, step, k, d in zip(size[2:], steps, kernel, spread, strict=True)
        ]
        shapes = {node.input[0]: size, node.output[0]: (1, net.constants[node.input[1]].shape[1], *grown)}
        low, high = (_sizes(net, name, shapes) for name in cut.input[1:3])
        padded = [0] if pad is None else _sizes(net, pad.input[1], shapes)
        if low is None or high is None or padded is None or any(padded):
            return None
        found.append([*low, *(max(side - end, 0) for side, end in zip(grown, high, strict=True))])
    return found[0] if found[0] == found[1] and min(found[0]) >= 0 else None


def _sizes(net: OnnxGraph, tensor: str, shapes: dict[str, tuple[int, ...]]) -> list[int] | None:
    """The numbers that a tensor holds where the pictures have these shapes."""
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    if tensor in net.constants:
        return np.asarray(net.constants[tensor]).reshape(-1).tolist()
    chain = _chain(net, tensor)
    asked = [n for n in chain or () if n.op_type == "Shape"]
    if chain is None or any(n.input[0] not in shapes or n.attribute for n in asked):
        return None
    nodes = [n for n in chain if n.op_type != "Shape"]
    read = {x for n in nodes for x in n.input}
    graph = helper.make_graph(
        nodes, "size",
        [helper.make_tensor_value_info(n.output[0], TensorProto.INT64, [4]) for n in asked],
        [helper.make_tensor_value_info(tensor, TensorProto.INT64, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in net.constants.items() if name in read],
    )  # fmt: skip
    run = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    given = {n.output[0]: np.array(shapes[n.input[0]], np.int64) for n in asked}
    return np.asarray(next(iter(run.run(None, given)))).reshape(-1).tolist()


def fuse_pool(net: OnnxGraph) -> None:
    """The mean over height and width: GlobalAveragePool."""
    from onnx import helper

    for node in list(net.nodes):
        axes = net.constants.get(node.input[1]) if len(node.input) > 1 else None
        kept = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        if node.op_type == "ReduceMean" and kept and axes is not None and sorted(axes.tolist()) in ([2, 3], [-2, -1]):
            net.replace(node, helper.make_node("GlobalAveragePool", [node.input[0]], [node.output[0]], name=node.name))


def drop_reshapes(net: OnnxGraph) -> None:
    """tf2onnx says a change of layout as a Reshape where it moves nothing in memory: of one channel, of one pixel. For
    pictures that are NCHW already it is nothing at all."""
    images, pooled = set(), set()
    for node in list(net.nodes):
        if node.op_type in IMAGES or (node.op_type in POINTWISE and node.input[0] in images):
            images.update(node.output)
        if node.op_type == "GlobalAveragePool" or (node.op_type in (*POINTWISE, "Conv") and node.input[0] in pooled):
            pooled.update(node.output)
        shape = net.constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or shape.size != 4 or node.attribute:
            continue
        one_pixel = node.input[0] in pooled and shape[2:].tolist() == [1, 1]
        if one_pixel or (node.input[0] in images and shape[0] in (-1, 0, 1) and shape[2:].tolist() == [0, 0]):
            net.remove(node, gives=node.input[0])
