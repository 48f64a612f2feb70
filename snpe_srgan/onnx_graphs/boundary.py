"""What a network takes and gives at its two ends, found out and brought into our form.

    found = find_boundary(model, where=path)           # layout from the graph, numbers from a picture
    ours = in_our_form(model, found.boundary)          # NHWC RGB float32, [0, 1] in and [-1, 1] out

Ours take NHWC RGB in [0, 1] and give [-1, 1] (`OURS`). A foreign network takes what it was trained on, and its file
does not say which numbers those are: they are found by giving it a picture in each of the usual ranges; its enlargement
must resemble the picture. The graph is rewritten once, by operators that everything else knows (Transpose, 1x1
convolutions, folded into the convolution at the end where that is exact), so that every command takes the result as one
of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.graph import copied, dims_of, ends, inputs_of

if TYPE_CHECKING:
    import onnx

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
LAYOUTS, COLOURS = ("NHWC", "NCHW"), ("RGB", "BGR")
MARK = "snpe-srgan.boundary"  # metadata of a graph that is in our form
TRIED = (  # (takes, gives): the first that is as good as the best is taken, so what is usual comes first
    ("0..1", "0..1"), ("0..255", "0..255"), ("0..1", "-1..1"), ("-1..1", "-1..1"), ("0..1", "0..255"),
    ("-1..1", "0..1"), ("0..255", "0..1"),
)  # fmt: skip
RESEMBLES = 18.0  # dB between the picture and its enlargement made small: the worst that enlarge lie above 20
AS_GOOD = 3.0  # dB: a network of few and small biases draws alike in several ranges
GOOD = 34.0  # dB: nothing is to be gained by an unusual range
BORDER = 4  # LR pixels
SIDE = 48  # LR pixels of the probe, where the size is free
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass(frozen=True)
class Boundary:
    """Both ends of a network.

    Attributes:
        layout: `NHWC` or `NCHW`.
        takes, gives: black and white of the input and of the output, a key of `RANGES`.
        colour: `RGB` or `BGR`.
        dtypes: the arrays' element types at both ends: `float32`, `float16` or `uint8`.
    """

    layout: str = "NHWC"
    takes: str = "0..1"
    gives: str = "-1..1"
    colour: str = "RGB"
    dtypes: tuple[str, str] = ("float32", "float32")

    def describe(self) -> str:
        """One line for people."""
        types = "" if self.dtypes == ("float32", "float32") else f", {self.dtypes[0]} -> {self.dtypes[1]}"
        return f"{self.layout} {self.colour}, takes {self.takes}, gives {self.gives}{types}"


OURS = Boundary()


@dataclass(frozen=True)
class Found:
    """A boundary, and why it is thought to be that.

    Attributes:
        evidence: a line for each pair of ranges that was tried: dB between the picture and its enlargement.
        certain: whether the best of them resembles the picture at all.
    """

    boundary: Boundary
    evidence: tuple[str, ...] = ()
    certain: bool = True


def is_ours(model: onnx.ModelProto) -> bool:
    """Whether a graph is in our form: written by us, or brought into it."""
    names = [v.name for v in (*inputs_of(model.graph), *model.graph.output)]
    return any(p.key == MARK for p in model.metadata_props) or names == ["lr", "sr"]


def find_boundary(
    model: onnx.ModelProto,
    *,
    where: object,
    wanted: Boundary | None = None,
    run: Callable[[onnx.ModelProto, np.ndarray], np.ndarray] | None = None,
) -> Found:
    """The boundary of a graph.

    Args:
        model: a checked ONNX model with one picture in and one out.
        wanted: what the user says, taken as it is.
        run: computes a graph that is in our form on a picture (1, h, w, 3) in [0, 1]; ONNX Runtime by default.

    Raises:
        InputError: the ends are no RGB pictures.
    """
    layout, dtypes = _layout(model, where), _dtypes(model, where)
    if wanted is not None:
        return Found(replace(wanted, layout=layout, dtypes=dtypes), ("as the user says",))
    ranges = [pair for pair in TRIED if _may(dtypes, pair)]
    picture = _picture(*(_size(model, layout) or (SIDE, SIDE)))
    run = run or _run
    scores: dict[tuple[str, str], float] = {}
    for takes in dict.fromkeys(takes for takes, _ in ranges):
        plain = Boundary(layout, takes, "-1..1", "RGB", dtypes)
        raw = run(in_our_form(model, plain), picture)  # the output as it is: -1..1 to -1..1 changes nothing
        for gives in (g for t, g in ranges if t == takes):
            scores[takes, gives] = _resemblance(picture, raw, gives)
    best = max(scores.values())
    takes, gives = next(pair for pair in ranges if scores[pair] >= min(best - AS_GOOD, GOOD))
    lines = tuple(f"takes {t}, gives {g}: {scores[t, g]:.1f} dB" for t, g in ranges)
    return Found(Boundary(layout, takes, gives, "RGB", dtypes), lines, bool(best >= RESEMBLES))


def resemblance(model: onnx.ModelProto) -> float:
    """dB between a drawn picture and its enlargement made small, of a graph in our form; below `RESEMBLES` it draws
    something else."""
    picture = _picture(*(_size(model, "NHWC") or (SIDE, SIDE)))
    return _resemblance(picture, _run(model, picture), OURS.gives)


def _may(dtypes: tuple[str, str], pair: tuple[str, str]) -> bool:
    """An end of bytes holds 0..255."""
    return all(kind != "uint8" or numbers == "0..255" for kind, numbers in zip(dtypes, pair, strict=True))


def _picture(height: int, width: int) -> np.ndarray:
    """(1, h, w, 3) in [0, 1]: soft colours, an edge and a line, so that ranges and places can be told apart."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    waves = [0.5 + 0.35 * np.sin(7 * x + 2), 0.45 + 0.4 * np.sin(5 * y + x), 0.3 + 0.25 * np.cos(9 * (x - y))]
    picture = np.stack(waves, -1)
    picture[(x > 0.6) & (y > 0.5)] *= 0.3
    return np.clip(picture, 0, 1)[None].astype(np.float32)


