"""The report of a run: pictures under a slider, Tables 2 and 3 of the paper filled with what was measured, curves.

Reads the JSON files and pictures of a run folder; measures nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import Card, read_card
from snpe_srgan.artifacts.files import write_text
from snpe_srgan.config import Config
from snpe_srgan.config.loading import dump_config
from snpe_srgan.metrics.evaluate import PictureScore
from snpe_srgan.metrics.protocol import Score, mean_score
from snpe_srgan.report import markdown
from snpe_srgan.report.curves import training_charts
from snpe_srgan.report.page import Table, page
from snpe_srgan.report.results import (
    LogLine,
    Scores,
    read_benchmark,
    read_compression,
    read_log,
    read_proof,
    read_scores,
    trained_stages,
)
from snpe_srgan.report.shown import Comparison, Item, Shown, compare, png_file
from snpe_srgan.runtimes.benchmark import Benchmark

if TYPE_CHECKING:
    import numpy as np

    from snpe_srgan.artifacts.run_files import Files

PLOTS = {
    "sensitivity.png": "What each layer adds to the picture's error, all others in float.",
    "sqnr.png": "Signal to noise on its way through the network.",
    "ranges.png": "Channels that share one grid, before and after equalization.",
    "shift.png": "Mean shift of the channels, before and after bias correction.",
}


def write_report(config: Config, files: Files) -> None:
    """Writes `report.html` (one file, pictures inside) and `report.md` (the tables).

    Raises:
        InputError: a file that the report is made of is damaged; it names the file and the place in it.
    """
    title = f"snpe-srgan: {config.name}"
    card = read_card(files.network)
    floats, quantized = read_scores(files.float_scores), read_scores(files.quantized_scores)
    timed = read_benchmark(files.benchmark)
    log = read_log(files.folder / "metrics.jsonl")
    tables: list[Table] = [
        table2(floats, quantized, recipe=config.quantize.recipe),
        table3(timed, files),
        *(compression_tables(files, floats) if config.compress else ()),
        *([phones(files)] if config.deploy else ()),
    ]
    text = page(
        "report.html.j2", title=title, network=_network_line(card), comparisons=comparisons(config, files, quantized),
        tables=tables, plots=_plots(files), charts=training_charts(log or ()), no_curves=_no_curves(log),
        checks=_checks(files), config=dump_config(config), machine=_machine(timed, card),
    )  # fmt: skip
    write_text(files.report_html, text, overwrite=True)
    write_text(files.report_md, _markdown(title, _network_line(card), tables), overwrite=True)


def _markdown(title: str, network: str, tables: list[Table]) -> str:
    lines = [f"# {markdown.plain(title)}", "", markdown.plain(network), ""]
    for table in tables:
        lines += [f"## {markdown.plain(table.heading)}", "", markdown.table(table.header, table.rows), ""]
        lines += [f"{markdown.plain(note)}\n" for note in table.notes]
    return "\n".join(lines)


def _network_line(card: Card | None) -> str:
    if card is None:
        return ""
    options = ", ".join(f"{key} {value}" for key, value in card.options.items())
    stages = trained_stages(card)
    seconds = sum(stage.seconds for stage in stages)
    steps = ", ".join(f"{stage.name} {stage.steps} steps" for stage in stages)
    made = card.compression
    smaller = f" Compressed to {made.get('target')} by the strategy '{made.get('strategy')}'." if made else ""
    return (
        f"Network {card.network} x{card.scale} ({options}): {card.parameters:,} parameters, "
        f"{card.macs_per_lr_pixel:,} MACs per LR pixel, receptive radius {card.receptive_radius} LR pixels. "
        f"Trained {seconds / 60:.1f} minutes ({steps}).{smaller}"
    )


def table2(floats: Scores, quantized: Scores, *, recipe: str) -> Table:
    """PSNR and SSIM against bicubic; the quantized column is compared on the pictures it was computed for.

    Args:
        floats, quantized: of the float network and of the quantized .dlc.
        recipe: for the column's name.
    """
    rows: list[list[str]] = []
    for data in floats.datasets:
        other = quantized.of(data.dataset)
        judged = {picture.name: picture.score for picture in other.pictures} if other else {}
        same = [picture for picture in data.pictures if picture.name in judged]
        if len(same) < len(data.pictures):
            rows.append([f"{data.dataset}, {_count(data.pictures)}", _text(_bicubic(data.pictures)),
                         _text(_own(data.pictures)), "", ""])  # fmt: skip
        if same:
            sr, dlc = _own(same), mean_score([judged[picture.name] for picture in same])
            rows.append([f"{data.dataset}, {_count(same)}", _text(_bicubic(same)), _text(sr), _text(dlc),
                         f"{dlc.psnr - sr.psnr:+.2f} dB"])  # fmt: skip
    notes = [f"{d.protocol}; {d.origin}; x{d.scale}." for d in floats.datasets[:1]]
    notes += [f"Float: {d.engine}." for d in floats.datasets[:1]]
    notes += [f"Quantized: the .dlc itself on {d.engine}." for d in quantized.datasets[:1]]
    for name, judged_sets in (("Float", floats.datasets), ("Quantized", quantized.datasets)):
        notes += [f"{name}, {d.dataset}: {d.remark}." for d in judged_sets if d.remark]
    header = ["data set", "bicubic", "float network", f"{recipe} .dlc", "cost of quantization"]
    return Table("Table 2: PSNR (dB) and SSIM against bicubic", header, rows, tuple(notes))


def table3(timed: Benchmark, files: Files) -> Table:
    """Size, host time by engine, and the cost model's estimate, one row for each artifact and engine."""
    artifact = {files.pb.name: files.pb, files.onnx.name: files.dlc, files.quantized_onnx.name: files.quantized_dlc}
    rows = []
    for model in timed.models:
        file = artifact.get(model.path.name, model.path)
        cost = f"{model.estimate.microseconds / 1000:.2f} ms" if model.estimate else ""
        for timing in model.timings:
            peak = "" if timing.peak_bytes is None else f"{timing.peak_bytes / 1e6:.0f} MB"
            speedup = "" if timing.speedup is None else f"{timing.speedup:.2f}"
            rows.append([file.name, f"{file.stat().st_size:,}", timing.engine, f"{timing.median * 1000:.1f} ms",
                         f"{timing.p90 * 1000:.1f} ms", peak, speedup, cost])  # fmt: skip
    height, width = timed.input_size
    missing = [f"No estimate: {m.no_estimate}." for m in timed.models if not m.estimate and m.kind != "pb"]
    notes = (
        f"Input {height}x{width}. Host: {timed.cpu}, {timed.threads} threads, {timed.runs} runs in turns; the "
        f"speed-up is over {timed.baseline} in the same turns. A .dlc is timed as the .onnx of the same graph.",
        *dict.fromkeys(f"Last column: {m.estimate.label}; no measured latency." for m in timed.models if m.estimate),
        *dict.fromkeys(
            f"{artifact.get(m.path.name, m.path).name}: {m.estimate.remark}."
            for m in timed.models
            if m.estimate and m.estimate.remark
        ),
        *dict.fromkeys(missing),
    )
    header = ["artifact", "bytes", "engine", "median", "p90", "peak memory", "speed-up", "cost model's estimate"]
    return Table("Table 3: size and time", header, rows, notes)


