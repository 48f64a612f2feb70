"""An analysis as pictures, one PNG a question.

    write_plots(analysis, "out/generator_w8a8.plots", title="generator, w8a8")

| file | answers |
|---|---|
| `sqnr.png` | how the error grows on its way through the network, and what each tensor adds by itself |
| `sensitivity.png` | which tensors and weights the finished picture suffers from most |
| `ranges.png` | how unequal the channels that share one grid are, before and after equalization |
| `shift.png` | how far the means of the channels drift, before and after the correction |
| `recipes.png` | what each recipe loses (`plot_recipes`) |

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; markers differ too.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import atomic_folder, atomic_write
from snpe_srgan.quantization.judge.analysis import Analysis, Channels
from snpe_srgan.quantization.judge.layer_losses import LayerLoss

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#999999"
TOP, LEAST = 30, 1e-5  # layers in the sensitivity plot, and the smallest share shown
PANELS = 8  # tensors in the ranges plot, half of them of the trunk
ROW = 0.17  # inches of a line of text
LINEAR = 2.0  # dB: losses up to that are drawn on a linear scale


def write_plots(
    analysis: Analysis, folder: str | os.PathLike, *, title: str, overwrite: bool = False
) -> tuple[Path, ...]:
    """Writes all plots that the analysis has data for, into a new folder; gives their paths.

    Args:
        title: of the quantization, for the plots' headings.
        overwrite: whether the folder may exist already; it is replaced.

    Raises:
        InputError: the folder exists and may not, or cannot be written.
    """
    draw = {
        "sqnr.png": _sqnr,
        "sensitivity.png": _sensitivity,
        "ranges.png": _ranges,
        "shift.png": _shift,
    }
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        made = [name for name, function in draw.items() if _saved(function(analysis, title), temporary / name)]
    return tuple(Path(folder) / name for name in made)


def plot_recipes(
    lost: Mapping[str, Mapping[str, float]], path: str | os.PathLike, *, title: str, overwrite: bool = False
) -> None:
    """Bars of what each recipe loses, as one PNG.

    Args:
        lost: recipe -> data set -> dB lost.
        title: of the network, for the heading.
        overwrite: whether the file may exist already.

    Raises:
        InputError: the file exists and may not, or cannot be written.
    """
    recipes = list(lost)
    sets = list(dict.fromkeys(name for losses in lost.values() for name in losses))
    figure, axes = _figure(8, 1.4 + 0.25 * len(recipes) * max(len(sets), 1), f"{title}: what each recipe loses")
    thick = 0.8 / len(sets)
    widest = max([abs(v) for losses in lost.values() for v in losses.values()], default=0) or 1.0
    for i, name in enumerate(sets):
        rows = [r for r in range(len(recipes)) if name in lost[recipes[r]]]
        y = [r + (i - (len(sets) - 1) / 2) * thick for r in rows]
        values = [lost[recipes[r]][name] for r in rows]
        axes.barh(y, values, height=thick * 0.9, color=(BLUE, ORANGE, GREEN, PINK)[i % 4], label=name)
        for at, value in zip(y, values, strict=True):
            axes.annotate(
                f"{value:.2f}", (max(value, 0), at), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.set_yticks(range(len(recipes)), recipes, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("dB lost against the float network")
    if widest > LINEAR:  # a recipe that fails must not hide what tells the others apart
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_xticks([0, 0.1, 1, 10], ["0", "0.1", "1", "10"])
    axes.set_xlim(right=widest * (1.7 if widest > LINEAR else 1.12))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    with atomic_write(path, overwrite=overwrite) as temporary:
        _saved(figure, temporary)


def _figure(width: float, height: float, title: str):
    figure = _empty_figure(width, height)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _empty_figure(width: float, height: float):
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a home that keeps no font cache concerns nobody here
    from matplotlib.figure import Figure  # without pyplot: no display is looked for, nothing is kept

    return Figure(figsize=(width, height), layout="constrained")


def _saved(figure, path: Path) -> bool:
    if figure is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "constrained_layout not applied" to a plot of one bar
        figure.savefig(path, dpi=110, facecolor="white")
    return True


def _by_layer(names: Sequence[str], title: str, label: str):
    """Axes with a line for each layer, the first on top."""
    figure, axes = _figure(8, 1.2 + ROW * len(names), title)
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.3, -0.7)
    axes.set_xlabel(label)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
    return figure, axes


def _legend(axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -4.2 * ROW / axes.figure.get_figheight()), ncols=3, fontsize=9)


def _sqnr(analysis: Analysis, title: str):
    before = {c.name: c.sqnr_before for c in analysis.channels if c.kind not in _INNER}
    layers = [layer for layer in analysis.layers if layer.sqnr is not None]
    if not layers:
        return None
    figure, axes = _by_layer([x.name for x in layers], f"{title}: signal to noise by layer", "SQNR, dB")
    series = (
        ([x.sqnr_alone for x in layers], GREY, "s", "only this tensor rounded"),
        ([before.get(x.name) for x in layers], ORANGE, "v", "all quantized, uncorrected"),
        ([x.sqnr for x in layers], BLUE, "o", "all before it quantized"),
    )
    for values, colour, marker, label in series:
        _dots(axes, values, colour, marker, label)
    _legend(axes)
    return figure


def _dots(axes, values: Sequence[float | None], colour: str, marker: str, label: str) -> None:
    points = [(v, i) for i, v in enumerate(values) if v is not None]
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=0.7, alpha=0.9, label=label)


def _sensitivity(analysis: Analysis, title: str):
    layers = [x for x in sorted(analysis.layers, key=lambda x: -x.share) if x.share > LEAST][:TOP]
    if not layers:
        return None
    measured = any(x.share_measured is not None for x in layers)
    what = "measured one at a time" if measured else "estimated by the derivative"
    names = [_label(x) for x in layers]
    figure, axes = _by_layer(names, f"{title}: each one's part of the picture's error, {what}", "% of the error")
    groups = (("tensors", BLUE, ()), ("weights", ORANGE, ("weights",)), ("PReLU slopes", GREEN, ("slopes",)))
    for group, colour, kinds in groups:
        rows = [i for i, x in enumerate(layers) if (x.kind in kinds) or (not kinds and x.kind not in _INNER)]
        if rows:
            axes.barh(rows, [100 * layers[i].share for i in rows], color=colour, height=0.7, label=group)
    if measured:
        end = 130 * layers[0].share  # an estimate that is far off must not shrink all bars
        estimates = [(100 * x.share_estimated, i) for i, x in enumerate(layers) if x.share_estimated is not None]
        for inside, marker, label in ((True, "D", "estimate (derivative)"), (False, ">", "estimate beyond the axis")):
            points = [(min(x, end), i) for x, i in estimates if (x <= end) == inside]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color="black", markersize=3.5, label=label, clip_on=False)
        axes.set_xlim(right=end)
        right = axes.secondary_yaxis("right")
        right.set_yticks(
            range(len(layers)), [f"{x.picture_psnr:.1f} dB" if x.picture_psnr else "" for x in layers], fontsize=7.5
        )
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        right.set_ylabel("the picture with only this quantized, against float", fontsize=8)
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", fontsize=9)
    return figure


_INNER = ("weights", "slopes")


def _label(layer: LayerLoss) -> str:
    return f"{layer.name}, {layer.kind}" if layer.kind in _INNER else layer.name


def chosen_tensors(channels: Sequence[Channels], count: int = PANELS) -> list[Channels]:
    """Half of them residual sums from the first to the last, the others those whose channels were the most unequal."""
    tensors = [c for c in channels if c.kind not in _INNER and c.low_before is not None and len(c.low) > 3]
    trunk = [c for c in tensors if c.kind == "Add"]
    steps = min(count // 2, len(trunk))
    shown = [trunk[round(i * (len(trunk) - 1) / max(steps - 1, 1))] for i in range(steps)]
    rest = sorted((c for c in tensors if c.kind != "Add"), key=lambda c: c.used(before=True))
    return [*shown, *rest[: count - steps]]


def _ranges(analysis: Analysis, title: str):
    shown = chosen_tensors(analysis.channels)
    if not shown:
        return None
    rows = -(-len(shown) // 2)
    figure = _empty_figure(10, 0.9 + 2.1 * rows)
    figure.suptitle(f"{title}: how much of the tensor's range each channel uses", x=0.01, ha="left", fontsize=11)
    for i, tensor in enumerate(shown):
        axes = figure.add_subplot(rows, 2, i + 1)
        order = np.argsort(-_width(*tensor.range_before))
        edges = np.arange(len(order) + 1) - 0.5
        for low, high, style in (
            (*tensor.range_before, {"fill": True, "color": ORANGE, "alpha": 0.55}),
            (tensor.low, tensor.high, {"color": BLUE, "linewidth": 1.2 if len(order) < 100 else 0.7}),
        ):
            bound = max(float(np.abs([low, high]).max()), 1e-30)
            before = "fill" in style
            label = f"{'before' if before else 'after'} ({tensor.used(before=before):.0%} used)"
            axes.stairs(high[order] / bound, edges, baseline=low[order] / bound, label=label, **style)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_title(f"{tensor.name} ({tensor.kind})", fontsize=9, loc="left")
        negative = min(tensor.low.min(), tensor.range_before[0].min()) < 0
        axes.set_ylim(-1.08 if negative else -0.05, 1.55 if negative else 1.3)
        axes.set_yticks([-1, 0, 1] if negative else [0, 1])
        axes.tick_params(labelsize=8)
        axes.set_xlim(-0.5, len(order) - 0.5)
        axes.legend(loc="upper right", fontsize=8, ncols=2, frameon=False, borderaxespad=0.1)
        if i >= len(shown) - 2:
            axes.set_xlabel("channels, widest (before) first", fontsize=8)
    return figure


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.maximum(high, 0) - np.minimum(low, 0)


def _shift(analysis: Analysis, title: str):
    entries = {layer.name for layer in analysis.layers}
    tensors = [c for c in analysis.channels if c.name in entries and c.shift is not None]
    if not any(c.relative_shift() for c in tensors):
        return None
    label = "mean shift of the channels in % of the spread of their values (root mean squares)"
    figure, axes = _by_layer([c.name for c in tensors], f"{title}: mean shift by layer", label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g} %")
    for before, colour, marker, name in ((True, ORANGE, "v", "without correction"), (False, BLUE, "o", "as quantized")):
        percent = [100 * (c.relative_shift(before=before) or 0) or None for c in tensors]
        _dots(axes, percent, colour, marker, name)
    _legend(axes)
    return figure
