"""A graph of others rewritten so that every command takes it as one of ours: `lr` NHWC RGB float32 in [0, 1], `sr` in
[-1, 1], by the same computation.

    ours = in_our_form(model, found.boundary)

The rewrite uses operators that everything else knows (Transpose, 1x1 convolutions) and folds what it can into the
convolution at the end, exactly. A network of one channel gets the brightness of the picture; the colours go round it
through a bicubic enlargement, which is a convolution and a pixel shuffle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.boundary import (
    LUMA,
    MARK,
    RANGES,
    TAPS,
    TO_NCHW,
    TO_NHWC,
    Boundary,
    bicubic_taps,
    size_of,
)
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied, dims_of, ends
from snpe_srgan.onnx_graphs.passes import cancel_transposes

if TYPE_CHECKING:
    import onnx

MOVES = ("Transpose", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")  # bytes go through as they are
IR_VERSION = 8
OPSET, OLDEST = 18, 13  # older graphs say constants as attributes, and sizes in other words
NAMES = {
    "lr", "lr_nchw", "lr_values", "lr_nhwc", "lr_integers", "lr_edges", "sr", "sr_nhwc", "sr_given", "sr_float",
    "sr_values", "sr_brightness", "sr_colours", "sr_chroma", "sr_rgb",
}  # fmt: skip
PROBE = 64  # LR pixels to a side, at which the scale of a graph of free size is read


def in_our_form(model: onnx.ModelProto, boundary: Boundary, *, scale: int | None = None) -> onnx.ModelProto:
    """A copy that takes NHWC RGB float32 in [0, 1] as `lr` and gives [-1, 1] as `sr`, by the same computation.

    The size stays free or fixed as it was. float16 inside becomes float32: more precise, and what every tool knows.

    Args:
        scale: of a network of one channel; None reads it from the shapes.
    """
    import onnx

    copy = modern(copied(model))
    if boundary.channels == "Y" and scale is None:
        scale = _scale_of(copy, boundary)
    lr, sr = ends(copy, where=None)
    inputs = [v for v in copy.graph.input if v.name == lr.name]  # old files list the weights as inputs as well
    size, scaled = size_of(copy, boundary.layout), dims_of(sr)
    high, wide = (scaled[1:3] if boundary.layout == "NHWC" else scaled[2:4]) if len(scaled) == 4 else (None, None)
    _to_float32(copy)
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    copy.ir_version = max(copy.ir_version, IR_VERSION)  # before 4 a constant had to be listed among the inputs
    _free_names(copy)
    graph = OnnxGraph(copy)
    _front(graph, graph.inputs[0], boundary)
    _back(graph, graph.outputs[0], boundary, scale)
    cancel_transposes(graph)
    free = size is None or high is None or wide is None
    _port(copy.graph.input[0], "lr", (1, *(size or ("height", "width")), 3))
    _port(sr, "sr", (1, *(("sr_height", "sr_width") if free else (high, wide)), 3))
    _fold_front(graph)
    graph.inputs, graph.outputs = ["lr"], ["sr"]
    graph.drop_unused()
    kept = [p for p in copy.metadata_props if p.key != MARK]
    del copy.metadata_props[:]
    copy.metadata_props.extend([*kept, onnx.StringStringEntryProto(key=MARK, value=boundary.describe())])
    return graph.model()


def modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in a set of operators of today; as it was, where the converter does not know how."""
    return at_least(model, OLDEST)


def at_least(model: onnx.ModelProto, oldest: int) -> onnx.ModelProto:
    """See `modern`: OPSET, where the graph's set is older than `oldest`."""
    import onnx

    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    if version >= oldest:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception:  # its errors have no type of their own; the graph still runs as it is
        return model


