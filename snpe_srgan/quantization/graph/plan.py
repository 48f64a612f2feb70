"""Every number that a quantized network is made of, before it is written as a graph.

    plan = Plan(model=..., statistics=..., encodings=..., scales=..., slopes=..., weight_bits=8)
    plan.quantized()        # the QDQ model

Steps of a recipe take a plan and give a better one; each field stays what the step did not touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from snpe_srgan.quantization.graph.encodings import Encoding
    from snpe_srgan.quantization.observe.calibration import Statistics


@dataclass(frozen=True, eq=False)
class Plan:
    """A float network and the grids for its tensors.

    Attributes:
        model: the float ONNX network of free size, as rewritten by the steps before (equalized, corrected, rounded).
        statistics: what flowed through `model` when the ranges were chosen; None when nothing was observed.
        encodings: activation tensor -> its grid, for each of `Network.integer_tensors`.
        scales: convolution (node name) -> float32 (output channels,) scales of its weights.
        slopes: PReLU (node name) -> (scale, zero point) of its slopes' grid.
        weight_bits: of all convolutions, or of each by node name.
    """

    model: onnx.ModelProto
    statistics: Mapping[str, Statistics] | None
    encodings: Mapping[str, Encoding]
    scales: Mapping[str, np.ndarray]
    slopes: Mapping[str, tuple]
    weight_bits: int | Mapping[str, int]

    @property
    def observed(self) -> Mapping[str, Statistics]:
        """The statistics, for a step that only runs where there are some.

        Raises:
            ValueError: there are none, which is a mistake of the caller's.
        """
        if self.statistics is None:
            raise ValueError("nothing was observed of this plan")
        return self.statistics

    def quantized(self) -> onnx.ModelProto:
        """The QDQ ONNX model."""
        from snpe_srgan.quantization.graph.qdq import to_qdq

        return to_qdq(self.model, self.encodings, self.scales, self.slopes, weight_bits=self.weight_bits)
