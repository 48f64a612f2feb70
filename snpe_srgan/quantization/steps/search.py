"""Range refinement by what counts: the finished picture. The few tensors that lose most are tried wider and narrower.

The estimators judge each tensor by itself, errors taken as independent and small. Where a network multiplies rare large
values (a trunk that explodes on a flat white sky), only running it tells which range is best.

    encodings = refine(encodings, groups, score)      # score(encodings) -> dB, higher is better
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.quantization.graph.encodings import Encoding, group_histogram, known_encoding, spanning
from snpe_srgan.quantization.kernels.ranges import range_error
from snpe_srgan.quantization.observe.calibration import Statistics

FACTORS = (0.5, 1.5)
LEAST_GAIN = 0.05  # dB: less is the accident of a few crops
GROUPS = 8
TRIES = 32  # 20 s for the 16 x 64 network on two free cores


def refine(
    encodings: Mapping[str, Encoding],
    groups: Sequence[Sequence[str]],
    score: Callable[[Mapping[str, Encoding]], float],
    *,
    tries: int = TRIES,
) -> dict[str, Encoding]:
    """Coordinate ascent. Each step keeps what scores highest, so the result never scores less than the start.

    Args:
        groups: tensors that share one encoding, the most promising group first.
        score: dB of a whole set of encodings.
        tries: at most so many calls of `score`.
    """
    best, best_score, used = dict(encodings), score(encodings), 1
    for members in groups:
        for factor in FACTORS:
            moved = False
            while used < tries:
                e = best[members[0]]
                other = spanning(e.low * factor, e.high * factor, e.bits)
                candidate = {**best, **dict.fromkeys(members, other)}
                value, used = score(candidate), used + 1
                if value < best_score + LEAST_GAIN:
                    break
                best, best_score, moved = candidate, value, True
            if moved:
                break  # the other direction is where it came from
    return best


def promising_groups(
    network: Network, statistics: Mapping[str, Statistics], encodings: Mapping[str, Encoding]
) -> list[list[str]]:
    """The GROUPS groups of tensors with the largest expected share of the output's error, largest first.

    Args:
        statistics: tensor -> what was seen, for the sources of every group.
        encodings: tensor -> its grid; groups whose grid is known without data are left out.

    Returns:
        The names of each group's tensors.
    """
    errors = {}
    for group in dict.fromkeys(network.groups[x] for x in network.integer_tensors):
        members = network.members(group)
        e = encodings[members[0]]
        if known_encoding(network, group, e.bits) is None:
            _, weighed, edges = group_histogram([statistics[x] for x in network.sources(group)])
            errors[group] = float(range_error(weighed.sum(axis=0), edges, [e.low], [e.high], bits=e.bits)[0, 0])
    return [network.members(g) for g in sorted(errors, key=lambda g: -errors[g])[:GROUPS]]


def mean_psnr(run: Callable[[np.ndarray], np.ndarray], crops: Sequence[np.ndarray], wanted: Sequence) -> float:
    """Mean over the crops of the PSNR in dB between `run(crop)` and the `wanted` outputs.

    The mean of dB, not of errors: one crop that goes wrong must not outvote all others.

    Args:
        run: LR (1, h, w, 3) in [0, 1] -> (1, H, W, 3); clipped to [-1, 1], as `wanted` is.
        crops: LR (1, h, w, 3) float32 in [0, 1].
        wanted: (1, H, W, 3) for each crop.

    Returns:
        dB for values that span 2; a perfect crop counts as an error of 1e-12.
    """
    errors = [
        np.square(np.clip(run(c), -1, 1).astype(np.float64) - np.clip(w, -1, 1)).mean()
        for c, w in zip(crops, wanted, strict=True)
    ]
    return float(np.mean([decibel(max(error, 1e-12), peak=2.0) for error in errors]))