def phones(files: Files) -> Table:
    """What each file of the bundle drew on the emulator, or why that is not known."""
    rows = []
    for proof in read_proof(files.proof).proofs:
        start = [proof.path, proof.chip or "any", f"{proof.bytes:,}"]
        if proof.unproven or proof.psnr_to_float is None:
            rows.append([*start, "not proven", "", proof.unproven or ""])
            continue
        reloads = {None: "", True: "yes", False: "NO"}[proof.reloads]
        rows.append([*start, f"{proof.psnr_to_float:.2f}", str(proof.worst), reloads])
    note = ("Run on the Hexagon emulator (plain .tflite: LiteRT on this machine's CPU), never on a phone; all of it "
            f"is in {files.bundle.name}/proof.html.")  # fmt: skip
    header = ["file", "chip", "bytes", "dB to the float network", "worst level", "reloads bit-equal"]
    return Table("For phones", header, rows, (note,))


def compression_tables(files: Files, floats: Scores) -> tuple[Table, Table]:
    """The network before and after compression, its pictures included, and what each unit gave up."""
    from snpe_srgan.compression.tables import before_after, given_up

    made = read_compression(files.compression)
    header, rows, notes = before_after(made.measured)
    scores = []
    for full in read_scores(files.full_scores).datasets:
        small = floats.of(full.dataset)
        if small is not None:
            a, b = _own(full.pictures), _own(small.pictures)
            name = f"{full.dataset}, {_count(full.pictures)}"
            scores.append((name, _text(a), _text(b), f"{b.psnr - a.psnr:+.2f} dB", ""))
    units = given_up(made.rows)
    looked = f"Reconstructed on {made.calibration}; chosen by {made.validation}."
    return (
        Table(f"Compression to {made.target}", header, [*scores, *rows], (*notes, *made.recommendation)),
        Table("What each layer gave up", units[0], units[1], (looked,)),
    )


