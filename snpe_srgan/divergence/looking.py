"""What can be looked at without changing it: an engine may compute two layers as one, and looking between parts them.

seen = look(model, lr, where=Emulator("SM8650"))
seen.hidden        # tensors that are left inside their layers, so that the picture keeps its bits

The Hexagon compiler fuses a convolution with the activation behind it, and leaves out the rounding of an input that it
rounds anyway. Those are hidden first; what still disturbs the picture is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.divergence.engines import Place
from snpe_srgan.onnx_graphs.graph import ends
from snpe_srgan.onnx_graphs.layers import Layer, layers_of, seen_model

ACTIVATIONS = {"Clip", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}
MOST_RUNS = 12  # of the engine, to find what must be hidden


@dataclass(frozen=True, eq=False)
class Seen:
    """`values`: tensor -> what the engine computed; `picture`: the same run with nothing looked at; `hidden`: tensors
    that could not be looked at without changing the picture; `same`: whether the picture kept its bits."""

    values: dict[str, np.ndarray]
    picture: np.ndarray
    hidden: frozenset[str]
    same: bool


def look(
    model, lr: np.ndarray, *, where: Place, fuses: bool = True, say: Callable[[str], None] = lambda text: None
) -> Seen:
    """Runs a graph with its layers' results seen, as many as leave the picture as it is.

    Args:
        model: one input, one output, of fixed size.
        fuses: whether the engine may compute several layers as one.
    """
    first, last = ends(model, where=where.name)
    inputs, output = {first.name: lr}, last.name
    say(f"{where.name}: the picture, nothing looked at")
    picture = where.run(model, inputs)[output]
    runs = 0

    def run(hidden: frozenset[str]) -> dict[str, np.ndarray]:
        nonlocal runs
        runs += 1
        layers = layers_of(model, hidden=hidden)
        say(f"{where.name}: the results of {len(layers)} layers")
        return where.run(seen_model(model, layers), inputs)

    def same(values: dict[str, np.ndarray]) -> bool:
        return np.array_equal(values[output], picture, equal_nan=True)

    hidden = _fused(layers_of(model)) if fuses else frozenset()
    values = run(hidden)
    if same(values) or not fuses:
        return Seen(values, picture, hidden, same(values))
    tensors = [layer.output for layer in layers_of(model, hidden=hidden) if layer.output != output]

    def harmless(some: Sequence[str]) -> list[str]:
        """Those of some tensors that can be seen together."""
        if runs >= MOST_RUNS or not some:
            return []
        if same(run(frozenset(hidden | (set(tensors) - set(some))))):
            return list(some)
        if len(some) == 1:
            return []
        half = len(some) // 2
        return harmless(some[:half]) + harmless(some[half:])

    hidden = frozenset(hidden | (set(tensors) - set(harmless(tensors[: len(tensors) // 2]))
                                 - set(harmless(tensors[len(tensors) // 2 :]))))  # fmt: skip
    values = run(hidden)
    return Seen(values, picture, hidden, same(values))


def _fused(layers: Sequence[Layer]) -> frozenset[str]:
    """Results that a compiler may keep to itself: sums that one activation reads, and the picture's own rounding."""
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    found = set()
    for layer in layers:
        reading = readers.get(layer.output, [])
        sums = layer.kind.split("+")[0] in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        if layer.kind == "Quantize" or (sums and len(reading) == 1 and reading[0].kind in ACTIVATIONS):
            found.add(layer.output)
    return frozenset(found)
