"""The report's parts: figures of the right size, HTML that cannot be broken by a name."""

import numpy as np
import pytest

from snpe_srgan.imaging.side_by_side import Panel, busiest_box, nearest_enlarged, side_by_side
from snpe_srgan.report import html, markdown


def test_busiest_box_finds_the_detail(rng):
    picture = np.full((120, 160, 3), 90, np.uint8)
    picture[40:60, 100:120] = rng.integers(0, 255, (20, 20, 3))
    top, left, height, width = busiest_box(picture, 32)
    assert top <= 40 and left <= 100 and top + height >= 60 and left + width >= 120


def test_side_by_side_holds_every_panel_untouched(rng):
    pictures = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    figure = side_by_side([Panel(p, f"p{i}") for i, p in enumerate(pictures)], detail=16)
    for p in pictures:  # the interior outside the red frame is copied pixel for pixel
        windows = np.lib.stride_tricks.sliding_window_view(figure, (1, 64, 3))[..., 0, :, :].reshape(-1, 64, 3)
        assert (windows == p[0]).all(axis=(1, 2)).any()


def test_panels_of_other_size_are_refused():
    with pytest.raises(ValueError, match="LR"):
        side_by_side([Panel(np.zeros((4, 4, 3), np.uint8), "LR"), Panel(np.zeros((8, 8, 3), np.uint8), "HR")])


def test_nearest_enlarged_repeats_pixels(rng):
    lr = rng.integers(0, 255, (3, 5, 3), dtype=np.uint8)
    assert (nearest_enlarged(lr, 4)[1::4, 2::4] == lr).all()


def test_html_escapes_names():
    text = html.page("<script>", [html.table("a", ["<b>"], [["<i>"]]), html.paragraph("<u>")])
    assert "<script>" not in text and "<b>" not in text and "<i>" not in text and "<u>" not in text


def test_curve_survives_one_point():
    assert "polyline" in html.curve("c", [("a", [(0, 1.0)])], y_label="dB")


def test_markdown_escapes_bars():
    assert markdown.table(["a", "b"], [["x|y", 1]]).splitlines()[-1] == "| x\\|y | 1 |"
