"""What each unit costs the picture when it alone is made smaller: measured, not guessed from the weights.

errors = measure(full, units, judge)          # errors["tail (ssvd)"][16]: mean squared error of the picture
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from snpe_srgan.compression.apply import Full
from snpe_srgan.compression.units import Unit
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.models.graph import Graph
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.progress import track


class Judge:
    """Holds validation crops, LR (1, h, w, 3) float32, and the full network's pictures of them."""

    def __init__(self, graph: Graph, weights, crops: Sequence[np.ndarray]):
        run = runner(to_onnx(graph, weights))
        self._crops, self._exact = list(crops), [run(crop) for crop in crops]

    def error(self, graph: Graph, weights) -> float:
        """Mean squared difference of the pictures in [-1, 1] to the full network's."""
        run = runner(to_onnx(graph, weights))
        return float(np.mean([np.mean((run(c) - y) ** 2) for c, y in zip(self._crops, self._exact, strict=True)]))


def psnr(error: float) -> float:
    """dB of a mean squared error between pictures in [-1, 1]."""
    return decibel(max(error, 1e-12), peak=2.0)


def measure(
    full: Full, units: Sequence[Unit], judge: Judge, *, say: Callable[[str], None] = lambda text: None
) -> dict[str, dict[int, float]]:
    """unit -> level -> mean squared error of the picture, that unit alone made smaller and fitted.

    Args:
        full: the whole network, which builds the smaller ones.
        judge: holds the crops; its errors are of values in [-1, 1].
        say: called with a line for each unit.
    """
    errors: dict[str, dict[int, float]] = {}
    with track(say, "measuring", total=len(units), unit="unit") as progress:
        for unit in units:
            errors[unit.name] = {}
            for level in unit.levels:
                built = full.build({unit.name: level})
                errors[unit.name][level] = judge.error(built.graph, built.weights)
            lowest = min(errors[unit.name])
            say(f"{unit.name}: {unit.full} -> {lowest} gives {psnr(errors[unit.name][lowest]):.1f} dB")
            progress.advance()
    return errors
