"""What numbers a network takes and gives, found out with drawn pictures.

    found = find_boundary(model, where=path)           # layout from the graph, numbers from pictures

The pictures are drawn at the size of the enlargement and made small. In its own numbers a network comes closest to what
was drawn; in others it draws the same picture with less skill (a network without biases at half the contrast), a washed
or dark one, or nothing. Means alone do not tell these apart: what decides is the enlargement itself, over pictures of
all tones, dark, bright and flat ones. Of 180 networks in nine ranges each was found so, by 1.1 dB at least
(`tests/test_finding.py` has their kinds).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.boundary import (
    OURS,
    RANGES,
    SIDE,
    Boundary,
    Found,
    Said,
    channels_of,
    dtypes_of,
    layout_of,
    looks_like_ours,
    probe_picture,
    scale_of,
    size_of,
)  # fmt: skip
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied, ends, inputs_of
from snpe_srgan.onnx_graphs.probing import BORDER, Pair, Probe

if TYPE_CHECKING:
    import onnx

ENOUGH = 64 * 64  # LR pixels of a fixed input above which a smaller probe is tried: nine ranges are many runs
ASSUMED: Pair = ("0..1", "0..1")  # where no range makes an enlargement that resembles the picture
RESEMBLES = 18.0  # dB between the pictures and their enlargements made small: the worst that enlarge lie above 24
AS_GOOD = 3.0  # dB: a network that bears our names may draw as well in another range
IN_QUESTION = 8.0  # dB below the best on the first picture: such ranges are tried on the others
EQUAL = 0.05  # dB: networks without biases draw the very same in several ranges: the usual one is taken
NEARLY_LINEAR = 8.0  # dB that a range may lie below the best where the graph's last operator cuts to it
UNDECIDED, OTHER_PICTURE = 0.5, 42.0  # dB: so near to each other in skill, so far in what is drawn
SHIFTED = 0.05  # of white: flat pictures of networks in their own numbers are off by 0.005 at most
PATIENCE = 15.0  # seconds after which no further range is tried: a large network of fixed size
MOVED = ("Identity", "Transpose", "Cast", "Round", "DepthToSpace", "Reshape", "Squeeze", "Unsqueeze")


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
    layout, count = layout_of(model, where, said)
    channels = channels_of(count, said, where)
    plain = Boundary(layout, "0..1", "0..1", channels, dtypes_of(model, where))
    ranges = [pair for pair in said.ranges if _may(plain.dtypes, pair)]
    if not ranges:
        raise InputError("bytes at a network's end hold 0..255", where=where, hint="--values 0..255")
    if len(ranges) == 1 and said:
        return Found(replace(plain, takes=ranges[0][0], gives=ranges[0][1]), ("as the user says",))
    size = size_of(model, layout) or (SIDE, SIDE)
    if size[0] * size[1] > ENOUGH and run is None and (small := _smaller(model, plain, where)) is not None:
        size, run = (SIDE, SIDE), small
    first = ("0..1", "-1..1") if looks_like_ours(model) else None
    return find_ranges(
        run or _runner(model), plain, ranges, size=size, first=first, cut=cut_to(model), where=where
    )


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
    ranges: Sequence[Pair],
    *,
    size: tuple[int, int],
    first: Pair | None,
    where: object,
    cut: str | None = None,
) -> Found:
    """Which of the ranges a network takes and gives: see `find_boundary`.

    Args:
        run: what the network takes -> what it gives.
        plain: the rest of the boundary.
        ranges: pairs (takes, gives) that are tried.
        size: height and width of the pictures, LR pixels.
        first: the pair that the network's names speak for.
        cut: the range that its last operator cuts its result to.

    Raises:
        InputError: it does not enlarge by a whole number.
    """
    probe, began = Probe(run, plain, size, where), time.monotonic()
    for takes in dict.fromkeys(takes for takes, _ in ranges):
        if probe.given and time.monotonic() - began > PATIENCE:
            break
        probe.give(takes, 0)
        if first is not None and first[0] == takes and probe.alike(first) >= RESEMBLES:
            others = [probe.close(pair) for pair in ranges if pair[0] == takes]
            if probe.close(first) >= max(others) - AS_GOOD:
                break  # it says that it is one of ours, and draws as one
    tried = [pair for pair in ranges if (pair[0], 0) in probe.given]
    best = max(map(probe.close, tried))
    for number in range(1, len(probe.pictures)):
        for takes in dict.fromkeys(t for t, g in tried if probe.close((t, g), [0]) >= best - IN_QUESTION):
            if time.monotonic() - began <= PATIENCE:
                probe.give(takes, number)
    return _decided(probe, plain, ranges, first, cut)


def _decided(probe: Probe, plain: Boundary, ranges: Sequence[Pair], first: Pair | None, cut: str | None) -> Found:
    """The boundary of the pair whose enlargements are closest to what was drawn at that size.

    Where the next best draws other pictures and comes as close, nothing decides between them.
    """
    order = [pair for pair in dict.fromkeys([*([first] if first else []), *ranges]) if (pair[0], 0) in probe.given]
    last = max(number for _, number in probe.given)
    seen = {pair: probe.close(pair) for pair in order if (pair[0], last) in probe.given}
    best = max(seen.values())
    closest = max(seen, key=seen.__getitem__)
    same = [p for p in order if p in seen and probe.apart(p, closest) >= OTHER_PICTURE]
    pair = next(p for p in order if p in same or seen.get(p, -np.inf) >= best - EQUAL)
    said = [p for p in order if p[1] == cut and seen.get(p, -np.inf) >= best - NEARLY_LINEAR]
    if said and pair[1] != cut:
        pair = max(said, key=seen.__getitem__)
    shown, doubt = probe.alike(pair), None
    if shown < RESEMBLES:
        assumed = first or ASSUMED
        pair = assumed if assumed in order else order[0]
        doubt = f"in no range of numbers does its enlargement resemble the picture (at best {shown:.1f} dB)"
    elif (shift := probe.shift(pair)) > SHIFTED:
        doubt = f"in the likeliest range of numbers its flat pictures come out {255 * shift:.0f} of 255 levels off"
    elif rivals := [
        p for p in order
        if p != pair and seen.get(p, -np.inf) >= seen[pair] - UNDECIDED and probe.apart(pair, p) < OTHER_PICTURE
    ]:  # fmt: skip
        others = " or if it ".join(f"takes {t} and gives {g}" for t, g in rivals)
        doubt = f"it draws another picture as well if it {others}"
    lines = tuple(f"takes {t}, gives {g}: {probe.alike((t, g)):.1f} dB" for t, g in ranges if (t, g) in order)
    lines += () if cut is None else (f"its last operator cuts what it gives to {cut}",)
    untried = [takes for takes in dict.fromkeys(t for t, _ in ranges) if (takes, 0) not in probe.given]
    lines += (f"not tried: takes {', '.join(untried)}",) if untried else ()
    if plain.channels == "RGB":
        lines += ("RGB is assumed, pictures do not tell it from BGR: --channels BGR",)
    boundary = replace(plain, takes=pair[0], gives=pair[1])
    return Found(boundary, lines, doubt is None, round(float(shown), 2), doubt)


def resemblance(model: onnx.ModelProto) -> float:
    """dB between a drawn picture and its enlargement made small, of a graph in our form; below `RESEMBLES` it draws
    something else."""
    picture = probe_picture(*(size_of(model, "NHWC") or (SIDE, SIDE)))
    return _resemblance(picture, _runner(model)(picture), OURS)


def _may(dtypes: tuple[str, str], pair: tuple[str, str]) -> bool:
    """An end of bytes holds 0..255."""
    return all(kind != "uint8" or numbers == "0..255" for kind, numbers in zip(dtypes, pair, strict=True))


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
