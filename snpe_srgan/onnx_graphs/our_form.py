"""A graph of others rewritten so that every command takes it as one of ours: `lr` NHWC RGB float32 in [0, 1], `sr` in
[-1, 1], by the same computation.

    ours = in_our_form(model, found.boundary)

The rewrite uses operators that everything else knows (Transpose, 1x1 convolutions) and folds what it can into the
convolution at the end, exactly. A network of one channel gets the brightness of the picture; the colours go round it
through a bicubic enlargement, which is a convolution and a pixel shuffle.
"""

from __future__ import annotations

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
    perm_of,
    size_of,
)
from snpe_srgan.onnx_graphs.graph import copied, dims_of, ends

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
    taken, given = copy.graph.input[0].name, copy.graph.output[0].name
    free = size is None or high is None or wide is None
    _port(copy.graph.input[0], "lr", (1, *(size or ("height", "width")), 3))
    _port(sr, "sr", (1, *(("sr_height", "sr_width") if free else (high, wide)), 3))
    _front(copy, taken, boundary)
    _back(copy, given, boundary, scale)
    _cancel(copy)
    _fold_front(copy)
    del copy.graph.value_info[:]
    kept = [p for p in copy.metadata_props if p.key != MARK]
    del copy.metadata_props[:]
    copy.metadata_props.extend([*kept, onnx.StringStringEntryProto(key=MARK, value=boundary.describe())])
    return copy


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


def _conv(model, name: str, kernel: np.ndarray, bias: np.ndarray, reads: str):
    """A convolution without padding, as a node; its weights become constants of the graph."""
    from onnx import helper, numpy_helper

    for part, value in (("kernel", kernel), ("bias", bias)):
        model.graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(value, np.float32), f"{name}/{part}")
        )
    return helper.make_node("Conv", [reads, f"{name}/kernel", f"{name}/bias"], [name], name=name,
                            kernel_shape=list(kernel.shape[2:]))  # fmt: skip


def _mixing(channels: str, factor: float) -> np.ndarray:
    """(out, 3, 1, 1): what a network of these channels gets of RGB, times a factor."""
    colours = {"RGB": np.eye(3), "BGR": np.eye(3)[::-1], "Y": LUMA[None]}[channels]
    return factor * colours[:, :, None, None]


def _front(model, old: str, boundary: Boundary) -> None:
    """lr (NHWC, [0, 1]) -> Transpose -> numbers and colours -> what the graph read."""
    from onnx import helper

    black, white = RANGES[boundary.takes]
    nodes = [helper.make_node("Transpose", ["lr"], ["lr_nchw"], name="lr_nchw", perm=TO_NCHW)]
    last = "lr_nchw"
    integers = boundary.dtypes[0] == "uint8" and not _only_cast(model, old)
    if integers:
        black, white = 0.0, 1.0  # a QuantizeLinear brings them to 0..255
    if (black, white) != (0.0, 1.0) or boundary.channels != "RGB":
        kernel = _mixing(boundary.channels, white - black)
        nodes.append(_conv(model, "lr_values", kernel, np.full(len(kernel), black), last))
        last = "lr_values"
    if boundary.layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [last], ["lr_nhwc"], name="lr_nhwc", perm=TO_NHWC))
        last = "lr_nhwc"
    if integers:
        nodes.append(_quantize(model, last))
        last = "lr_integers"
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = last
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    if boundary.dtypes[0] == "uint8" and not integers:
        _drop_casts(model, last)


def _fold_front(model) -> None:
    """The numbers and colours of the input inside the convolutions that read them, where that is exact: a padded 0 must
    stay a 0, so only a factor goes in."""
    from onnx import numpy_helper

    values = next((n for n in model.graph.node if n.name == "lr_values"), None)
    constants = {t.name: t for t in model.graph.initializer}
    if values is None or np.any(numpy_helper.to_array(constants["lr_values/bias"])):
        return
    readers = [n for n in model.graph.node if "lr_values" in n.input]
    mixing = numpy_helper.to_array(constants["lr_values/kernel"])[:, :, 0, 0].astype(np.float64)
    plain = all(n.op_type == "Conv" and n.input[1] in constants for n in readers)
    grouped = any(a.name == "group" and a.i != 1 for n in readers for a in n.attribute)
    if len(mixing) != 3 or not readers or not plain or grouped:
        return
    for node in readers:
        kernel = np.einsum("omhw,mi->oihw", numpy_helper.to_array(constants[node.input[1]]).astype(np.float64), mixing)
        node.input[0], node.input[1] = values.input[0], f"{node.output[0]}/kernel_of_lr"
        model.graph.initializer.append(numpy_helper.from_array(kernel.astype(np.float32), node.input[1]))
    model.graph.node.remove(values)
    read = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name not in read]:
        model.graph.initializer.remove(tensor)


