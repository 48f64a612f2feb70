"""The losses of a quantization, layer by layer: signal to noise, mean shift, ranges, and each one's part of the error.

(seen,) = observe(plan, crops, exact=float_model, quantized=[plan.quantized()])     # what flows through both
losses = layer_losses(plan, seen, sensitivities(plan, crops))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.imaging import decibel as measure
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import other_bias
from snpe_srgan.onnx_graphs.run import session, with_outputs
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, compute_bits
from snpe_srgan.quantization.judge.sensitivity import Sensitivity
from snpe_srgan.quantization.kernels.affine import fake_quantize
from snpe_srgan.quantization.kernels.ranges import range_error
from snpe_srgan.quantization.kernels.weights import quantize_weights
from snpe_srgan.quantization.observe.calibration import behind, channel_power, positions


@dataclass(frozen=True)
class LayerLoss:
    """One quantized tensor.

    Attributes:
        kind: the operator that makes it; "weights" for a convolution's kernel, "slopes" for a PReLU's.
        low, high: the range its integers span; of weights and slopes the range they have.
        sqnr: signal to noise in dB with everything before it quantized as well; None for weights and slopes.
        sqnr_alone: with only this tensor rounded; None for weights and slopes.
        picture_psnr: dB of the finished picture against the float network's, with only this on its grid: measured.
        share_measured: its part of the sum of the errors that were measured so.
        share_estimated: its part of the output's expected squared error, by the network's derivative. All shares of a
            kind sum to 1; None where nothing was measured or estimated.
    """

    name: str
    kind: str
    bits: int
    low: float
    high: float
    sqnr: float | None = None
    sqnr_alone: float | None = None
    picture_psnr: float | None = None
    share_measured: float | None = None
    share_estimated: float | None = None

    @property
    def share(self) -> float:
        """The measured share where there is one, else the estimate, else 0."""
        return next((s for s in (self.share_measured, self.share_estimated) if s is not None), 0.0)


@dataclass(frozen=True, eq=False)
class Flow:
    """One tensor over all crops, float against quantized with everything before it quantized as well.

    Attributes:
        low, high: (channels,) extremes of the float values.
        signal, noise, alone: mean square of the float values, of the error, of the error with only this one rounded.
        spread: (channels,) standard deviation of the float values.
        shift: (channels,) mean of the quantized values - mean of the float values.
    """

    low: np.ndarray
    high: np.ndarray
    signal: float
    noise: float
    alone: float
    spread: np.ndarray
    shift: np.ndarray


def channel_ranges(model, crops: Sequence[np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Tensor -> (channels,) lowest and highest values of a float network on the crops."""
    network = Network(model)
    names = [x for x in network.makers if x != network.output]
    run = session(with_outputs(model, names))
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for crop in crops:
        for x, values in zip(names, run(names, {network.input: crop}), strict=True):
            low, high = values.min(axis=(0, 2, 3)), values.max(axis=(0, 2, 3))
            seen = found.get(x, (low, high))
            found[x] = np.minimum(seen[0], low), np.maximum(seen[1], high)
    return found


def observe(plan: Plan, crops: Sequence[np.ndarray], *, exact, quantized: Sequence) -> list[dict[str, Flow]]:
    """What flows through each of the `quantized` networks beside the float one.

    A Flow for each tensor that exists as integers, except the two ends.

    Args:
        crops: LR crops (1, h, w, 3); the tensors of one crop must fit into memory twice.
        exact: the float network to compare with, see `sensitivity`.
        quantized: QDQ models with the plan's grids.
    """
    network = Network(exact)
    made = set.intersection(*({name for node in q.graph.node for name in node.output} for q in quantized))
    names = [x for x in network.integer_tensors if f"{x}_dequantized" in made and x in network.makers]
    stored = [f"{x}_dequantized" for x in names]
    run_float = session(with_outputs(exact, names))
    runs = [session(with_outputs(q, stored), integer_kernels=False) for q in quantized]
    sums: list[dict[str, dict]] = [{} for _ in runs]
    for crop in crops:
        real = dict(zip(names, run_float(names, {network.input: crop}), strict=True))
        for run, found in zip(runs, sums, strict=True):
            for x, integer in zip(names, run(stored, {network.input: crop}), strict=True):
                here = _sums(real[x], integer, plan.encodings[x])
                found[x] = here if x not in found else {k: _joined(k, found[x][k], here[k]) for k in here}
    return [{x: _flow(s) for x, s in found.items()} for found in sums]


def _sums(real: np.ndarray, integer: np.ndarray, e) -> dict:
    alone = fake_quantize(real, e.scale, e.zero, bits=e.bits)
    return {
        "count": real[:, 0].size,
        "low": real.min(axis=(0, 2, 3)),
        "high": real.max(axis=(0, 2, 3)),
        "total": real.sum(axis=(0, 2, 3), dtype=np.float64),
        "square": np.square(real).sum(axis=(0, 2, 3), dtype=np.float64),
        "error": np.square(real - integer).sum(dtype=np.float64),
        "alone": np.square(real - alone).sum(dtype=np.float64),
        "shift": (integer - real).sum(axis=(0, 2, 3), dtype=np.float64),
    }


def _joined(key: str, a, b):
    return np.minimum(a, b) if key == "low" else np.maximum(a, b) if key == "high" else a + b


