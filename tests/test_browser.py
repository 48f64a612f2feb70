"""The pages in a real browser: the slider is dragged, zoomed and moved by keys, and no request leaves the page.

Needs `pip install playwright` and Debian's chromium (/usr/bin/chromium, or $CHROMIUM): `scripts/test -m slow` runs it.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers_cli import snpe_srgan
from PIL import Image

from snpe_srgan.report.charts import Line, draw
from snpe_srgan.report.page import Table, page
from snpe_srgan.report.shown import Item
from snpe_srgan.report.shown import compare as shown_compare

pytestmark = pytest.mark.slow
EVIL = "<script>window.evil=1</script><img src=x onerror='window.evil=1'>"
WIDTH, HEIGHT = 240, 160


class Visit:
    """A page, and everything that went wrong or out while it was open."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(viewport={"width": 1000, "height": 800}, **options)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(path.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.context.close()
        if kind is None:
            assert not self.wrong
            own = [url for url in self.requests if not url.startswith("data:")]
            assert len(own) == 1 and own[0].startswith("file:")  # the page itself

    def value(self) -> float:
        return self.page.evaluate("document.querySelector('img-comparison-slider').value")

    def viewer(self, what: str):
        return self.page.evaluate(f"document.querySelector('.comparison').viewer.{what}")

    def zoom(self, level: str) -> None:
        self.page.click(f"button[data-zoom='{level}']")

    def handle(self) -> tuple[float, float]:
        box = self.page.evaluate(
            "(() => { const b = document.querySelector('img-comparison-slider').shadowRoot.getElementById('handle')"
            ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return box[0], box[1]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """compare.html of three pictures with an HR, as the command writes it; one has a name that is a script."""
    folder, rng = tmp_path_factory.mktemp("compare"), np.random.default_rng(0)
    hr = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for name, pixels in (("a", hr // 2), ("b", hr // 3), ("hr", hr)):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    outcome = snpe_srgan(
        "compare", folder / "a.png", folder / "b.png", "--hr", folder / "hr.png", "--name", EVIL, "--name", "b",
        "-o", folder / "compare.html",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    return folder / "compare.html"


def test_slider_is_dragged_by_mouse(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        x, y = visit.handle()
        visit.page.mouse.move(x, y)
        visit.page.mouse.down()
        visit.page.mouse.move(x + 150, y, steps=4)
        visit.page.mouse.up()
        assert visit.value() > 60
        assert visit.page.get_attribute("img-comparison-slider", "aria-valuenow") == str(round(visit.value()))


def test_slider_moves_by_keys(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        visit.page.focus("img-comparison-slider")
        visit.page.keyboard.down("ArrowRight")
        visit.page.wait_for_timeout(300)
        visit.page.keyboard.up("ArrowRight")
        assert visit.value() > 51


def test_slider_moves_by_touch(browser, compared):
    with Visit(browser, compared, offline=True, has_touch=True) as visit:
        x, y = visit.handle()
        visit.page.touchscreen.tap(x, y)
        session = visit.context.new_cdp_session(visit.page)
        for kind, at in (("touchStart", x), ("touchMove", x - 40), ("touchMove", x - 120)):
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": at, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert visit.value() < 45


def test_zoom_shows_pixels_and_both_pictures_move_as_one(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        before = visit.page.evaluate("document.documentElement.scrollHeight")
        visit.zoom("8")
        sizes = visit.page.evaluate("[...document.querySelectorAll('img-comparison-slider img')].map(i => i.width)")
        assert sizes == [WIDTH * 8, WIDTH * 8]
        rendering = visit.page.evaluate("getComputedStyle(document.querySelector('.view img')).imageRendering")
        assert rendering == "pixelated"
        assert visit.page.evaluate("document.documentElement.scrollHeight") == before  # nothing below has moved
        middle = visit.viewer("middle()")
        box = visit.page.query_selector(".view").bounding_box()
        x, y = box["x"] + 30, box["y"] + 30
        visit.page.mouse.move(x, y)
        visit.page.mouse.down()
        visit.page.mouse.move(x - 80, y - 40, steps=4)
        visit.page.mouse.up()
        moved = visit.viewer("middle()")
        assert moved["x"] == pytest.approx(middle["x"] + 10, abs=1.5)
        assert moved["y"] == pytest.approx(middle["y"] + 5, abs=1.5)
        x, _ = visit.handle()
        assert box["x"] <= x <= box["x"] + box["width"]  # the border stays in sight
        tops = visit.page.evaluate(
            "[...document.querySelectorAll('img-comparison-slider img')].map(i => i.getBoundingClientRect().top)"
        )
        assert tops[0] == tops[1]


def test_zoom_by_keys_and_back(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        visit.page.focus(".view")
        visit.page.keyboard.press("+")
        visit.page.keyboard.press("+")
        assert visit.viewer("zoom") == "2" and visit.page.get_attribute("[data-zoom='2']", "aria-pressed") == "true"
        visit.page.keyboard.press("0")
        assert visit.viewer("zoom") == "fit"


def test_another_picture_is_chosen(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        visit.page.select_option("select.right", "2")
        same = visit.page.evaluate(
            "document.querySelector('[slot=second]').src === document.querySelectorAll('.pictures img')[2].src"
        )
        assert same and "HR" in visit.page.text_content(".name-right")


def test_the_squares_show_the_same_place_of_every_picture(browser, compared):
    """a is half of HR and b a third: so are the colours in the middle of their squares."""
    with Visit(browser, compared, offline=True) as visit:
        visit.page.wait_for_timeout(200)
        a, b, hr = visit.page.evaluate(
            "[...document.querySelectorAll('canvas')].map(c => "
            "[...c.getContext('2d').getImageData(164, 164, 1, 1).data])"
        )
        assert [v // 2 for v in hr[:3]] == a[:3] and [v // 3 for v in hr[:3]] == b[:3]


def test_a_script_in_a_name_stays_text(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        assert visit.page.evaluate("window.evil") is None
        assert "<script>" in visit.page.inner_text("h1")


def test_everything_is_reached_by_tab(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        seen = set()
        for _ in range(16):
            visit.page.keyboard.press("Tab")
            seen.add(visit.page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
        assert {"SELECT.left", "SELECT.right", "BUTTON.", "DIV.view", "SUMMARY."} <= seen
        assert any(name.startswith("IMG-COMPARISON-SLIDER") for name in seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_report_fits_the_screen_and_its_text_has_contrast(browser, tmp_path, scheme, width):
    table = Table("Table", ["a", *"bcdefghijklmn"], [["x" * 20] * 14], ("note",))
    chart = draw("Loss", [Line("pixel", [(0, 1.0), (9, 2.0)]), Line("gan", [(9, 2.0)])], y_label="loss")
    pixels = np.zeros((60, 80, 3), np.uint8)
    shown = shown_compare("p", [Item("LR", pixels), Item("HR", pixels)], reference=1)
    parts = {
        "title": "t" * 200, "network": "n", "comparisons": [shown], "tables": [table], "plots": shown.pictures,
        "charts": [chart], "no_curves": "", "checks": table, "config": "a: " + "b" * 300, "machine": table,
    }  # fmt: skip
    (tmp_path / "report.html").write_text(page("report.html.j2", **parts), encoding="utf-8")
    with Visit(browser, tmp_path / "report.html", offline=True, color_scheme=scheme) as visit:
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.page.wait_for_timeout(100)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("body", ".note", "a", "thead th", "figcaption", "button[aria-pressed=true]", "summary"):
            ink, paper = visit.page.evaluate(COLOURS, selector)
            assert contrast(ink, paper) >= 4.5, (selector, ink, paper)


SHIFTS = """
window.moved = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.moved.push(entry.value)))
  .observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize(("wide", "tall"), [(375, 700), (1200, 700), (1200, 300)])
def test_nothing_moves_while_the_page_opens(browser, compared, wide, tall):
    context = browser.new_context(viewport={"width": wide, "height": tall})
    page = context.new_page()
    page.add_init_script(SHIFTS)
    page.goto(compared.as_uri())
    page.wait_for_timeout(500)
    height = "document.querySelector('.view').getBoundingClientRect().height"
    by_script = page.evaluate(height)
    page.evaluate("document.querySelector('.view').style.height = ''")
    assert page.evaluate(height) == pytest.approx(by_script, abs=1)  # by the style sheet alone
    assert page.evaluate("window.moved") == []
    context.close()


def test_report_prints_every_picture_and_no_controls(browser, compared):
    with Visit(browser, compared, offline=True) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.is_visible(".pictures img") and not visit.page.is_visible(".viewer")
        assert visit.page.pdf()[:4] == b"%PDF"


def test_without_scripts_the_pictures_are_there(browser, compared):
    with Visit(browser, compared, offline=True, java_script_enabled=False) as visit:
        assert visit.page.is_visible(".pictures img") and not visit.page.is_visible(".viewer")


COLOURS = """selector => {
  let node = document.querySelector(selector);
  const ink = getComputedStyle(node).color;
  while (node && /rgba\\(.*, 0\\)/.test(getComputedStyle(node).backgroundColor)) node = node.parentElement;
  return [ink, node ? getComputedStyle(node).backgroundColor : getComputedStyle(document.body).backgroundColor];
}"""


def contrast(a: str, b: str) -> float:
    """WCAG's contrast of two CSS colours `rgb(r, g, b)`."""

    def luminance(colour: str) -> float:
        channels = [int(v) / 255 for v in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
