"""`--detail`: a network between the pixel and the adversarial one, made for the time of the command."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import click

from snpe_srgan.cli.options import Finite

if TYPE_CHECKING:
    from snpe_srgan.console import Output
    from snpe_srgan.onnx_graphs.boundary import Said
    from snpe_srgan.zoo.resolve import ModelFile

detail_option = click.option(
    "--detail", type=Finite(0, 1), metavar="0..1",
    help="Between fidelity (0, the pixel network) and drawn detail (1, its adversarial twin): interpolates the weights "
    "of mobile and mobile-gan, of srresnet and srgan, or of a run folder's two stages.",
)  # fmt: skip


def find_model(
    model: str, detail: float | None, *, runs: bool = False, said: Said | None = None, output: Output | None = None
) -> ModelFile:
    """MODEL, with `runs` a .tflite too; or with `detail` the network in between, which goes with the command.

    Args:
        said: what the user says of a foreign network's ends; `output` is told where it is kept.
    """
    from snpe_srgan.cli.ends import keep_said
    from snpe_srgan.zoo.detail import interpolated
    from snpe_srgan.zoo.resolve import KINDS, RUNNABLE, resolve

    if detail is None:
        file = resolve(model, kinds=RUNNABLE if runs else KINDS, said=said)
        if said and output is not None:
            keep_said(file, said, output)
        return file
    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory(prefix="snpe-srgan-detail-"))
    return interpolated(model, detail, folder)