def _resemblance(picture: np.ndarray, raw: np.ndarray, gives: str) -> float:
    """dB between a picture in [0, 1] and the enlargement, numbers of the range `gives`, made small by means."""
    black, white = RANGES[gives]
    scale = raw.shape[1] // picture.shape[1]
    small = raw[0].reshape(picture.shape[1], scale, picture.shape[2], scale, 3).mean((1, 3))
    if not np.isfinite(small).all():
        return -100.0
    inner = (slice(BORDER, -BORDER or None),) * 2  # padding draws other borders in each range
    error = ((small - black) / (white - black) - picture[0])[inner]
    return decibel(float(np.mean(np.square(error))) + 1e-12, peak=1.0)


def _run(model: onnx.ModelProto, picture: np.ndarray) -> np.ndarray:
    from snpe_srgan.onnx_graphs.run import runner

    return np.asarray(runner(model)(picture), np.float32)


# ---- facts of the ends ----


def _layout(model: onnx.ModelProto, where: object) -> str:
    """From the input's shape, or, where that leaves a choice, from who reads it."""
    lr, _ = ends(model, where=where)
    dims = dims_of(lr)
    shown = ", ".join("?" if d is None else str(d) for d in dims)
    if len(dims) != 4 or dims[0] not in (None, 1):
        raise InputError(f"the model's input '{lr.name}' is [{shown}], not one picture", where=where)
    first, last = dims[1], dims[3]
    readers = [node for node in model.graph.node if lr.name in node.input]
    turned = any(node.op_type == "Transpose" and _perm(node) == TO_NCHW for node in readers)
    layout, channels = "NHWC", last
    if first == last:  # both free, or both 3
        layout, channels = "NHWC" if turned else "NCHW", 3 if first is None else first
    elif last is None or (first is not None and first in (3, 1) and last != 3):
        layout, channels = "NCHW", first
    if channels == 1:
        raise InputError(
            f"the model's input '{lr.name}' is [{shown}]: a network of one channel (brightness) is not taken",
            where=where, hint="export it with its conversion from and to RGB inside",
        )  # fmt: skip
    if channels != 3:
        raise InputError(f"the model's input '{lr.name}' is [{shown}], not one RGB picture", where=where)
    return layout


def _dtypes(model: onnx.ModelProto, where: object) -> tuple[str, str]:
    from onnx import TensorProto

    names: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.UINT8: "uint8"}
    kinds = [names.get(value.type.tensor_type.elem_type) for value in ends(model, where=where)]
    if kinds[0] is None or kinds[1] is None:
        raise InputError("the model's input and output must be float32, float16 or uint8", where=where)
    return kinds[0], kinds[1]


def _size(model: onnx.ModelProto, layout: str) -> tuple[int, int] | None:
    dims = dims_of(ends(model, where=None)[0])
    height, width = (dims[1], dims[2]) if layout == "NHWC" else (dims[2], dims[3])
    return None if height is None or width is None else (height, width)


def _perm(node) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])


# ---- the rewrite ----


def in_our_form(model: onnx.ModelProto, boundary: Boundary) -> onnx.ModelProto:
    """A copy that takes NHWC RGB float32 in [0, 1] as `lr` and gives [-1, 1] as `sr`, by the same computation.

    The size stays free or fixed as it was. float16 inside becomes float32: more precise, and what every tool knows.
    """
    import onnx

    copy = copied(model)
    lr, sr = ends(copy, where=None)
    size, scaled = _size(copy, boundary.layout), dims_of(sr)
    high, wide = scaled[1:3] if boundary.layout == "NHWC" else scaled[2:4]
    if "float16" in boundary.dtypes or any(t.data_type == onnx.TensorProto.FLOAT16 for t in copy.graph.initializer):
        _to_float32(copy)
    _free_names(copy)
    taken, given, free = lr.name, sr.name, size is None or high is None or wide is None
    _port(lr, "lr", (1, *(size or ("height", "width")), 3))
    _port(sr, "sr", (1, *(("sr_height", "sr_width") if free else (high, wide)), 3))
    _front(copy, taken, boundary)
    _back(copy, given, boundary)
    _cancel(copy)
    del copy.graph.value_info[:]
    copy.metadata_props.append(onnx.StringStringEntryProto(key=MARK, value=boundary.describe()))
    return copy