def _quantize(model, reads: str):
    from onnx import helper, numpy_helper

    grid = {"lr_integers/scale": np.float32(1 / 255), "lr_integers/zero": np.uint8(0)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in grid.items())
    return helper.make_node("QuantizeLinear", [reads, *grid], ["lr_integers"], name="lr_integers")


def _only_cast(model, tensor: str) -> bool:
    """Whether whatever reads bytes turns them into floats, maybe behind operators that only move them."""
    readers = [node for node in model.graph.node if tensor in node.input]
    return bool(readers) and all(
        n.op_type == "Cast" or (n.op_type in MOVES and _only_cast(model, n.output[0])) for n in readers
    )


def _drop_casts(model, tensor: str) -> None:
    """An input that was bytes is float now: a Cast of it does nothing."""
    for node in [n for n in model.graph.node if n.input and n.input[0] == tensor]:
        if node.op_type in MOVES:
            _drop_casts(model, node.output[0])
        elif node.op_type == "Cast":
            for other in model.graph.node:
                for i, name in enumerate(other.input):
                    if name == node.output[0]:
                        other.input[i] = tensor
            for value in model.graph.output:
                if value.name == node.output[0]:
                    node.op_type = "Identity"
                    del node.attribute[:]
            if node.op_type == "Cast":
                model.graph.node.remove(node)


def _back(model, old: str, boundary: Boundary, scale: int | None) -> None:
    """What the graph gave -> numbers and colours -> Transpose -> sr (NHWC, [-1, 1])."""
    from onnx import TensorProto, helper

    inner = f"{old}/given" if old in ("lr", "sr") else old
    if inner != old:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = inner
    black, white = RANGES[boundary.gives]
    factor, offset = 2 / (white - black), -1 - black * 2 / (white - black)
    if boundary.dtypes[1] == "uint8" and not _floats_at_the_end(model, inner):
        grid = _grid_of(model, inner)
        if grid is None:
            cast = helper.make_node("Cast", [inner], ["sr_float"], name="sr_float", to=TensorProto.FLOAT)
            model.graph.node.append(cast)
        else:
            names, step, zero = grid
            model.graph.node.append(
                helper.make_node("DequantizeLinear", [inner, *names], ["sr_float"], name="sr_float")
            )
            factor, offset = factor / step, offset + factor * zero
        inner = "sr_float"
    if boundary.layout == "NHWC":
        model.graph.node.append(helper.make_node("Transpose", [inner], ["sr_given"], name="sr_given", perm=TO_NCHW))
        inner = "sr_given"
    _cancel(model)
    inner = next((n.input[0] for n in model.graph.node if n.output[0] == inner and n.op_type == "Identity"), inner)
    if boundary.channels == "Y":
        inner = _with_colours(model, inner, factor, offset, scale or 1)
    elif boundary.channels == "BGR" or ((factor, offset) != (1.0, 0.0) and not _fold(model, inner, factor, offset)):
        kernel = _mixing(boundary.channels, factor)
        model.graph.node.append(_conv(model, "sr_values", kernel, np.full(3, offset), inner))
        inner = "sr_values"
    model.graph.node.append(helper.make_node("Transpose", [inner], ["sr"], name="sr_nhwc", perm=TO_NHWC))


def _floats_at_the_end(model, tensor: str) -> bool:
    """Takes out the Cast that cut the result to bytes, maybe in front of operators that only move them; False where
    there is none."""
    maker = next((node for node in model.graph.node if tensor in node.output), None)
    if maker is None or maker.op_type not in ("Cast", *MOVES):
        return False
    if maker.op_type in MOVES:
        return _floats_at_the_end(model, maker.input[0])
    maker.op_type = "Identity"
    del maker.attribute[:]
    return True


def _grid_of(model, tensor: str) -> tuple[list[str], float, int] | None:
    """Names and values of the step and the zero of the QuantizeLinear that gives bytes; None where it is another."""
    from onnx import numpy_helper

    maker = next((node for node in model.graph.node if tensor in node.output), None)
    while maker is not None and maker.op_type in MOVES:
        before = maker.input[0]
        maker = next((node for node in model.graph.node if before in node.output), None)
    constants = {t.name: t for t in model.graph.initializer}
    if maker is None or maker.op_type != "QuantizeLinear" or any(name not in constants for name in maker.input[1:]):
        return None
    values = [numpy_helper.to_array(constants[name]) for name in maker.input[1:]]
    if values[0].size != 1:
        return None
    return list(maker.input[1:]), float(values[0].reshape(())), int(values[1].reshape(())) if len(values) > 1 else 0


