"""snpe-srgan convert runs/mobile -o out                       # out/generator.onnx, out/generator.dlc
snpe-srgan convert gan.npz --input-size 169x255 --quantize     # and gan_w8a8.onnx, gan_w8a8.dlc
snpe-srgan convert foreign.pb --input-name x --output-name y
snpe-srgan convert gan.npz --quantize --soc "8 Gen 2" --soc "8 Elite" --soc 845
snpe-srgan convert gan.npz --toolchain snpe --sdk /opt/snpe-1.68.0 --dry-run
"""

from __future__ import annotations

import contextlib

import click

from snpe_srgan.cli.detail import detail_option, find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Verb, common, input_size_option, model_argument, output_option, overwrite_option
from snpe_srgan.cli.toolchain import SDK_OPTIONS, converted_text, quantized_text, refuse, toolchain_options


@click.command(cls=Verb)
@model_argument
@detail_option
@ends_options
@input_size_option()
@click.option(
    "--soc", "chips", metavar="CHIP", multiple=True,
    help="A chip that the .dlc is for (see `devices`): checked against Table 1, and compiled for if the wheel "
    "supports it; repeatable. Without it, the operators are checked for SM8650.",
)  # fmt: skip
@toolchain_options
@click.option("--input-name", help="Input node of a foreign .pb.")
@click.option("--output-name", help="Output node of a foreign .pb.")
@click.option("--onnx-only", is_flag=True, help="Write no .dlc (needs no onnxruntime-qnn).")
@click.option(
    "--quantize", is_flag=True, help="Write the quantized .onnx and .dlc as well; `quantize` has more options."
)
@click.option("--recipe", default="w8a8", help="Bits of weights and activations, for --quantize.")
@click.option(
    "--calibration", metavar="IMAGES", multiple=True, default=("sample",),
    help="HR pictures to calibrate on, for --quantize: a folder, glob or file; repeatable.",
)  # fmt: skip
@output_option("Folder for the files; beside the model by default.")
@overwrite_option
@common
def command(
    model,
    detail,
    said,
    out,
    toolchain,
    sdk_folder,
    dry_run,
    no_operator_check,
    chips,
    quantize,
    recipe,
    calibration,
    output,
    **options,
):
    """Convert a model to .onnx and a Qualcomm .dlc.

    Writes MODEL.onnx, which takes any picture, and MODEL.dlc, which takes LR pictures of --input-size. Each is checked
    against what it was made from; the cards beside the files hold the results. With --toolchain snpe the .dlc is
    written by the SDK's own converter, from a .pb (SNPE) or .onnx (QAIRT) that is made for it.
    """
    from snpe_srgan.artifacts.staging import unfinished
    from snpe_srgan.cli.targets import Targets
    from snpe_srgan.stages.convert import convert_model
    from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model

    file = find_model(model, detail, said=said, output=output)
    folder = out or file.folder
    if toolchain == "snpe":
        refuse(f"--toolchain {toolchain}", "onnx_only")
        sdk_options = {"sdk_folder": sdk_folder, "dry_run": dry_run, "operator_check": not no_operator_check}
        wish = (recipe, calibration) if quantize else None
        return _with_sdk(file, folder, wish, Targets(chips), output, **sdk_options, **_sdk_facts(options))
    refuse(f"--toolchain {toolchain}", *SDK_OPTIONS)
    if quantize:
        _check_quantization(recipe, calibration)
    targets = Targets(chips, onnx_only=options["onnx_only"])
    quantized = None
    with unfinished(folder) if quantize else contextlib.nullcontext():
        result = convert_model(file, folder, say=output.say, **targets.options(floats=True), **options)
        if quantize:
            wanted = QuantizeOptions(
                recipe=recipe,
                calibration=calibration,
                **targets.options(floats=False),
                **{key: options[key] for key in ("input_size", "onnx_only", "overwrite")},
            )
            quantized = quantize_model(result.onnx or file, folder, wanted, say=output.say)
    lines = []
    if result.onnx:
        size = "input {}x{}".format(*result.onnx_size) if result.onnx_size else "any input size"
        lines.append(f"{result.onnx}: {result.onnx_bytes:,} bytes, {size}")
    if result.dlc:
        height, width = result.input_size
        lines.append(f"{result.dlc}: {result.dlc_bytes:,} bytes, input {height}x{width}, checked for {result.chip}")
    for check in result.checks:
        value = "equal" if check.value is None else f"{check.value:.3g}"
        lines.append(f"  against {check.against}: {value}  ({check.measure})")
    lines += [f"  on a DSP: {note}" for note in result.dsp_notes]
    fits = targets.fits(result.dlc)
    lines += targets.text(fits)
    value = {"convert": result, "chips": fits}
    if quantized:
        value["quantize"] = quantized
        lines.append(f"{quantized.onnx}: {quantized.onnx_bytes:,} bytes, any input size")
        if quantized.dlc:
            lines.append(f"{quantized.dlc}: {quantized.dlc_bytes:,} bytes")
        lines.append(f"  against the float network: {quantized.report.psnr_to_float:.2f} dB")
        fits = targets.fits(quantized.dlc)
        lines += targets.text(fits)
        value["quantized_chips"] = fits
    output.result(value, text=lines)


def _check_quantization(recipe, calibration) -> None:
    """What would stop the second half is said before the first is done."""
    from snpe_srgan.calibration.crops import check_sources
    from snpe_srgan.quantization.recipe import parse_recipe

    parse_recipe(recipe)
    check_sources(calibration)


def _sdk_facts(options: dict) -> dict:
    size = options["input_size"] or (128, 128)
    return {"input_size": size, **{key: options[key] for key in ("input_name", "output_name", "overwrite")}}


def _with_sdk(
    file, folder, wish, targets, output, *, sdk_folder, dry_run, operator_check, overwrite, **options
) -> None:
    """The same by the SDK's converter, and its quantizer where `wish` is (recipe, calibration)."""
    from snpe_srgan.stages.convert_sdk import convert_with_sdk
    from snpe_srgan.toolchains.snpe.sdk import find_sdk

    common = {"sdk": find_sdk(sdk_folder), "overwrite": overwrite, "dry_run": dry_run, "say": output.note, **options}
    if wish is None:
        result = convert_with_sdk(file, folder, operator_check=operator_check, **common)
        fits = [] if dry_run else targets.fits(result.dlc)
        value = {"convert": result, "chips": fits}
        output.result(value, text=[*converted_text(result), *targets.text(fits)])
        return
    from snpe_srgan.stages.quantize_sdk import SdkQuantizeOptions, quantize_with_sdk

    recipe, calibration = wish
    wanted = SdkQuantizeOptions(
        recipe=recipe, calibration=calibration, operator_check=operator_check, overwrite=overwrite, dry_run=dry_run,
        **options,
    )  # fmt: skip
    quantized = quantize_with_sdk(file, folder, wanted, sdk=common["sdk"], say=output.say)
    lines, fits = quantized_text(quantized), []
    if not dry_run:
        fits = targets.fits(quantized.dlc)
        lines = [*converted_text(quantized.converted), *lines, *targets.text(fits)]
    output.result({"convert": quantized.converted, "quantize": quantized, "quantized_chips": fits}, text=lines)
