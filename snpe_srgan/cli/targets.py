"""The chips that a .dlc is made for: `convert --soc CHIP`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snpe_srgan.cli.fit_text import fit_text
from snpe_srgan.errors import UsageError


class Targets:
    """Chips by any of their names; UsageError for one that is not known, before anything is converted."""

    def __init__(self, names: Sequence[str], *, onnx_only: bool = False):
        from snpe_srgan.toolchains import chips

        if names and onnx_only:
            raise UsageError("--soc is about the .dlc, which --onnx-only leaves out")
        self.chips = tuple(dict.fromkeys(chips.find(name) for name in names))

    def options(self, *, floats: bool) -> dict:
        """Of `convert_model` and `quantize_model`: the chip to check operators for, those to compile for."""
        from snpe_srgan.toolchains.chips import FLOATS

        known = [chip.soc for chip in self.chips if chip.soc]
        caches = [soc for soc in known if not floats or soc.hexagon >= FLOATS]
        return {"soc": known[0].id if known else None, "caches": caches}

    def fits(self, dlc: Path | None) -> list:
        """What of a written .dlc runs on each chip."""
        if dlc is None or not self.chips:
            return []
        from snpe_srgan.dlc.describe import describe
        from snpe_srgan.dlc.reader import read
        from snpe_srgan.toolchains.fit import check

        summary = describe(read(dlc))
        return [check(summary, chip) for chip in self.chips]

    def text(self, fits: Sequence) -> list[str]:
        """What to print of the chips, indented by two spaces."""
        return [f"  {line}" for fit in fits for line in fit_text(fit)]
