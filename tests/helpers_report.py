"""report.html held against the files of its run: every cell of its tables, its captions, curves and pictures.

The page is parsed and the expected text is made here from the JSON files, without the package's own report code.
"""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from snpe_srgan.report.run import PLOTS as PLOT_FILES

PLOTS = set(PLOT_FILES.values())
VOID = {"meta", "img", "br", "line", "polyline", "circle", "link", "input"}


class Page(html.parser.HTMLParser):
    """The page's text by heading: tables as rows of cells, captions, and pictures (name, url)."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.captions: list[str] = []
        self.pictures: list[tuple[str, str]] = []
        self.lead, self.pre = "", ""
        self._path: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "img" and values.get("alt") and "src" in values:
            self.pictures.append((values["alt"], values["src"]))
        if tag in VOID:
            return
        self._path.append((tag, values))
        if tag == "div" and values.get("class") == "scroll":
            self._table = self.tables.setdefault(values["aria-label"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
        elif tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._path.pop()[0] == tag, tag

    def handle_data(self, data):
        tags = [tag for tag, _ in self._path]
        if "td" in tags or "th" in tags:
            self._table[-1][-1] += data
        if "figcaption" in tags:
            self.captions[-1] += data
        if "pre" in tags:
            self.pre += data
        if any(values.get("class") == "lead" for _, values in self._path):
            self.lead += data


def scores(run: Path, name: str) -> list[dict]:
    return json.loads((run / name).read_text())["datasets"]


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def pair(rows: list[dict]) -> str:
    return f"{mean(r['psnr'] for r in rows):.2f} / {mean(r['ssim'] for r in rows):.4f}"


def table2(run: Path, recipe: str) -> list[list[str]]:
    rows = [["data set", "bicubic", "float network", f"{recipe} .dlc", "cost of quantization"]]
    quantized = {data["dataset"]: data for data in scores(run, f"evaluation_{recipe}.json")}
    for data in scores(run, "evaluation_float.json"):
        judged = {p["name"]: p["score"] for p in quantized.get(data["dataset"], {"pictures": []})["pictures"]}
        every = data["pictures"]
        same = [p for p in every if p["name"] in judged]

        def start(pictures, name=data["dataset"]):
            count = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
            return [f"{name}, {count}", pair([p["bicubic"] for p in pictures]), pair([p["score"] for p in pictures])]

        if len(same) < len(every):
            rows.append([*start(every), "", ""])
        if same:
            dlc = [judged[p["name"]] for p in same]
            cost = mean(d["psnr"] for d in dlc) - mean(p["score"]["psnr"] for p in same)
            rows.append([*start(same), pair(dlc), f"{cost:+.2f} dB"])
    return rows


def table3(run: Path) -> list[list[str]]:
    rows = []
    for model in json.loads((run / "benchmark.json").read_text())["models"]:
        name = Path(model["path"]).name
        name = name if name.endswith(".pb") else name.replace(".onnx", ".dlc")
        estimate = model["estimate"] and f"{model['estimate']['microseconds'] / 1000:.2f} ms"
        for timing in model["timings"]:
            seconds = np.array(timing["seconds"])
            peak = timing["peak_bytes"] and f"{timing['peak_bytes'] / 1e6:.0f} MB"
            rows.append([
                name, f"{(run / name).stat().st_size:,}", timing["engine"], f"{np.median(seconds) * 1000:.1f} ms",
                f"{timing['p90'] * 1000:.1f} ms", peak or "", f"{timing['speedup']:.2f}", estimate or "",
            ])  # fmt: skip
    return rows


def checks(run: Path, recipe: str) -> list[list[str]]:
    rows = []
    quantized = f"generator_{recipe}"
    for stem in ("generator.pb", "generator.onnx", "generator.dlc", f"{quantized}.onnx", f"{quantized}.dlc"):
        for check in json.loads((run / f"{stem}.json").read_text())["checks"]:
            value = "equal" if check["value"] is None else f"{check['value']:.3g}"
            limit = "" if check["threshold"] is None else f"{check['threshold']:g}"
            rows.append([stem, check["against"], check["measure"], value, limit, "ok" if check["passed"] else "FAILED"])
    return rows


def last_values(run: Path) -> dict[str, set[str]]:
    """The last value of each line of each chart, as the captions say it."""
    found: dict[str, set[str]] = {"Validation": set(), "Loss": set(), "Discriminator": set(), "Learning rate": set()}
    last: dict[tuple[str, str, str], float] = {}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        for key, value in line.items():
            if isinstance(value, int | float):
                last[line["kind"], line["stage"], key] = value
    for (kind, stage, key), value in last.items():
        text = f"{value:.4g}"
        if (kind, key) == ("validation", "psnr"):
            found["Validation"].add(f"{stage} {text}")
        elif (kind, key) == ("validation", "bicubic_psnr"):
            found["Validation"].add(f"bicubic {text}")
        elif (kind, key) == ("train", "loss"):
            found["Loss"].add(f"{stage} {text}")
        elif (kind, key) == ("train", "learning_rate"):
            found["Learning rate"].add(f"{stage} {text}")
        elif key in ("d_real", "d_fake"):
            found["Discriminator"].add(f"D({key[2:]}) {text}")
    return found


def check_report(run: Path, recipe: str) -> Page:
    """AssertionError where the page says anything else than the files of the run."""
    page = Page((run / "report.html").read_text())
    card = json.loads((run / "generator.npz.json").read_text())
    tables = dict(page.tables)
    assert tables.pop("Table 2: PSNR (dB) and SSIM against bicubic") == table2(run, recipe)
    assert tables.pop("Table 3: size and time")[1:] == table3(run)
    assert tables.pop("Each artifact against the one before")[1:] == checks(run, recipe)
    timed = json.loads((run / "benchmark.json").read_text())
    machine = {"processor": timed["cpu"], "threads": str(timed["threads"]), **card["tools"]}
    assert dict(tables.pop("Machine")[1:]) == machine
    assert set(tables) <= {"For phones"}  # nothing else that nobody compares
    if "For phones" in tables:
        proofs = json.loads((run / "bundle" / "proof.json").read_text())["proofs"]
        assert [row[0] for row in tables["For phones"][1:]] == [proof["path"] for proof in proofs]
        for row, proof in zip(tables["For phones"][1:], proofs, strict=True):
            assert row[1:3] == [proof["chip"] or "any", f"{proof['bytes']:,}"]
            if not proof["unproven"]:
                assert row[3:5] == [f"{proof['psnr_to_float']:.2f}", str(proof["worst"])]

    stages = card["training"]["stages"]
    told = re.findall(r"[\d,]*\.?\d+", page.lead.split("): ", 1)[1].split(" Compressed")[0])
    minutes = sum(stage["seconds"] for stage in stages) / 60
    expected = [f"{card['parameters']:,}", f"{card['macs_per_lr_pixel']:,}", str(card["receptive_radius"])]
    assert told == [*expected, f"{minutes:.1f}", *(str(stage["steps"]) for stage in stages)]

    for title, values in last_values(run).items():
        caption = next((text for text in page.captions if text.startswith(title + ",")), "")
        said = set(re.findall(r"(?:^|\s)((?:[\w-]+|D\(\w+\)) [-+\d.e]+)(?=\s|$)", caption.split(":", 1)[-1]))
        assert said == values, (title, said, values)

    judged = {data["dataset"]: data for data in scores(run, f"evaluation_{recipe}.json")}
    for data in scores(run, "evaluation_float.json"):
        for picture in judged[data["dataset"]]["pictures"]:
            own = next(p for p in data["pictures"] if p["name"] == picture["name"])
            title = f"{data['dataset']} {picture['name']}"
            shown = {alt.removeprefix(f"{title}, "): url for alt, url in page.pictures if alt.startswith(f"{title}, ")}
            rows = (("bicubic", "bicubic", own["bicubic"]), ("float", "float", own["score"]),
                    (f"{recipe} .dlc", "quantized", picture["score"]))  # fmt: skip
            for name, folder, score in rows:
                assert f"{name} {score['psnr']:.2f} dB" in page.captions, name
                file = run / "pictures" / folder / data["dataset"] / f"{picture['name']}.png"
                pixels = decoded(shown[name])
                assert np.array_equal(pixels, np.asarray(Image.open(file).convert("RGB"))), name
                distance = np.abs(pixels.astype(int) - decoded(shown["HR"])).mean()
                assert f"{name} mean {distance:.2f} levels" in page.captions, name
    plots = sorted((run / f"generator_{recipe}.plots").glob("*.png"))
    shown_plots = [decoded(url) for alt, url in page.pictures if alt in PLOTS]
    drawn = {Image.open(path).convert("RGB").tobytes() for path in plots}
    assert len(plots) == len(shown_plots) and {pixels.tobytes() for pixels in shown_plots} == drawn
    assert yaml.safe_load(page.pre) == yaml.safe_load((run / "config.yaml").read_text())
    return page


def decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("RGB"))
