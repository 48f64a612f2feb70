"""The stage: a float model and calibration pictures in; quantized .onnx and .dlc, report, encodings and cards out.

result = quantize_model("generator.npz", "out", recipe="w8a8", calibration=["photos"])
result.onnx, result.dlc, result.report.psnr_to_float
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import Card, Check, source_of, write_card
from snpe_srgan.artifacts.files import atomic_write, make_folder, refuse_overwrite, write_json
from snpe_srgan.artifacts.resolve import ModelFile, resolve
from snpe_srgan.errors import UsageError
from snpe_srgan.export.dlc import write_checked_dlc
from snpe_srgan.quantization.crops import SAMPLE, Crops, calibration_crops
from snpe_srgan.quantization.recipe import DEFAULT, Recipe, parse_recipe
from snpe_srgan.quantization.report import Report

if TYPE_CHECKING:
    import numpy as np

    from snpe_srgan.quantization.calibration import Statistics
    from snpe_srgan.quantization.encodings import Encoding

SEARCH_CROPS = 6


@dataclass(frozen=True)
class QuantizeResult:
    """What was written; `dlc` is None with `onnx_only`."""

    recipe: str
    onnx: Path
    dlc: Path | None
    report_path: Path
    encodings_path: Path
    onnx_bytes: int
    dlc_bytes: int | None
    report: Report
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


def quantize_model(
    model: str | os.PathLike | ModelFile,
    out_dir: str | os.PathLike,
    *,
    recipe: str = DEFAULT,
    calibration: Sequence[str | os.PathLike] = (SAMPLE,),
    lr: bool = False,
    count: int = 16,
    input_size: tuple[int, int] = (128, 128),
    soc: int | str | None = None,
    judge: str = "host",
    evaluate: Sequence[str | os.PathLike] = (),
    onnx_only: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> QuantizeResult:
    """Quantizes a float model file.

    Args:
        calibration: HR pictures (`lr=True`: LR pictures): folders, globs, files, or 'sample'.
        count: calibration crops of 48x48 LR pixels.
        input_size: LR height and width of the .dlc; the .onnx takes any.
        judge: 'host', or 'emulator' to run the .dlc's graph on the Hexagon emulator as well.
        evaluate: data sets on which to measure the dB lost against ground truth.
        say: gets lines of progress.
    """
    from snpe_srgan.quantization import report as reports
    from snpe_srgan.quantization.network import Network
    from snpe_srgan.quantization.simulate import free_size
    from snpe_srgan.toolchains import qnn, socs

    chosen = parse_recipe(recipe)
    file = model if isinstance(model, ModelFile) else resolve(model)
    chip = socs.find(socs.DEFAULT if soc is None else soc).id
    if onnx_only and judge == "emulator":
        raise UsageError("the emulator judges the .dlc, which --onnx-only does not write", hint="leave one of them out")
    if not onnx_only:
        qnn.require()
    stem = Path(out_dir) / f"{file.stem}_{chosen.name}"
    paths = {kind: stem.with_name(stem.name + kind) for kind in (".onnx", ".dlc", ".report.json", ".encodings.json")}
    for kind, path in paths.items():
        if kind != ".dlc" or not onnx_only:
            refuse_overwrite(path, overwrite)
    make_folder(out_dir)

    float_model, facts = load_float(file)
    network = Network(float_model)
    crops = calibration_crops(calibration, scale=facts.scale, count=count, lr=lr)
    say(f"calibration: {crops.origin}")
    for note in crops.notes:
        say(note)
    plan = plan_numbers(float_model, facts.scale, chosen, crops, say)
    encodings, scales, quantized = plan.encodings, plan.scales, plan.quantized

    say("measuring what was lost")
    report = reports.make_report(
        float_model, quantized, encodings, scales, plan.statistics, crops, chosen, scale=facts.scale,
        overlap=facts.overlap, evaluate=evaluate,
    )  # fmt: skip
    card = _card(file, facts, chosen, crops, report)
    with atomic_write(paths[".onnx"], overwrite=overwrite) as temporary:
        temporary.write_bytes(quantized.SerializeToString())
    checks: tuple[Check, ...] = ()
    if not onnx_only:
        checks, rebuilt = write_checked_dlc(
            quantized, paths[".dlc"], input_size=input_size, scale=facts.scale,
            soc=chip, against=paths[".onnx"].name, overwrite=overwrite,
        )  # fmt: skip
        if judge == "emulator":
            say("judging on the Hexagon emulator")
            judged = reports.judge_on_emulator(float_model, quantized, free_size(rebuilt), crops.arrays, soc=chip)
            report = replace(report, emulator=judged)
            card = _card(file, facts, chosen, crops, report)
        fixed = _ports(facts, input_size)
        write_card(
            paths[".dlc"], replace(card, kind="dlc", input=fixed[0], output=fixed[1], checks=checks),
            tools=("onnx", "onnxruntime", "onnxruntime-qnn"),
        )  # fmt: skip
    write_card(paths[".onnx"], card, tools=("onnx", "onnxruntime"))
    write_json(paths[".report.json"], reports.to_json(report), overwrite=overwrite)
    write_json(paths[".encodings.json"], encodings_json(network, encodings, scales, chosen), overwrite=overwrite)
    dlc = None if onnx_only else paths[".dlc"]
    return QuantizeResult(
        recipe=chosen.name,
        onnx=paths[".onnx"],
        dlc=dlc,
        report_path=paths[".report.json"],
        encodings_path=paths[".encodings.json"],
        onnx_bytes=paths[".onnx"].stat().st_size,
        dlc_bytes=None if dlc is None else dlc.stat().st_size,
        report=report,
        checks=checks,
        notes=crops.notes,
    )


@dataclass(frozen=True, eq=False)
class Plan:
    """The numbers chosen for a network, and the QDQ model that holds them."""

    statistics: Mapping[str, Statistics]
    encodings: Mapping[str, Encoding]
    scales: Mapping[str, np.ndarray]
    quantized: object


def plan_numbers(
    model, scale: int, recipe: Recipe, crops: Crops, say: Callable[[str], None] = lambda text: None
) -> Plan:
    """Calibrates a float model and chooses every scale and zero point by the recipe."""
    from snpe_srgan.quantization.calibration import collect
    from snpe_srgan.quantization.encodings import activation_encodings
    from snpe_srgan.quantization.network import Network
    from snpe_srgan.quantization.qdq import kernel_scales, slope_grids, to_qdq
    from snpe_srgan.quantization.report import runner
    from snpe_srgan.quantization.search import mean_psnr, promising_groups, refine

    network = Network(model)
    statistics = collect(model, crops.arrays, scale=scale)
    encodings = activation_encodings(network, statistics, bits=recipe.activation_bits, estimator=recipe.estimator)
    scales = kernel_scales(network, encodings, bits=recipe.weight_bits)
    slopes = slope_grids(network, statistics, bits=recipe.activation_bits)

    def quantize(numbers):
        return to_qdq(model, numbers, scales, slopes, weight_bits=recipe.weight_bits)

    if recipe.search:
        say("trying the ranges that lose most")
        few = crops.arrays[:: -(-len(crops.arrays) // SEARCH_CROPS)]
        wanted = [runner(model)(crop) for crop in few]
        groups = promising_groups(network, statistics, encodings)
        encodings = refine(encodings, groups, lambda numbers: mean_psnr(runner(quantize(numbers)), few, wanted))
        scales = kernel_scales(network, encodings, bits=recipe.weight_bits)
    return Plan(statistics, encodings, scales, quantize(encodings))


def load_float(file: ModelFile):
    """(float ONNX model that takes any size, its Facts) of any model file."""
    from snpe_srgan.quantization.simulate import free_size
    from snpe_srgan.runtimes.onnx_model import onnx_facts
    from snpe_srgan.runtimes.source import load_source

    if file.kind == "pb":
        from snpe_srgan.export.tf_to_onnx import pb_to_onnx

        model = pb_to_onnx(file.path)
        facts = onnx_facts(model, where=file.path)
    else:
        source = load_source(file)
        model, facts = source.model, source.facts
    return free_size(model), facts


def encodings_json(network, encodings, scales, recipe: Recipe) -> dict:
    """Every tensor's numbers, in the SDK's convention: real = (q + offset) * scale."""
    activations = {
        x: [{"bits": e.bits, "scale": e.scale, "offset": -e.zero, "min": e.low, "max": e.high}]
        for x, e in encodings.items()
    }
    weights = {
        node.name: [
            {"bits": recipe.weight_bits, "scale": float(s), "offset": 0, "min": -float(s) * top, "max": float(s) * top}
            for s in scales[node.name]
        ]
        for node in network.nodes
        if node.kind == "Conv"
        for top in (2 ** (recipe.weight_bits - 1) - 1,)
    }
    return {
        "recipe": recipe.name,
        "convention": "real = (q + offset) * scale; activations unsigned, weights signed, one entry an output channel",
        "activations": activations,
        "weights": weights,
    }


def _ports(facts, size):
    from snpe_srgan.export.model_card import ports

    return ports(facts.scale, size)


def _card(file: ModelFile, facts, recipe: Recipe, crops: Crops, report: Report) -> Card:
    from snpe_srgan.quantization import report as reports

    lr, sr = _ports(facts, None)
    base = file.card or Card(artifact="", kind="onnx", network="unknown", scale=facts.scale)
    return replace(
        base,
        kind="onnx",
        scale=facts.scale,
        receptive_radius=facts.overlap,
        input=replace(lr, name=facts.input_name),
        output=replace(sr, name=facts.output_name),
        quantization=reports.finite(
            {
                **asdict(recipe),
                "calibration": crops.origin,
                "notes": list(crops.notes),
                "psnr_to_float_db": report.psnr_to_float,
                "worst_layer": report.worst.name,
                "datasets": [asdict(d) for d in report.datasets],
                "emulator": None if report.emulator is None else asdict(report.emulator),
            }
        ),
        metrics=(),
        checks=(),
        source=source_of(file.path),
        tools={},
    )
