"""What a network takes and gives at its two ends: found out with pictures (`finding.py`), or said by the user.

    found = find_boundary(model, where=path)           # layout from the graph, numbers from pictures
    ours = in_our_form(model, found.boundary)          # `our_form.py`: NHWC RGB float32, [0, 1] in and [-1, 1] out

Ours take NHWC RGB in [0, 1] and give [-1, 1] (`OURS`). A foreign network takes what it was trained on, and its file
does not say which numbers those are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import cubic_kernel
from snpe_srgan.onnx_graphs.graph import dims_of, ends, inputs_of

if TYPE_CHECKING:
    import onnx

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
LAYOUTS, CHANNELS = ("NHWC", "NCHW"), ("RGB", "BGR", "Y")
MARK = "snpe-srgan.boundary"  # metadata of a graph that is in our form
OWN = {"network", "scale"}  # metadata of the graphs that this package writes
TRIED = (  # (takes, gives): of those that draw the same the first is taken, so what is usual comes first
    ("0..1", "0..1"), ("0..255", "0..255"), ("0..1", "-1..1"), ("-1..1", "-1..1"), ("0..1", "0..255"),
    ("-1..1", "0..1"), ("0..255", "0..1"), ("-1..1", "0..255"), ("0..255", "-1..1"),
)  # fmt: skip
SIDE = 48  # LR pixels of a probe, where the size is free
LARGE = 128 * 128  # LR pixels of a fixed input above which one picture is probed, and a smaller one where that goes
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
        certain: False where no pair is right, or more than one may be: the ranges are then assumed.
        best: dB of what was taken; None where nothing was tried.
        doubt: why it is not certain.
    """

    boundary: Boundary
    evidence: tuple[str, ...] = ()
    certain: bool = True
    best: float | None = None
    doubt: str | None = None

    def sentence(self, name: str) -> str:
        """What a user must know of it, in one line."""
        what = self.boundary.describe()
        if not self.certain:
            return f"{name}: {self.doubt}: assumed to be {what}; say what it takes with --values, --layout, --channels"
        how = "; ".join(self.evidence)
        if self.best is not None:
            how = f"its enlargement resembles the picture: {self.best:.1f} dB"
            how += "; RGB is assumed, pictures do not tell it from BGR" if self.boundary.channels == "RGB" else ""
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


# ---- ours ----


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


# ---- facts of the ends ----


def layout_of(model: onnx.ModelProto, where: object, said: Said) -> tuple[str, int | None]:
    """The layout and the channels, from the input's shape, or, where that leaves a choice, from who reads it.

    Args:
        where: the file, for errors.
        said: what the user said of the ends; its `layout` decides.

    Returns:
        "NHWC" or "NCHW", and the number of channels, None where it is free.

    Raises:
        InputError: the input is not one picture, or has not the channels of one.
    """
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


def channels_of(count: int | None, said: Said, where: object) -> str:
    """"Y", "RGB" or "BGR", of a network of `count` channels (None: a free number), as `said` or RGB.

    Raises:
        InputError: the channels that were said are not as many; `where` is the file.
    """
    if count == 1:
        if said.channels not in (None, "Y"):
            raise InputError(f"the network has one channel: not {said.channels}", where=where, hint="--channels Y")
        return "Y"
    if said.channels == "Y" and count == 3:
        raise InputError("the network has three channels: not Y", where=where, hint="--channels RGB, or BGR")
    return said.channels or "RGB"


def dtypes_of(model: onnx.ModelProto, where: object) -> tuple[str, str]:
    """The types of the input's and the output's numbers, by their names in `KINDS`.

    Raises:
        InputError: a picture's numbers are of no such type.
    """
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
