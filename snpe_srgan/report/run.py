"""The report of a run: Tables 2 and 3 of the paper filled with what was measured, curves, pictures side by side.

Reads the JSON files and pictures of a run folder; measures nothing itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import Card, read_card
from snpe_srgan.artifacts.files import read_json, write_text
from snpe_srgan.config import Config
from snpe_srgan.opener import read_text
from snpe_srgan.report import html, markdown

if TYPE_CHECKING:
    from snpe_srgan.artifacts.run_files import Files


Table = tuple[str, list[str], list[list[str]], list[str]]  # heading, header, rows, notes


def write_report(config: Config, files: Files) -> None:
    """Writes `report.html` (one file, pictures inside) and `report.md` (the tables)."""
    title = f"snpe-srgan: {config.name}"
    card = read_card(files.network)
    tables = [table2(config, files), table3(files), *(compression(files) if config.compress else ())]
    tables += [phones(files)] if config.deploy else []
    parts = [html.paragraph(_network_line(card))]
    text = [f"# {markdown.plain(title)}", "", markdown.plain(_network_line(card)), ""]
    for heading, header, rows, notes in tables:
        parts += [html.heading(heading), html.table("", header, rows), *(html.paragraph(n, note=True) for n in notes)]
        text += [f"## {markdown.plain(heading)}", "", markdown.table(header, rows), ""]
        text += [f"{markdown.plain(note)}\n" for note in notes]
    parts += [html.heading("Pictures"), html.paragraph(PICTURES_NOTE, note=True)]
    for path, caption in _figures(config, files):
        parts.append(html.picture(path, caption))
    parts += [*_quantization(files), html.heading("Training"), *_curves(files.folder / "metrics.jsonl")]
    parts += [html.heading("Each artifact against the one before"), _checks(files)]
    write_text(files.report_html, html.page(title, parts), overwrite=True)
    write_text(files.report_md, "\n".join(text), overwrite=True)


PICTURES_NOTE = (
    "The framed square of each picture is enlarged below it. LR is shown with its pixels repeated. The quantized "
    "picture was computed from the .dlc file."
)


PLOTS = {
    "sensitivity.png": "What each layer adds to the picture's error, all others in float.",
    "sqnr.png": "Signal to noise on its way through the network.",
    "ranges.png": "Channels that share one grid, before and after equalization.",
    "shift.png": "Mean shift of the channels, before and after bias correction.",
}


def _network_line(card: Card | None) -> str:
    if card is None:
        return ""
    options = ", ".join(f"{key} {value}" for key, value in card.options.items())
    seconds = sum(stage.get("seconds", 0) for stage in card.training.get("stages", []))
    steps = ", ".join(f"{stage['name']} {stage['steps']} steps" for stage in card.training.get("stages", []))
    made = card.compression
    smaller = f" Compressed to {made['target']} by the strategy '{made['strategy']}'." if made else ""
    return (
        f"Network {card.network} x{card.scale} ({options}): {card.parameters:,} parameters, "
        f"{card.macs_per_lr_pixel:,} MACs per LR pixel, receptive radius {card.receptive_radius} LR pixels. "
        f"Trained {seconds / 60:.1f} minutes ({steps}).{smaller}"
    )


def _datasets(path: Path) -> dict[str, dict]:
    return {data["dataset"]: data for data in read_json(path)["datasets"]}


def table2(config: Config, files: Files):
    """PSNR and SSIM against bicubic; the quantized column is compared on the pictures it was computed for."""
    floats, quantized = _datasets(files.float_scores), _datasets(files.quantized_scores)
    header = ["data set", "bicubic", "float network", f"{config.quantize.recipe} .dlc", "cost of quantization"]
    rows = []
    for name, data in floats.items():
        judged = {picture["name"]: picture["score"] for picture in quantized[name]["pictures"]}
        same = [picture for picture in data["pictures"] if picture["name"] in judged]
        if len(same) < len(data["pictures"]):
            rows.append([f"{name}, {_count(data['pictures'])}", _score(_mean(data["pictures"], "bicubic")),
                         _score(_mean(data["pictures"], "score")), "", ""])  # fmt: skip
        sr, dlc = _mean(same, "score"), _mean([{"score": judged[p["name"]]} for p in same], "score")
        rows.append([f"{name}, {_count(same)}", _score(_mean(same, "bicubic")), _score(sr), _score(dlc),
                     f"{dlc[0] - sr[0]:+.2f} dB"])  # fmt: skip
    first, judged = next(iter(floats.values())), next(iter(quantized.values()))
    notes = [
        f"{first['protocol']}; {first['origin']}; x{first['scale']}.",
        f"Float: {first['engine']}. Quantized: the .dlc itself on {judged['engine']}.",
    ]
    return "Table 2: PSNR (dB) and SSIM against bicubic", header, rows, notes


def table3(files: Files):
    """Size, host time by engine, and the cost model's estimate, one row for each artifact and engine."""
    data = read_json(files.benchmark)
    artifact = {files.pb.name: files.pb, files.onnx.name: files.dlc, files.quantized_onnx.name: files.quantized_dlc}
    header = ["artifact", "bytes", "engine", "median", "p90", "peak memory", "speed-up", "cost model's estimate"]
    rows = []
    for model in data["models"]:
        file, estimate = artifact[Path(model["path"]).name], model["estimate"]
        cost = f"{estimate['microseconds'] / 1000:.2f} ms" if estimate else ""
        for timing in model["timings"]:
            peak = "" if timing["peak_bytes"] is None else f"{timing['peak_bytes'] / 1e6:.0f} MB"
            speedup = "" if timing["speedup"] is None else f"{timing['speedup']:.2f}"
            rows.append([file.name, f"{file.stat().st_size:,}", timing["engine"], f"{timing['median'] * 1000:.1f} ms",
                         f"{timing['p90'] * 1000:.1f} ms", peak, speedup, cost])  # fmt: skip
    height, width = data["input_size"]
    estimates = [model["estimate"] for model in data["models"] if model["estimate"]]
    notes = [
        f"Input {height}x{width}. Host: {data['cpu']}, {data['threads']} threads, {data['runs']} runs in turns; the "
        f"speed-up is over {data['baseline']} in the same turns. A .dlc is timed as the .onnx of the same graph.",
        *dict.fromkeys(f"Last column: {e['label']}; no measured latency." for e in estimates),
        *dict.fromkeys(
            f"No estimate: {m['no_estimate']}." for m in data["models"] if not m["estimate"] and m["kind"] != "pb"
        ),
    ]
    return "Table 3: size and time", header, rows, notes


