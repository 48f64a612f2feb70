"""snpe-srgan freeze runs/mobile                          # runs/mobile/generator.pb
snpe-srgan freeze gan.npz -o gan.pb --input-size 169x255
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Size, Verb, common, model_argument, output_option, overwrite_option


@click.command(cls=Verb)
@model_argument
@output_option("The .pb to write; beside the model by default.")
@click.option("--input-size", type=Size(of_input=True), help="Fix the LR height x width; any size by default.")
@overwrite_option
@common
def command(model, out, input_size, overwrite, output):
    """Freeze a run or .npz to a TensorFlow .pb with fixed node names.

    Input `lr` is [1, height, width, 3], RGB in [0, 1]; output `sr` is RGB in [-1, 1]. The .pb is checked against the
    network it was made from.
    """
    from snpe_srgan.stages.convert import freeze_model
    from snpe_srgan.zoo.resolve import resolve

    file = resolve(model, kinds=("npz",))
    path = out or file.folder / f"{file.stem}.pb"
    card = freeze_model(file, path, input_size=input_size, overwrite=overwrite, say=output.say)
    check = card.checks[0]
    output.result(
        {"path": str(path), "card": card},
        text=f"{path}: {card.bytes:,} bytes, input lr, output sr, {check.value:.1e} from {check.against}",
    )
