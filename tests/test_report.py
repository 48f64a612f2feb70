"""The report's parts: figures of the right size, charts, readers that refuse damage, HTML that no name can break."""

import base64
import io
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from snpe_srgan import deploy
from snpe_srgan.deploy.render import environment
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.side_by_side import Panel, busiest_box, nearest_enlarged, side_by_side
from snpe_srgan.report import markdown, shown
from snpe_srgan.report.charts import HEIGHT, LEFT, WIDTH, Level, Line, draw, nice_ticks, thinned
from snpe_srgan.report.curves import training_charts
from snpe_srgan.report.page import Table, page
from snpe_srgan.report.results import read_benchmark, read_compression, read_log, read_proof, read_scores
from snpe_srgan.report.run import table3
from snpe_srgan.report.shown import MAP_TOP, Item, compare
from snpe_srgan.runtimes.benchmark import Benchmark, Estimate, ModelBenchmark


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


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def report_page(**values):
    table = Table(EVIL, [EVIL], [[EVIL]], (EVIL,))
    chart = draw(EVIL, [Line(EVIL, [(0, 1.0), (1, 2.0)])], y_label=EVIL, level=Level(EVIL, 1.5))
    pixels = np.zeros((8, 8, 3), np.uint8)
    made = compare(EVIL, [Item(EVIL, pixels, EVIL), Item("HR", pixels, EVIL)], reference=1, remarks=[EVIL])
    parts = {
        "title": EVIL, "network": EVIL, "comparisons": [made], "tables": [table], "plots": made.pictures,
        "charts": [chart], "no_curves": EVIL, "checks": table, "config": EVIL, "machine": table,
    }  # fmt: skip
    return page("report.html.j2", **{**parts, **values})


def test_every_name_in_a_report_stays_text():
    text = report_page()
    assert "<script>alert" not in text and "<img src=x" not in text
    assert text.count("<script>") == 3 and text.count("&lt;script&gt;") > 10  # ours, and nothing lost


def test_the_policy_knows_the_scripts_of_the_page_by_their_sha256():
    import hashlib

    text = report_page()
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy.replace("&#43;", "+")
    assert "default-src &#39;none&#39;" in policy


def test_nothing_in_a_report_has_an_address_to_load():
    text = report_page()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert "url(" not in text and "@import" not in text and "sourceMappingURL" not in text


def test_a_page_is_small_without_its_pictures():
    assert len(report_page()) < 100_000


def points(drawn):
    return [tuple(map(float, p.split(","))) for p in drawn.points.split()]


def test_chart_keeps_order_and_stays_inside():
    chart = draw("c", [Line("a", [(0, 3.0), (10, 5.0), (20, 4.0)])], y_label="", level=Level("b", 6.0))
    (x0, y0), (x1, y1), (x2, y2) = points(chart.lines[0])
    assert LEFT <= x0 < x1 < x2 <= WIDTH and x1 - x0 == pytest.approx(x2 - x1)
    assert y1 < y2 < y0 and points(chart.level)[0][1] < y1
    assert all(0 <= tick.at <= HEIGHT for tick in chart.y_ticks)


def test_chart_of_one_point_of_a_constant_and_of_nothing():
    assert len(points(draw("c", [Line("a", [(5, 1.0)])], y_label="").lines[0])) == 1
    assert draw("c", [Line("a", [(0, 2.0), (1, 2.0)])], y_label="") is not None
    assert draw("c", [Line("a", []), Line("b", [(0, math.nan)])], y_label="") is None


def test_chart_of_a_wide_range_is_logarithmic():
    chart = draw("c", [Line("a", [(0, 1e-6), (1, 1e-3), (2, 1.0)])], y_label="")
    ys = [y for _, y in points(chart.lines[0])]
    assert chart.logarithmic and ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11)


@pytest.mark.parametrize("low,high", [(0, 1), (0, 10001), (28.31, 28.42), (-3, 7e5), (1e-9, 2e-9)])
def test_ticks_enclose_the_range(low, high):
    ticks = nice_ticks(low, high, 5)
    slack = (high - low) * 1e-6
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack and 3 <= len(ticks) <= 8


def test_ticks_of_a_narrow_range_read_differently():
    chart = draw("c", [Line("a", [(0, 0.51107925), (300_000, 0.51113522)])], y_label="")
    labels = [tick.text for tick in chart.y_ticks]
    assert len(set(labels)) == len(labels) and chart.x_ticks[-1].text == "300000"


def test_thinned_keeps_mean_and_end():
    line = [(i, float(i % 7)) for i in range(10_000)]
    short = thinned(line, 100)
    assert len(short) <= 100 and short[-1] == line[-1]
    assert np.mean([y for _, y in short]) == pytest.approx(3.0, abs=0.1)


def log_file(tmp_path, *rows, end="\n"):
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + end)
    return tmp_path / "metrics.jsonl"


def test_charts_of_a_training(tmp_path):
    path = log_file(
        tmp_path,
        {"kind": "train", "stage": "pixel", "step": 10, "loss": 0.5, "learning_rate": 1e-3},
        {"kind": "validation", "stage": "pixel", "step": 10, "psnr": 28.0, "bicubic_psnr": 27.5},
        {"kind": "train", "stage": "gan", "step": 5, "loss": 0.4, "d_real": 0.7, "d_fake": 0.3, "learning_rate": 1e-4},
        {"kind": "validation", "stage": "gan", "step": 5, "psnr": None, "bicubic_psnr": 27.5},
    )
    charts = {chart.title: chart for chart in training_charts(read_log(path))}
    assert set(charts) == {"Validation", "Loss", "Discriminator", "Learning rate"}
    assert charts["Validation"].level.last == "27.5" and [n.name for n in charts["Validation"].lines] == ["pixel"]
    assert [line.name for line in charts["Discriminator"].lines] == ["D(real)", "D(fake)"]
    pixel, gan = charts["Loss"].lines  # the second stage starts where the first one ended
    assert points(gan)[0][0] > points(pixel)[-1][0]


