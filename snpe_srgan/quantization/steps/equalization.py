"""Cross-layer equalization: how the free factors of a network's wires are chosen (see `wires`). Pure numpy and SciPy.

| function | looks at | goal |
|---|---|---|
| `weight_factors` | weights only | Nagel et al. 2019, section 4.1: writers and readers of a channel get equal ranges |
| `noise_factors` | what flowed through the network | least expected error of the picture, by all rounding |

The published method balances weights, which matters when a whole kernel shares one scale. With one scale an output
channel the weights bear much more, and what hurts is that all channels of an activation share one grid. `noise_factors`
therefore minimizes what is to be minimized: with step_t the step of tensor t's grid and g_c the mean squared derivative
of the picture behind its channel c (see `gradient`), rounding adds

    sum_t positions_t * step_t^2 / 12 * sum_c g_c / s_c^2        activations: a stretched channel is rounded more finely
  + KAPPA * sum_l positions_l * sum_o g_o step_o^2 / 12 * sum_i taps * power_i * s_i^2       weights, likewise

to the picture's squared error, where step_t spans the widest stretched channel and step_o the largest rescaled weight
of row o. Both are smooth in log s once the maxima are replaced by p-norms.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node
from snpe_srgan.quantization.graph.wires import FIXED, Wires, read_by
from snpe_srgan.quantization.observe.calibration import Statistics, behind, channel_power, positions

KAPPA = 0.1  # of the weights' rounding error, what learned rounding (see `rounding`) leaves
USUAL = 0.75  # of the crops stay within the ranges that are balanced
NORM = 24  # the p of the p-norms that stand for maxima
LIMIT = 16.0  # a channel that calibration hardly saw alive is stretched no farther: other pictures may wake it
STEPS = 400
TOLERANCE, SWEEPS = 1e-6, 2000
TINY = 1e-30


def weight_factors(network: Network, wires: Wires) -> np.ndarray:
    """(wires.count,) factors that balance weights, swept to convergence: no calibration, no picture.

    A wire with one writer of range r1 and one reader of range r2 (largest weights of its channel) gets
    s = sqrt(r2 / r1), so that both become equal: equation 11. With several writers and readers (a trunk) their
    geometric means become equal. Channels that nothing but zeros write or read keep their factor.
    """
    tables = [
        (np.log(np.maximum(taps, TINY)), wires.of[node.output], _read(node, wires.of[node.inputs[0]]))
        for node, taps in _largest_taps(network)
    ]
    logs = np.zeros(wires.count)
    for _ in range(SWEEPS):
        padded = np.append(logs, 0.0)  # index FIXED
        sums, counts = np.zeros((2, wires.count)), np.zeros((2, wires.count))
        for table, out, into in tables:
            scaled = table + padded[out][:, None] - padded[into]
            for side, (ids, values) in enumerate(((out, scaled.max(axis=1)), (into, scaled))):
                largest = np.full(wires.count + 1, -np.inf)
                np.maximum.at(largest, ids.ravel(), values.ravel())
                known = largest[:-1] > np.log(TINY) / 2
                sums[side, known] += largest[:-1][known]
                counts[side, known] += 1
        both = counts.min(axis=0) > 0
        written, read = sums / np.maximum(counts, 1)
        move = np.where(both, (read - written) / 4, 0.0)  # half of equation 11: all wires move at once
        logs += move
        if np.abs(move).max(initial=0.0) < TOLERANCE:
            break
    return np.exp(logs)


def noise_factors(
    network: Network,
    wires: Wires,
    statistics: Mapping[str, Statistics],
    *,
    activation_bits: int = 8,
    weight_bits: int = 8,
    kappa: float = KAPPA,
) -> np.ndarray:
    """(wires.count,) factors of least expected error of the picture (the formula in the module's docstring), by L-BFGS
    from 1, none beyond LIMIT or its inverse.

    Args:
        statistics: tensor -> what was seen, of `network` itself.
        activation_bits, weight_bits: of the grids to come.
        kappa: weight of the weights' rounding error, 0 to 1: what learned rounding leaves of it.
    """
    from scipy.optimize import minimize

    if not wires.count:
        return np.ones(0)
    tensors = []
    for x, s in statistics.items():
        if (wires.of[x] != FIXED).any():
            weight = positions(s) * s.gain / 12 / (2**activation_bits - 1) ** 2
            high, low = np.quantile(s.highs, USUAL, axis=0), np.quantile(s.lows, 1 - USUAL, axis=0)
            tensors.append((wires.of[x], np.maximum(high, 0), np.maximum(-low, 0), weight))
    kernels = []
    for node, taps in _largest_taps(network):
        reader = behind(network, node.output, statistics)
        weight = kappa * positions(reader) * reader.gain / 12 / (2 ** (weight_bits - 1) - 1) ** 2
        size = node.constants[1][0, 0].size
        into = _read(node, wires.of[node.inputs[0]])
        power = size * _read(node, channel_power(network, node.inputs[0], statistics))
        kernels.append((into, taps, power, weight))

    def error(logs: np.ndarray) -> tuple[float, np.ndarray]:
        s, slope = np.exp(np.append(logs, 0.0)), np.zeros(wires.count + 1)
        total = 0.0
        for ids, high, low, weight in tensors:
            above, above_share = _norm(s[ids] * high)
            below, below_share = _norm(s[ids] * low)
            parts = (above + below) ** 2 * weight / s[ids] ** 2
            own = parts.sum()
            total += own
            steeper = 2 * own / (above + below + TINY) * (above * above_share + below * below_share)
            np.add.at(slope, ids, steeper - 2 * parts)
        for ids, taps, power, weight in kernels:
            largest, share = _norm(taps / s[ids])
            noise = power * s[ids] ** 2  # (out, in)
            rows = weight * largest**2
            parts = rows[:, None] * noise
            total += parts.sum()
            np.add.at(slope, ids, 2 * parts - 2 * parts.sum(axis=1)[:, None] * share)
        return float(np.log(total + TINY)), slope[:-1] / (total + TINY)

    found = minimize(
        error,
        np.zeros(wires.count),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-np.log(LIMIT), np.log(LIMIT))] * wires.count,
        options={"maxiter": STEPS},
    )
    return np.exp(found.x)


def _norm(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The NORM-norm over the last axis, and d log norm / d log value: shares that sum to 1 (to 0 for zeros)."""
    largest = values.max(axis=-1, keepdims=True)
    powers = (values / (largest + TINY)) ** NORM
    total = powers.sum(axis=-1, keepdims=True)
    return (largest * total ** (1 / NORM))[..., 0], powers / (total + TINY)


def _largest_taps(network: Network) -> list[tuple[Node, np.ndarray]]:
    """Each convolution and its (out, in / group) largest absolute weights over the taps."""
    kernels = [(n, np.abs(np.asarray(n.constants[1], np.float64))) for n in network.nodes if n.kind == "Conv"]
    return [(node, kernel.reshape(*kernel.shape[:2], -1).max(axis=2)) for node, kernel in kernels]


def _read(node: Node, channels: np.ndarray) -> np.ndarray:
    """Something of a convolution's input channels as (out, in / group)."""
    return np.broadcast_to(read_by(node, channels)[:, :, 0, 0], node.constants[1].shape[:2])
