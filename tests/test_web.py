"""`deploy --web`: what is refused, what the folder holds, and the page in a real browser: the bytes of `run`, offline.

The browser's tests need playwright, Debian's chromium, and the npm package onnxruntime-web (`npm install
onnxruntime-web` in this repository or above, or $ONNXRUNTIME_WEB); they are skipped, saying so, where one is missing.
WebGPU is computed in software there (SwiftShader): that shows what is drawn, not how fast.
"""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import TINY, random_weights
from PIL import Image

from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.toolchains.ort_web import GPU_SCRIPT, GPU_WASM, SCRIPT, WASM, find_ort_web

SITE = os.path.join(os.path.dirname(__file__), "..", "snpe_srgan", "deploy", "site")
TILE = (24, 32)


def model(path):
    graph = describe("mobile", TINY["mobile"])
    save_npz(path, graph, random_weights(graph, np.random.default_rng(0)))
    return path


@pytest.fixture
def package(tmp_path):
    """The shape of the npm package: enough to make a site, not to run it."""
    folder = tmp_path / "node_modules" / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    for name in (SCRIPT, WASM, GPU_SCRIPT, GPU_WASM):
        (folder / "dist" / name).write_bytes(name.encode())
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": "1.99.0"}))
    return folder


def test_the_package_is_found_as_node_finds_it(package, tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert find_ort_web(None).version == "1.99.0"
    for folder in (package, package / "dist", tmp_path):
        found = find_ort_web(folder)
        assert found.processor.script == package / "dist" / SCRIPT
        assert found.graphics is not None and found.graphics.wasm == package / "dist" / GPU_WASM
    (package / "dist" / GPU_WASM).unlink()
    assert find_ort_web(None).graphics is None


def test_what_no_site_can_be_made_of_is_refused_at_once(package, tmp_path, monkeypatch):
    file, site = model(tmp_path / "generator.npz"), tmp_path / "site"
    web = ("deploy", file, "--web", "-o", site)
    assert_error(snpe_srgan(*web, "--onnxruntime-web", tmp_path / "nothing"), 1, "onnxruntime-web")
    assert_error(snpe_srgan(*web, "--all"), 2, "--all")
    assert_error(snpe_srgan(*web, "--no-proof"), 2, "--no-proof")
    assert_error(snpe_srgan(*web, "--float", "--recipe", "w8a8"), 2, "--recipe")
    assert_error(snpe_srgan("deploy", file, "--float", "-o", site), 2, "--web")
    assert_error(snpe_srgan(*web, "--recipe", "auto", "--onnxruntime-web", package), 2, "auto")
    taken = tmp_path / "photos"
    taken.mkdir()
    (taken / "a.jpg").touch()
    outcome = snpe_srgan("deploy", file, "--web", "--overwrite", "--onnxruntime-web", package, "-o", taken)
    assert_error(outcome, 1, "other files")
    monkeypatch.chdir("/")
    assert_error(snpe_srgan(*web), 3, "npm install onnxruntime-web")
    assert not site.exists() and [p.name for p in taken.iterdir()] == ["a.jpg"]


def test_the_folder_is_whole_and_its_text_is_escaped(package, tmp_path):
    evil = tmp_path / "<img src=x onerror=alert(1)>.npz"
    outcome = snpe_srgan(
        "deploy", model(evil), "--web", "--float", "--input-size", "24x32", "--onnxruntime-web", package,
        "-o", tmp_path / "site", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    site = tmp_path / "site"
    assert outcome.json["exact_tiles"] is True
    assert outcome.json["bytes"] == sum(p.stat().st_size for p in site.iterdir())
    listed = json.loads(re.search(r"FILES = (\[.*\])", (site / "offline.js").read_text())[1])
    assert set(listed) == {"./", *(p.name for p in site.iterdir())} - {"offline.js"}
    page = (site / "index.html").read_text()
    assert "<img" not in page and "&lt;img" in page and "http:" not in page and "https:" not in page
    text = page + "".join((site / name).read_text() for name in ("app.js", "worker.js", "engine.js"))
    names = r"""(?:src|href)="([^"#]+)"|(?:fetch|json|bytes)\("([^"]+)"\)|"\./([^"]+)\"|"([^" ]+\.gz)\""""
    used = {next(filter(None, found)) for found in re.findall(names, text)}
    assert {"app.js", "tiles.json", "ort.webgpu.mjs", "ort.webgpu.wasm.gz"} <= used <= {p.name for p in site.iterdir()}
    assert gzip.decompress((site / "ort.wasm.gz").read_bytes()) == (package / "dist" / WASM).read_bytes()
    assert outcome.json["webgpu"] is True and json.loads((site / "site.json").read_text())["webgpu"] is True
    assert not list(tmp_path.glob(".snpe*"))


def test_a_quantized_file_is_taken_as_it_is_and_keeps_the_name_of_its_recipe(package, tmp_path):
    file = model(tmp_path / "generator.npz")
    made = snpe_srgan(
        "quantize", file, "-o", tmp_path / "out", "--recipe", "w8a8-plain", "--calibration", "synthetic", "--onnx-only",
        "--json",
    )  # fmt: skip
    assert made.code == 0, made
    web = ("--web", "--input-size", "24x32", "--onnxruntime-web", package, "--json")
    outcome = snpe_srgan("deploy", made.json["onnx"], *web, "-o", tmp_path / "site")
    assert outcome.code == 0, outcome
    assert outcome.json["recipe"] == made.json["recipe"] == "w8a8-plain" and outcome.json["webgpu"] is False
    assert not (tmp_path / "site" / "ort.webgpu.mjs").exists()


def test_without_input_size_the_tiles_are_128x128_or_what_the_model_is_fixed_to(package, tmp_path):
    file = model(tmp_path / "generator.npz")
    web = ("--web", "--float", "--onnxruntime-web", package)
    assert snpe_srgan("deploy", file, *web, "-o", tmp_path / "usual").code == 0
    assert snpe_srgan("deploy", file, *web, "--input-size", "40x48", "-o", tmp_path / "fixed").code == 0
    assert snpe_srgan("deploy", tmp_path / "fixed" / "model.onnx", *web, "-o", tmp_path / "own").code == 0
    tiles = [json.loads((tmp_path / name / "tiles.json").read_text())["tile"] for name in ("usual", "own")]
    assert tiles == [{"height": 128, "width": 128}, {"height": 40, "width": 48}]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is missing")
def test_tiles_in_javascript_are_those_of_python_and_so_are_the_pixels(tmp_path):
    values = np.random.default_rng(0).uniform(-1.1, 1.1, 4000).astype(np.float32)
    cases = [(length, tile, overlap) for tile, overlap in ((24, 3), (33, 7), (128, 40)) for length in range(1, 400, 3)]
    script = f"""
import {{ spans, mirrored, toPixel, enlarge }} from "{os.path.abspath(SITE)}/tiles.js";
const rule = {{ scale: 2, overlap: 2, tile: {{ height: 9, width: 11 }} }};
const picture = {{ width: 23, height: 5, data: new Uint8ClampedArray(23 * 5 * 4).map((_, i) => (i * 37) % 256) }};
const twice = async (lr) => {{
  const out = new Float32Array(9 * 11 * 12);
  for (let y = 0; y < 18; y++) for (let x = 0; x < 22; x++) for (let c = 0; c < 3; c++)
    out[(y * 22 + x) * 3 + c] = lr[((y >> 1) * 11 + (x >> 1)) * 3 + c] * 2 - 1;
  return out;
}};
const big = await enlarge(rule, picture, twice, () => {{}});
console.log(JSON.stringify({{
  spans: {json.dumps(cases)}.map(([a, b, c]) => spans(a, b, c)),
  mirrored: Array.from({{ length: 40 }}, (_, i) => mirrored(i, 7)),
  pixels: {json.dumps([float(v) for v in values])}.map((v) => toPixel(Math.fround(v))),
  big: Array.from(big.data), small: Array.from(picture.data),
}}));
"""
    (tmp_path / "t.mjs").write_text(script)
    done = subprocess.run(["node", tmp_path / "t.mjs"], capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(done.stdout)
    from snpe_srgan.imaging.colour import sr_to_pixels
    from snpe_srgan.imaging.tiles import plan_tiles

    for (length, tile, overlap), spans in zip(cases, told["spans"], strict=True):
        parts = plan_tiles(max(length, tile), tile, tile=(tile, tile), overlap=overlap)
        ours = [[p.y, p.keep_y, min(p.keep_y_end, max(length, tile))] for p in parts]
        if length > tile:
            assert spans == ours, (length, tile, overlap)
        else:
            assert spans == [[0, 0, length]]
    assert told["mirrored"] == np.pad(np.arange(7), (0, 33), mode="symmetric").tolist()
    assert told["pixels"] == sr_to_pixels(values).tolist()
    small = np.array(told["small"], np.uint8).reshape(5, 23, 4)[..., :3]
    big = np.array(told["big"], np.uint8).reshape(10, 46, 4)
    assert np.array_equal(big[..., :3], small.repeat(2, 0).repeat(2, 1)) and (big[..., 3] == 255).all()


# -- in a browser --------------------------------------------------------------------------------------------------


def ort_web():
    try:
        return find_ort_web(os.environ.get("ONNXRUNTIME_WEB"))
    except Exception:
        pytest.skip("onnxruntime-web is missing: npm install onnxruntime-web, or set ONNXRUNTIME_WEB")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A site of a quantized network and one of the float network, behind a web server: (folder, address) of each."""
    found, root = ort_web(), tmp_path_factory.mktemp("web")
    file = model(root / "generator.npz")
    size = ("--input-size", "{}x{}".format(*TILE), "--onnxruntime-web", found.processor.script.parent)
    for name, more in (("w8a8", ("--recipe", "w8a8-plain", "--calibration", "synthetic")), ("float", ("--float",))):
        outcome = snpe_srgan("deploy", file, "--web", "-o", root / name, *size, *more)
        assert outcome.code == 0, outcome
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {name: (root / name, f"http://127.0.0.1:{server.server_port}/{name}/") for name in ("w8a8", "float")}
    server.shutdown()


class Visit:
    """A page of a site: everything that went wrong, and every request."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(viewport={"width": 900, "height": 700}, accept_downloads=True, **options)
        self.page, self.address = self.context.new_page(), address
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.context.on("request", lambda r: self.requests.append(f"{r.method} {r.url}"))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-offline=ready]", state="attached")

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.context.close()
        if kind is None:
            assert not self.wrong
            site = self.address.split("?")[0]
            assert all(r.startswith((f"GET {site}", "GET blob:")) for r in self.requests), self.requests

    def enlarge(self, path) -> np.ndarray:
        self.page.set_input_files("#file", path)
        return self.saved()

    def saved(self) -> np.ndarray:
        self.page.wait_for_selector("#result:not([hidden])", timeout=120_000)
        with self.page.expect_download() as download:
            self.page.click("#download")
        return np.asarray(Image.open(io.BytesIO(open(download.value.path(), "rb").read())).convert("RGB"))

    def status(self) -> str:
        return self.page.inner_text("#status")


def photo(path, height, width):
    """Smooth and noisy at once, so that every tile differs."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=-1)
    noise = np.random.default_rng(height).normal(0, 20, base.shape)
    Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("size", [(7, 9), TILE, (61, 83)])
def test_a_w8a8_network_draws_the_bytes_of_run(browser, served, tmp_path, size):
    folder, address = served["w8a8"]
    picture = photo(tmp_path / "photo.png", *size)
    done = snpe_srgan("run", folder / "model.onnx", picture, "-o", tmp_path / "ours.png", "--engine", "onnxruntime")
    assert done.code == 0, done
    with Visit(browser, address) as visit:
        theirs = visit.enlarge(picture)
        assert "1 thread" in visit.status()
    assert np.array_equal(theirs, np.asarray(Image.open(tmp_path / "ours.png")))


@pytest.mark.slow
def test_a_float_network_is_within_a_level(browser, served, tmp_path):
    folder, address = served["float"]
    picture = photo(tmp_path / "photo.png", 61, 83)
    snpe_srgan("run", folder / "model.onnx", picture, "-o", tmp_path / "ours.png", "--engine", "onnxruntime")
    with Visit(browser, address) as visit:
        error = visit.enlarge(picture).astype(int) - np.asarray(Image.open(tmp_path / "ours.png"))
    assert np.abs(error).max() <= 1


@pytest.fixture(scope="module")
def graphics(browser):
    """A Chromium that offers WebGPU, computed in software."""
    started = browser.browser_type.launch(
        executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
        args=["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    )
    yield started
    started.close()


@pytest.mark.slow
def test_on_webgpu_a_float_network_is_within_a_level_and_software_is_not_taken_unasked(graphics, served, tmp_path):
    folder, address = served["float"]
    assert sum(p.stat().st_size for p in folder.iterdir()) < 16e6
    picture = photo(tmp_path / "photo.png", 61, 83)
    snpe_srgan("run", folder / "model.onnx", picture, "-o", tmp_path / "ours.png", "--engine", "onnxruntime")
    with Visit(graphics, address + "?engine=webgpu") as visit:
        error = visit.enlarge(picture).astype(int) - np.asarray(Image.open(tmp_path / "ours.png"))
        assert "WebGPU" in visit.status() and visit.page.inner_text("#remarks") == ""
    assert np.abs(error).max() <= 1
    for more in ("", "?engine=wasm"):
        with Visit(graphics, address + more) as visit:
            visit.enlarge(picture)
            assert "thread" in visit.status() and visit.page.inner_text("#remarks") == ""


BROKEN = {  # what stands in place of the WebGPU build's script: (its code, what the page says)
    "it cannot be loaded": ("throw new Error('no such luck.');", "no such luck"),
    "it draws something else": ("const run = (n) => new Float32Array(n * SCALE * SCALE);", "levels from"),
    "it draws another size": ("const run = (n) => new Float32Array(n);", "another size"),
}
STAND_IN = """
export const env = { wasm: {} };
export class Tensor { constructor(type, data, shape) { this.data = data; } }
const open = async () => ({ inputNames: ["lr"], outputNames: ["sr"],
  run: async ({ lr }) => ({ sr: { data: run(lr.data.length) } }) });
export const InferenceSession = { create: open };
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_a_graphics_processor_that_fails_is_left_and_the_page_says_so(graphics, served, tmp_path, what):
    folder, address = served["float"]
    site = folder.parent / what.replace(" ", "-")
    shutil.copytree(folder, site)
    code, said = BROKEN[what]
    scale = json.loads((site / "site.json").read_text())["scale"]
    (site / "ort.webgpu.mjs").write_text(code.replace("SCALE", str(scale)) + STAND_IN)
    with Visit(graphics, address.replace("/float/", f"/{site.name}/") + "?engine=webgpu") as visit:
        visit.enlarge(photo(tmp_path / "photo.png", 20, 30))
        assert "thread" in visit.status() and said in visit.page.inner_text("#remarks")


@pytest.mark.slow
def test_where_there_is_no_webgpu_the_page_says_so_when_asked(browser, graphics, served, tmp_path):
    picture = photo(tmp_path / "photo.png", 20, 30)
    with Visit(browser, served["float"][1] + "?engine=webgpu") as visit:
        visit.enlarge(picture)
        assert "offers none" in visit.page.inner_text("#remarks")
    with Visit(graphics, served["w8a8"][1] + "?engine=webgpu") as visit:
        visit.enlarge(picture)
        assert "the processor alone" in visit.page.inner_text("#remarks") and "thread" in visit.status()


@pytest.mark.slow
def test_the_second_visit_is_offline_in_several_threads_and_says_that_the_bytes_are_the_same(browser, served):
    with Visit(browser, served["w8a8"][1]) as visit:
        visit.context.set_offline(True)
        visit.page.reload()
        visit.page.wait_for_selector("#example:not([disabled])")
        visit.page.click("#example")
        visit.saved()
        assert visit.page.evaluate("self.crossOriginIsolated") is True
        assert "same bytes" in visit.page.inner_text("#remarks")
        if (os.cpu_count() or 1) > 1:
            assert "threads" in visit.status()


@pytest.mark.slow
def test_the_slider_moves_by_keys_and_pointer_and_shows_what_was_drawn(browser, served, tmp_path):
    with Visit(browser, served["w8a8"][1]) as visit:
        visit.enlarge(photo(tmp_path / "photo.png", 40, 60))
        visit.page.focus("#slider")
        visit.page.keyboard.press("Home")
        assert visit.page.evaluate("getComputedStyle(compare).getPropertyValue('--at')") == "0%"
        visit.page.keyboard.press("End")
        assert "100 % original" in visit.page.get_attribute("#slider", "aria-valuetext")
        box = visit.page.locator("#compare").bounding_box()
        visit.page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 20)
        assert 20 < int(visit.page.input_value("#slider")) < 30
        visit.page.check("#pixels")
        assert visit.page.locator("#compare").bounding_box()["width"] == 240


@pytest.mark.slow
def test_what_is_no_picture_transparency_and_16_bits_are_said(browser, served, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    clear = np.zeros((9, 9, 4), np.uint8)
    clear[:5] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray((np.arange(81).reshape(9, 9) * 800).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (6000, 5000)).save(tmp_path / "huge.png")
    with Visit(browser, served["w8a8"][1]) as visit:
        for name, words in (("text.png", "no picture"), ("huge.png", "too many")):
            visit.page.set_input_files("#file", tmp_path / name)
            visit.page.wait_for_selector("#status.wrong", timeout=60_000)
            assert words in visit.status() and visit.page.is_hidden("#result")
        assert (visit.enlarge(tmp_path / "clear.png")[-4:] > 100).any()
        assert "on white" in visit.page.inner_text("#remarks")
        visit.enlarge(tmp_path / "deep.png")
        assert "8" in visit.page.inner_text("#remarks")


@pytest.mark.slow
def test_opened_as_a_file_the_page_says_what_to_do(browser, served):
    page = browser.new_page()
    page.goto((served["w8a8"][0] / "index.html").as_uri())
    assert "http.server" in page.inner_text("#status")
    page.close()