def test_log_that_is_absent_cut_or_damaged(tmp_path):
    assert read_log(tmp_path / "metrics.jsonl") is None
    row = {"kind": "train", "stage": "p", "step": 1, "loss": 1.0}
    assert len(read_log(log_file(tmp_path, row, row, end='\n{"kind": "tra'))) == 2
    for bad in ("nonsense", "[]", '{"kind": "train"}', '{"kind": "train", "stage": "p", "step": "x"}',
                '{"kind": "train", "stage": "p", "step": 1, "loss": "a"}'):  # fmt: skip
        (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n" + bad + "\n")
        with pytest.raises(InputError, match="damaged") as error:
            read_log(tmp_path / "metrics.jsonl")
        assert "line 2" in error.value.where


@pytest.mark.parametrize("read", [read_scores, read_benchmark, read_compression, read_proof])
@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"datasets": 3}', '{"datasets": [{}], "models": [1]}', "{"])
def test_damaged_results_are_plain_errors(tmp_path, read, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(path) in error.value.where


def test_scores_come_back_as_they_were(tmp_path):
    from snpe_srgan.artifacts.files import write_json
    from snpe_srgan.artifacts.plain import to_plain
    from snpe_srgan.metrics.evaluate import Evaluation, PictureScore
    from snpe_srgan.metrics.protocol import Score

    equal = PictureScore("a", Score(math.inf, 1.0), Score(30.5, 0.9), 0.1)
    data = Evaluation("Set5", "engine", "protocol", "origin", 4, (equal,), equal.score, equal.bicubic)
    write_json(tmp_path / "e.json", {"datasets": [to_plain(data)]})
    assert read_scores(tmp_path / "e.json").datasets == (data,)


def decoded(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.url.split(",")[1]))).convert("RGB"))


def test_shown_pictures_are_the_pixels(rng):
    a, b = (rng.integers(0, 255, (50, 70, 3), dtype=np.uint8) for _ in range(2))
    made = compare("t", [Item("a", a), Item("b", b)])
    assert (decoded(made.pictures[0]) == a).all() and (decoded(made.pictures[1]) == b).all() and not made.differences


def test_difference_map_is_black_where_equal_and_bright_where_far():
    a = np.zeros((20, 20, 3), np.uint8)
    b = a.copy()
    b[5, 6] = MAP_TOP
    (drawn,) = compare("t", [Item("a", b), Item("HR", a)], reference=1).differences
    brightness = decoded(drawn).sum(axis=2)
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (5, 6) and brightness[5, 6] > 600
    assert (np.delete(brightness.ravel(), 5 * 20 + 6) == brightness[0, 0]).all() and brightness[0, 0] < 10


def test_a_large_picture_is_cut_to_its_detail_and_says_so(rng, monkeypatch):
    monkeypatch.setattr(shown, "MOST_SIDE", 200)
    pixels = np.full((300, 400, 3), 90, np.uint8)
    pixels[-120:, -120:] = rng.integers(0, 255, (120, 120, 3))
    made = compare("t", [Item("a", pixels), Item("b", pixels)])
    assert (made.width, made.height) == (200, 200) and "Cut to" in made.remarks[0]
    assert made.centre[0] > 60 and made.centre[1] > 60
    wide = np.zeros((50, 400, 3), np.uint8)
    made = compare("t", [Item("a", wide), Item("b", wide)])
    assert (made.width, made.height) == (200, 50)


def test_pictures_of_several_sizes_are_an_error():
    with pytest.raises(InputError, match="several sizes"):
        compare("t", [Item("a", np.zeros((8, 8, 3), np.uint8)), Item("b", np.zeros((8, 9, 3), np.uint8))])


def test_markdown_escapes_bars():
    assert markdown.table(["a", "b"], [["x|y", 1]]).splitlines()[-1] == "| x\\|y | 1 |"


@pytest.mark.parametrize("remark", ["the cost model prices 16 bits wrongly", None])
def test_what_is_wrong_with_an_estimate_stands_under_the_table(tmp_path, remark):
    files = SimpleNamespace(**{k: tmp_path / name for k, name in (
        ("pb", "g.pb"), ("onnx", "g.onnx"), ("dlc", "g.dlc"), ("quantized_onnx", "g_w8a16.onnx"),
        ("quantized_dlc", "g_w8a16.dlc"),
    )})  # fmt: skip
    estimate = Estimate("estimate of a cost model", (8, 8), 1000, 900, 1100, remark)
    timed = [ModelBenchmark(files.quantized_onnx, "onnx", 1, (), estimate, None)]
    notes = table3(Benchmark((8, 8), 1, "a CPU", 1, None, tuple(timed)), files).notes
    assert [note for note in notes if "wrongly" in note] == ([f"g_w8a16.dlc: {remark}."] if remark else [])


def test_the_bundles_proof_says_what_is_wrong_with_an_estimate():
    text = (Path(deploy.__file__).parent / "templates" / "proof.html.j2").read_text()
    block = text[text.index("{% if estimate %}") : text.index("<h2>Pictures</h2>")]
    estimate = {"microseconds": 1000, "lower": 900, "upper": 1100, "source": "model", "remark": "wrong <here>"}
    template = environment().from_string(block)
    assert "1.00 ms" in template.render(estimate=estimate) and "wrong" in template.render(estimate=estimate)
    assert "None" not in template.render(estimate={**estimate, "remark": None})