def phones(files: Files) -> Table:
    """What each file of the bundle drew on the emulator, or why that is not known."""
    data = read_json(files.proof)
    header = ["file", "chip", "bytes", "dB to the float network", "worst level", "reloads bit-equal"]
    rows = []
    for proof in data["proofs"]:
        start = [proof["path"], proof["chip"] or "any", f"{proof['bytes']:,}"]
        if proof["unproven"]:
            rows.append([*start, "not proven", "", proof["unproven"]])
            continue
        reloads = {None: "", True: "yes", False: "NO"}[proof["reloads"]]
        rows.append([*start, f"{proof['psnr_to_float']:.2f}", str(proof["worst"]), reloads])
    notes = ["Run on the Hexagon emulator (plain .tflite: LiteRT on this machine's CPU), never on a phone; all of it "
             f"is in {files.bundle.name}/proof.html."]  # fmt: skip
    return "For phones", header, rows, notes


def compression(files: Files):
    """Two tables: the network before and after compression, its pictures included, and what each unit gave up."""
    from snpe_srgan.compression.measure import measured_from
    from snpe_srgan.compression.result import Row
    from snpe_srgan.compression.tables import before_after, given_up

    data = read_json(files.compression)
    header, rows, notes = before_after(measured_from(data["measured"]))
    fulls, smalls = _datasets(files.full_scores), _datasets(files.float_scores)
    scores = []
    for name, full in fulls.items():
        a, b = (_mean(d["pictures"], "score") for d in (full, smalls[name]))
        scores.append([f"{name}, {_count(full['pictures'])}", _score(a), _score(b), f"{b[0] - a[0]:+.2f} dB", ""])
    units = given_up([Row(**row) for row in data["rows"]])
    looked = f"Reconstructed on {data['calibration']}; chosen by {data['validation']}."
    return (
        (f"Compression to {data['target']}", list(header), [*scores, *rows], [*notes, *data["recommendation"]]),
        ("What each layer gave up", list(units[0]), units[1], [looked]),
    )


def _count(pictures: list) -> str:
    return "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"


