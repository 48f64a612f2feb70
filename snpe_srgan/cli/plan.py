"""snpe-srgan plan --chip "8 Gen 2" --output 1080x1920 --fps 30
snpe-srgan plan --chip SM8650 --output 1440x2560 --fps 60 --min-psnr 31 mobile srgan runs/mine
snpe-srgan plan --chip "Galaxy S24 Ultra" --output 2160x3840 --fps 24 --overlap 16 --json
"""

from __future__ import annotations

import click

from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Finite, Size, Verb, Whole, common

COMPRESSIBLE = 0.2  # less of a network's time is another network's


@click.command(cls=Verb)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--chip", required=True, help="The chip: a name, part number, SoC id or phone, as devices lists them.")
@click.option("--output", "size", type=Size(), required=True, help="Height x width of the enlarged picture.")
@click.option("--fps", type=Finite(0, 1000, min_open=True), default=30.0, help="Frames a second wanted.")
@click.option("--min-psnr", type=Finite(0, 100), help="dB on Set5 (Y) that the network must have.")
@click.option(
    "--overlap", type=Whole(0, 4096),
    help="LR pixels by which tiles overlap.  [default: as far as the network sees, so that tiles are exact]",
)  # fmt: skip
@ends_options
@common
def command(models, chip, size, fps, min_psnr, overlap, said, output):
    """Estimate which network, precision, tile and batch meets a frame rate on a chip.

    Chooses among the MODELs, or all networks with a name. Times are estimates, calibrated on times that Qualcomm
    publishes, never measurements; each states its error on networks that it was not fitted on. Exits with 0 if the
    estimate of some network meets the budget, otherwise with 1 and the nearest one.
    """
    from snpe_srgan.planning.plan import Budget, make_plan
    from snpe_srgan.planning.subjects import named_subjects, read_subject
    from snpe_srgan.toolchains import chips

    wanted = chips.find(chip)
    subjects = [read_subject(model, said=said) for model in dict.fromkeys(models)] or named_subjects()
    plan = make_plan(wanted, subjects, Budget(size, fps, min_psnr, overlap))
    output.result({**vars(plan), "meets": plan.meets}, text=plan_text(plan))
    if not plan.meets:
        output.error(nearest_lines(plan))
        raise SystemExit(1)


def plan_text(plan) -> list[str]:
    """The plan for people: the choice, the table, what it rests on."""
    from snpe_srgan.console import table

    size = "x".join(map(str, plan.budget.output))
    lines = [f"{size} (height x width) at {plan.budget.fps:g} frames a second on {plan.chip}: estimates, not measured"]
    if plan.meets:
        best = plan.options[0]
        sure = "" if best.surely else "; the lower bound misses it"
        lines.append(f"choice: {best.network} in {best.precision}, {_tiling(best)}{sure}")
    rows = [
        (
            o.network, o.precision, "x".join(map(str, o.tile)), o.batch, o.tiles, "yes" if o.exact else "near",
            f"{o.call_ms:.2f}", _number(o.fps), f"{_number(o.fps_low)} to {_number(o.fps_high)}",
            "-" if o.psnr is None else f"{o.psnr:.2f}", _verdict(o),
        )
        for o in plan.options
    ]  # fmt: skip
    if rows:
        header = ("network", "precision", "tile", "batch", "tiles", "exact", "ms a call", "fps", "9 in 10 within",
                  "Set5, dB", "budget")  # fmt: skip
        lines += ["", table(header, rows), ""]
    lines += [f"{name} is left out: {why}" for name, why in plan.rejected.items()]
    lines += dict.fromkeys(f"{o.precision}: {o.rests_on}" for o in plan.options)
    lines += dict.fromkeys(remark for o in plan.options for remark in o.remarks)
    lines += [
        f"{o.network} in {o.precision}: published for a network of this structure is {o.published_ms:g} ms at 128x128"
        for o in plan.options
        if o.published_ms is not None
    ]
    return [*lines, "accelerator time only: cutting, copying and joining tiles come on top", f"times: {plan.source}"]


def _tiling(option) -> str:
    tile = "x".join(map(str, option.tile))
    return f"{option.tiles} tiles of {tile}, {option.batch} a call, {option.fps:.1f} frames a second"


def _number(fps: float) -> str:
    return f"{fps:.2g}" if fps < 10 else f"{fps:.0f}"


def _verdict(option) -> str:
    if option.meets:
        return "met" if option.surely else "met, not surely"
    if option.left <= 0:
        return "no compression is enough"
    return f"needs {option.left:.0%} of its time" if option.left >= 0.01 else "needs under 1% of its time"


def nearest_lines(plan) -> list[str]:
    """The error of a budget that nothing meets."""
    what = f"nothing makes {plan.budget.fps:g} frames a second on {plan.chip}, by estimate"
    if not plan.options:
        return [f"none of the networks fits the budget on {plan.chip}", *_why(plan)]
    near = plan.options[0]
    lines = [what, f"  nearest: {near.network} in {near.precision}, {_tiling(near)}"]
    if near.left >= COMPRESSIBLE:
        return [*lines, f"  try: compress --target latency={near.left:.2f}, a smaller --output, or fewer --fps"]
    return [*lines, "  try: a smaller --output, or fewer --fps"]


def _why(plan) -> list[str]:
    name, why = next(iter(plan.rejected.items()))
    more = len(plan.rejected) - 1
    return [f"  {name}: {why}" + (f"; and {more} more" if more else "")]
