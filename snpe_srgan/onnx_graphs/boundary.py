"""What a network takes and gives at its two ends: found out with a picture, or said by the user.

    found = find_boundary(model, where=path)           # layout from the graph, numbers from a picture
    ours = in_our_form(model, found.boundary)          # `our_form.py`: NHWC RGB float32, [0, 1] in and [-1, 1] out

Ours take NHWC RGB in [0, 1] and give [-1, 1] (`OURS`). A foreign network takes what it was trained on, and its file
does not say which numbers those are: they are found by giving it a picture in each of the usual ranges; its enlargement
must resemble the picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import cubic_kernel
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied, dims_of, ends, inputs_of

if TYPE_CHECKING:
    import onnx

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
LAYOUTS, CHANNELS = ("NHWC", "NCHW"), ("RGB", "BGR", "Y")
MARK = "snpe-srgan.boundary"  # metadata of a graph that is in our form
OWN = {"network", "scale"}  # metadata of the graphs that this package writes
TRIED = (  # (takes, gives): the first that is as good as the best is taken, so what is usual comes first
    ("0..1", "0..1"), ("0..255", "0..255"), ("0..1", "-1..1"), ("-1..1", "-1..1"), ("0..1", "0..255"),
    ("-1..1", "0..1"), ("0..255", "0..1"),
)  # fmt: skip
ASSUMED = ("0..1", "0..1")  # where no range makes an enlargement that resembles the picture
SIGNED, NEARLY_LINEAR = ("-1..1", "-1..1"), 8.0  # dB: a network without biases draws alike at half the contrast
RESEMBLES = 18.0  # dB between the picture and its enlargement made small: the worst that enlarge lie above 20
AS_GOOD = 3.0  # dB: a network of few and small biases draws alike in several ranges
GOOD = 34.0  # dB: nothing is to be gained by an unusual range
BORDER = 4  # LR pixels
SIDE = 48  # LR pixels of the probe, where the size is free
LARGE = 128 * 128  # LR pixels of a fixed input above which a smaller probe is tried
PATIENCE = 15.0  # seconds after which no further range is tried: a large network of fixed size
MOVED = ("Identity", "Transpose", "Cast", "Round", "DepthToSpace", "Reshape", "Squeeze", "Unsqueeze")
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
LUMA = np.array([0.299, 0.587, 0.114])  # BT.601 over the whole range, as Pillow's and OpenCV's YCbCr have it
TAPS = 2  # LR pixels that bicubic reads to each side
KINDS = {"float32": 1, "float16": 10, "float64": 11, "uint8": 2}  # names -> TensorProto.DataType


@dataclass(frozen=True)
class Boundary:
    """Both ends of a network.

    Attributes:
        layout: `NHWC` or `NCHW`.
        takes, gives: black and white of the input and of the output, a key of `RANGES`.
        channels: `RGB`, `BGR`, or `Y`: one channel, the brightness; colours are then enlarged by bicubic.
        dtypes: the arrays' element types at both ends, keys of `KINDS`.
    """

    layout: str = "NHWC"
    takes: str = "0..1"
    gives: str = "-1..1"
    channels: str = "RGB"
    dtypes: tuple[str, str] = ("float32", "float32")

    def describe(self) -> str:
        """One line for people."""
        types = "" if self.dtypes == ("float32", "float32") else f", {self.dtypes[0]} -> {self.dtypes[1]}"
        colours = " (brightness; colours are enlarged by bicubic)" if self.channels == "Y" else ""
        return f"{self.layout} {self.channels}{colours}, takes {self.takes}, gives {self.gives}{types}"

    def given(self, lr: np.ndarray) -> np.ndarray:
        """A picture (1, h, w, 3) in [0, 1] as the network takes it."""
        x = lr
        if self.channels == "Y":
            x = (lr @ LUMA.astype(np.float32))[..., None]
        elif self.channels == "BGR":
            x = lr[..., ::-1]
        black, white = RANGES[self.takes]
        x = x * np.float32(white - black) + np.float32(black)
        if self.layout == "NCHW":
            x = x.transpose(TO_NCHW)
        if self.dtypes[0] == "uint8":
            x = np.clip(np.rint(x), 0, 255)
        return np.ascontiguousarray(x, self.dtypes[0])

    def drawn(self, raw: np.ndarray, lr: np.ndarray) -> np.ndarray:
        """What the network gave for the picture `lr`, as (1, height, width, 3) in [-1, 1]."""
        black, white = RANGES[self.gives]
        sr = (raw.astype(np.float32) - np.float32(black)) * np.float32(2 / (white - black)) - np.float32(1)
        if self.layout == "NCHW":
            sr = sr.transpose(TO_NHWC)
        if self.channels == "BGR":
            return sr[..., ::-1]
        return sr + 2 * chroma(lr, sr.shape[1] // lr.shape[1]) if self.channels == "Y" else sr


OURS = Boundary()


@dataclass(frozen=True)
class Said:
    """What the user says of a network's ends; None is found out."""

    layout: str | None = None
    takes: str | None = None
    gives: str | None = None
    channels: str | None = None

    def __bool__(self) -> bool:
        return self != Said()

    @property
    def ranges(self) -> tuple[tuple[str, str], ...]:
        """The pairs (takes, gives) that are left to be tried."""
        fitting = tuple(p for p in TRIED if self.takes in (None, p[0]) and self.gives in (None, p[1]))
        if fitting or self.takes is None or self.gives is None:
            return fitting
        return ((self.takes, self.gives),)


