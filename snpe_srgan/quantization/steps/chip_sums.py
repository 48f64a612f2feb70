"""Keeps 4-bit weights off the convolutions whose 16-bit sums would shift the picture on the chip.

    plan, finer = without_shift(plan, crops)

The Hexagon drops the low bits of those sums (`toolchains/hexagon.py`): a constant of half LOST_UNIT x input scale x
weight scale is lost in every channel. No simulation of the graph shows that, so it is computed: the constant is taken
off one convolution at a time, and what the picture's mean does is measured. Convolutions that move it get weights of 8
bits, whose products are worth a sixteenth, until what is left is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from snpe_srgan.onnx_graphs.layers import DELTA, layers_of, shifted_model
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import session
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, compute_bits, kernel_scales, read_encodings
from snpe_srgan.toolchains.hexagon import LOST_UNIT

LEVELS = 127.5  # 8-bit levels in a unit of the output's range, -1..1
LEFT = 0.25  # levels that all that stay at 4 bits may lose together
SIDE = 24  # LR pixels of each crop that are looked at
FINE = 8  # bits


def without_shift(plan: Plan, crops: Sequence[np.ndarray]) -> tuple[Plan, dict[str, float]]:
    """The plan with weights of 8 bits where needed, and what each of those would have lost, in 8-bit levels.

    Args:
        crops: LR crops (1, h, w, 3) float32 in [0, 1].
    """
    lost = picture_shifts(plan, crops)
    bits = {n.name: bits_of(plan.weight_bits, n.name) for n in Network(plan.model).nodes if n.kind == "Conv"}
    order = sorted((name for name in lost if bits[name] < FINE), key=lambda name: -lost[name])
    finer: dict[str, float] = {}
    while order and sum(lost[name] for name in order) > LEFT:
        name = order.pop(0)
        finer[name] = lost[name]
    if not finer:
        return plan, {}
    bits |= dict.fromkeys(finer, FINE)
    scales = kernel_scales(Network(plan.model), plan.encodings, bits=bits)
    kept = {name: plan.scales[name] for name in plan.scales if name not in finer}
    return replace(plan, weight_bits=bits, scales=scales | kept), finer


def picture_shifts(plan: Plan, crops: Sequence[np.ndarray]) -> dict[str, float]:
    """Convolution (node name) of 16-bit activations -> 8-bit levels by which its lost bits move the picture's mean.

    Mean over the crops of the absolute shift; measured on the float network, one convolution at a time.
    """
    network = Network(plan.model)
    lost = {
        node.output: (node.name, _lost(plan, network, node))
        for node in network.nodes
        if node.kind == "Conv" and compute_bits(network, node, plan.encodings) > 8
    }
    layers = [layer for layer in layers_of(plan.model) if layer.output in lost]
    run = session(shifted_model(plan.model, layers))
    still = {DELTA + layer.output: np.zeros((1, 1, 1), np.float32) for layer in layers}
    found: dict[str, list[float]] = {name: [] for name, _ in lost.values()}
    for crop in crops:
        lr = np.ascontiguousarray(crop[:, :SIDE, :SIDE])
        (exact,) = run([network.output], {network.input: lr, **still})
        for output, (name, constant) in lost.items():
            (moved,) = run([network.output], {network.input: lr, **still, DELTA + output: constant})
            found[name].append(abs(float((moved - exact).mean(dtype=np.float64))) * LEVELS)
    return {name: float(np.mean(shifts)) for name, shifts in found.items()}


def _lost(plan: Plan, network: Network, node) -> np.ndarray:
    """(channels, 1, 1) what a convolution's result lacks on the chip, on average."""
    read = read_encodings(network, node, plan.encodings)[0].scale
    scale = np.asarray(plan.scales[node.name], np.float64).reshape(-1, 1, 1)
    return (-LOST_UNIT / 2 * read * scale).astype(np.float32)
