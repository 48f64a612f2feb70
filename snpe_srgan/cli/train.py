"""Train a network as a config describes.

    snpe-srgan train -c configs/mobile.yaml
    snpe-srgan train -c configs/smoke.yaml --set training.stages.0.steps=500 --run-dir runs/try
    snpe-srgan train -c configs/smoke.yaml --resume

Ctrl-C saves the state; `--resume` goes on from the last checkpoint, whatever ended the run.
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Verb, common, overwrite_option, set_option


@click.command("train", cls=Verb, help=__doc__.split("\n\n", 1)[0])
@click.option("-c", "--config", "config_path", required=True, type=click.Path(), help="YAML file of the run.")
@set_option
@click.option("--run-dir", type=click.Path(), help="Folder of the run.  [default: runs/<name of the config>]")
@click.option("--resume", is_flag=True, help="Go on from the run folder's last checkpoint, if there is one.")
@overwrite_option
@common
def command(output, config_path, overrides, run_dir, resume, overwrite):
    from snpe_srgan.artifacts.inputs import reading
    from snpe_srgan.config import load_config
    from snpe_srgan.errors import UsageError
    from snpe_srgan.quiet import import_tensorflow

    if resume and overwrite:
        raise UsageError("--resume keeps the earlier run and --overwrite removes it", hint="choose one of them")
    config = load_config(config_path, overrides)
    reading(config_path)
    output.note("starting TensorFlow ...")
    import_tensorflow()
    from snpe_srgan.training.run import train

    result = train(config, run_dir or f"runs/{config.name}", resume=resume, overwrite=overwrite, output=output)
    output.result(result, text=_text(result))


def _text(result) -> list[str]:
    from snpe_srgan.console import table

    rows = [["bicubic", "", "", "", _db(result.bicubic_psnr), _ssim(result.bicubic_ssim)]]
    rows += [
        [s.name, s.steps, f"{s.seconds / 60:.1f}", f"{s.images_per_second:.0f}", _db(s.psnr), _ssim(s.ssim)]
        for s in result.stages
    ]
    return [
        table(["stage", "steps", "minutes", "images/s", "PSNR", "SSIM"], rows),
        f"validation: {result.validation}; {result.protocol}",
        f"written: {result.generator}",
        *(f"look at: {strip} (bicubic | the network | the true picture)" for strip in result.strips),
    ]


def _db(value) -> str:
    return "-" if value is None else f"{value:.2f}"


def _ssim(value) -> str:
    return "-" if value is None else f"{value:.4f}"