OURS_SAID = Said("NHWC", "0..1", "-1..1", "RGB")


@dataclass(frozen=True)
class Found:
    """A boundary, and why it is thought to be that.

    Attributes:
        evidence: a line for each pair of ranges that was tried: dB between the picture and its enlargement.
        certain: False where the best of them does not resemble the picture: the ranges are then assumed.
        best: dB of what was taken; None where nothing was tried.
    """

    boundary: Boundary
    evidence: tuple[str, ...] = ()
    certain: bool = True
    best: float | None = None

    def sentence(self, name: str) -> str:
        """What a user must know of it, in one line."""
        what = self.boundary.describe()
        if not self.certain:
            return (
                f"{name}: in no range of numbers does its enlargement resemble the picture (at best {self.best:.1f} "
                f"dB): assumed to be {what}; say what it takes with --values, --layout, --channels"
            )
        how = "; ".join(self.evidence)
        if self.best is not None:
            how = f"its enlargement resembles the picture: {self.best:.1f} dB"
        return f"{name}: {what} ({how})"

    def plain(self) -> dict[str, Any]:
        """For a card, and for another process."""
        return asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Found:
        """The way back from `plain`."""
        ends_ = {**told["boundary"], "dtypes": tuple(told["boundary"]["dtypes"])}
        return cls(**{**told, "boundary": Boundary(**ends_), "evidence": tuple(told["evidence"])})


# ---- bicubic colours ----


def bicubic_taps(scale: int) -> np.ndarray:
    """(scale, 2 TAPS + 1): what each sub-pixel of an enlargement takes of the LR pixels around, along one axis."""
    centres = (np.arange(scale) + 0.5) / scale - 0.5
    weights = cubic_kernel(centres[:, None] - np.arange(-TAPS, TAPS + 1))
    return weights / weights.sum(1, keepdims=True)


