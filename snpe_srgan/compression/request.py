"""What a user asks of `compress`, checked before anything is read.

request = Request.parse(target="macs=0.5", strategy="prune")
request.label           # macs50: what the files are called by
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.compression.strategies import BEST, STRATEGIES
from snpe_srgan.compression.target import Target, parse_ratio, parse_target
from snpe_srgan.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Request:
    """Either `target`, or `ssvd` and `prune`: shares of the MACs left after each."""

    target: Target | None
    ssvd: float | None
    prune: float | None
    strategy: str
    multiple: int

    @classmethod
    def parse(
        cls, *, target: str | None, ssvd: float | None, prune: float | None, strategy: str = BEST, multiple: int = 8
    ) -> Request:
        """What was asked for, checked.

        Args:
            target: as typed, like `macs=0.5`; None where `ssvd` or `prune` is given.
            ssvd, prune: share of the MACs that the step leaves, 0 to 1; None leaves the step out.
            strategy: a key of STRATEGIES, or `best` for all.
            multiple: channel counts are multiples of it.

        Raises:
            UsageError: a value that is none, or options that do not go together.
        """
        steps = [(name, share) for name, share in (("--ssvd", ssvd), ("--prune", prune)) if share is not None]
        if target is None and not steps:
            raise UsageError("what is to be left is not said", hint="--target macs=0.5, or --ssvd 0.7 --prune 0.7")
        if target is not None and steps:
            raise UsageError(f"--target and {steps[0][0]} exclude each other", hint="leave one of them out")
        for name, share in steps:
            parse_ratio(share, where=name)
        if strategy not in (BEST, *STRATEGIES):
            hint = did_you_mean(strategy, (BEST, *STRATEGIES))
            raise UsageError(f"unknown strategy '{strategy}'", where="--strategy", hint=hint)
        if steps and strategy != BEST:
            raise UsageError(f"{steps[0][0]} is a strategy of its own", hint="leave out --strategy")
        return cls(None if target is None else parse_target(target), ssvd, prune, strategy, multiple)

    @property
    def needs_price(self) -> bool:
        """Whether the target is a time, so that Qualcomm's cost model is needed."""
        return self.target is not None and self.target.kind == "latency"

    @property
    def text(self) -> str:
        """What was asked for, as a user would type it."""
        if self.target is not None:
            return str(self.target)
        return ", ".join(f"{name}={share:g}" for name, share in self._steps())

    @property
    def label(self) -> str:
        """For file names: macs50, ssvd70_prune70; a decimal point is a `p`."""
        parts = self._steps() if self.target is None else [(self.target.kind, self.target.ratio)]
        return "_".join(f"{name}{round(100 * share, 2):g}".replace(".", "p") for name, share in parts)

    def record(self) -> dict[str, object]:
        """Plain data for the card."""
        return {"target": self.text, "asked": self.strategy, "multiple": self.multiple}

    def _steps(self) -> list[tuple[str, float]]:
        return [(name, share) for name, share in (("ssvd", self.ssvd), ("prune", self.prune)) if share is not None]
