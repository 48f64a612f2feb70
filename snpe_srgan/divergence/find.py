"""Finds where two runs of a network part: the same picture through both, layer by layer.

    found = diverge(model, model, lr, place=Emulator("SM8650"))
    found.report.first            # the first layer whose result is off by more than rounding, its input being equal

The first graph runs on the host as it is written. The second runs elsewhere, or holds another file. Each layer of the
first is then fed with what the second's layers really gave, so that what a layer adds itself (local) stands apart from
what it was given (cumulative). That needs one run in each place and holds for any engine whose inner tensors can be
read. Last, each layer's own error alone is put into the first run: what it does to the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.divergence.cause import Cause, cause_of, evidence
from snpe_srgan.divergence.engines import Host, Opened, Place
from snpe_srgan.divergence.looking import look
from snpe_srgan.divergence.measure import MOVES, Gap, departs, gap, place
from snpe_srgan.divergence.measure import Place as Spot
from snpe_srgan.divergence.pairs import differences, paired
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.onnx_graphs.graph import ends
from snpe_srgan.onnx_graphs.layers import (
    DELTA,
    LOCAL,
    Grid,
    Layer,
    cut_model,
    layers_of,
    seen_model,
    shifted_model,
    unrounded,
)
from snpe_srgan.onnx_graphs.quantized import is_quantized

if TYPE_CHECKING:
    import onnx

LEVELS = 127.5  # 8-bit levels in a unit of the output's range, -1..1
LARGE = 65504.0  # stands for what is not finite


@dataclass(frozen=True)
class PictureGap:
    """Two finished pictures in 8-bit levels: `psnr` (None: equal), mean of second - first, largest difference."""

    psnr: float | None
    shift: float
    largest: float


@dataclass(frozen=True)
class LayerGap:
    """One layer of both runs.

    Attributes:
        bits: of its result; None for floats. `step`: of its integers.
        cumulative: with everything before it run in its own place as well.
        local: fed with the same input; None where the second graph has no such layer, or not its inputs.
        departs: whether `local` is more than the rounding that engines may do differently.
        place: where `local` is largest.
        differs: what the two files say differently of it.
        picture: what its own error does to the picture, alone.
        cause: the likely one, of a layer that departs.
    """

    name: str
    kind: str
    bits: int | None
    step: float | None
    cumulative: Gap | None
    local: Gap | None
    departs: bool
    place: Spot | None
    differs: tuple[str, ...]
    picture: PictureGap | None
    cause: Cause | None


@dataclass(frozen=True)
class Divergence:
    """`disturbed`: by how many levels looking at the layers changed the second run's picture; 0 is the same bits."""

    first_model: str
    second_model: str
    on: str
    size: tuple[int, int]
    picture: PictureGap
    disturbed: float
    layers: tuple[LayerGap, ...]
    unpaired: tuple[str, ...]

    @property
    def first(self) -> LayerGap | None:
        """The first layer that departs."""
        return next((layer for layer in self.layers if layer.departs), None)

    @property
    def worst(self) -> LayerGap | None:
        """The layer whose own error changes the picture most."""
        moved = [(gap.psnr, i) for i, gap in enumerate(layer.picture for layer in self.layers)
                 if gap is not None and gap.psnr is not None]  # fmt: skip
        return self.layers[min(moved)[1]] if moved else None


@dataclass(frozen=True, eq=False)
class Found:
    """The report, and the arrays that pictures of it are made from: finished pictures, and each layer's two results."""

    report: Divergence
    first_picture: np.ndarray
    second_picture: np.ndarray
    local: Mapping[str, tuple[np.ndarray, np.ndarray]]