def chroma(lr: np.ndarray, scale: int) -> np.ndarray:
    """What colours add to the brightness, enlarged by bicubic with the edge repeated: (1, h, w, 3) in [0, 1] to
    (1, h * scale, w * scale, 3)."""
    rest = lr - (lr @ LUMA.astype(np.float32))[..., None]
    padded = np.pad(rest, ((0, 0), (TAPS, TAPS), (TAPS, TAPS), (0, 0)), mode="edge")
    taps = bicubic_taps(scale).astype(np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(padded, 2 * TAPS + 1, axis=1)
    tall = np.einsum("nhwct,pt->nhpwc", rows, taps).reshape(1, -1, padded.shape[2], 3)
    columns = np.lib.stride_tricks.sliding_window_view(tall, 2 * TAPS + 1, axis=2)
    return np.einsum("nhwct,pt->nhwpc", columns, taps).reshape(1, tall.shape[1], -1, 3)


# ---- finding out ----


def is_ours(model: onnx.ModelProto) -> bool:
    """Whether a graph is in our form by its own word: written by us, or brought into it."""
    words = {p.key for p in model.metadata_props}
    return MARK in words or words >= OWN


def looks_like_ours(model: onnx.ModelProto) -> bool:
    """Whether a graph's ends are called and shaped as ours are; what numbers it takes is not said by that."""
    values = [*inputs_of(model.graph), *model.graph.output]
    if [v.name for v in values] != ["lr", "sr"] or any(v.type.tensor_type.elem_type != 1 for v in values):
        return False
    dims = dims_of(values[0])
    return len(dims) == 4 and dims[0] in (None, 1) and dims[3] == 3


def find_boundary(
    model: onnx.ModelProto,
    *,
    where: object,
    said: Said | None = None,
    run: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Found:
    """The boundary of a graph.

    Args:
        model: a checked ONNX model with one picture in and one out.
        said: what the user says: taken as it is.
        run: computes the graph on what it takes; ONNX Runtime on this machine's CPU by default.

    Raises:
        InputError: the ends are no pictures, or the network does not enlarge by a whole number.
    """
    said = said or Said()
    layout, count = _layout(model, where, said)
    channels = _channels(count, said, where)
    plain = Boundary(layout, "0..1", "0..1", channels, _dtypes(model, where))
    ranges = [pair for pair in said.ranges if _may(plain.dtypes, pair)]
    if not ranges:
        raise InputError("bytes at a network's end hold 0..255", where=where, hint="--values 0..255")
    if len(ranges) == 1 and said:
        return Found(replace(plain, takes=ranges[0][0], gives=ranges[0][1]), ("as the user says",))
    size = size_of(model, layout) or (SIDE, SIDE)
    if size[0] * size[1] > LARGE and run is None and (small := _smaller(model, plain, where)) is not None:
        size, run = (SIDE, SIDE), small
    first = ("0..1", "-1..1") if looks_like_ours(model) else None
    picture, cut = probe_picture(*size), cut_to(model)
    return find_ranges(run or _runner(model), plain, ranges, picture=picture, first=first, cut=cut, where=where)


def cut_to(model: onnx.ModelProto) -> str | None:
    """The range that a graph's last operator cuts its result to, a key of `RANGES`; None where it cuts nothing, or to
    other numbers."""
    graph = OnnxGraph(model)
    makers, tensor = graph.makers(), graph.outputs[0]
    bounds: list[float | None] = [None, None]
    while (node := makers.get(tensor)) is not None and node.op_type in (*MOVED, "Clip", "Min", "Max"):
        own, given = attributes_of(node), [graph.constants.get(name) for name in node.input]
        if node.op_type == "Clip":
            numbers = [own.get("min"), own.get("max")]
            for i, value in enumerate(given[1:3]):
                numbers[i] = float(value.reshape(-1)[0]) if value is not None and value.size == 1 else numbers[i]
            bounds = [old if new is None else new for old, new in zip(bounds, numbers, strict=True)]
        elif node.op_type in ("Min", "Max"):
            single = [value for value in given if value is not None and value.size == 1]
            if len(single) != 1:
                break
            bounds[node.op_type == "Min"] = float(single[0].reshape(()))
        tensor = next(name for name, value in zip(node.input, given, strict=True) if value is None)
    if node is not None and node.op_type in ("Tanh", "Sigmoid") and bounds == [None, None]:
        return "-1..1" if node.op_type == "Tanh" else "0..1"
    return next((name for name, ends_ in RANGES.items() if tuple(bounds) == ends_), None)


def find_ranges(
    run: Callable[[np.ndarray], np.ndarray],
    plain: Boundary,
    ranges: Sequence[tuple[str, str]],
    *,
    picture: np.ndarray,
    first: tuple[str, str] | None,
    where: object,
    cut: str | None = None,
) -> Found:
    """Which of the ranges a network takes and gives: see `find_boundary`.

    Args:
        run: what the network takes -> what it gives.
        plain: the rest of the boundary.
        ranges: pairs (takes, gives) that are tried.
        picture: (1, h, w, 3) in [0, 1].
        first: the pair that the network's names speak for.
        cut: the range that its last operator cuts its result to.

    Raises:
        InputError: it does not enlarge by a whole number.
    """
    scores: dict[tuple[str, str], float] = {}
    began = time.monotonic()
    for takes in dict.fromkeys(takes for takes, _ in ranges):
        if scores and time.monotonic() - began > PATIENCE:
            break
        boundary = replace(plain, takes=takes)
        raw = run(boundary.given(picture))
        scale_of(raw.shape, picture, boundary, where)
        for gives in (g for t, g in ranges if t == takes):
            scores[takes, gives] = _resemblance(picture, raw, replace(boundary, gives=gives))
        if first in scores and scores[first] >= RESEMBLES and scores[first] >= max(scores.values()) - AS_GOOD:
            break  # it says that it is one of ours, and draws as one
    return _best(plain, scores, ranges, first, cut)


def _best(
    plain: Boundary, scores: dict, ranges: Sequence, first: tuple[str, str] | None, cut: str | None
) -> Found:
    """The boundary of the first pair that is as good as the best."""
    best = max(scores.values())
    enough = min(best - AS_GOOD, GOOD)
    order = [pair for pair in ([first] if first else []) + list(ranges) if pair in scores]
    pair = next(pair for pair in order if scores[pair] >= enough)
    if pair == SIGNED and scores.get(ASSUMED, -np.inf) >= max(scores[pair] - NEARLY_LINEAR, RESEMBLES + AS_GOOD):
        pair = ASSUMED
    said = [p for p in order if p[1] == cut and scores[p] >= max(best - NEARLY_LINEAR, RESEMBLES)]
    if said and pair[1] != cut:
        pair = max(said, key=scores.__getitem__)
    certain, shown = scores[pair] >= RESEMBLES, scores[pair]
    if not certain:
        assumed, shown = first or ASSUMED, best
        pair = assumed if assumed in scores else order[0]
    lines = tuple(f"takes {t}, gives {g}: {scores[t, g]:.1f} dB" for t, g in ranges if (t, g) in scores)
    lines += () if cut is None else (f"its last operator cuts what it gives to {cut}",)
    return Found(replace(plain, takes=pair[0], gives=pair[1]), lines, certain, round(shown, 2))


def resemblance(model: onnx.ModelProto) -> float:
    """dB between a drawn picture and its enlargement made small, of a graph in our form; below `RESEMBLES` it draws
    something else."""
    picture = probe_picture(*(size_of(model, "NHWC") or (SIDE, SIDE)))
    return _resemblance(picture, _runner(model)(picture), OURS)


def _may(dtypes: tuple[str, str], pair: tuple[str, str]) -> bool:
    """An end of bytes holds 0..255."""
    return all(kind != "uint8" or numbers == "0..255" for kind, numbers in zip(dtypes, pair, strict=True))


def probe_picture(height: int, width: int) -> np.ndarray:
    """(1, h, w, 3) in [0, 1]: soft colours, an edge and a line, so that ranges and places can be told apart."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    waves = [0.5 + 0.35 * np.sin(7 * x + 2), 0.45 + 0.4 * np.sin(5 * y + x), 0.3 + 0.25 * np.cos(9 * (x - y))]
    picture = np.stack(waves, -1)
    picture[(x > 0.6) & (y > 0.5)] *= 0.3
    return np.clip(picture, 0, 1)[None].astype(np.float32)


def scale_of(shape: Sequence[int], picture: np.ndarray, boundary: Boundary, where: object) -> int:
    """By how much the network enlarges; `InputError` unless it does so by a whole number, to as many channels.

    Args:
        shape: of what the network gave, in its own layout.
        picture: (1, h, w, 3), what it was given.
        boundary: its layout and channels are read.
        where: the file, for the error.
    """
    channels = 1 if boundary.channels == "Y" else 3
    height, width = picture.shape[1:3]
    axes = (1, 2, 3) if boundary.layout == "NHWC" else (2, 3, 1)
    tall, wide, deep = (shape[axis] for axis in axes) if len(shape) == 4 else (0, 0, 0)
    scale = tall // height
    if scale < 1 or (tall, wide, deep) != (height * scale, width * scale, channels):
        sizes = "x".join(map(str, shape))
        raise InputError(
            f"not a super-resolution model: {height}x{width} in, {sizes} out", where=where,
            hint="the output must have the input's channels and be a whole number of times as high and wide",
        )  # fmt: skip
    return scale


def _resemblance(picture: np.ndarray, raw: np.ndarray, boundary: Boundary) -> float:
    """dB between a picture in [0, 1] and its enlargement made small by means."""
    sr = (boundary.drawn(raw, picture)[0] + 1) / 2
    height, width = picture.shape[1:3]
    scale = sr.shape[0] // height
    small = sr.reshape(height, scale, width, scale, 3).mean((1, 3))
    if not np.isfinite(small).all():
        return -100.0
    side = min(BORDER, (min(height, width) - 1) // 2)
    inner = (slice(side, -side or None),) * 2  # padding draws other borders in each range
    return decibel(float(np.mean(np.square((small - picture[0])[inner]))) + 1e-12, peak=1.0)


def _smaller(model: onnx.ModelProto, plain: Boundary, where: object) -> Callable[[np.ndarray], np.ndarray] | None:
    """A graph of large fixed input at SIDE x SIDE; None where it holds its size in itself."""
    small = copied(model)
    value = ends(small, where=where)[0]
    for axis in (1, 2) if plain.layout == "NHWC" else (2, 3):
        value.type.tensor_type.shape.dim[axis].dim_value = SIDE
    del small.graph.value_info[:]
    small.graph.output[0].type.tensor_type.ClearField("shape")
    picture = probe_picture(SIDE, SIDE)
    try:
        run = _runner(small)
        scale_of(run(plain.given(picture)).shape, picture, plain, where)
    except Exception:  # ONNX Runtime's share no base; whatever it is, the graph's own size is left
        return None
    return run


def _runner(model: onnx.ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    from snpe_srgan.onnx_graphs.run import open_on_host

    opened, lr = open_on_host(model.SerializeToString()), inputs_of(model.graph)[0].name
    return lambda array: np.asarray(opened.run(None, {lr: array})[0])


# ---- facts of the ends ----


def _layout(model: onnx.ModelProto, where: object, said: Said) -> tuple[str, int | None]:
    """The layout and the channels, from the input's shape, or, where that leaves a choice, from who reads it."""
    lr, _ = ends(model, where=where)
    dims = dims_of(lr)
    shown = ", ".join("?" if d is None else str(d) for d in dims)
    if len(dims) != 4 or dims[0] not in (None, 1):
        raise InputError(f"the model's input '{lr.name}' is [{shown}], not one picture", where=where)
    first, last = dims[1], dims[3]
    if said.layout is not None:
        layout = said.layout
    elif first == last:  # both free, or both 3
        readers = [node for node in model.graph.node if lr.name in node.input]
        turned = any(node.op_type == "Transpose" and perm_of(node) == TO_NCHW for node in readers)
        layout = "NHWC" if turned else "NCHW"
    else:
        layout = "NCHW" if last is None or (first in (1, 3) and last not in (1, 3)) else "NHWC"
    channels = last if layout == "NHWC" else first
    if channels not in (None, 1, 3):
        raise InputError(
            f"the model's input '{lr.name}' is [{shown}], not one RGB picture or its brightness", where=where,
            hint="networks of 1 or 3 channels are taken, NCHW or NHWC: --layout says which",
        )  # fmt: skip
    return layout, channels


def _channels(count: int | None, said: Said, where: object) -> str:
    if count == 1:
        if said.channels not in (None, "Y"):
            raise InputError(f"the network has one channel: not {said.channels}", where=where, hint="--channels Y")
        return "Y"
    if said.channels == "Y" and count == 3:
        raise InputError("the network has three channels: not Y", where=where, hint="--channels RGB, or BGR")
    return said.channels or "RGB"


def _dtypes(model: onnx.ModelProto, where: object) -> tuple[str, str]:
    names = {number: name for name, number in KINDS.items()}
    kinds = [names.get(value.type.tensor_type.elem_type) for value in ends(model, where=where)]
    if kinds[0] is None or kinds[1] is None:
        raise InputError(f"the model's input and output must be {', '.join(KINDS)}", where=where)
    return kinds[0], kinds[1]


def size_of(model: onnx.ModelProto, layout: str) -> tuple[int, int] | None:
    """The fixed (height, width) of the input, or None."""
    dims = dims_of(ends(model, where=None)[0])
    height, width = (dims[1], dims[2]) if layout == "NHWC" else (dims[2], dims[3])
    return None if height is None or width is None else (height, width)


def perm_of(node: onnx.NodeProto) -> list[int]:
    """The order of the axes after a Transpose."""
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
