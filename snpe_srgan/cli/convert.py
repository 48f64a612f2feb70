"""snpe-srgan convert runs/mobile -o out                       # out/generator.onnx, out/generator.dlc
snpe-srgan convert gan.npz --input-size 169x255 --quantize     # and gan_w8a8.onnx, gan_w8a8.dlc
snpe-srgan convert foreign.pb --input-name x --output-name y
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import common, input_size_option, model_argument, output_option, overwrite_option


@click.command()
@model_argument
@input_size_option()
@click.option("--soc", default="SM8650", help="The chip the .dlc is checked for, see `devices`.")
@click.option("--toolchain", type=click.Choice(["qnn"]), default="qnn", help="What writes the .dlc.")
@click.option("--input-name", help="Input node of a foreign .pb.")
@click.option("--output-name", help="Output node of a foreign .pb.")
@click.option("--onnx-only", is_flag=True, help="Write no .dlc (needs no onnxruntime-qnn).")
@click.option("--quantize", is_flag=True, help="Write the quantized .onnx and .dlc as well; `quantize` has more say.")
@click.option("--recipe", default="w8a8", help="Bits of weights and activations, for --quantize.")
@click.option(
    "--calibration", metavar="IMAGES", multiple=True, default=("sample",),
    help="HR pictures to calibrate on, for --quantize: a folder, glob or file; repeatable.",
)  # fmt: skip
@output_option("Folder for the files; beside the model by default.")
@overwrite_option
@common
def command(model, out, toolchain, quantize, recipe, calibration, output, **options):
    """A model into .onnx and a Qualcomm .dlc.

    Writes MODEL.onnx, which takes any picture, and MODEL.dlc, which takes LR pictures of --input-size. Each is checked
    against what it was made from; the checks stand on the cards beside the files.
    """
    from snpe_srgan.artifacts.resolve import resolve
    from snpe_srgan.export.stages import convert_model

    file = resolve(model)
    folder = out or file.folder
    result = convert_model(file, folder, say=output.note, **options)
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
    value = {"convert": result}
    if quantize:
        from snpe_srgan.quantization.stage import quantize_model

        quantized = quantize_model(
            result.onnx or file,
            folder,
            recipe=recipe,
            calibration=calibration,
            say=output.note,
            **{key: options[key] for key in ("input_size", "soc", "onnx_only", "overwrite")},
        )
        value["quantize"] = quantized
        lines.append(f"{quantized.onnx}: {quantized.onnx_bytes:,} bytes, any input size")
        if quantized.dlc:
            lines.append(f"{quantized.dlc}: {quantized.dlc_bytes:,} bytes")
        lines.append(f"  against the float network: {quantized.report.psnr_to_float:.2f} dB")
    output.result(value, text=lines)
