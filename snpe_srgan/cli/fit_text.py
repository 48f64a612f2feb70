"""Chips, and what they run, for people: for `devices` and `convert --soc`."""

from __future__ import annotations

from collections.abc import Iterable

from snpe_srgan.console import table
from snpe_srgan.toolchains.chips import Chip
from snpe_srgan.toolchains.fit import RUNTIMES, Fit

HEADER = ("chip", "part", "CPU", "GPU", "DSP", "AIP", "Hexagon", "VTCM", "SoC id", "cost model", "Table 1", "phones")


def chip_table(chips: Iterable[Chip]) -> str:
    """`-` where a chip has not got it, or nobody says."""
    return table(HEADER, [_row(chip) for chip in chips])


def _row(chip: Chip) -> list[str]:
    return [
        chip.name,
        chip.part,
        *("yes" if runtime in chip.runtimes else "-" for runtime in RUNTIMES),
        f"v{chip.hexagon}" if chip.hexagon else "-",
        f"{chip.vtcm_mb} MB" if chip.vtcm_mb else "-",
        str(chip.soc.id) if chip.soc else "-",
        "yes" if chip.soc and chip.soc.estimates else "-",
        "yes" if chip.table_1 else "-",
        ", ".join(chip.phones) or "-",
    ]


def fit_text(fit: Fit) -> list[str]:
    """Where a file runs on a chip and why it does not elsewhere, line by line."""
    lines = [f"{fit.chip}: runs on {', '.join(r.upper() for r in fit.runs) or 'nothing'}"]
    lacking = [runtime.upper() for runtime in fit.refused if runtime not in fit.chip.runtimes]
    if lacking:
        lines[0] += f"; the chip has no {' and no '.join(lacking)} runtime"
    reasons = {runtime: why for runtime, why in fit.refused.items() if runtime in fit.chip.runtimes}
    lines += [f"  not {runtime.upper()}: {why}" for runtime, why in reasons.items()]
    lines += ["  the file holds its graph ready-compiled for this chip"] if fit.compiled else []
    return lines + [f"  {remark}" for remark in fit.remarks]