def _port(value, name: str, shape: tuple[int | str, ...]) -> None:
    import onnx

    value.name = name
    value.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape))


def _free_names(model: onnx.ModelProto) -> None:
    """Renames inner tensors that are called as our ends are."""
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in ("lr", "sr") and name not in ends:
                    names[i] = f"{name}/inner"
    for tensor in model.graph.initializer:
        if tensor.name in ("lr", "sr"):
            tensor.name = f"{tensor.name}/inner"


def _affine(model, name: str, factor: float, offset: float, swap: bool):
    """A 1x1 convolution on RGB: factor * x + offset, and red and blue exchanged; returns (node inputs' names)."""
    from onnx import numpy_helper

    kernel = factor * np.eye(3)[::-1 if swap else 1]
    model.graph.initializer.extend([
        numpy_helper.from_array(np.ascontiguousarray(kernel.reshape(3, 3, 1, 1), np.float32), f"{name}/kernel"),
        numpy_helper.from_array(np.full(3, offset, np.float32), f"{name}/bias"),
    ])  # fmt: skip
    return [f"{name}/kernel", f"{name}/bias"]


def _front(model, old: str, boundary: Boundary) -> None:
    """lr (NHWC, [0, 1]) -> Transpose -> numbers and colours -> what the graph read."""
    from onnx import helper

    black, white = RANGES[boundary.takes]
    nodes = [helper.make_node("Transpose", ["lr"], ["lr_nchw"], name="lr_nchw", perm=TO_NCHW)]
    last = "lr_nchw"
    swap = boundary.colour == "BGR"
    if (black, white) != (0.0, 1.0) or swap:
        extra = _affine(model, "lr_values", white - black, black, swap)
        nodes.append(helper.make_node("Conv", [last, *extra], ["lr_values"], name="lr_values", kernel_shape=[1, 1]))
        last = "lr_values"
    if boundary.layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [last], ["lr_nhwc"], name="lr_nhwc", perm=TO_NHWC))
        last = "lr_nhwc"
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = last
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    _drop_casts(model, last)


def _drop_casts(model, tensor: str) -> None:
    """An input that was bytes is float now: a Cast of it does nothing."""
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] == tensor]:
        for other in model.graph.node:
            for i, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[i] = tensor
        model.graph.node.remove(node)


def _back(model, old: str, boundary: Boundary) -> None:
    """What the graph gave -> numbers and colours -> Transpose -> sr (NHWC, [-1, 1])."""
    from onnx import TensorProto, helper

    maker = next(node for node in model.graph.node if old in node.output)
    inner = f"{old}/given" if old in ("lr", "sr") else old
    if inner != old:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = inner
    if maker.op_type == "Cast" and boundary.dtypes[1] == "uint8":  # bytes were cut from numbers: those numbers
        inner = maker.input[0]
        model.graph.node.remove(maker)
    elif boundary.dtypes[1] == "uint8":
        model.graph.node.append(helper.make_node("Cast", [inner], [f"{inner}/float"], to=TensorProto.FLOAT))
        inner = f"{inner}/float"
    black, white = RANGES[boundary.gives]
    factor, offset = 2 / (white - black), -1 - black * 2 / (white - black)
    swap = boundary.colour == "BGR"
    nodes = []
    if boundary.layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [inner], ["sr_given"], name="sr_given", perm=TO_NCHW))
        inner = "sr_given"
    model.graph.node.extend(nodes)
    _cancel(model)
    inner = next((n.input[0] for n in model.graph.node if n.output[0] == inner and n.op_type == "Identity"), inner)
    if ((factor, offset) != (1.0, 0.0) or swap) and (swap or not _fold(model, inner, factor, offset)):
        extra = _affine(model, "sr_values", factor, offset, swap)
        model.graph.node.append(
            helper.make_node("Conv", [inner, *extra], ["sr_values"], name="sr_values", kernel_shape=[1, 1])
        )
        inner = "sr_values"
    model.graph.node.append(helper.make_node("Transpose", [inner], ["sr"], name="sr_nhwc", perm=TO_NHWC))


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
            if before is None or before.op_type != "Transpose" or len(_perm(node)) != len(_perm(before)):
                continue
            if [_perm(before)[i] for i in _perm(node)] != list(range(len(_perm(node)))):
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
        ends = {value.name for value in model.graph.output}
        for node in [n for n in model.graph.node if n.op_type == "Transpose"]:
            if not (read | ends) & set(node.output) and not _is_last(model, node):
                model.graph.node.remove(node)


def _is_last(model, node) -> bool:
    """While the graph's end is rewritten its last node is read by nothing yet."""
    return node is model.graph.node[len(model.graph.node) - 1]


def _to_float32(model) -> None:
    """float16 constants, casts and types as float32."""
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))
