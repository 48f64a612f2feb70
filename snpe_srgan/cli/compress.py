"""snpe-srgan compress runs/paper --target macs=0.5 --calibration photos
snpe-srgan compress srgan.npz --target macs=0.5 --calibration photos --finetune configs/finetune.yaml --minutes 30
snpe-srgan compress srgan.npz --target latency=0.6 --strategy prune --multiple 32 -o out
snpe-srgan compress srgan.npz --ssvd 0.7 --prune 0.7 -o out                       # AIMET's order
snpe-srgan compress --list
"""

from __future__ import annotations

import click

from snpe_srgan.cli.detail import find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import (
    Finite,
    Verb,
    Whole,
    common,
    input_size_option,
    output_option,
    overwrite_option,
    set_option,
)

SHARE = Finite(0, 1, min_open=True)


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL", required=False)
@click.option("--target", metavar="KIND=SHARE", help="How much to keep of macs, size or latency, e.g. macs=0.5.")
@click.option(
    "--ssvd", type=SHARE, metavar="R", help="Share of the MACs left after spatial SVD, instead of --target."
)
@click.option(
    "--prune", type=SHARE, metavar="R", help="Share of the MACs left by pruning channels, of what --ssvd left."
)
@click.option("--strategy", default="best", help="One of --list; best: compared on the validation pictures.")
@click.option(
    "--calibration", metavar="IMAGES", multiple=True, default=("sample",),
    help="HR pictures to reconstruct layers on: a folder, glob or file; repeatable. 'sample' are scikit-image's "
    "photos; 'synthetic' are drawn.",
)  # fmt: skip
@click.option(
    "--validation", metavar="IMAGES", multiple=True,
    help="HR pictures to choose the best by; repeatable.  [default: every second calibration picture]",
)  # fmt: skip
@click.option("--count", type=Whole(2, 4096), default=24, help="Calibration crops of 48x48 LR pixels.")
@click.option(
    "--multiple", type=click.Choice(["1", "2", "4", "8", "16", "32"]), default="8",
    help="Channels and ranks are multiples of this.",
)  # fmt: skip
@click.option("--finetune", metavar="CONFIG", type=click.Path(), help="Train config for fine-tuning the result.")
@set_option
@click.option("--minutes", type=Finite(0.01, 1e6), help="How long to fine-tune, instead of training.minutes.")
@click.option("--run-dir", type=click.Path(), help="Folder of the fine-tuning.  [default: <output>_finetune]")
@click.option("--resume", is_flag=True, help="Go on with an interrupted fine-tuning.")
@input_size_option("128x128")
@click.option("--chip", default="SA8255P", help="The chip of Qualcomm's cost estimate.")
@click.option("--runs", type=Whole(1, 1000), default=5, help="Timed runs of each network on each host engine.")
@click.option("--list", "list_strategies", is_flag=True, help="List the strategies, and stop.")
@output_option("Folder for the files; beside the model by default.")
@ends_options
@overwrite_option
@common
def command(model, list_strategies, said, out, output, multiple, **options):
    """Make a trained network smaller by spatial SVD, channel pruning, fewer blocks and fine-tuning.

    MODEL is a run folder, an .npz, or an .onnx or .dlc of anyone whose operators are our layers'.
    Writes MODEL_macs50.npz, which every later command takes, and MODEL_macs50.compression.json: what each
    layer gave up, the strategies compared, and MACs, bytes and time before and after.
    """
    if list_strategies:
        strategies = _strategies()
        output.result({"strategies": strategies}, text=_list(strategies))
        return
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.")

    from snpe_srgan.errors import UsageError
    from snpe_srgan.stages.compress import CompressOptions, compress_model

    if options["resume"] and options["overwrite"]:
        raise UsageError("--resume keeps the earlier run and --overwrite removes it", hint="choose one of them")
    file = find_model(model, None, said=said, output=output)
    wanted = CompressOptions(multiple=int(multiple), **options)
    result = compress_model(file, out or file.folder, wanted, output=output)
    output.result(result, text=_text(result))


def _strategies() -> dict[str, str]:
    from snpe_srgan.compression.strategies import STRATEGIES

    return {**STRATEGIES, "best": "of all but the baseline, the one whose pictures stay closest to the full network's"}


def _list(strategies: dict[str, str]) -> str:
    from snpe_srgan.console import table

    return table(("strategy", ""), list(strategies.items()))


def _text(result) -> list[str]:
    """The report for people: what was given up, the strategies, before and after, what follows from it."""
    from snpe_srgan.compression.tables import before_after, given_up, strategies
    from snpe_srgan.console import table

    lines = [table(*given_up(result.rows)), ""]
    if result.tried:
        lines += [f"{result.target}; PSNR is to the full network's pictures, before fine-tuning"]
        lines += [table(*strategies(result.tried, result.strategy)), ""]
    header, rows, notes = before_after(result.measured)
    lines += [table(header, rows), *notes, ""]
    if result.training is not None:
        lines.append(_tuned(result.training))
    lines += [*result.notes, *result.recommendation, ""]
    written = [result.network, result.untuned, result.report]
    return [*lines, *(f"{path}" for path in written if path is not None)]


def _tuned(training) -> str:
    psnr = training.stages[-1].psnr
    score = "no validation" if psnr is None else f"{psnr:.2f} dB, bicubic {training.bicubic_psnr:.2f} dB"
    return f"fine-tuned {training.seconds / 60:.1f} minutes: {score} ({training.validation}; {training.protocol})"