def diverge(
    first, second, lr: np.ndarray, *, where: Place, names: tuple[str, str] = ("first", "second"),
    say: Callable[[str], None] = lambda text: None,
) -> Found:  # fmt: skip
    """Compares two runs.

    Args:
        first, second: ONNX models of the fixed input size of `lr`; the same one to compare two places.
        lr: (1, h, w, 3) float32 in [0, 1].
        where: runs the second.
        names: of the two, for the report.
        say: told what is being done.

    Raises:
        InputError: the two are not forms of one network: they enlarge to other sizes, share too few layers, or have
            layers of other sizes; or the second alone is float.
    """
    if is_quantized(first) and not is_quantized(second):
        raise InputError("the first file is quantized and the second is float: a layer is looked at with the second's "
                         "values", where=names[1], hint="name the float file first")  # fmt: skip
    say(f"{names[1]} on the {where.name}")
    seen = look(second, lr, where=where, fuses=where.name != "host", say=say)
    others = layers_of(second, hidden=seen.hidden)
    hidden = _same_hidden(first, second, seen.hidden)
    layers = layers_of(first, hidden=hidden)
    pairs = paired(layers, others)
    say(f"{names[0]} on the host, {len(layers)} layers")
    expected = Host().run(seen_model(first, layers), {_input(first): lr})
    got, a, b = seen.values, expected[_output(first)], seen.picture
    if a.shape != b.shape:
        raise InputError(f"the pictures are {list(a.shape)} and {list(b.shape)}: not two forms of one network",
                         where=names[1])  # fmt: skip
    pairs = _of_one_size(layers, pairs, expected, got, where=names[1])
    local = _local(first, layers, pairs, expected, got, lr)
    free = _local(unrounded(first, hidden), layers, pairs, expected, got, lr) if hidden else {}
    if len(local) < len(layers) / 2:
        raise InputError(f"not two forms of one network: {len(local)} of {len(layers)} layers can be compared",
                         where=names[1])  # fmt: skip
    effects = _effects(first, layers, pairs, local, got, lr, a)
    rows = _rows(layers, pairs, expected, got, local, free, effects, lr.shape[1:3], strict=where.name == "host")
    matched = {layer.output for layer in pairs.values()}
    report = Divergence(
        first_model=names[0],
        second_model=names[1],
        on=where.name,
        size=(lr.shape[1], lr.shape[2]),
        picture=picture_gap(a, b),
        disturbed=float(np.abs(_finite(got[_output(second)]) - _finite(b)).max()) * LEVELS,
        layers=rows,
        unpaired=(
            *(layer.name for layer in layers if layer.output not in pairs),
            *(layer.name for layer in others if layer.output not in matched),
        ),
    )
    shown = {layer.output: layer.name for layer in layers}
    return Found(report, a, b, {shown[t]: (local[t], got[pairs[t].output]) for t in local})


def _of_one_size(
    layers: Sequence[Layer], pairs: Mapping[str, Layer], expected: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray], *, where: str,
) -> dict[str, Layer]:  # fmt: skip
    """The pairs whose results have one size, axes in any order. Others were paired by their operator alone, or an error
    says that the two are different networks: nothing behind such a layer could be compared."""
    kept = {}
    for layer in layers:
        other = pairs.get(layer.output)
        if other is None:
            continue
        a, b = expected[layer.output].shape, got[other.output].shape
        if sorted(a) == sorted(b):
            kept[layer.output] = other
        elif layer.name == other.name:
            raise InputError(f"layer {layer.name} gives {list(a)} in one and {list(b)} in the other: not two forms of "
                             "one network", where=where)  # fmt: skip
    return kept


def picture_gap(first: np.ndarray, second: np.ndarray) -> PictureGap:
    """See `PictureGap`; both (1, h, w, 3) in [-1, 1]."""
    error = (np.clip(_finite(second), -1, 1).astype(np.float64) - np.clip(_finite(first), -1, 1)) * LEVELS
    apart = psnr(sr_to_pixels(_finite(first)), sr_to_pixels(_finite(second)))
    if not math.isfinite(apart):  # the same to 8 bits: how far apart before they are rounded
        error_of = float(np.mean(np.square(error)))
        apart = 10 * math.log10(255**2 / error_of) if error_of else math.inf
    return PictureGap(apart if math.isfinite(apart) else None, float(error.mean()), float(np.abs(error).max()))


def _finite(array: np.ndarray) -> np.ndarray:
    return np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=LARGE, neginf=-LARGE)


def _input(model: onnx.ModelProto) -> str:
    return ends(model, where=None)[0].name


def _output(model: onnx.ModelProto) -> str:
    return ends(model, where=None)[1].name