def comparisons(config: Config, files: Files, quantized: Scores) -> list[Comparison]:
    """One for each picture that was run quantized; writes the figure beside `pictures/` as well.

    Args:
        config: which evaluation sets there are.
        files: of the run, its enlarged pictures among them.
        quantized: the scores of the quantized .dlc.

    Raises:
        InputError: a file of the run or a picture of an evaluation set is missing or damaged.
    """
    from snpe_srgan.data.sources import source_folder
    from snpe_srgan.metrics.dataset import find_evaluation_set

    floats = read_scores(files.float_scores)
    made = []
    for name in config.evaluate.datasets:
        data = find_evaluation_set(
            source_folder(name, config.data.root), scale=config.model.scale, name=Path(name).name
        )
        own, other = floats.of(data.name), quantized.of(data.name)
        scores = {p.name: p for p in own.pictures} if own else {}
        judged = {p.name: p for p in other.pictures} if other else {}
        for item in data.files:
            if item.name in judged and item.name in scores:
                pair, row = item.load(), scores[item.name]
                rows = (("bicubic", "bicubic", row.bicubic), ("float", "float", row.score),
                        ("quantized", f"{config.quantize.recipe} .dlc", judged[item.name].score))  # fmt: skip
                items = [_item(files, kind, title, data.name, item.name, score) for kind, title, score in rows]
                made.append(_comparison(files, f"{data.name} {item.name}", items, pair, config.model.scale))
    return made


def _item(files: Files, kind: str, title: str, data: str, name: str, score: Score) -> Item:
    from snpe_srgan.imaging.pictures import read_picture

    pixels = read_picture(files.pictures(kind) / data / f"{name}.png").rgb
    return Item(title, pixels, f"{score.psnr:.2f} dB")


def _comparison(files: Files, title: str, items: list[Item], pair, scale: int) -> Comparison:
    from snpe_srgan.imaging.side_by_side import nearest_enlarged

    lr, hr = pair.lr, pair.hr
    enlarged = nearest_enlarged(lr, scale)
    all_items = [Item("LR", enlarged, f"{lr.shape[0]}x{lr.shape[1]}"), *items, Item("HR", hr, "the truth")]
    _write_figure(files, title, all_items)
    return compare(title, all_items, reference=len(all_items) - 1, start=(1, 3))


def _write_figure(files: Files, title: str, items: list[Item]) -> None:
    """The same pictures side by side as a PNG, for papers and pages of others."""
    from snpe_srgan.imaging.pictures import Picture, write_picture
    from snpe_srgan.imaging.side_by_side import Panel, side_by_side

    hr: np.ndarray = items[-1].pixels
    figure = side_by_side([Panel(i.pixels, i.name, i.note) for i in items], detail=min(64, *hr.shape[:2]))
    path = files.folder / "pictures" / f"{title.replace(' ', '_', 1)}.png"
    write_picture(path, Picture(figure), overwrite=True)


def _count(pictures: tuple[PictureScore, ...] | list[PictureScore]) -> str:
    return "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"


def _own(pictures: tuple[PictureScore, ...] | list[PictureScore]) -> Score:
    return mean_score([picture.score for picture in pictures])


def _bicubic(pictures: tuple[PictureScore, ...] | list[PictureScore]) -> Score:
    return mean_score([picture.bicubic for picture in pictures])


def _text(score: Score) -> str:
    return f"{score.psnr:.2f} / {score.ssim:.4f}"


def _plots(files: Files) -> list[Shown]:
    """The plots of the quantization's analysis, if they were drawn."""
    return [png_file(files.plots / name, text) for name, text in PLOTS.items() if (files.plots / name).is_file()]


def _no_curves(log: tuple[LogLine, ...] | None) -> str:
    if log is None:  # no stage of the pipeline answers for it
        return "metrics.jsonl is gone, so there are no curves."
    if not any(line.kind == "validation" for line in log):
        return "No validation was made during training."
    return ""


def _machine(timed: Benchmark, card: Card | None) -> Table:
    tools = card.tools if card else {}
    rows = [("processor", timed.cpu), ("threads", str(timed.threads)), *sorted(tools.items())]
    return Table("Machine", ["what", "which"], rows)


def _checks(files: Files) -> Table:
    rows = []
    for path in (files.pb, files.onnx, files.dlc, files.quantized_onnx, files.quantized_dlc):
        card = read_card(path)
        for check in card.checks if card else ():
            value = "equal" if check.value is None else f"{check.value:.3g}"
            limit = "" if check.threshold is None else f"{check.threshold:g}"
            rows.append([path.name, check.against, check.measure, value, limit, "ok" if check.passed else "FAILED"])
    header = ["artifact", "against", "measure", "value", "limit", "result"]
    return Table("Each artifact against the one before", header, rows)
