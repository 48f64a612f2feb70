"""A divergence as pictures.

plot(found.report)      # a matplotlib figure: signal to noise by layer, its own and what came with its input
panels(found)           # uint8: both pictures, their difference, and where the first layer that departs does so
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.divergence.find import Divergence, Found
from snpe_srgan.divergence.measure import error_map
from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.imaging.side_by_side import Panel, nearest_enlarged, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, PINK = "#0072B2", "#E69F00", "#CC79A7"  # of Okabe and Ito: colour-blind readers can tell them apart
ROW = 0.17  # inches of a line of text
AMPLIFIED = 32  # at most, so that a difference of one level shows
MOST = 120.0  # dB: integers that are the same come out as floats of 24 bits
CAPTION = 180  # pixels of width that a caption needs


def plot(report: Divergence) -> Figure:
    """Signal to noise of each layer's result in dB; layers that are equal in both runs have no mark."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 + ROW * len(report.layers)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{report.first_model} (host) and {report.second_model} ({report.on})", loc="left", fontsize=10)
    axes.set_yticks(range(len(report.layers)), [layer.name for layer in report.layers], fontsize=7.5)
    axes.set_ylim(len(report.layers) - 0.3, -0.7)
    axes.set_xlabel(f"SQNR, dB; no mark: equal, or over {MOST:.0f} dB")
    axes.grid(color="#eeeeee", linewidth=0.6)
    series = (
        (ORANGE, "v", "with all before it", lambda layer: layer.cumulative),
        (BLUE, "o", "of this layer alone", lambda layer: layer.local),
        (PINK, "x", "departs", lambda layer: layer.local if layer.departs else None),
    )
    for colour, marker, label, of in series:
        marks = [(g.sqnr, i) for i, g in enumerate(map(of, report.layers)) if g is not None and (g.sqnr or MOST) < MOST]
        size = 60 if marker == "x" else 18
        x, y = [value for value, _ in marks], [row for _, row in marks]
        axes.scatter(x, y, c=colour, marker=marker, s=size, label=label)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def panels(found: Found) -> np.ndarray:
    """One uint8 RGB figure (height, width, 3): both pictures, what they differ by, and where the first departing layer
    does.
    """
    report = found.report
    first, second = (sr_to_pixels(np.nan_to_num(x))[0] for x in (found.first_picture, found.second_picture))
    gap = second.astype(int) - first
    largest = int(np.abs(gap).max())
    factor = max(1, min(AMPLIFIED, 127 // max(largest, 1)))
    shown = np.clip(128 + gap * factor, 0, 255).astype(np.uint8)  # signed: a shift of all pixels shows as a tint
    panes = [
        (first, "host", report.first_model),
        (second, report.on, report.second_model),
        (shown, "difference", f"x{factor} (at most {largest} of 255)"),
    ]
    if report.first is not None:
        panes.append((_heat(found, report.first.name, first.shape[:2]), report.first.name, "where it departs first"))
    zoom = max(1, -(-CAPTION // first.shape[1]))
    length = max(8, CAPTION // 7)
    made = [Panel(nearest_enlarged(p, zoom), title[:length], note[:length]) for p, title, note in panes]
    return side_by_side(made, detail=first.shape[1] * zoom // 4)


def _heat(found: Found, name: str, size: tuple[int, int]) -> np.ndarray:
    """Where a layer's own error lies, white where it is largest, at the size of the picture."""
    error = error_map(*found.local[name]) if found.local[name][0].ndim == 4 else np.zeros((1, 1))
    grey = (255 * error / max(float(error.max()), 1e-30)).astype(np.uint8)
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, grey.shape, strict=True))
    return np.repeat(grey[np.ix_(rows, columns)][..., None], 3, axis=2)
