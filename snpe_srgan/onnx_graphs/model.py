"""ONNX models as the engines get them: read without trusting the file, asked for their facts, fixed to a size.

    model = read_onnx("generator.onnx")
    facts = onnx_facts(model, where="generator.onnx")
    fixed = fix_size(model, (128, 128))

A model from a stranger may be wrong, but must not read other files (external data), nor hide loops in itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.confined.process import Child, megabytes_for
from snpe_srgan.confined.worker import inside
from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.checks import refuse
from snpe_srgan.onnx_graphs.compiled import compiled_facts, is_compiled, refuse_outside
from snpe_srgan.onnx_graphs.graph import attributes_of, copied, dims_of, ends, shapes_of
from snpe_srgan.onnx_graphs.operators import LOCAL
from snpe_srgan.onnx_graphs.reach import REPEATS, Facts, Step, walk
from snpe_srgan.onnx_graphs.run import open_on_host
from snpe_srgan.opener import read_regular

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 1 << 31  # the protobuf format's own limit
MAX_ELEMENTS = 1 << 31  # in one tensor: 3840x2160 at 64 channels is a quarter of it
MAX_PROBE_ELEMENTS = 1 << 28  # the same for a model of free size, at PROBE
PROBE = (64, 64)  # where the size is free, shapes are inferred for this one

POOLS = {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMean", "ReduceSum"}
SHAPES = {"Shape", "Size"}  # what they read of a picture is its size
_survived: set[bytes] = set()  # SHA-256 of what a child of this process has read


def read_onnx(path: str | Path) -> onnx.ModelProto:
    """Reads and checks an `.onnx` file; a child process hands it to native libraries first (`probe`).

    Raises:
        InputError: it is not a whole, self-contained model.
    """
    return checked(read_regular(path, limit=MAX_BYTES, doing="read the model"), where=path)


def checked(data: bytes, *, where: object) -> onnx.ModelProto:
    """The model in a file's bytes: see `read_onnx`.

    Raises:
        InputError: it is not a whole, self-contained model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise InputError("not an ONNX model, or a damaged one", where=where) from error
    refuse(model, where=where)
    refuse_outside(model, where=where)
    if not inside():
        probe(data, where=where)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise InputError(f"not a valid ONNX model: {_first_line(error)}", where=where) from error
    return model


def survived(data: bytes) -> None:
    """Says that a child of this process has read these bytes and run what they hold: see `probe`."""
    _survived.add(hashlib.sha256(data).digest())


def probe(data: bytes, *, where: object) -> None:
    """Has a child check a model, infer its shapes and compute one small picture with ONNX Runtime.

    What ends the child there would have ended this process. That the model is no network for pictures, or does not
    run, is no matter here: who wants to know asks again. The child gets the very bytes that this process goes on with,
    so a file that changes meanwhile is no way around it, and bytes that it has survived are not tried again.
    """
    digest = hashlib.sha256(data).digest()
    if digest in _survived:
        return
    with Child(where=where, megabytes=megabytes_for(len(data))) as child:
        child.call(
            f"{__name__}:probe_here", {"where": str(where)}, [np.frombuffer(data, np.uint8)], doing="read the model"
        )
    _survived.add(digest)


def probe_here(state: dict, data: np.ndarray, *, where: str) -> tuple[dict, list]:
    """In the child: see `probe`.

    Args:
        state: the child's, unused.
        data: the bytes of an ONNX model, uint8.
        where: what errors call the model.

    Returns:
        Nothing to tell: that the child is still there is the answer.
    """
    model = checked(data.tobytes(), where=where)
    try:
        facts = onnx_facts(model, where=where)
    except InputError:
        return {}, []
    with contextlib.suppress(Exception):
        session = open_on_host(model.SerializeToString())
        session.run(None, {facts.input_name: np.zeros((1, *(facts.input_size or PROBE), 3), np.float32)})
    return {}, []


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def ports(model: onnx.ModelProto, *, where: object):
    """The model's one input and one output; `InputError` unless they are float NHWC pictures."""
    from onnx import TensorProto

    lr, sr = ends(model, where=where)
    if lr.type.tensor_type.elem_type != TensorProto.FLOAT or sr.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise InputError("the model's input and output must be float32", where=where)
    dims = dims_of(lr)
    if len(dims) != 4 or dims[0] not in (None, 1) or dims[3] != 3:
        hint = "an input of [1, height, width, 3] (NHWC) in [0, 1] is needed"
        if len(dims) == 4 and dims[1] == 3:
            hint += "; this one is NCHW: snpe-srgan import FILE -o ours.onnx brings it into this form"
        shape = ", ".join("?" if d is None else str(d) for d in dims)
        raise InputError(f"the model's input '{lr.name}' is [{shape}], not one RGB picture", where=where, hint=hint)
    if (dims[1] is None) != (dims[2] is None):
        raise InputError(
            "one side of the model's input is fixed and the other is free", where=where, hint="fix both, or none"
        )
    return lr, sr


