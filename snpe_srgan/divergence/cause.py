"""The likely cause of a departure, from what the two runs of the layer look like, and what to try.

    cause_of(evidence)      # -> Cause("padding", "...", "...")

Each rule looks for one pattern, the most telling first. Where two files are compared, what the files say differently
comes before what the numbers look like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.divergence.measure import MOVES, channels_first
from snpe_srgan.onnx_graphs.layers import Grid, Layer

HALF_LARGEST, HALF_END = 65504.0, 65536.0  # of float16; where the Hexagon stops, which has no infinity there
SUM_UNIT = 256  # 16-bit convolutions are added up on the Hexagon without the low 8 bits of the sum
SAME = 0.999  # share of the values that must agree with a pattern
FEW = 0.25  # of the channels


@dataclass(frozen=True)
class Cause:
    """`name`: one word for programs; `text`: what happens; `advice`: what to try."""

    name: str
    text: str
    advice: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """One layer fed with the same input twice.

    Attributes:
        layer, other: of the first and of the second graph.
        differs: what the two files say differently of it (`pairs.differences`); empty where it is one file.
        expected, got: the results, (channels, h, w); float64.
        tolerance: a difference up to that is rounding.
        read: the grid of each tensor that the layer reads, where it has one.
        unrounded: `expected` without the rounding inside the layer; None for a layer that has none inside.
    """

    layer: Layer
    other: Layer
    differs: Sequence[str]
    expected: np.ndarray
    got: np.ndarray
    tolerance: float
    read: Mapping[str, Grid | None]
    unrounded: np.ndarray | None = None

    @property
    def error(self) -> np.ndarray:
        """`got - expected`, (channels, h, w)."""
        return self.got - self.expected

    @property
    def wrong(self) -> np.ndarray:
        """Where the difference is more than rounding or not finite, bool (channels, h, w)."""
        return ~(np.abs(self.error) <= self.tolerance)  # what is not finite is wrong

    @property
    def sums(self) -> bool:
        """Whether the layer adds up products: a convolution or a matrix product."""
        return self.layer.kind.split("+")[0] in ("Conv", "ConvTranspose", "Gemm", "MatMul")


def evidence(
    layer: Layer, other: Layer, differs: Sequence[str], expected: np.ndarray, got: np.ndarray,
    read: Mapping[str, Grid | None], unrounded: np.ndarray | None = None,
) -> Evidence:  # fmt: skip
    """The `Evidence` of two runs, in whatever layout the graph has them.

    Args:
        layer, other: of the first and of the second graph; the first's grid says what counts as rounding.
        differs: what the two files say differently of the layer; empty where it is one file.
        expected, got: of one shape: (1, channels, h, w), (1, h, w, 3), or of another number of axes.
        read: the grid of each tensor that the layer reads; None for floats.
        unrounded: `expected` without the rounding inside the layer; None where there is none.
    """

    def plain(x: np.ndarray) -> np.ndarray:
        return np.atleast_3d(np.squeeze(channels_first(x), 0) if x.ndim == 4 else x).astype(np.float64)

    a = plain(expected)
    step = layer.grid.scale * 1.01 if layer.grid else 1e-5 * float(np.abs(a[np.isfinite(a)]).max(initial=1e-30))
    free = None if unrounded is None else plain(unrounded)
    return Evidence(layer, other, differs, a, plain(got), step, read, free)


def cause_of(e: Evidence) -> Cause:
    """The first rule that fits."""
    for rule in RULES:
        if (found := rule(e)) is not None:
            return found
    return Cause(
        "arithmetic", f"its {e.layer.kind} gives other numbers, in no pattern that is known",
        "compute this layer alone in both places, and compare the weights that each has",
    )  # fmt: skip


def quantized(e: Evidence) -> Cause | None:
    """A float file beside its quantized form: weights are rounded, ranges clip, and nothing else need be wrong."""
    grid = e.layer.grid or e.other.grid
    if grid is None or (e.layer.grid is None) == (e.other.grid is None):
        return None
    return Cause(
        "quantization",
        f"one file keeps it in {grid.bits}-bit integers, {grid.low:.4g} .. {grid.high:.4g}: rounded weights or "
        f"clipped values make up to {np.abs(e.error).max() / grid.scale:.1f} steps",
        "what each layer loses: snpe-srgan quantize's report; what a chip does: the quantized file --on emulator",
    )


def overflow(e: Evidence) -> Cause | None:
    """Values beyond float16's range, in a float layer: not finite, or cut off at its end."""
    broken = np.isfinite(e.expected) & ~np.isfinite(e.got)
    capped = (np.abs(e.expected) > HALF_END * 1.01) & (np.abs(e.got) <= HALF_END * 1.001)
    if e.layer.grid is not None or not (broken.any() or capped.any()):
        return None
    peak = float(np.abs(e.expected).max())
    return Cause(
        "float16-overflow",
        f"values up to {peak:.3g} do not fit float16 (at most {HALF_LARGEST:.0f}): {broken.sum()} became inf or nan, "
        f"{capped.sum()} were cut off",
        "quantize the network, compute in float32 (--chip none), or scale the layers before it down",
    )


