"""snpe-srgan quantize runs/mobile -o out
snpe-srgan quantize generator.npz --calibration photos --recipe w8a16 --input-size 169x255
snpe-srgan quantize generator.npz --calibration photos --evaluate Set5 --judge emulator
snpe-srgan quantize generator.npz --calibration photos --diagnose    # which layer the chip computes otherwise, and why
snpe-srgan quantize generator.npz --calibration synthetic            # no photograph at all
snpe-srgan quantize generator.npz --calibration photos --recipe auto --max-drop 0.1 --evaluate Set5
snpe-srgan quantize generator.npz --calibration photos --recipe w8a8-eq-bc-adaround-qat --minutes 20
snpe-srgan quantize --list
snpe-srgan quantize generator.npz --toolchain snpe --recipe w8a8-cle-bc --calibration photos
snpe-srgan quantize out/generator_w8a8.encodings.onnx --toolchain snpe --overrides out/generator_w8a8.encodings.json
"""

from __future__ import annotations

import os

import click

from snpe_srgan.cli.cluster import workers_for
from snpe_srgan.cli.detail import detail_option, find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import (
    Finite,
    Verb,
    Whole,
    common,
    input_size_option,
    jobs_option,
    output_option,
    overwrite_option,
)
from snpe_srgan.cli.toolchain import SDK_OPTIONS, quantized_text, refuse, toolchain_options

WORST = 8  # layers shown


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL", required=False)
@detail_option
@ends_options
@click.option(
    "--calibration", metavar="IMAGES", multiple=True, default=("sample",),
    help="HR pictures to calibrate on: a folder, glob or file; repeatable. 'sample' are scikit-image's photos; "
    "'synthetic' are drawn, no photograph at all; 'none': not even those, for recipes that need no picture.",
)  # fmt: skip
@click.option("--lr", is_flag=True, help="The calibration pictures are LR already: do not downscale them.")
@click.option(
    "--count", type=Whole(1, 4096),
    help="Calibration crops of 48x48 LR pixels.  [default: 16, with 4-bit weights 40]",
)  # fmt: skip
@click.option(
    "--recipe", default="w8a8",
    help="Bits of weights and activations, and steps to replace the recommended ones: w8a8, w8a8-cle-bc, ... (see "
         "--list); auto: the cheapest recipe within --max-drop.",
)  # fmt: skip
@click.option("--max-drop", type=Finite(0, 1000), help="dB that --recipe auto may lose on each --evaluate set.")
@click.option("--minutes", type=Finite(0.1, 1e6), default=20.0, help="How long the step qat trains.")
@input_size_option()
@click.option("--soc", default="SM8650", help="The chip the .dlc is checked for, see `devices`.")
@click.option("--evaluate", metavar="DATASET", multiple=True, help="Measure the dB lost on this data set; repeatable.")
@click.option(
    "--judge", type=click.Choice(["host", "emulator"]), default="host",
    help="Measure on this machine, or also run the .dlc's graph on the Hexagon emulator.",
)  # fmt: skip
@click.option(
    "--diagnose", is_flag=True,
    help="Run the .dlc's graph on the host and on the Hexagon emulator layer by layer: MODEL_RECIPE.divergence.json, "
    ".png and .pictures.png say where they part, and why. As `inspect MODEL_RECIPE.dlc --on emulator`.",
)  # fmt: skip
@jobs_option()
@click.option("--onnx-only", is_flag=True, help="Write no .dlc (needs no onnxruntime-qnn).")
@toolchain_options
@click.option(
    "--overrides",
    type=click.Path(),
    metavar="FILE.encodings.json",
    help="With --toolchain snpe: an encodings file of ours for its quantizer to use; MODEL is the .onnx beside it.",
)
@click.option(
    "--htp-socs", metavar="sm8550,sm8650",
    help="With --toolchain snpe: chips for which ready-compiled caches go into the .dlc, by Qualcomm's names.",
)  # fmt: skip
@click.option("--enable-hta", "hta", is_flag=True, help="With --toolchain snpe, SNPE 1.x: add what the AIP needs.")
@click.option("--list", "list_recipes", is_flag=True, help="List the recipes and steps, and stop.")
@output_option("Folder for the files; beside the model by default.")
@overwrite_option
@common
def command(
    model, detail, said, list_recipes, out, output, evaluate, toolchain, sdk_folder, dry_run, no_operator_check,
    overrides, htp_socs, hta, jobs, cluster, **options,
):  # fmt: skip
    """Quantize a model to .onnx and .dlc, with a report of where every tenth of a dB is lost.

    Writes MODEL_RECIPE.onnx (any input size), MODEL_RECIPE.dlc (fixed input size), .report.json, .analysis.json and
    .plots (every layer), .encodings.json with .encodings.onnx (for the SDK's own converters). With --toolchain snpe
    the SDK's own quantizer writes MODEL_RECIPE.dlc; its steps are cle, bc (SNPE 1.x) and perchannel, in --recipe.
    """
    if list_recipes:
        output.result(_recipes(), text=_list())
        return
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.")

    from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model

    file = find_model(model, detail, said=said, output=output)
    if toolchain == "snpe":
        ours = ("max_drop", "minutes", "judge", "diagnose", "evaluate", "onnx_only", "soc", "chips", "jobs", "cluster")
        refuse(f"--toolchain {toolchain}", *ours)
        result = _with_sdk(
            file, out or file.folder, sdk_folder, overrides, htp_socs, dry_run, not no_operator_check, output,
            {**options, "hta": hta},
        )  # fmt: skip
        output.result(result, text=quantized_text(result))
        return
    refuse(f"--toolchain {toolchain}", *SDK_OPTIONS)
    if cluster is not None:
        evaluate = tuple(os.path.abspath(path) for path in evaluate)  # workers stand in other folders
    with workers_for(jobs, cluster, output) as many:
        wanted = QuantizeOptions(evaluate=evaluate, jobs=many or 1, **options)
        result = quantize_model(file, out or file.folder, wanted, say=output.say)
    output.result(result, text=_text(result))


