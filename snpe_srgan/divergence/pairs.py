"""Which layer of one graph is which of another: by name; where a tool renamed them, by operator in the file's order."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np

from snpe_srgan.onnx_graphs.layers import Layer


def paired(first: Sequence[Layer], second: Sequence[Layer]) -> dict[str, Layer]:
    """Name of a layer's tensor in the first graph -> the layer of the second graph that computes the same."""
    pairs: dict[str, Layer] = {}
    taken: set[str] = set()
    for key in (lambda layer: layer.output, lambda layer: layer.name, lambda layer: layer.kind):
        waiting: dict[str, deque[Layer]] = defaultdict(deque)
        for layer in second:
            if layer.output not in taken:
                waiting[key(layer)].append(layer)
        for layer in first:
            if layer.output not in pairs and waiting[key(layer)]:
                pairs[layer.output] = waiting[key(layer)].popleft()
                taken.add(pairs[layer.output].output)
    return pairs


def differences(first: Layer, second: Layer) -> tuple[str, ...]:
    """What two files say differently of one layer, a line each; empty where they say the same."""
    if (first.grid is None) != (second.grid is None):
        kept = [f"{layer.grid.bits}-bit integers" if layer.grid else "float" for layer in (first, second)]
        return (f"{kept[0]} in the first file, {kept[1]} in the second",)
    lines = []
    if first.kind != second.kind:
        lines.append(f"operators {first.kind} -> {second.kind}")
    for key in sorted(first.attributes.keys() | second.attributes.keys()):
        one, other = first.attributes.get(key), second.attributes.get(key)
        if one != other:
            lines.append(f"{key} {one} -> {other}")
    for key in sorted(first.constants.keys() | second.constants.keys()):
        if line := _arrays(first.constants.get(key), second.constants.get(key)):
            lines.append(f"{key} {line}")
    return tuple(lines)


def _arrays(one: np.ndarray | None, other: np.ndarray | None) -> str:
    if one is None or other is None:
        return "only in the second file" if one is None else "only in the first file"
    if one.shape == other.shape and np.array_equal(one, other):
        return ""
    if one.size == other.size == 1:
        return f"{_number(one)} -> {_number(other)}"
    if one.shape != other.shape:
        return f"shape {list(one.shape)} -> {list(other.shape)}"
    if one.ndim == 4 and np.array_equal(one.swapaxes(2, 3), other):
        return "transposed: rows and columns are exchanged"
    if one.ndim == 4 and np.array_equal(one[:, :, ::-1, ::-1], other):
        return "mirrored"
    for axis, what in ((0, "output channels"), (1, "input channels"))[: one.ndim]:
        if _reordered(one, other, axis):
            return f"has its {what} in another order"
    gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return f"differs in {np.count_nonzero(gap)} of {gap.size} values, by up to {gap.max():.6g}"


def _reordered(one: np.ndarray, other: np.ndarray, axis: int) -> bool:
    def rows(array: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
        return flat[np.lexsort(flat.T[::-1])]

    return one.shape[axis] > 1 and np.array_equal(rows(one), rows(other))


def _number(array: np.ndarray) -> str:
    return f"{float(np.reshape(array, ()).astype(np.float64)):.6g}"