def _scale_of(model: onnx.ModelProto, boundary: Boundary) -> int:
    """By how much a graph enlarges, from its shapes; where they do not say it, from a run."""
    import onnx

    probe = copied(model)
    lr, sr = ends(probe, where=None)
    height, width = size_of(probe, boundary.layout) or (PROBE, PROBE)
    channels = 1 if boundary.channels == "Y" else 3
    shape = (1, height, width, channels) if boundary.layout == "NHWC" else (1, channels, height, width)
    lr.type.CopyFrom(onnx.helper.make_tensor_type_proto(lr.type.tensor_type.elem_type, shape))
    del probe.graph.value_info[:]
    sr.type.tensor_type.ClearField("shape")
    try:
        tall = dims_of(onnx.shape_inference.infer_shapes(probe, data_prop=True).graph.output[0])
    except Exception:
        tall = []
    axis = 1 if boundary.layout == "NHWC" else 2
    if len(tall) != 4 or tall[axis] is None:
        from snpe_srgan.onnx_graphs.run import open_on_host

        picture = boundary.given(np.zeros((1, height, width, 3), np.float32))
        tall = list(open_on_host(model.SerializeToString()).run(None, {lr.name: picture})[0].shape)
    return int(tall[axis] or 0) // height


def _port(value, name: str, shape: tuple[int | str | None, ...]) -> None:
    import onnx

    value.name = name
    value.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape))


def _free_names(model: onnx.ModelProto) -> None:
    """Renames inner tensors and operators that are called as what is put around the graph."""
    outside = {value.name for value in (*model.graph.input, *model.graph.output)}

    def free(name: str) -> str:
        ours = name.split("/")[0] in NAMES and not (name in outside and name in ("lr", "sr"))
        return f"inner/{name}" if ours else name

    for node in model.graph.node:
        node.name = free(node.name)
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = free(name)
    for value in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        value.name = free(value.name)


def _conv(graph: OnnxGraph, name: str, kernel: np.ndarray, bias: np.ndarray, reads: str) -> str:
    """Adds a convolution without padding at the end, with its weights; returns its output's name."""
    constants = [graph.constant(f"{name}/kernel", kernel), graph.constant(f"{name}/bias", bias)]
    return graph.append("Conv", [reads, *constants], name, kernel_shape=list(kernel.shape[2:]))


def _mixing(channels: str, factor: float) -> np.ndarray:
    """(out, 3, 1, 1): what a network of these channels gets of RGB, times a factor."""
    colours = {"RGB": np.eye(3), "BGR": np.eye(3)[::-1], "Y": LUMA[None]}[channels]
    return factor * colours[:, :, None, None]


def _front(graph: OnnxGraph, old: str, boundary: Boundary) -> None:
    """lr (NHWC, [0, 1]) -> Transpose -> numbers and colours -> what the graph read."""
    inner, graph.nodes = graph.nodes, []
    black, white = RANGES[boundary.takes]
    last = graph.append("Transpose", ["lr"], "lr_nchw", perm=TO_NCHW)
    integers = boundary.dtypes[0] == "uint8" and not _only_cast(inner, old)
    if integers:
        black, white = 0.0, 1.0  # a QuantizeLinear brings them to 0..255
    if (black, white) != (0.0, 1.0) or boundary.channels != "RGB":
        kernel = _mixing(boundary.channels, white - black)
        last = _conv(graph, "lr_values", kernel, np.full(len(kernel), black), last)
    if boundary.layout == "NHWC":
        last = graph.append("Transpose", [last], "lr_nhwc", perm=TO_NHWC)
    if integers:
        grid: dict[str, np.ndarray] = {
            "lr_integers/scale": np.array(1 / 255, np.float32), "lr_integers/zero": np.array(0, np.uint8)
        }  # fmt: skip
        graph.constants.update(grid)
        last = graph.append("QuantizeLinear", [last, *grid], "lr_integers")
    front, graph.nodes = graph.nodes, inner
    graph.rename(old, last)
    graph.nodes = [*front, *graph.nodes]
    if boundary.dtypes[0] == "uint8" and not integers:
        _drop_casts(graph, last)


def _fold_front(graph: OnnxGraph) -> None:
    """The numbers and colours of the input inside the convolutions that read them, where that is exact: a padded 0 must
    stay a 0, so only a factor goes in."""
    values = graph.makers().get("lr_values")
    if values is None or np.any(graph.constants["lr_values/bias"]):
        return
    readers, mixing = graph.readers("lr_values"), graph.constants["lr_values/kernel"][:, :, 0, 0].astype(np.float64)
    plain = all(n.op_type == "Conv" and n.input[1] in graph.constants for n in readers)
    grouped = any(attributes_of(node).get("group", 1) != 1 for node in readers)
    if len(mixing) != 3 or not readers or not plain or grouped:
        return
    for node in readers:
        kernel = np.einsum("omhw,mi->oihw", graph.constants[node.input[1]].astype(np.float64), mixing)
        node.input[0], node.input[1] = values.input[0], graph.constant(f"{node.output[0]}/kernel_of_lr", kernel)


