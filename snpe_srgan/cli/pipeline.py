"""Run every stage of a config, from pictures to a quantized .dlc that has been run, with a report.

    snpe-srgan pipeline -c configs/smoke.yaml
    snpe-srgan pipeline -c configs/paper.yaml --run-dir runs/paper

Interrupted anywhere, the same command goes on where it stopped; run again, it redoes nothing that did not change.
"""

from __future__ import annotations

from pathlib import Path

import click

from snpe_srgan.cli.options import Verb, common, overwrite_option, set_option


@click.command("pipeline", cls=Verb, help=__doc__.split("\n\n", 1)[0])
@click.option("-c", "--config", "config_path", required=True, type=click.Path(), help="YAML file of the run.")
@set_option
@click.option("--run-dir", type=click.Path(), help="Folder of the run.  [default: runs/<name of the config>]")
@overwrite_option
@common
def command(output, config_path, overrides, run_dir, overwrite):
    from snpe_srgan.artifacts.inputs import reading
    from snpe_srgan.artifacts.run_files import Files
    from snpe_srgan.config import load_config
    from snpe_srgan.console import table
    from snpe_srgan.pipeline.stages import run_pipeline
    from snpe_srgan.streams import Lines

    config = load_config(config_path, overrides)
    reading(config_path)
    folder = Path(run_dir or f"runs/{config.name}")
    done = run_pipeline(config, folder, output=output, overwrite=overwrite)
    files = Files(folder, config.quantize.recipe)
    rows = [[d.name, "done" if d.ran else "up to date", f"{d.seconds:.1f} s"] for d in done]
    output.result(
        {"run_dir": folder, "report": files.report_html, "stages": done},
        text=[Lines(files.report_md.read_text(encoding="utf-8")), table(["stage", "", "time"], rows), "",
              f"report: {files.report_html}"],
    )  # fmt: skip