def _with_sdk(file, folder, sdk_folder, overrides, htp_socs, dry_run, operator_check, output, options):
    from snpe_srgan.errors import UsageError
    from snpe_srgan.stages.quantize_sdk import SdkQuantizeOptions, quantize_with_sdk
    from snpe_srgan.toolchains.snpe.sdk import find_sdk

    if overrides is not None and options["recipe"] != "w8a8":
        raise UsageError("the encodings say how many bits there are: leave out --recipe with --overrides")
    chips = tuple(name.strip().lower() for name in (htp_socs or "").split(",") if name.strip())
    options = {**options, "input_size": options["input_size"] or (128, 128)}
    names = ("recipe", "calibration", "lr", "count", "input_size", "hta", "overwrite")
    wanted = SdkQuantizeOptions(
        overrides=overrides, htp_socs=chips, dry_run=dry_run, operator_check=operator_check,
        **{name: options[name] for name in names},
    )  # fmt: skip
    return quantize_with_sdk(file, folder, wanted, sdk=find_sdk(sdk_folder), say=output.say)


def _recipes() -> dict:
    from snpe_srgan.quantization.recipe import LADDER, RECOMMENDED, STEPS

    recommended = [{"name": k, "steps": steps, "description": text} for k, (steps, text) in RECOMMENDED.items()]
    return {"recipes": recommended, "steps": {name: step.text for name, step in STEPS.items()}, "auto": LADDER}


def _list() -> list[str]:
    from snpe_srgan.console import table

    known = _recipes()
    return [
        "recipes, with the steps that they stand for:",
        table(("recipe", "steps", ""), [(r["name"], "-".join(r["steps"]), r["description"]) for r in known["recipes"]]),
        "",
        "w8a8-STEP-STEP...: just these steps, in whatever order they are named; w8a8-plain: none",
        table(("step", "does"), list(known["steps"].items())),
        "",
        f"auto, with --max-drop and --evaluate: the first that holds of {', '.join(known['auto'])}",
    ]


def _text(result) -> list[str]:
    """The report for people: what was lost, the layers that lose most, the files."""
    from snpe_srgan.cli.divergence_text import divergence_text
    from snpe_srgan.console import table

    report = result.report
    lines = [f"tried {t.recipe}: {t.drop:.3f} dB lost" for t in result.tries]
    fidelity = f"PSNR {_db(report.psnr_to_float)} dB against the float network's pictures"
    lines.append(f"{result.recipe}: {fidelity}, by {report.engine}")
    for d in report.datasets:
        lines.append(f"{d.dataset}: {d.quantized_psnr:.2f} dB, float {d.float_psnr:.2f}, lost {d.lost:.2f}")
        if d.emulator_psnr is not None:
            lines[-1] += f"; on the emulator {d.emulator_psnr:.2f}, lost {d.lost_on_emulator:.2f}"
        lines[-1] += f" ({d.protocol})"
    if report.emulator is not None:
        e = report.emulator
        lines.append(
            f"Hexagon emulator, {e.crops} crops: {_db(e.psnr_to_float)} dB to float, the simulation "
            f"{_db(e.simulation_psnr_to_float)}; between the two {_db(e.psnr_to_simulation)} dB, {e.equal:.0%} of the "
            f"values are equal, the others at most {e.largest} of 255 levels apart"
        )
    lines += ["", f"the layer that loses most: {report.worst.name} ({report.worst.kind})", _layers(report, table), ""]
    lines.append(f"{result.onnx}: {result.onnx_bytes:,} bytes, any input size")
    if result.dlc is not None:
        lines.append(f"{result.dlc}: {result.dlc_bytes:,} bytes")
    if result.divergence is not None:
        lines += [*divergence_text(result.divergence), ""]
    others = (result.report_path, result.analysis_path, result.emulator_path, *result.divergence_paths, *result.plots)
    lines += [str(path) for path in others if path is not None]
    return [*lines, f"{result.encodings_path}: for the SDK's converters, with {result.encodings_model.name}"]


def _layers(report, table) -> str:
    """The layers that lose most; what each takes of the first data set's loss is its share of the error."""
    worst = sorted(report.layers, key=lambda layer: -layer.share)[:WORST]
    lost = report.datasets[0] if report.datasets else None
    header = ["layer", "operator", "of the error", "estimated", "picture, dB", "SQNR, dB", "SQNR alone", "range"]
    rows = [
        [
            w.name, w.kind, _percent(w.share_measured), _percent(w.share_estimated), _db(w.picture_psnr),
            _db(w.sqnr), _db(w.sqnr_alone), f"{w.low:.3g} .. {w.high:.3g}",
        ]
        for w in worst
    ]  # fmt: skip
    if lost is not None:
        header.insert(3, f"dB of {lost.dataset}")
        for row, w in zip(rows, worst, strict=True):
            row.insert(3, f"{w.share * lost.lost:.3f}")
    return table(tuple(header), [tuple(row) for row in rows])


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