def _changed(e: Evidence, *words: str) -> str | None:
    return next((line for line in e.differs if any(word in line for word in words)), None)


def other_range(e: Evidence) -> Cause | None:
    """The two files give the result another scale or zero point."""
    line = _changed(e, "QuantizeLinear scale", "QuantizeLinear zero point", "DequantizeLinear scale",
                    "DequantizeLinear zero point")  # fmt: skip
    one, other = e.layer.grid, e.other.grid
    if line is None or one is None or other is None:
        return None
    if abs(one.scale / other.scale - 1) <= 1e-6:
        return Cause("zero-point", f"its result has another zero point: {line}", "write the file again from its source")
    rounding = max(one.scale, other.scale) * 1.01
    inside = (e.expected >= other.low - rounding) & (e.expected <= other.high + rounding)
    if not inside.all() and np.mean(np.abs(e.error[inside]) <= rounding) > SAME:
        ranges = f"{one.low:.4g} .. {one.high:.4g} became {other.low:.4g} .. {other.high:.4g}"
        return Cause(
            "clipped-range", f"its result has a narrower range, which cuts off {np.mean(~inside):.1%} of it: {ranges}",
            "calibrate again on pictures that reach these values, or choose ranges by --recipe ...-minmax",
        )  # fmt: skip
    return Cause("scale", f"its result has another scale: {line}", "write the file again from its source")


def other_numbers(e: Evidence) -> Cause | None:
    """What the two files hold for the layer."""
    found = (
        ("padding", "its padding is another", ("pads", "auto_pad")),
        ("channels", "its channels are in another order", ("channels in another order",)),
        ("bias", "its bias is another", ("bias",)),
        ("kernel", "its kernel is turned", ("transposed", "mirrored")),
        ("shuffle", "its pixels are moved otherwise", ("DepthToSpace mode", "DepthToSpace blocksize", "perm")),
        ("weights", "its weights are others", ("weights", "slopes")),
        ("operator", "it is computed by other operators", ("operators",)),
    )
    for name, text, words in found:
        line = _changed(e, *words)
        if line is not None and not (name == "operator" and _small(e)):
            return Cause(name, f"{text}: {line}", "write the file again from its source")
    return None


def _small(e: Evidence) -> bool:
    return bool(np.abs(e.error).max(initial=0) <= e.tolerance)


def fused(e: Evidence) -> Cause | None:
    """The result is nearer to that of the layer without the rounding, and clipping, inside it."""
    if e.unrounded is None:
        return None
    with_it, without = (float(np.mean(np.square(e.got - x))) for x in (e.expected, e.unrounded))
    if not without < with_it / 2:
        return None
    return Cause(
        "fused", f"the engine computes {e.layer.kind} as one operator, without the rounding and clipping between: "
        f"{10 * np.log10(with_it / max(without, 1e-300)):.0f} dB nearer to it",
        "a wider range for the tensor between them, so that nothing is clipped there (--recipe ...-minmax)",
    )  # fmt: skip


