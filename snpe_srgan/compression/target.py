"""What a compressed network may cost: `macs=0.5` is half of the multiply-accumulates.

parse_target("latency=0.6")      # Target(kind="latency", ratio=0.6)
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import UsageError, did_you_mean

KINDS = {
    "macs": "multiply-accumulates",
    "size": "parameters, which a .dlc's bytes follow",
    "latency": "time of the 8-bit network by Qualcomm's cost estimate",
}


@dataclass(frozen=True)
class Target:
    """`ratio` of the full network's cost, in (0, 1), that is to be left at most."""

    kind: str
    ratio: float

    def __str__(self) -> str:
        return f"{self.kind}={self.ratio:g}"


def parse_target(text: str) -> Target:
    """`KIND=RATIO`; `UsageError` for anything else."""
    kind, equals, number = text.strip().partition("=")
    if kind not in KINDS or not equals:
        hint = did_you_mean(kind, KINDS) if equals else None
        raise UsageError(f"'{text}' is no target", where="--target", hint=hint or "macs=0.5, size=0.5 or latency=0.6")
    return Target(kind, parse_ratio(number, where="--target"))


def parse_ratio(text: str | float, *, where: str) -> float:
    """A number in (0, 1): the share that is left.

    Args:
        where: the option that the error names.

    Raises:
        UsageError: anything else.
    """
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio < 1:
        raise UsageError(f"'{text}' is no share between 0 and 1", where=where, hint="0.5 leaves half")
    return ratio