def _only_cast(nodes: Sequence[onnx.NodeProto], tensor: str) -> bool:
    """Whether whatever reads bytes turns them into floats, maybe behind operators that only move them."""
    readers = [node for node in nodes if tensor in node.input]
    return bool(readers) and all(
        n.op_type == "Cast" or (n.op_type in MOVES and _only_cast(nodes, n.output[0])) for n in readers
    )


def _drop_casts(graph: OnnxGraph, tensor: str) -> None:
    """An input that was bytes is float now: a Cast of it does nothing."""
    for node in graph.readers(tensor):
        if node.op_type in MOVES:
            _drop_casts(graph, node.output[0])
        elif node.op_type == "Cast":
            graph.remove(node, gives=tensor)


def _back(graph: OnnxGraph, old: str, boundary: Boundary, scale: int | None) -> None:
    """What the graph gave -> numbers and colours -> Transpose -> sr (NHWC, [-1, 1])."""
    from onnx import TensorProto

    inner = f"{old}/given" if old in ("lr", "sr") else old
    graph.rename(old, inner)
    graph.outputs = [inner]
    black, white = RANGES[boundary.gives]
    factor, offset = 2 / (white - black), -1 - black * 2 / (white - black)
    if boundary.dtypes[1] == "uint8" and not _floats_at_the_end(graph, inner):
        grid = _grid_of(graph, inner)
        if grid is None:
            inner = graph.append("Cast", [inner], "sr_float", to=TensorProto.FLOAT)
        else:
            names, step, zero = grid
            inner = graph.append("DequantizeLinear", [inner, *names], "sr_float")
            factor, offset = factor / step, offset + factor * zero
    if boundary.layout == "NHWC":
        inner = graph.append("Transpose", [inner], "sr_given", perm=TO_NCHW)
    graph.outputs = [inner]
    cancel_transposes(graph)
    graph.drop_unused()
    if boundary.channels == "Y":
        inner = _with_colours(graph, inner, factor, offset, scale or 1)
    elif boundary.channels == "BGR" or ((factor, offset) != (1.0, 0.0) and not _fold(graph, inner, factor, offset)):
        inner = _conv(graph, "sr_values", _mixing(boundary.channels, factor), np.full(3, offset), inner)
    graph.append("Transpose", [inner], "sr", perm=TO_NHWC)
    graph.outputs = ["sr"]


def _floats_at_the_end(graph: OnnxGraph, tensor: str) -> bool:
    """Takes out the Cast that cut the result to bytes, maybe in front of operators that only move them; False where
    there is none."""
    maker = graph.makers().get(tensor)
    if maker is None or maker.op_type not in ("Cast", *MOVES):
        return False
    if maker.op_type in MOVES:
        return _floats_at_the_end(graph, maker.input[0])
    rounded = graph.makers().get(maker.input[0])
    if rounded is not None and rounded.op_type == "Round":  # whoever writes the picture rounds it
        graph.remove(rounded, gives=rounded.input[0])
    graph.remove(maker, gives=maker.input[0])
    return True


def _grid_of(graph: OnnxGraph, tensor: str) -> tuple[list[str], float, int] | None:
    """Names and values of the step and the zero of the QuantizeLinear that gives bytes; None where it is another."""
    makers = graph.makers()
    maker = makers.get(tensor)
    while maker is not None and maker.op_type in MOVES:
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != "QuantizeLinear" or any(n not in graph.constants for n in maker.input[1:]):
        return None
    step, *zero = (graph.constants[name] for name in maker.input[1:])
    if step.size != 1:
        return None
    return list(maker.input[1:]), float(step.reshape(())), int(zero[0].reshape(())) if zero else 0


