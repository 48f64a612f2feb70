"""Which means a strategy uses, in which order, and what share each of its steps is to leave.

for name in strategies_for(target, None, None, "best", price=None): KINDS[name], goals(target, None, None)[name]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snpe_srgan.compression.target import Target, parse_ratio
from snpe_srgan.compression.units import BLOCK, CHANNELS, SSVD
from snpe_srgan.errors import MissingToolError, UsageError, did_you_mean

BEST, MAGNITUDE = "best", "magnitude"
STRATEGIES = {
    "joint": "ranks, channels and blocks together, wherever a saving costs the picture least",
    "slim": "channels and blocks together: plain 3x3 convolutions stay plain, which processors like",
    "ssvd": "spatial SVD alone",
    "prune": "channel pruning alone",
    "blocks": "whole residual blocks alone",
    "ssvd-prune": "spatial SVD to half of the way, then channel pruning: AIMET's order",
    MAGNITUDE: "the channel counts of 'prune', chosen by the weights' size, nothing fitted: the baseline",
}
KINDS = {
    "joint": ((BLOCK, CHANNELS, SSVD),),
    "slim": ((BLOCK, CHANNELS),),
    "ssvd": ((SSVD,),),
    "prune": ((CHANNELS,),),
    "blocks": ((BLOCK,),),
    "ssvd-prune": ((SSVD,), (CHANNELS,)),
    MAGNITUDE: ((CHANNELS,),),
}


def strategies_for(
    target: Target | None, ssvd: float | None, prune: float | None, strategy: str, *, price: Callable | None
) -> list[str]:
    """The strategies to try.

    Args:
        target: None where `ssvd` or `prune` is given.
        ssvd, prune: share of the MACs that the step leaves, 0 to 1; None leaves the step out.
        strategy: a key of STRATEGIES, or `best` for all but the baseline by magnitude.
        price: Graph -> microseconds; None where there is no cost model.

    Raises:
        UsageError: what was asked for makes no sense.
        MissingToolError: the target is a time, and there is no cost model.
    """
    if (target is None) == (ssvd is None and prune is None):
        raise UsageError("a target, or shares for --ssvd and --prune: one of the two", hint="--target macs=0.5")
    if strategy != BEST and strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy '{strategy}'", hint=did_you_mean(strategy, [BEST, *STRATEGIES]))
    if target is None:
        for name, ratio in (("--ssvd", ssvd), ("--prune", prune)):
            if ratio is not None:
                parse_ratio(ratio, where=name)
        return ["ssvd-prune" if ssvd and prune else "ssvd" if ssvd else "prune"]
    if target.kind == "latency" and price is None:
        raise MissingToolError("a latency target needs Qualcomm's cost model", hint="pip install onnxruntime-qnn")
    return [strategy] if strategy != BEST else [name for name in STRATEGIES if name != MAGNITUDE]


def goals(target: Target | None, ssvd: float | None, prune: float | None) -> dict[str, tuple[float, ...]]:
    """Strategy -> the share that each of its steps is to leave, of the full cost (0 to 1, falling).

    Args:
        target: a strategy of two steps takes half of the way to it, as a factor, in the first.
        ssvd, prune: where there is no target: what each of the two steps leaves of what it gets.
    """
    if target is not None:
        halfway = target.ratio**0.5
        return {name: (halfway, target.ratio)[-len(steps) :] for name, steps in KINDS.items()}
    shares = [share for share in (ssvd, prune) if share is not None]
    return {name: tuple(np.cumprod(shares)) for name, steps in KINDS.items() if len(steps) == len(shares)}
