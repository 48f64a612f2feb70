"""The stage: a float model and calibration pictures in; quantized .onnx and .dlc, report, encodings and cards out.

result = quantize_model("generator.npz", "out", QuantizeOptions(recipe="w8a8", calibration=["photos"]))
result.onnx, result.dlc, result.report.psnr_to_float
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from snpe_srgan.artifacts.card import Check, source_of, write_card
from snpe_srgan.artifacts.files import refuse_overwrite, require_writable, write_bytes, write_json
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.calibration.crops import SAMPLE, Pictures, check_sources
from snpe_srgan.divergence.find import Divergence
from snpe_srgan.errors import UsageError
from snpe_srgan.parallel import Jobs
from snpe_srgan.quantization.auto import Try, cheapest
from snpe_srgan.quantization.judge.report import Report
from snpe_srgan.quantization.recipe import AUTO, DEFAULT, LADDER, Recipe, parse_recipe
from snpe_srgan.quantization.session import Source, attempts
from snpe_srgan.quantization.steps.run import Made
from snpe_srgan.stages.checked_dlc import dlc_size, write_checked_dlc
from snpe_srgan.toolchains.socs import Soc
from snpe_srgan.zoo.foreign_graph import card_for
from snpe_srgan.zoo.resolve import ModelFile, resolve

SUFFIXES = {
    "onnx": ".onnx",
    "dlc": ".dlc",
    "report": ".report.json",
    "analysis": ".analysis.json",
    "plots": ".plots",
    "emulator": ".emulator.png",
    "divergence": ".divergence.json",
    "divergence_plot": ".divergence.png",
    "divergence_pictures": ".divergence.pictures.png",
    "encodings": ".encodings.json",
    "encodings_model": ".encodings.onnx",
}


@dataclass(frozen=True)
class QuantizeResult:
    """What was written; `dlc` is None with `onnx_only`, `emulator_path` unless the emulator judged; `tries` is what
    the recipe 'auto' tried, the last one being what was written; `divergence` where the .dlc parts from its simulation
    on the emulator, with `diagnose`."""

    recipe: str
    onnx: Path
    dlc: Path | None
    report_path: Path
    analysis_path: Path
    plots: tuple[Path, ...]
    emulator_path: Path | None
    encodings_path: Path
    encodings_model: Path
    onnx_bytes: int
    dlc_bytes: int | None
    report: Report
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    tries: tuple[Try, ...] = ()
    divergence: Divergence | None = None
    divergence_paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class QuantizeOptions:
    """How a model is quantized.

    Attributes:
        recipe: see `recipe.parse_recipe`; 'auto' takes the cheapest of LADDER that loses at most `max_drop` dB on the
            `evaluate` sets (the worst of them counts).
        max_drop: dB, for the recipe 'auto' alone.
        minutes: how long the step `qat` may train.
        calibration: HR pictures (`lr=True`: LR pictures): folders, globs, files, 'sample', 'synthetic', or 'none'.
        count: calibration crops of 48x48 LR pixels; by default what the recipe needs.
        input_size: LR height and width of the .dlc; None for what the model is fixed to, else 128x128. The .onnx takes
            any, where the network does.
        soc: the chip that operators are checked for; None for SM8650.
        caches: chips to compile the .dlc's graph for, beside the graph itself.
        judge: 'host', or 'emulator' to run the .dlc's graph on the Hexagon emulator as well.
        evaluate: data sets on which to measure the dB lost against ground truth.
        diagnose: whether to compare the .dlc's graph with its simulation layer by layer on the emulator.
        jobs: processes, here or of a cluster, for what is measured: each recipe of the ladder, each layer's
            sensitivity.
    """

    recipe: str = DEFAULT
    max_drop: float | None = None
    minutes: float = 20.0
    calibration: Sequence[Pictures] = (SAMPLE,)
    lr: bool = False
    count: int | None = None
    input_size: tuple[int, int] | None = None
    soc: int | str | None = None
    caches: Sequence[Soc] = ()
    judge: str = "host"
    evaluate: Sequence[str | os.PathLike] = ()
    onnx_only: bool = False
    diagnose: bool = False
    overwrite: bool = False
    jobs: Jobs = 1

    @property
    def auto(self) -> bool:
        """Whether the recipe is 'auto', so that several are tried."""
        return self.recipe.strip().lower() == AUTO

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What may be tried: the recipe that is named, or the whole ladder."""
        return tuple(parse_recipe(name) for name in (LADDER if self.auto else (self.recipe,)))