def _with_colours(model, brightness: str, factor: float, offset: float, scale: int) -> str:
    """The brightness on all three channels, plus what colours add to it: chroma by bicubic, with the edge repeated."""
    from onnx import helper, numpy_helper

    kernel = np.full((3, 1, 1, 1), factor)
    model.graph.node.append(_conv(model, "sr_brightness", kernel, np.full(3, offset), brightness))
    taps = bicubic_taps(scale)
    rest = 2 * (np.eye(3) - LUMA[None])  # [-1, 1] is twice as wide as [0, 1]
    phases = np.einsum("pi,qj,cd->pqcdij", taps, taps, rest).reshape(3 * scale**2, 3, 2 * TAPS + 1, 2 * TAPS + 1)
    pads = numpy_helper.from_array(np.array([0, 0, TAPS, TAPS, 0, 0, TAPS, TAPS]), "lr_edges/pads")
    model.graph.initializer.append(pads)
    last = "sr_colours"
    model.graph.node.extend([
        helper.make_node("Pad", ["lr_nchw", "lr_edges/pads"], ["lr_edges"], name="lr_edges", mode="edge"),
        _conv(model, last, phases, np.zeros(len(phases)), "lr_edges"),
    ])  # fmt: skip
    if scale > 1:
        last = "sr_chroma"
        shuffle = helper.make_node("DepthToSpace", ["sr_colours"], [last], name=last, blocksize=scale, mode="DCR")
        model.graph.node.append(shuffle)
    model.graph.node.append(helper.make_node("Add", ["sr_brightness", last], ["sr_rgb"], name="sr_rgb"))
    return "sr_rgb"


def _fold(model, tensor: str, factor: float, offset: float) -> bool:
    """factor * x + offset inside the convolution that makes `tensor`, through shuffles and clips; False where the way
    there is another. Exact, as nothing pads or adds between them."""
    from onnx import numpy_helper

    constants = {t.name: t for t in model.graph.initializer}
    readers = [name for node in model.graph.node for name in node.input]
    clips = []
    while True:
        maker = next((n for n in model.graph.node if tensor in n.output), None)
        if maker is None or readers.count(tensor) > 1:
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
    names = [*maker.input[1:3]]
    if readers.count(maker.output[0]) > 1 or any(n and (n not in constants or readers.count(n) > 1) for n in names):
        return False
    kernel = numpy_helper.to_array(constants[names[0]]).astype(np.float64)
    bias = numpy_helper.to_array(constants[names[1]]) if len(names) > 1 and names[1] else np.zeros(len(kernel))
    for node in clips:
        for i, name in enumerate(node.input[1:], 1):
            if name:
                bound = factor * float(numpy_helper.to_array(constants[name]).reshape(())) + offset
                node.input[i] = f"{node.output[0]}/bound{i}"
                model.graph.initializer.append(numpy_helper.from_array(np.array(bound, np.float32), node.input[i]))
    del maker.input[1:]
    maker.input.extend([f"{maker.output[0]}/kernel", f"{maker.output[0]}/bias"])
    for name, value in zip(maker.input[1:], (kernel * factor, bias * factor + offset), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    read = {name for node in model.graph.node for name in node.input}
    for tensor_ in [t for t in model.graph.initializer if t.name not in read]:
        model.graph.initializer.remove(tensor_)
    return True


def _cancel(model) -> None:
    """Two transposes in a row that undo each other go."""
    changed = True
    while changed:
        changed = False
        makers = {name: node for node in model.graph.node for name in node.output}
        for node in model.graph.node:
            before = makers.get(node.input[0]) if node.op_type == "Transpose" else None
            if before is None or before.op_type != "Transpose" or len(perm_of(node)) != len(perm_of(before)):
                continue
            if [perm_of(before)[i] for i in perm_of(node)] != list(range(len(perm_of(node)))):
                continue
            node.op_type = "Identity"
            del node.attribute[:]
            node.input[0] = before.input[0]
            changed = True
        for node in [n for n in model.graph.node if n.op_type == "Identity"]:
            if node.output[0] in {value.name for value in model.graph.output}:
                continue
            for other in model.graph.node:
                for i, name in enumerate(other.input):
                    if name == node.output[0]:
                        other.input[i] = node.input[0]
            if any(node.output[0] in other.input for other in model.graph.node):
                continue
            if _is_last(model, node):
                continue
            model.graph.node.remove(node)
            changed = True
        read = {name for other in model.graph.node for name in other.input}
        outside = {value.name for value in model.graph.output}
        for node in [n for n in model.graph.node if n.op_type == "Transpose"]:
            if not (read | outside) & set(node.output) and not _is_last(model, node):
                model.graph.node.remove(node)


def _is_last(model, node) -> bool:
    """While the graph's end is rewritten its last node is read by nothing yet."""
    return node is model.graph.node[len(model.graph.node) - 1]


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
    """`InputError` unless the rewritten graph draws what the network itself drew, to `least` dB."""
    from snpe_srgan.imaging.decibel import decibel
    from snpe_srgan.onnx_graphs.run import runner

    got = np.asarray(runner(ours)(lr), np.float32)
    if got.shape == expected.shape:
        psnr = decibel(float(np.mean(np.square(got - expected))) + 1e-14, peak=2.0)
        if psnr >= least:
            return
        raise InputError(f"the rewritten graph draws another picture ({psnr:.0f} dB)", where=where)
    raise InputError(f"the rewritten graph gives {got.shape}, not {expected.shape}", where=where)
