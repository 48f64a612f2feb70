"""What to conclude from the figures: MACs that were saved and time that was not, and what to type instead.

for line in advise(measured, compression.strategy, compression.rows, compression.tried): print(line)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snpe_srgan.compression.measure import Measured
    from snpe_srgan.compression.result import Row, Tried

MEANS = {"ssvd": "spatial SVD", "channels": "channel pruning", "block": "leaving out blocks"}
POOR = 0.5  # time saved below this part of the MACs saved is worth a word
FASTER = 0.95  # another strategy's time, in times of the chosen one's, that is worth a word
CLOSE = 0.3  # dB that such a strategy may be worse by, before fine-tuning


def advise(
    measured: Measured, strategy: str, rows: Sequence[Row], tried: Sequence[Tried], *, multiple: int = 8
) -> tuple[str, ...]:
    """What was saved, and, where time did not follow the MACs, what to try. Of the estimated DSP time in 8 bits.

    Args:
        measured: both networks' figures.
        strategy: the one whose network was taken.
        rows: what its units gave up.
        tried: all strategies that were tried, with their errors.
        multiple: of the channel counts that were allowed, for the advice.

    Returns:
        Lines for the user, the first of what was saved.
    """
    before, after = measured.before, measured.after
    means = used(rows)
    macs = 1 - after.macs_per_lr_pixel / before.macs_per_lr_pixel
    parameters = 1 - after.parameters / before.parameters
    host = max(1 - 1 / measured.host_speedup, 0.0)
    dsp = None if measured.dsp_speedup is None else max(1 - 1 / measured.dsp_speedup, 0.0)
    saved = f"{_joined(means)} saved {macs:.0%} of the MACs, {parameters:.0%} of the parameters,"
    if not means:  # the tail was moved, no more
        saved = f"{-macs:.1%} more MACs and {-parameters:.1%} more parameters saved"
    saved += f" {host:.0%} of the time on the host ({measured.host_speedup:.2f} times as fast on {measured.engine})"
    if dsp is not None:
        saved += f" and {dsp:.0%} of the estimated DSP time in 8 bits ({measured.dsp_speedup:.2f} times as fast)"
    lines = [saved]
    if host < POOR * macs:
        lines.append(f"the host's time follows the MACs poorly: {host:.0%} of it for {macs:.0%} of the MACs")
    if dsp is not None and dsp < POOR * macs:
        line = f"{_joined(means)} saved {macs:.0%} of the MACs and {dsp:.0%} of the estimated DSP time"
        lines.append(f"{line}: {_instead(strategy, means, tried, multiple)}")
    elif (other := _faster(strategy, tried)) is not None:
        lines.append(f"for the DSP, {other}")
    return tuple(lines)


def used(rows: Sequence[Row]) -> tuple[str, ...]:
    """The means by which something was given up, kinds of `Row.kind`."""
    return tuple(kind for kind in MEANS if any(row.kind == kind and row.kept < row.full for row in rows))


def _joined(means: Sequence[str]) -> str:
    return " and ".join(MEANS[kind] for kind in means) or "compression"


def _instead(strategy: str, means: Sequence[str], tried: Sequence[Tried], multiple: int) -> str:
    if (other := _faster(strategy, tried)) is not None:
        return other
    if "ssvd" in means and strategy != "prune":
        return "prefer --strategy prune"
    if multiple < 32:
        return "prefer --multiple 32, or a target of time: --target latency=R"
    return "its time is not spent in multiplications; --target latency=R prices it as the DSP does"


def _time(of: Tried) -> float:
    """The share of the estimated DSP time that is left; without end where it is not known."""
    return math.inf if of.latency is None else of.latency


def _faster(strategy: str, tried: Sequence[Tried]) -> str | None:
    """What to say of the fastest other strategy that met the target at about the same picture, if clearly faster."""
    own = next((t for t in tried if t.strategy == strategy and t.latency is not None), None)
    if own is None:
        return None
    others = [
        t for t in tried
        if t.strategy != strategy and t.met and _time(t) < FASTER * _time(own)
        and t.psnr_to_full > own.psnr_to_full - CLOSE
    ]  # fmt: skip
    if not others:
        return None
    other = min(others, key=_time)
    return (
        f"prefer --strategy {other.strategy}: {other.latency:.0%} of the estimated DSP time is left instead of "
        f"{own.latency:.0%}, at {other.psnr_to_full:.2f} dB to the full network's pictures instead of "
        f"{own.psnr_to_full:.2f} dB (before fine-tuning)"
    )