def quantize_model(
    model: str | os.PathLike | ModelFile,
    out_dir: str | os.PathLike,
    options: QuantizeOptions | None = None,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> QuantizeResult:
    """Quantizes a float model file.

    Args:
        model: a path, a shipped network's name, or a resolved file; float.
        out_dir: where everything is written.
        say: called with a line on what is being done.

    Raises:
        UsageError, InputError: before the first second of work, for everything that can be checked by then.
        CheckFailed: the .dlc does not compute what the .onnx does; nothing is left behind.
    """
    from snpe_srgan.toolchains import socs

    options = options or QuantizeOptions()
    file = model if isinstance(model, ModelFile) else resolve(model)
    _check(file, out_dir, options)
    chip = socs.find(socs.DEFAULT if options.soc is None else options.soc).id
    count = options.count or options.recipes[0].crops
    source = Source(
        file, options.calibration, lr=options.lr, count=count, minutes=options.minutes, say=say, size=options.input_size
    )
    tries: tuple[Try, ...] = ()
    if options.max_drop is not None:  # the recipe is 'auto': `_check_options`
        with contextlib.closing(attempts(source, LADDER, options.evaluate, jobs=options.jobs)) as tried:
            found = cheapest(LADDER, lambda name: next(tried), max_drop=options.max_drop, say=say)
        (chosen, made), tries = found.result, found.tries
    else:
        (chosen,) = options.recipes
        made = source.make(chosen)
    paths = _paths(out_dir, file, chosen.name)

    quantized, size = made.plan.quantized(), dlc_size(options.input_size, source.facts, own=source.own_size)
    report, analysis = source.judge(chosen, made, options.evaluate, jobs=options.jobs)
    say("writing the files")
    with unfinished(out_dir):
        write_bytes(paths["onnx"], quantized.SerializeToString(), overwrite=options.overwrite)
        checks: tuple[Check, ...] = ()
        if not options.onnx_only:
            checks, rebuilt = write_checked_dlc(
                quantized, paths["dlc"], input_size=size, scale=source.facts.scale,
                soc=chip, caches=options.caches, against=paths["onnx"].name, overwrite=options.overwrite,
            )  # fmt: skip
            if options.judge == "emulator":
                picture = paths["emulator"]
                report = source.emulate(report, quantized, rebuilt, options.evaluate, chip, picture, options.overwrite)
        for note in made.notes:
            say(note)
        notes = (*source.notes, *made.notes)
        _write_cards(paths, file, source, chosen, report, size, checks, notes, options.onnx_only)
        plots = _write_reports(paths, file, chosen, made, report, analysis, tries, options.overwrite)
        parted: Divergence | None = None
        beside: list[Path] = []
        if options.diagnose:
            parted, beside = _diagnose(rebuilt, paths["dlc"], chip, options.overwrite, say)
    return QuantizeResult(
        recipe=chosen.name,
        onnx=paths["onnx"],
        dlc=None if options.onnx_only else paths["dlc"],
        report_path=paths["report"],
        analysis_path=paths["analysis"],
        plots=plots,
        emulator_path=paths["emulator"] if options.judge == "emulator" else None,
        encodings_path=paths["encodings"],
        encodings_model=paths["encodings_model"],
        onnx_bytes=paths["onnx"].stat().st_size,
        dlc_bytes=None if options.onnx_only else paths["dlc"].stat().st_size,
        report=report,
        checks=checks,
        notes=notes,
        tries=tries,
        divergence=parted,
        divergence_paths=tuple(beside),
    )


def _diagnose(graph, dlc: Path, chip: int, overwrite: bool, say) -> tuple[Divergence, list[Path]]:
    """The graph of the .dlc on the host and on the emulator, layer by layer; what was written of it."""
    from snpe_srgan.divergence.engines import Emulator
    from snpe_srgan.stages.diverge import DivergeOptions, diverge_graphs, write_divergence

    options = DivergeOptions(chip=chip)
    found = diverge_graphs(graph, graph, options, where=Emulator(chip), names=(dlc.name, dlc.name), say=say)
    return found.report, write_divergence(found, dlc.parent, stem=dlc.stem, overwrite=overwrite)


def _check(file: ModelFile, out_dir: str | os.PathLike, options: QuantizeOptions) -> None:
    """Everything that can be wrong with what was asked for, before any of it is done."""
    from snpe_srgan.toolchains import qnn

    if options.onnx_only and options.diagnose:
        raise UsageError("--diagnose runs the .dlc, which --onnx-only does not write", hint="leave one of them out")
    _check_options(options.auto, options.max_drop, options.evaluate, options.onnx_only, options.judge)
    recipes = options.recipes
    if not options.onnx_only:
        qnn.require()
    for recipe in recipes:
        _refuse(_paths(out_dir, file, recipe.name), options.onnx_only, options.overwrite)
    require_writable(out_dir)
    check_sources(options.calibration)
    check_sources(options.evaluate)


def _check_options(auto: bool, max_drop: float | None, evaluate, onnx_only: bool, judge: str) -> None:
    if auto and max_drop is None:
        raise UsageError("the recipe 'auto' needs to know what may be lost", hint="--max-drop 0.1")
    if auto and not evaluate:
        raise UsageError("the recipe 'auto' needs pictures to measure the drop on", hint="--evaluate DATASET")
    if not auto and max_drop is not None:
        raise UsageError("--max-drop is for the recipe 'auto'", hint="--recipe auto")
    if onnx_only and judge == "emulator":
        raise UsageError("the emulator judges the .dlc, which --onnx-only does not write", hint="leave one of them out")


def _paths(out_dir: str | os.PathLike, file: ModelFile, recipe: str) -> dict[str, Path]:
    stem = Path(out_dir) / f"{file.stem}_{recipe}"
    return {kind: stem.with_name(stem.name + suffix) for kind, suffix in SUFFIXES.items()}


def _refuse(paths: dict[str, Path], onnx_only: bool, overwrite: bool) -> None:
    for kind, path in paths.items():
        if (kind == "dlc" and onnx_only) or (kind == "plots" and path.is_dir() and overwrite):
            continue
        refuse_overwrite(path, overwrite)


def _write_cards(paths, file, source: Source, recipe: Recipe, report: Report, input_size, checks, notes, onnx_only):
    from snpe_srgan.quantization.judge import report as reports
    from snpe_srgan.zoo.model_card import graph_card, ports

    facts = source.facts
    card = replace(
        graph_card(card_for(file, source.found, scale=facts.scale), facts),
        quantization=reports.finite(
            {
                **asdict(recipe),
                "calibration": source.origin,
                "notes": list(notes),
                "psnr_to_float_db": report.psnr_to_float,
                "worst_layer": report.worst.name,
                "datasets": [asdict(d) for d in report.datasets],
                "emulator": None if report.emulator is None else asdict(report.emulator),
            }
        ),
        source=source_of(file.path),
    )
    write_card(paths["onnx"], card, tools=("onnx", "onnxruntime"))
    if not onnx_only:
        lr, sr = ports(facts.scale, input_size)
        write_card(
            paths["dlc"], replace(card, kind="dlc", input=lr, output=sr, checks=checks),
            tools=("onnx", "onnxruntime", "onnxruntime-qnn"),
        )  # fmt: skip


def _write_reports(paths, file, recipe: Recipe, made: Made, report: Report, analysis, tries, overwrite: bool):
    from snpe_srgan.quantization.graph.overrides import overrides_json, overrides_model
    from snpe_srgan.quantization.judge import report as reports
    from snpe_srgan.quantization.judge.analysis import write_analysis
    from snpe_srgan.quantization.judge.plots import plot_recipes, write_plots

    write_json(paths["report"], reports.to_json(report), overwrite=overwrite)
    write_analysis(paths["analysis"], analysis, overwrite=overwrite)
    write_json(paths["encodings"], overrides_json(made.plan), overwrite=overwrite)
    write_bytes(paths["encodings_model"], overrides_model(made.plan).SerializeToString(), overwrite=overwrite)
    plots = write_plots(analysis, paths["plots"], title=f"{file.stem}, {recipe.name}", overwrite=overwrite)
    if tries:
        picture = paths["plots"] / "recipes.png"
        plot_recipes({t.recipe: t.lost for t in tries}, picture, title=file.stem, overwrite=overwrite)
        plots = (*plots, picture)
    return plots