def _mean(pictures: list[dict], key: str) -> tuple[float, float]:
    scores = [picture[key] for picture in pictures]
    psnrs = [float("inf") if s["psnr"] is None else s["psnr"] for s in scores]  # JSON knows no infinity
    return sum(psnrs) / len(psnrs), sum(s["ssim"] for s in scores) / len(scores)


def _score(score: tuple[float, float]) -> str:
    return f"{score[0]:.2f} / {score[1]:.4f}"


def _figures(config: Config, files: Files) -> list[tuple[Path, str]]:
    """Writes a side-by-side figure for each picture that was run quantized; (path, caption) of each."""
    from snpe_srgan.data.sources import source_folder
    from snpe_srgan.imaging.pictures import Picture, write_picture
    from snpe_srgan.imaging.side_by_side import Panel, nearest_enlarged, side_by_side
    from snpe_srgan.metrics.dataset import find_evaluation_set

    floats, quantized = _datasets(files.float_scores), _datasets(files.quantized_scores)
    figures = []
    for name in config.evaluate.datasets:
        data = find_evaluation_set(
            source_folder(name, config.data.root), scale=config.model.scale, name=Path(name).name
        )
        scores = {p["name"]: p for p in floats[data.name]["pictures"]}
        judged = {p["name"]: p for p in quantized[data.name]["pictures"]}
        for item in data.files:
            if item.name not in judged:
                continue
            pair, row = item.load(), scores[item.name]
            panels = [
                Panel(nearest_enlarged(pair.lr, config.model.scale), "LR", f"{pair.lr.shape[1]}x{pair.lr.shape[0]}"),
                _panel(files, "bicubic", data.name, item.name, row["bicubic"], "bicubic"),
                _panel(files, "float", data.name, item.name, row["score"], "float"),
                _panel(files, "quantized", data.name, item.name, judged[item.name]["score"],
                       f"{config.quantize.recipe} .dlc"),
                Panel(pair.hr, "HR", f"{pair.hr.shape[1]}x{pair.hr.shape[0]}"),
            ]  # fmt: skip
            path = files.folder / "pictures" / f"{data.name}_{item.name}.png"
            write_picture(path, Picture(side_by_side(panels, detail=min(64, *pair.hr.shape[:2]))), overwrite=True)
            figures.append((path, f"{data.name} {item.name}: LR, bicubic, float, quantized, HR"))
    return figures


def _panel(files: Files, kind: str, data: str, name: str, score: dict, title: str):
    from snpe_srgan.imaging.pictures import read_picture
    from snpe_srgan.imaging.side_by_side import Panel

    return Panel(read_picture(files.pictures(kind) / data / f"{name}.png").rgb, title, f"{score['psnr']:.2f} dB")


def _quantization(files: Files) -> list[str]:
    """The plots of the quantization's analysis, if they were drawn."""
    found = [(files.plots / name, caption) for name, caption in PLOTS.items() if (files.plots / name).exists()]
    return [html.heading("Where quantization loses"), *(html.picture(*f) for f in found)] if found else []


def _curves(metrics: Path) -> list[str]:
    """Validation PSNR of each stage over all steps; nothing where no validation was made."""
    series: dict[str, list[tuple[float, float]]] = {}
    before, last = {}, 0  # each stage counts its own steps: put the stages one behind the other
    if not metrics.is_file():  # no stage of the pipeline answers for it
        return [html.paragraph("metrics.jsonl is gone, so there are no curves.", note=True)]
    for line in read_text(metrics, limit=1 << 28, doing="read the training's log").splitlines():
        row = json.loads(line)
        start = before.setdefault(row["stage"], last)
        last = start + row["step"]
        if row["kind"] == "validation" and row.get("psnr") is not None:
            series.setdefault(row["stage"], []).append((last, row["psnr"]))
    if not series:
        return [html.paragraph("No validation was made during training.", note=True)]
    return [html.curve("Validation PSNR while training", list(series.items()), y_label="dB")]


def _checks(files: Files) -> str:
    rows = []
    for path in (files.pb, files.onnx, files.dlc, files.quantized_onnx, files.quantized_dlc):
        card = read_card(path)
        for check in card.checks if card else ():
            value = "equal" if check.value is None else f"{check.value:.3g}"
            limit = "" if check.threshold is None else f"{check.threshold:g}"
            rows.append([path.name, check.against, check.measure, value, limit, "ok" if check.passed else "FAILED"])
    return html.table("", ["artifact", "against", "measure", "value", "limit", ""], rows)