def _flow(s: dict) -> Flow:
    count, values = s["count"], s["count"] * len(s["total"])
    variance = s["square"] / count - np.square(s["total"] / count)
    return Flow(
        low=s["low"],
        high=s["high"],
        signal=float(s["square"].sum() / values),
        noise=float(s["error"] / values),
        alone=float(s["alone"] / values),
        spread=np.sqrt(np.maximum(variance, 0)),
        shift=s["shift"] / count,
    )


def decibel(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where one of them is 0."""
    return measure.decibel(noise, peak=math.sqrt(signal)) if signal > 0 and noise > 0 else None


def layer_losses(
    plan: Plan, seen: Mapping[str, Flow], measured: Sequence[Sensitivity] = (), *, exact=None
) -> tuple[LayerLoss, ...]:
    """Every tensor, kernel and PReLU's slopes, in execution order; estimates where the plan has statistics.

    Args:
        seen: tensor -> its Flow, as of `observe`.
        measured: as of `sensitivities`; without them nothing is said of measured shares.
        exact: the float network that kernels are compared with; None: the plan's own.
    """
    network = Network(plan.model)
    estimates = expected_errors(plan, seen, exact=exact) if plan.statistics else {}
    errors = {(s.name, s.kind): s for s in measured}
    total_estimated = sum(estimates.values()) or 1.0
    total_measured = sum(s.error for s in measured) or 1.0
    rows = []
    for name, kind, bits, low, high in _entries(plan, network):
        flow = seen.get(name) if kind not in ("weights", "slopes") else None
        found, estimate = errors.get((name, kind)), estimates.get((name, kind))
        rows.append(
            LayerLoss(
                name=name,
                kind=kind,
                bits=bits,
                low=low,
                high=high,
                sqnr=None if flow is None else decibel(flow.signal, flow.noise),
                sqnr_alone=None if flow is None else decibel(flow.signal, flow.alone),
                picture_psnr=None if found is None else found.psnr,
                share_measured=None if found is None else found.error / total_measured,
                share_estimated=None if estimate is None else estimate / total_estimated,
            )
        )
    return tuple(rows)


def _entries(plan: Plan, network: Network):
    """(name, kind, bits, low, high) of all that is quantized; tensors whose values are only moved are no entries."""
    computed = {x for group in set(network.groups.values()) for x in network.sources(group)}
    if network.input in computed:
        e = plan.encodings[network.input]
        yield network.input, "input", e.bits, e.low, e.high
    for node in network.nodes:
        if node.kind == "Conv":
            kernel = np.asarray(node.constants[1])
            yield node.name, "weights", bits_of(plan.weight_bits, node.name), float(kernel.min()), float(kernel.max())
        elif node.kind == "PRelu" and node.name in plan.slopes:
            slopes, bits = np.asarray(node.constants[1]), compute_bits(network, node, plan.encodings)
            yield node.name, "slopes", bits, float(slopes.min()), float(slopes.max())
        if node.output in computed:
            e = plan.encodings[node.output]
            yield node.output, node.kind, e.bits, e.low, e.high


def expected_errors(plan: Plan, seen: Mapping[str, Flow], *, exact=None) -> dict[tuple[str, str], float]:
    """(name, kind) -> the output's expected squared error from rounding that tensor or kernel, by the derivative.

    What a kernel's rounding adds to every position alike is left out where the plan corrects biases.

    Args:
        seen: of `observe`.
        exact: the float network whose weights the plan's integers stand for; `plan.model` by default.
    """
    network, statistics = Network(plan.model), plan.observed
    before = {n.name: n.constants for n in Network(exact or plan.model).nodes if n.kind == "Conv"}
    found = {}
    for x, s in statistics.items():
        e = plan.encodings[x]
        kind = network.makers[x].kind if x in network.makers else "input"
        error = float(range_error(s.weighted, s.edges, [e.low], [e.high], bits=e.bits)[0, 0])
        found[x, kind] = 0.0 if kind == "input" and e.bits >= 8 else error  # 8-bit pictures lie on its grid
    for node in network.nodes:
        if node.kind == "Conv":
            after = behind(network, node.output, statistics)
            power, x = channel_power(network, node.inputs[0], statistics), node.inputs[0]
            if x in seen and other_bias(before[node.name], node.constants):
                power = np.square(seen[x].spread)
            error = kernel_error(kernel_difference(node, before[node.name][1], plan), power, after.gain)
            found[node.name, "weights"] = positions(after) * error
    return found


def kernel_difference(node, exact: np.ndarray, plan: Plan) -> np.ndarray:
    """What the plan's integers stand for - the exact kernel.

    Args:
        node: the plan's convolution.
        exact: (out, in / groups, h, w) the kernel to compare with.

    Returns:
        float64, the shape of `exact`.
    """
    scale = np.asarray(plan.scales[node.name], np.float64).reshape(-1, *[1] * (exact.ndim - 1))
    bits = bits_of(plan.weight_bits, node.name)
    return quantize_weights(node.constants[1], plan.scales[node.name], bits=bits) * scale - exact


def kernel_error(difference: np.ndarray, power: np.ndarray, gain: np.ndarray) -> float:
    """Expected squared error of the output, for each position, of a kernel that is off by `difference`.

    sum over o, i, k of d[o, i, k]^2 * power[i] * gain[o], errors taken as independent.

    Args:
        difference: (out, in, h, w).
        power: (in,) mean squares of the inputs.
        gain: (out,) squared derivative of the picture behind each output channel.
    """
    per_pair = np.square(difference).reshape(*difference.shape[:2], -1).sum(axis=2)
    return float(np.asarray(gain, np.float64) @ per_pair @ np.asarray(power, np.float64))
