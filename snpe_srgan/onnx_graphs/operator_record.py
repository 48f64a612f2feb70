"""What one ONNX operator is to quantization: the record that `operators.py` and `operators_others.py` fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Node:
    """One operator; `inputs` are tensors, constants by name in `constants` (position -> array)."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: Mapping[int, np.ndarray]
    output: str
    attributes: Mapping[str, Any]


class Backward(Protocol):
    """What a derivative is written with (`quantization/observe/gradient.py`)."""

    pooled: set[str]

    def add_to(self, tensor: str, gradient: str) -> None:
        """Adds a gradient to those that a tensor is sent back; both are names in the graph that is being written."""

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Adds an ONNX operator of one output, and gives that one's name.

        Args:
            kind: of the operator, ONNX's name.
            inputs: names in the graph that is being written.
            attributes: as `onnx.helper.make_node` takes them.
        """

    def split(self, gradient: str, tensors: Sequence[str]) -> list[str]:
        """The parts of a concatenation's gradient along the channels: a name for each tensor that was joined."""

    def constant(self, value: Any) -> str:
        """Adds a constant of whatever numpy makes of `value`, and gives its name."""


@dataclass(frozen=True)
class Operator:
    """One ONNX operator.

    Attributes:
        tensorflow: (node, inputs NHWC) -> its result NHWC.
        gradient: (backward, node, gradient of its result) adds what its inputs are sent back; differentiable in ONNX.
        moves: the values of its result are values of its inputs, so that all share one integer grid.
        homogeneous: whether f(s * x) = s * f(x) for s > 0, so that equalization's factors pass through this node.
        local: each pixel of the result depends on the same pixel of what is read.
        function: of a pointwise operator without constants: the same in numpy.
    """

    tensorflow: Callable[[Node, Sequence[Any]], tf.Tensor]
    gradient: Callable[[Backward, Node, str], None]
    moves: bool = False
    homogeneous: Callable[[Node], bool] = lambda node: True
    local: bool = True
    function: Callable[[np.ndarray], np.ndarray] | None = None
