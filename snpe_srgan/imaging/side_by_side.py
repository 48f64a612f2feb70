"""Pictures side by side, with a zoomed detail below each: the figure of every super-resolution paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GAP, MARGIN, CAPTION = 8, 12, 36
BACKGROUND, INK, FRAME = (255, 255, 255), (30, 30, 30), (220, 40, 40)


@dataclass(frozen=True)
class Panel:
    """One picture of the row: uint8 (h, w, 3), a title and a line below it (its score)."""

    rgb: np.ndarray
    title: str
    note: str = ""


def busiest_box(rgb: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """The (top, left, height, width) of the square with the most detail: the largest mean gradient, by integral image.

    Kept off the border, where networks see padding.
    """
    height, width = rgb.shape[:2]
    size = min(size, height, width)
    luma = rgb.astype(np.float64).mean(axis=2)
    detail = np.zeros_like(luma)
    detail[:-1] += np.abs(np.diff(luma, axis=0))
    detail[:, :-1] += np.abs(np.diff(luma, axis=1))
    integral = np.pad(detail, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = integral[size:, size:] - integral[:-size, size:] - integral[size:, :-size] + integral[:-size, :-size]
    inset = min(16, (height - size) // 2, (width - size) // 2)
    inner = sums[inset : sums.shape[0] - inset, inset : sums.shape[1] - inset]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(top) + inset, int(left) + inset, size, size


def nearest_enlarged(rgb: np.ndarray, factor: int) -> np.ndarray:
    """Every pixel of (h, w, c) repeated `factor` times, down and across: what the LR picture holds, unsmoothed."""
    return rgb.repeat(factor, axis=0).repeat(factor, axis=1)


def side_by_side(panels: Sequence[Panel], *, detail: int = 64) -> np.ndarray:
    """One uint8 figure: the panels in a row, the same detail of each enlarged to the panel's width below.

    All panels must have the size of the last one (HR); its busiest square of `detail` pixels is what is enlarged.

    Returns:
        uint8 (height, width, 3), on a white ground.

    Raises:
        ValueError: a panel has another size.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = panels[-1].rgb.shape[:2]
    for panel in panels:
        if panel.rgb.shape != (height, width, 3):
            raise ValueError(f"panel '{panel.title}' is {panel.rgb.shape}, not {(height, width, 3)}")
    top, left, rows, columns = busiest_box(panels[-1].rgb, detail)
    zoom_height = round(width * rows / columns)
    size = (
        2 * MARGIN + len(panels) * width + (len(panels) - 1) * GAP,
        2 * MARGIN + CAPTION + height + GAP + zoom_height,
    )
    figure = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(figure)
    title_font, note_font = ImageFont.load_default(size=14), ImageFont.load_default(size=12)
    for i, panel in enumerate(panels):
        x, y = MARGIN + i * (width + GAP), MARGIN
        draw.text((x, y), panel.title, fill=INK, font=title_font)
        draw.text((x, y + 17), panel.note, fill=INK, font=note_font)
        picture = Image.fromarray(panel.rgb)
        figure.paste(picture, (x, y + CAPTION))
        draw.rectangle(
            (x + left, y + CAPTION + top, x + left + columns - 1, y + CAPTION + top + rows - 1), outline=FRAME
        )
        # Nearest: an interpolating zoom would smooth away the very differences that the detail is there to show.
        zoom = picture.crop((left, top, left + columns, top + rows)).resize(
            (width, zoom_height), Image.Resampling.NEAREST
        )
        figure.paste(zoom, (x, y + CAPTION + height + GAP))
        draw.rectangle(
            (x, y + CAPTION + height + GAP, x + width - 1, y + CAPTION + height + GAP + zoom_height - 1), outline=FRAME
        )
    return np.asarray(figure)
