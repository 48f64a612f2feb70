"""Operators that networks of others have, as records: what quantization must know to leave them where they are.

Equalization passes through few of them. Derivatives are exact where that is a line, and by a small difference for any
function of single values; `UNKNOWN` stands for all that is not listed: it has a grid of its own, equalization stops at
it, and its derivative is taken as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.operator_record import Backward, Node, Operator

STEP = 1e-2  # of the difference that stands for a derivative: activations are of the order of 1


def _no_tensorflow(node: Node, x: Sequence[Any]) -> Any:
    raise InputError(
        f"fine-tuning does not know the operator '{node.kind}'", where=node.name, hint="a recipe without qat"
    )


def _never(node: Node) -> bool:
    return False


def _back_function(b: Backward, node: Node, g: str) -> None:
    """(f(x + h) - f(x - h)) / 2h, for any function of single values."""
    constants = {i: b.constant(np.asarray(value)) for i, value in node.constants.items()}

    def at(shift: float) -> str:
        moved = b.node("Add", [node.inputs[0], b.constant(np.float32(shift))])
        names = [constants.get(i, "") for i in range(max([0, *constants]) + 1)]
        names[0] = moved
        return b.node(node.kind, names, **dict(node.attributes))

    slope = b.node("Div", [b.node("Sub", [at(STEP), at(-STEP)]), b.constant(np.float32(2 * STEP))])
    b.add_to(node.inputs[0], b.node("Mul", [g, slope]))


def _back_one(b: Backward, node: Node, g: str) -> None:
    """An unknown derivative is taken as 1 for every value: neither heavier nor lighter than usual."""
    for x in dict.fromkeys(node.inputs):
        nothing = b.node("Mul", [x, b.constant(np.float32(0))])
        b.add_to(x, b.node("Add", [nothing, b.constant(np.float32(1))]))


def _back_sub(b: Backward, node: Node, g: str) -> None:
    b.add_to(node.inputs[0], g)
    b.add_to(node.inputs[1], b.node("Neg", [g]))


def _back_div(b: Backward, node: Node, g: str) -> None:
    if len(node.inputs) == 1:
        return _back_one(b, node, g)
    over, under = node.inputs
    part = b.node("Div", [g, under])
    b.add_to(over, part)
    b.add_to(under, b.node("Neg", [b.node("Mul", [part, b.node("Div", [over, under])])]))
    return None


def _back_chosen(b: Backward, node: Node, g: str) -> None:
    """Max and Min: to the one that was taken."""
    for x in node.inputs:
        b.add_to(x, b.node("Where", [b.node("Equal", [x, node.output]), g, b.constant(np.float32(0))]))


def _back_unshuffle(b: Backward, node: Node, g: str) -> None:
    b.add_to(node.inputs[0], b.node("DepthToSpace", [g], blocksize=node.attributes["blocksize"], mode="DCR"))


def _back_pad(b: Backward, node: Node, g: str) -> None:
    cut = b.constant(-np.asarray(node.constants[1], np.int64))
    b.add_to(node.inputs[0], b.node("Pad", [g, cut]))


def _back_slice(b: Backward, node: Node, g: str) -> None:
    """Zeros where the channels were cut off; other cuts are taken as unknown."""
    span = channel_slice(node)
    if span is None:
        return _back_one(b, node, g)
    nothing = b.node("Mul", [node.inputs[0], b.constant(np.float32(0))])
    ends = [(0, span[0]), (span[1], 1 << 31)]
    axis = b.constant(np.array([1]))
    parts = [b.node("Slice", [nothing, b.constant(np.array([s])), b.constant(np.array([e])), axis]) for s, e in ends]
    b.add_to(node.inputs[0], b.node("Concat", [parts[0], g, parts[1]], axis=1))
    return None


def channel_slice(node: Node) -> tuple[int, int] | None:
    """(first, behind the last) of the channels that a Slice takes; None for one of other axes or steps."""
    if node.kind != "Slice" or any(i not in node.constants for i in range(1, len(node.constants) + 1)):
        return None
    defaults: dict[int, list[int]] = {1: [], 2: [], 3: [0], 4: [1]}
    starts, ends, axes, steps = (
        np.asarray(node.constants.get(i, default)).reshape(-1).tolist() for i, default in defaults.items()
    )
    if axes != [1] or steps != [1] or len(starts) != 1 or starts[0] < 0:
        return None
    return int(starts[0]), int(min(ends[0], 1 << 31))


def _pointwise(
    function: Callable[[np.ndarray], np.ndarray] | None = None, *, homogeneous: Callable[[Node], bool] = _never
) -> Operator:
    return Operator(_no_tensorflow, _back_function, homogeneous=homogeneous, function=function)


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return erf(x)


OTHERS: dict[str, Operator] = {
    "Sub": Operator(_no_tensorflow, _back_sub, homogeneous=lambda node: not node.constants),
    "Div": Operator(_no_tensorflow, _back_div, homogeneous=_never),
    "Max": Operator(_no_tensorflow, _back_chosen, homogeneous=lambda node: not node.constants),
    "Min": Operator(_no_tensorflow, _back_chosen, homogeneous=lambda node: not node.constants),
    "Neg": _pointwise(np.negative),
    "Abs": _pointwise(np.abs, homogeneous=lambda node: True),
    "HardSwish": _pointwise(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "HardSigmoid": _pointwise(),
    "Gelu": _pointwise(lambda x: x * 0.5 * (1 + _erf(x / np.sqrt(2)))),
    "Elu": _pointwise(),
    "Softplus": _pointwise(lambda x: np.logaddexp(0, x)),
    "Softsign": _pointwise(lambda x: x / (1 + np.abs(x))),
    "Exp": _pointwise(np.exp),
    "Sqrt": _pointwise(),
    "Erf": _pointwise(_erf),
    "Pow": _pointwise(),
    "SpaceToDepth": Operator(_no_tensorflow, _back_unshuffle, moves=True, local=False),
    "Pad": Operator(
        _no_tensorflow, _back_pad, moves=True, local=False,
        homogeneous=lambda node: not np.any(node.constants.get(2, 0.0)),
    ),
    "Slice": Operator(
        _no_tensorflow, _back_slice, moves=True, homogeneous=lambda node: channel_slice(node) is not None
    ),
    "MaxPool": Operator(_no_tensorflow, _back_one, moves=True, homogeneous=_never, local=False),
    "AveragePool": Operator(_no_tensorflow, _back_one, homogeneous=_never, local=False),
    "ReduceMean": Operator(_no_tensorflow, _back_one, homogeneous=_never, local=False),
    "Softmax": Operator(_no_tensorflow, _back_one, homogeneous=_never, local=False),
}  # fmt: skip

UNKNOWN = Operator(_no_tensorflow, _back_one, homogeneous=_never, local=False)
