"""From a target to a smaller network: measured sensitivity, several strategies, the best of them.

found = compress_network(graph, weights, target=parse_target("macs=0.5"), crops=crops, validation=others)
found.graph, found.weights, found.strategy
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from snpe_srgan.compression.candidates import Candidates
from snpe_srgan.compression.result import Compression
from snpe_srgan.compression.strategies import BEST, KINDS, goals, strategies_for
from snpe_srgan.compression.target import Target
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Graph


def compress_network(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    *,
    target: Target | None = None,
    ssvd: float | None = None,
    prune: float | None = None,
    strategy: str = BEST,
    crops: Sequence[np.ndarray],
    validation: Sequence[np.ndarray],
    multiple: int = 8,
    price: Callable[[Graph], float] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Compression:
    """Searches a smaller network.

    Args:
        target: what is to be left at most; or instead:
        ssvd, prune: shares of the MACs left by spatial SVD and then by channel pruning, each of what it is given.
        strategy: one of STRATEGIES, or 'best' of them (the baseline aside) on `validation`.
        crops, validation: LR, (1, h, w, 3) float32 in [0, 1]; what kernels are fitted on, and what is judged on.
        multiple: ranks and channel counts are multiples of it.
        price: a network's microseconds; latency targets need it, other targets report it where it is given.

    Raises:
        InputError: no strategy reaches the target.
        UsageError: what was asked for makes no sense.
        MissingToolError: the target is a time, and there is no `price`.
    """
    names = strategies_for(target, ssvd, prune, strategy, price=price)
    candidates, shares = Candidates(graph, weights, multiple, price, say), goals(target, ssvd, prune)
    candidates.refuse(names, shares, target)
    if candidates.as_it_is(shares[names[0]][-1], target):
        return candidates.unchanged(names[0], validation)
    candidates.prepare({kind for name in names for step in KINDS[name] for kind in step}, crops, validation)
    found = {name: candidates.attempt(name, shares, target) for name in names}
    tried = tuple(result.tried for result in found.values())
    met = [name for name in names if found[name].tried.met]
    if not met:
        reasons = "; ".join(f"{t.strategy}: {t.why_not}" for t in tried)
        raise InputError(f"the target {target or 'of these steps'} was not met", where=graph.network, hint=reasons)
    chosen = max(met, key=lambda name: found[name].tried.psnr_to_full)
    built, plan = found[chosen].built, found[chosen].plan
    assert built is not None and plan is not None  # it met the target
    return Compression(built.graph, built.weights, chosen, candidates.rows(plan), tried, candidates.notes)
