"""snpe-srgan devices
snpe-srgan devices 845                    # or SDM845, "8 gen 3", "Pixel 3", a SoC id
snpe-srgan devices 845 generator_w8a8.dlc # what of it would run there
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Verb, common


@click.command(cls=Verb)
@click.argument("chip", required=False)
@click.argument("dlc", metavar="[FILE.dlc]", required=False)
@common
def command(chip, dlc, output):
    """Show which Snapdragon runs which runtime: the paper's Table 1 and newer chips.

    CHIP is a name, a part number, a SoC id or a phone; without it, all are listed. With FILE.dlc: which runtimes
    of that chip take the file, and why the others do not.
    """
    from snpe_srgan.cli.fit_text import chip_table, fit_text
    from snpe_srgan.toolchains import chips

    chosen = [chips.find(chip)] if chip else list(chips.CHIPS)
    if dlc is None:
        output.result({"chips": chosen}, text=chip_table(chosen))
        return
    from snpe_srgan.dlc.describe import describe
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.toolchains.fit import check
    from snpe_srgan.zoo.resolve import resolve

    fit = check(describe(read(resolve(dlc, kinds=("dlc",)).path)), chosen[0])
    output.result(fit, text=fit_text(fit))