def input_size(model: onnx.ModelProto, *, where: object = None) -> tuple[int, int] | None:
    """The fixed (height, width) of the model's input, or None where it is free."""
    return _fixed(ports(model, where=where)[0])


def _fixed(lr) -> tuple[int, int] | None:
    height, width = dims_of(lr)[1:3]
    return None if height is None or width is None else (height, width)


def fix_size(model: onnx.ModelProto, size: tuple[int, int], *, where: object = None) -> onnx.ModelProto:
    """A copy whose input is [1, *size, 3] and whose other shapes follow from it.

    Args:
        size: (height, width) in LR pixels.
        where: the file, for the error.

    Raises:
        InputError: the ends are no float NHWC pictures, or the operators' shapes contradict that size.
    """
    import onnx

    copy = copied(model)
    lr, sr = ports(copy, where=where)
    del copy.graph.value_info[:]
    for value, shape in ((lr, (1, *size, 3)), (sr, ())):
        del value.type.tensor_type.shape.dim[:]
        for length in shape:
            value.type.tensor_type.shape.dim.add().dim_value = length
    sr.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except Exception as error:  # inference errors have no stable type
        raise InputError(
            f"the model does not work at {size[0]}x{size[1]}: {_first_line(error)}", where=where
        ) from error


def onnx_facts(model: onnx.ModelProto, *, where: object = None) -> Facts:
    """Scale, input size, receptive radius and memory of a model, by inferring its shapes; nothing is run.

    Raises:
        InputError: it does not have one float32 NHWC RGB picture in and one out, does not enlarge by a whole number, or
            holds a tensor too large for a network of pictures.
    """
    lr, sr = ports(model, where=where)
    if is_compiled(model):
        return compiled_facts(model, lr=lr, sr=sr, where=where)
    fixed = _fixed(lr)
    size = fixed or PROBE
    inferred = fix_size(model, size, where=where)
    shapes = shapes_of(inferred.graph)
    for name, shape in shapes.items():
        elements = 1
        for length in shape:
            elements *= length or 1
        if elements > (MAX_ELEMENTS if fixed else MAX_PROBE_ELEMENTS):
            raise InputError(
                f"tensor '{name}' would have {elements:.1e} values: not a network for pictures", where=where
            )
    dims = shapes.get(sr.name, [])
    out = [length for length in dims if length is not None]
    if dims and len(dims) != 4 and len(out) == len(dims):
        raise InputError(f"the model's output '{sr.name}' is {out}, not one RGB picture", where=where)
    if len(out) != 4 or len(dims) != 4:
        raise _unsized(inferred.graph, where)
    steps, cell = _steps(inferred.graph, shapes, lr.name)
    scale, overlap, memory, because, whole = walk(
        steps, lr=lr.name, sr=sr.name, lr_size=size, sr_size=(out[1], out[2], out[3]), where=where
    )
    multiple = 1 if fixed else cell
    return Facts(lr.name, sr.name, scale, fixed, overlap, memory, because, whole, multiple)


def _unsized(graph: onnx.GraphProto, where: object) -> InputError:
    """The error for an output without a size, with the operators that ONNX itself does not know."""
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in graph.node if node.domain not in ("", "ai.onnx")})
    said = f": ONNX does not know {', '.join(foreign[:3])}" if foreign else ""
    quantized = any("QLinear" in name for name in foreign)
    return InputError(f"the model does not say the size of its output{said}", where=where,
                      hint="quantize it in QDQ form (QuantFormat.QDQ)" if quantized else None)  # fmt: skip


