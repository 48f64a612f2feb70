"""An 8-bit network in the terms of LiteRT: NHWC tensors on uint8 grids, operators in execution order.

The QDQ graph that quantization writes becomes one of these (`deploy/from_qdq.py`), rewrites work on it
(`tflite/rewrite.py`), and `tflite/write.py` makes the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Grid:
    """real = (q - zero) * scale with 0 <= q <= 255. The file stores q - 128 (int8)."""

    scale: float
    zero: int


@dataclass
class Operator:
    """One operator.

    Attributes:
        kind: LiteRT's name, in its own capitals, e.g. CONV_2D.
        inputs: names of the activations that it reads.
        output: name of the activation that it writes.
        weights: CONV_2D: int8 (out, height, width, in); DEPTHWISE_CONV_2D: int8 (1, height, width, channels).
        weight_scales: float64 (output channels,).
        bias: int64 (output channels,), in steps of the input's scale times `weight_scales`.
        constant: a constant operand as integers 0..255 on `constant_grid`: PRELU's slopes, MUL's factor.
        attributes: `relu`, `strides`, `dilations`, `pads` (top, left, bottom, right), `block`, `alpha`, `factor`.
    """

    kind: str
    inputs: list[str]
    output: str
    weights: np.ndarray | None = None
    weight_scales: np.ndarray | None = None
    bias: np.ndarray | None = None
    constant: np.ndarray | None = None
    constant_grid: Grid | None = None
    attributes: dict = field(default_factory=dict)

    def filters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(weights, weight_scales, bias) of an operator that has them.

        Raises:
            ValueError: it has none.
        """
        if self.weights is None or self.weight_scales is None or self.bias is None:
            raise ValueError(f"{self.kind} has no weights")
        return self.weights, self.weight_scales, self.bias

    @property
    def relu(self) -> bool:
        """Whether a ReLU is part of the operator."""
        return bool(self.attributes.get("relu"))


@dataclass
class Network:
    """`grids` and `shapes` ((1, height, width, channels)) by activation name; one input and one output."""

    operators: list[Operator]
    grids: dict[str, Grid]
    shapes: dict[str, tuple[int, ...]]
    input: str
    output: str

    def maker(self, name: str) -> Operator | None:
        """The operator that writes an activation; None for the network's input."""
        return next((op for op in self.operators if op.output == name), None)

    def readers(self, name: str) -> list[Operator]:
        """The operators that read an activation, in execution order."""
        return [op for op in self.operators if name in op.inputs]