def _same_hidden(first, second, hidden: frozenset[str]) -> frozenset[str]:
    """The tensors of the first graph that are hidden in the second."""
    pairs = paired(layers_of(first), layers_of(second))
    return frozenset(tensor for tensor, layer in pairs.items() if layer.output in hidden)


def _local(first, layers, pairs, expected, got, lr) -> dict[str, np.ndarray]:
    """Tensor -> what the first graph's layer makes of the second run's values."""
    values = {_input(first): lr}
    known = {_input(first)}
    for layer in layers:
        other = pairs.get(layer.output)
        value = expected[layer.output]
        if other is not None and got[other.output].shape == value.shape:
            value = got[other.output].astype(value.dtype)
            known.add(layer.output)
        values[layer.output] = value
    read = {name for layer in layers for name in layer.inputs}
    made = Host().run(cut_model(first, layers), {name: values[name] for name in read})
    return {
        layer.output: made[LOCAL + layer.output]
        for layer in layers
        if layer.output in known and known.issuperset(layer.inputs)
    }


def _effects(first, layers: Sequence[Layer], pairs, local, got, lr, picture) -> dict[str, PictureGap]:
    """Tensor -> what the layer's own error does to the picture; of layers that have one."""
    run = Opened(shifted_model(first, layers))
    still: dict[str, np.ndarray] = {DELTA + layer.output: np.zeros(1, np.float32) for layer in layers}
    found = {}
    for tensor, value in local.items():
        delta = _finite(got[pairs[tensor].output]) - _finite(value)
        if np.any(delta):
            moved = run({_input(first): lr, **still, DELTA + tensor: delta})[_output(first)]
            found[tensor] = picture_gap(picture, moved)
    return found


def _rows(
    layers: Sequence[Layer], pairs: Mapping[str, Layer], expected, got, local, free, effects, size, *, strict: bool
) -> tuple[LayerGap, ...]:
    grids: dict[str, Grid | None] = {layer.output: layer.grid for layer in layers}
    rows = []
    for layer in layers:
        other = pairs.get(layer.output)
        said = differences(layer, other) if other is not None else ()
        kept_as = other.grid if other is not None else None
        grid, own, own_gap = layer.grid or kept_as, local.get(layer.output), None
        step = grid.scale if grid else None
        away, spot, cause = False, None, None
        seen = None if other is None else got[other.output]
        rounded = other is not None and (layer.grid is None) != (kept_as is None)  # a float file beside its integers
        if own is not None and seen is not None and rounded and grid is not None and grid.zero == 0:
            own, seen = np.maximum(own, 0), np.maximum(seen, 0)  # a grid that starts at 0 is the ReLU behind it
        if own is not None and seen is not None:
            own_gap = gap(own, seen, step=step)
            moved = _moved_exactly(layer, grids) and not (layer is layers[-1] and _wide(grid))
            exact = (strict and not rounded) or moved
            inner = sum(g.scale for g in layer.inner)
            away = departs(own_gap, step=step, bits=grid.bits if grid else 0, exact=exact, inner=inner)
            spot = place(own, seen, size)
            if away and other is not None:
                read = {name: grids.get(name) for name in layer.inputs}
                cause = cause_of(
                    evidence(layer, other, said, own, seen, read, free.get(layer.output) if layer.inner else None)
                )
        same = seen is not None and seen.shape == expected[layer.output].shape
        rows.append(
            LayerGap(
                name=layer.name, kind=layer.kind, bits=grid.bits if grid else None,
                step=step,
                cumulative=gap(expected[layer.output], seen, step=step)
                if seen is not None and same else None,
                local=own_gap, departs=away, place=spot, differs=said,
                picture=effects.get(layer.output), cause=cause,
            )
        )  # fmt: skip
    return tuple(rows)


def _wide(grid: Grid | None) -> bool:
    """Integers of 16 bits, which a chip may give out as float16."""
    return grid is not None and grid.bits > 8


def _moved_exactly(layer: Layer, grids: Mapping[str, Grid | None]) -> bool:
    """Whether the layer only moves integers: its result has the grid of what it reads."""
    moves = set(layer.kind.split("+")) <= MOVES
    return moves and layer.grid is not None and all(grids.get(name) == layer.grid for name in layer.inputs)