def _steps(graph, shapes: dict, lr: str) -> tuple[list[Step], int]:
    """The graph's operators on pictures, and what a size must be a multiple of. Pictures are NHWC at the ends and NCHW
    inside: Transpose tells where.

    What lies on a coarser grid than LR (behind a pixel unshuffle or a stride) is told in LR pixels: a cell of b x b
    pixels reads and is read as a whole.
    """
    nhwc, grids, coarse, edges, steps = {lr}, _gates(graph), {lr: 1}, _paddings(graph), []
    for node in graph.node:
        shape = shapes.get(node.output[0])
        if node.op_type in SHAPES:
            continue
        turned = list(attributes_of(node).get("perm", ())) if node.op_type == "Transpose" else None
        flat = turned == [0, 2, 3, 1] or (turned is None and any(name in nhwc for name in node.input))
        if flat:
            nhwc.update(node.output)
        height, width, channels = 0, 0, 0  # an unknown shape fits nothing: the radius is then unknown
        if shape is not None and len(shape) == 4 and None not in shape:
            height, width, channels = shape[1:] if flat else (shape[2], shape[3], shape[1])
        window, repeat = _window(node, shapes, flat=flat)
        if not flat and (pads := edges.get(node.output[0])) is not None:  # the convolution behind it has none
            height, width = height - pads[0] - pads[2], width - pads[1] - pads[3]
            window = (pads[0], -pads[0], pads[1], -pads[1])
        cell = max((coarse.get(name, 1) for name in node.input), default=1)
        shrink = _shrinks(node, flat=flat)
        if cell * shrink > 1 and window is not None and node.output[0] not in grids:
            after = cell * shrink // repeat if cell * shrink % repeat == 0 else 1
            extra = cell * shrink - 1 if shrink > 1 or after < cell else 0
            up, down, left, right = (n * cell + extra for n in window)
            window = (up, down, left, right)
            repeat = max(1, repeat // (cell * shrink))
            height, width = height * after, width * after
            coarse.update(dict.fromkeys(node.output, after))
        pooled = shape is not None and (len(shape) != 4 or (height, width) == (1, 1))
        whole = node.output[0] in grids or (node.op_type in POOLS and pooled)
        for output in node.output:
            reads = tuple(node.input)
            steps.append(Step(node.op_type, output, reads, (height, width, channels), window, repeat, whole))
    return steps, math.lcm(*coarse.values())


def _shrinks(node, *, flat: bool) -> int:
    """By how much smaller the result's sides are: a pixel unshuffle, a convolution with a stride."""
    own = attributes_of(node)
    if node.op_type == "SpaceToDepth" and not flat:
        return int(own.get("blocksize", 1))
    strides = list(own.get("strides", (1, 1))) if node.op_type == "Conv" else [1, 1]
    return strides[0] if len(set(strides)) == 1 and len(strides) == 2 else 1


def _paddings(graph) -> dict[str, tuple[int, int, int, int]]:
    """What each Pad of known width adds to an NCHW picture: top, left, bottom, right."""
    from onnx import numpy_helper

    constants = {t.name: t for t in graph.initializer}
    constants.update((n.output[0], n.attribute[0].t) for n in graph.node if n.op_type == "Constant" and n.attribute)
    found = {}
    for node in graph.node:
        if node.op_type == "Pad" and len(node.input) > 1 and node.input[1] in constants:
            pads = numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
            if len(pads) == 8 and not any(pads[i] for i in (0, 1, 4, 5)):
                found[node.output[0]] = (pads[2], pads[3], pads[6], pads[7])
    return found


def _gates(graph) -> set[str]:
    """What a gate is computed from on a grid of its own (RFDN's spatial attention): strided convolutions that pools
    alone read, and those pools. The grid does not follow a tile's place."""
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = set()
    for node in graph.node:
        read = readers.get(node.output[0], [])
        strided = node.op_type == "Conv" and max(attributes_of(node).get("strides", (1, 1))) > 1
        if strided and read and all(n.op_type in ("MaxPool", "AveragePool") for n in read):
            found.update([node.output[0], *(n.output[0] for n in read)])
    return found


def _window(node, shapes: dict, *, flat: bool) -> tuple[tuple[int, int, int, int] | None, int]:
    """The pixels that an operator reads for one of its own, and by how much it enlarges."""
    if node.op_type in LOCAL:
        return (0, 0, 0, 0), 1
    if flat:
        return None, 1  # these operators take NCHW
    if node.op_type == "Conv":
        return _conv_window(node), 1
    if node.op_type in ("DepthToSpace", "SpaceToDepth"):
        return (0, 0, 0, 0), int(attributes_of(node).get("blocksize", 1)) if node.op_type == "DepthToSpace" else 1
    if node.op_type.startswith("Reduce"):  # over channels: the size is kept
        before, after = (shapes.get(name) or [] for name in (node.input[0], node.output[0]))
        return ((0, 0, 0, 0) if before[2:] == after[2:] else None), 1
    return _resize(node, shapes) if node.op_type == "Resize" else (None, 1)


def _conv_window(node) -> tuple[int, int, int, int] | None:
    own = attributes_of(node)
    kernel = list(own.get("kernel_shape", ()))
    if len(set(own.get("strides", (1, 1)))) != 1 or len(kernel) != 2:
        return None
    dilations = list(own.get("dilations", (1, 1)))
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    auto = own.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        low = [r // 2 if auto == b"SAME_UPPER" else (r + 1) // 2 for r in reach]
    else:
        low = list(own.get("pads", (0, 0, 0, 0)))[:2]
    return low[0], reach[0] - low[0], low[1], reach[1] - low[1]


def _resize(node, shapes: dict) -> tuple[tuple[int, int, int, int] | None, int]:
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    own = attributes_of(node)
    mode = own.get("mode", b"nearest")
    reach = {b"nearest": 1, b"linear": 1, b"cubic": 2}.get(mode)
    if before is None or after is None or None in [*before, *after] or reach is None:
        return None, 1
    place = own.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = own.get("nearest_mode", b"round_prefer_floor").decode()
    if mode == b"nearest" and (place, rounding) in REPEATS:
        reach = 1 if any(a % b for a, b in zip(after, before, strict=True)) else 0  # pixels are only repeated
    return (reach,) * 4, max(after[2] // before[2], 1)