def unequal_padding(e: Evidence) -> Cause | None:
    """All that is wrong lies where the kernel reads beyond the picture."""
    kernel = next((v for k, v in e.layer.attributes.items() if k.endswith("kernel_shape")), None)
    if not isinstance(kernel, (list, tuple)) or e.expected.ndim != 3 or not e.sums:
        return None
    ring = [k // 2 for k in kernel]
    inside = e.wrong[:, ring[0] : e.wrong.shape[1] - ring[0], ring[1] : e.wrong.shape[2] - ring[1]]
    if not inside.size or not e.wrong.any() or inside.sum() > (1 - SAME) * e.wrong.sum():
        return None
    zero = next((g.zero for g in e.read.values() if g is not None and g.zero), None)
    why = f": the picture is continued by integer 0, and zero is {zero} there" if zero else ""
    return Cause(
        "padding", f"only the border of {ring[0]} by {ring[1]} pixels is wrong{why}",
        "pad by an operator of its own before the convolution, or give its input a range that begins at 0",
    )  # fmt: skip


def saturation(e: Evidence) -> Cause | None:
    """Right up to some value, and that value beyond it."""
    top, bottom = float(e.got.max()), float(e.got.min())
    beyond = (e.expected > top + e.tolerance) | (e.expected < bottom - e.tolerance)
    if not beyond.any() or np.mean(e.wrong & ~beyond) > (1 - SAME):
        return None
    where = "the sum of the products" if e.sums else "the result"
    return Cause(
        "saturation", f"{where} is held between {bottom:.4g} and {top:.4g}: {np.mean(beyond):.1%} lies beyond",
        "a wider range for this tensor, or smaller weights in this layer (--recipe ...-eq)",
    )  # fmt: skip


def swapped_channels(e: Evidence) -> Cause | None:
    """Each channel that is wrong holds what another one should hold."""
    channels = len(e.expected)
    if not 1 < channels <= 512 or e.expected.ndim != 3:
        return None
    a, b = e.expected.reshape(channels, -1), e.got.reshape(channels, -1)
    moved = [i for i in range(channels) if np.mean(np.abs(a[i] - b[i]) <= e.tolerance) < SAME]
    places = {i: j for i in moved for j in moved if i != j and np.mean(np.abs(a[j] - b[i]) <= e.tolerance) >= SAME}
    if not moved or len(places) < len(moved):
        return None
    shown = ", ".join(f"{i} holds {j}" for i, j in list(places.items())[:4])
    text = f"{len(places)} channels are in another order: {shown}"
    return Cause("channels", text, "compare the order of the weights")


def low_bits(e: Evidence) -> Cause | None:
    """16-bit convolutions whose sums lose their low bits: half of SUM_UNIT on average, whatever the picture."""
    units = _units(e)
    if units is None:
        return None
    mean = float(np.mean(e.error / units))
    if not -SUM_UNIT < mean < -SUM_UNIT / 8:
        return None
    unit = float(np.mean(units))
    step = e.layer.grid.scale if e.layer.grid else unit
    return Cause(
        "low-bits",
        f"the chip adds up 16-bit convolutions in units of {SUM_UNIT} products and rounds down: {-mean:.0f} of "
        f"{unit:.3g} are lost on average, {mean * unit / step:.1f} steps of the result, everywhere alike",
        "finer units: a narrower range for what the layer reads, weights of 8 bits, or 4-bit weights in 8-bit integers",
    )


def _units(e: Evidence) -> np.ndarray | float | None:
    """What one product of a quantized convolution is worth, for each output channel (channels, 1, 1)."""
    scale = e.layer.constants.get("weights scale")
    read = next((g for g in e.read.values() if g is not None), None)
    if not e.sums or scale is None or read is None or read.bits != 16:
        return None
    if scale.size not in (1, len(e.expected)):
        return None
    return np.asarray(scale, np.float64).reshape(-1, 1, 1) * read.scale


def affine(e: Evidence) -> Cause | None:
    """Each value is that of the first run, stretched and moved."""
    a, b = e.expected.ravel(), e.got.ravel()
    if a.std() == 0:
        return None
    stretch, shift = np.polyfit(a, b, 1)
    if np.mean(np.abs(stretch * a + shift - b) <= e.tolerance) < SAME:
        return None
    if abs(stretch - 1) * np.abs(a).max() > e.tolerance:
        text = f"every value is {stretch:.4g} times what it should be"
        return Cause("scale", text, "compare the scale of this tensor")
    return Cause("zero-point", f"every value is off by {shift:.4g}", "compare the zero point of this tensor")


def constant_channels(e: Evidence) -> Cause | None:
    """Each channel is off by one number, everywhere alike."""
    if e.error.ndim != 3 or not e.sums:
        return None
    means = e.error.mean(axis=(1, 2), keepdims=True)
    off = np.asarray(np.abs(means).ravel() > e.tolerance / 2)
    if not off.any() or np.mean(np.abs(e.error - means) <= e.tolerance) < SAME:
        return None
    worst = int(np.abs(means).argmax())
    return Cause(
        "bias",
        f"{off.sum()} of {len(off)} channels are off by a constant, channel {worst} by {means.ravel()[worst]:.4g}",
        "compare the bias and its scale (input scale x weight scale)",
    )  # fmt: skip


def few_channels(e: Evidence) -> Cause | None:
    """A quarter of the channels at most (or one) is wrong, and all others are right."""
    channels = np.asarray(e.wrong.reshape(len(e.wrong), -1).any(axis=1))
    if not e.sums or not 0 < channels.sum() <= max(1, FEW * len(channels)):
        return None
    shown = ", ".join(map(str, np.flatnonzero(channels)[:6]))
    return Cause(
        "weights",
        f"only {channels.sum()} of {len(channels)} channels are wrong ({shown}): single weights wrapped, or a scale",
        "compare the weights of these channels",
    )  # fmt: skip


def rounding(e: Evidence) -> Cause | None:
    """Nothing is off by more than the tolerance: the last digit is rounded otherwise."""
    if not _small(e):
        return None
    mean = float(e.error.mean()) / (e.tolerance / 1.01)
    how = "down" if mean < -0.1 else "up" if mean > 0.1 else "otherwise"
    if e.layer.kind.split("+")[0] in MOVES:
        return Cause(
            "shuffle-rounding", f"values that are only moved come out rounded {how} ({mean:+.2f} steps on average)",
            "one grid for what the operator reads and writes, so that nothing is rounded",
        )  # fmt: skip
    return Cause(
        "rounding", f"the result is rounded {how} ({mean:+.2f} steps on average): computed in float, or fused with its "
        "neighbour", "16 bits for this tensor (--recipe ...-mixed), or bias correction on the emulator's pictures",
    )  # fmt: skip


RULES: tuple[Callable[[Evidence], Cause | None], ...] = (
    quantized, overflow, other_range, other_numbers, fused, low_bits, unequal_padding, rounding, swapped_channels,
    affine, constant_channels, saturation, few_channels,
)  # fmt: skip