def _with_colours(graph: OnnxGraph, brightness: str, factor: float, offset: float, scale: int) -> str:
    """The brightness on all three channels, plus what colours add to it: chroma by bicubic, with the edge repeated."""
    bright = _conv(graph, "sr_brightness", np.full((3, 1, 1, 1), factor), np.full(3, offset), brightness)
    taps = bicubic_taps(scale)
    rest = 2 * (np.eye(3) - LUMA[None])  # [-1, 1] is twice as wide as [0, 1]
    phases = np.einsum("pi,qj,cd->pqcdij", taps, taps, rest).reshape(3 * scale**2, 3, 2 * TAPS + 1, 2 * TAPS + 1)
    graph.constants["lr_edges/pads"] = np.array([0, 0, TAPS, TAPS, 0, 0, TAPS, TAPS], np.int64)
    edges = graph.append("Pad", ["lr_nchw", "lr_edges/pads"], "lr_edges", mode="edge")
    last = _conv(graph, "sr_colours", phases, np.zeros(len(phases)), edges)
    if scale > 1:
        last = graph.append("DepthToSpace", [last], "sr_chroma", blocksize=scale, mode="DCR")
    return graph.append("Add", [bright, last], "sr_rgb")


def _fold(graph: OnnxGraph, tensor: str, factor: float, offset: float) -> bool:
    """factor * x + offset inside the convolution that makes `tensor`, through shuffles and clips; False where the way
    there is another. Exact, as nothing pads or adds between them."""
    makers, constants = graph.makers(), graph.constants
    reads = Counter(name for node in graph.nodes for name in node.input)
    clips = []
    while True:
        maker = makers.get(tensor)
        if maker is None or reads[tensor] > 1:
            return False
        if maker.op_type == "Conv":
            break
        if maker.op_type == "Clip":
            if any(name and name not in constants for name in maker.input[1:]) or maker.attribute:
                return False
            clips.append(maker)
        elif maker.op_type not in ("DepthToSpace", "Identity"):
            return False
        tensor = maker.input[0]
    names = [name for name in maker.input[1:3] if name]
    if any(name not in constants or reads[name] > 1 for name in names):
        return False
    kernel = constants[names[0]].astype(np.float64)
    bias = constants[names[1]] if len(names) > 1 else np.zeros(len(kernel))
    for node in clips:
        for i, name in enumerate(node.input[1:], 1):
            if name:
                bound = np.array(factor * float(constants[name].reshape(())) + offset)
                node.input[i] = graph.constant(f"{node.output[0]}/bound{i}", bound)
    label = maker.output[0]
    del maker.input[1:]
    maker.input.append(graph.constant(f"{label}/kernel", kernel * factor))
    maker.input.append(graph.constant(f"{label}/bias", bias * factor + offset))
    return True


def _to_float32(model) -> None:
    """float16 and float64 constants, casts and types as float32."""
    from onnx import TensorProto, numpy_helper

    wide = (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    ends_ = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    if not any(kind in wide for kind in (*ends_, *(t.data_type for t in model.graph.initializer))):
        return

    def narrowed(tensor, name: str):
        if tensor.data_type in wide:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name))

    for tensor in model.graph.initializer:
        narrowed(tensor, tensor.name)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in wide:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                narrowed(attribute.t, attribute.t.name)


def check_in_our_form(ours: onnx.ModelProto, expected: np.ndarray, lr: np.ndarray, *, least: float, where: object):
    """`InputError` unless the rewritten graph draws what the network itself drew, to `least` dB.

    Args:
        ours: the rewritten graph, in our form.
        expected: what the network itself drew of `lr`, (1, h * scale, w * scale, 3) in [-1, 1].
        lr: (1, h, w, 3) float32 in [0, 1].
        least: PSNR in dB, of a range of 2.
        where: the file, for the error.

    Raises:
        InputError: another shape, or a picture that is further away.
    """
    from snpe_srgan.imaging.decibel import decibel
    from snpe_srgan.onnx_graphs.run import runner

    got = np.asarray(runner(ours)(lr), np.float32)
    if got.shape == expected.shape:
        psnr = decibel(float(np.mean(np.square(got - expected))) + 1e-14, peak=2.0)
        if psnr >= least:
            return
        raise InputError(f"the rewritten graph draws another picture ({psnr:.0f} dB)", where=where)
    raise InputError(f"the rewritten graph gives {got.shape}, not {expected.shape}", where=where)
