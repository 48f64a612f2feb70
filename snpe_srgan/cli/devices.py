"""snpe-srgan devices
snpe-srgan devices "8 gen 3"
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import common


@click.command()
@click.argument("chip", required=False)
@common
def command(chip, output):
    """The Snapdragon chips known, with DSP version and SoC id.

    CHIP is an id, a part number or a name ('57', 'SM8650', '8 Gen 3'); all are listed when it is left out.
    """
    from snpe_srgan.cli.output import table
    from snpe_srgan.toolchains import socs

    chips = [socs.find(chip)] if chip else list(socs.SOCS)
    rows = [
        [s.name, s.marketing or "-", f"v{s.hexagon}", f"{s.vtcm_mb} MB", "yes" if s.estimates else "-", s.id]
        for s in chips
    ]
    output.result({"chips": chips}, text=table(["chip", "name", "Hexagon", "VTCM", "cost estimate", "SoC id"], rows))
