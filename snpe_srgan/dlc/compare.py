"""What differs between two .dlc files: layers, encodings, weights, sizes, and the tools that made them.

    for change in compare(read("a.dlc"), read("b.dlc")).changed: print(change)

Layers are matched by name, else by the name of their output, else by type and shape in the order of the file.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.dlc.describe import DlcSummary, EncodingSummary, LayerSummary, describe
from snpe_srgan.dlc.model import Dlc, Tensor
from snpe_srgan.errors import InputError

LARGE = 1 << 24  # elements: larger tensors are compared byte by byte
NEAR = 1e-6  # relative: encodings are stored as float32


@dataclass(frozen=True)
class Difference:
    """One value that is not the same; `what` says which: 'type', 'output shape', 'attribute stride', ..."""

    what: str
    first: object
    second: object


@dataclass(frozen=True)
class LayerChange:
    """A layer that both files have, and what is not the same in it."""

    name: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """`added` and `removed`: layers of the second file and of the first that the other has not."""

    first: Path
    second: Path
    file: tuple[Difference, ...]
    added: tuple[LayerSummary, ...]
    removed: tuple[LayerSummary, ...]
    changed: tuple[LayerChange, ...]
    same: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs, in the file's totals and ports nor in any layer."""
        return not (self.file or self.added or self.removed or self.changed)


Stored = Mapping[str, Tensor]


def compare(first: Dlc, second: Dlc) -> Comparison:
    """Every difference between the first networks of two files.

    Encodings count as equal where their scales are within one part in a million, values of weights where the reals that
    they stand for are the same.

    Raises:
        InputError: a file is damaged where the comparison has to look, or a stored tensor does not hold numbers.
    """
    a, b = describe(first), describe(second)
    pairs = _pairs(a.layers, b.layers)
    matched = {id(layer) for pair in pairs for layer in pair}
    tensors, others = (dlc.graphs[0].tensors for dlc in (first, second))
    changed = []
    for one, other in pairs:
        differences = tuple(_layer(one, other, tensors, others))
        if differences:
            changed.append(LayerChange(one.name, differences))
    return Comparison(
        first=first.path,
        second=second.path,
        file=tuple(_file(a, b)),
        added=tuple(layer for layer in b.layers if id(layer) not in matched),
        removed=tuple(layer for layer in a.layers if id(layer) not in matched),
        changed=tuple(changed),
        same=len(pairs) - len(changed),
    )


def _pairs(first, second) -> list[tuple[LayerSummary, LayerSummary]]:
    """In three passes, since tools rename what they rewrite: by name, by output, by kind and shape in order."""
    pairs: dict[int, LayerSummary] = {}
    keys = (
        lambda layer: layer.name,
        lambda layer: (layer.type, layer.outputs[:1]),
        lambda layer: (layer.type, layer.output_shape, layer.parameters),
    )
    for key in keys:
        taken = {id(layer) for layer in pairs.values()}
        waiting: dict[object, deque] = defaultdict(deque)
        for layer in second:
            if id(layer) not in taken:
                waiting[key(layer)].append(layer)
        for layer in first:
            if id(layer) not in pairs and waiting[key(layer)]:
                pairs[id(layer)] = waiting[key(layer)].popleft()
    return [(layer, pairs[id(layer)]) for layer in first if id(layer) in pairs]


def _file(a: DlcSummary, b: DlcSummary) -> Iterator[Difference]:
    """Totals and ports. The name of the graph and the time of writing tell nothing."""
    told = {
        "bytes": lambda s: s.bytes,
        "format": lambda s: s.version,
        "made by": lambda s: "; ".join(map(str, s.history)),
        "inputs": lambda s: [_port(p) for p in s.inputs],
        "outputs": lambda s: [_port(p) for p in s.outputs],
        "operators": lambda s: dict(sorted(s.operators.items())),
        "parameters": lambda s: s.parameters,
        "weight bytes": lambda s: s.weight_bytes,
        "bytes by dtype": lambda s: dict(sorted(s.bytes_by_dtype.items())),
        "quantized": lambda s: s.quantized,
        "caches": lambda s: list(s.caches),
    }
    for what, value in told.items():
        if value(a) != value(b):
            yield Difference(what, value(a), value(b))


def _layer(a: LayerSummary, b: LayerSummary, stored_a: Stored, stored_b: Stored) -> Iterator[Difference]:
    inputs = [tuple(n for n in layer.inputs if not _is_stored(n, t)) for layer, t in ((a, stored_a), (b, stored_b))]
    if inputs[0] != inputs[1]:
        yield Difference("inputs", *inputs)
    for what in ("name", "type", "outputs", "output_shape", "output_dtype", "parameters", "bytes"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            yield Difference(what.replace("_", " "), one, other)
    if not _near(a.output_encoding, b.output_encoding):
        yield Difference("output encoding", a.output_encoding, b.output_encoding)
    for key in sorted(a.attributes.keys() | b.attributes.keys()):
        one, other = a.attributes.get(key), b.attributes.get(key)
        if one != other and not (one != one and other != other):  # nan is nan here
            yield Difference(f"attribute {key}", one, other)
    for one, other in zip(_stored(a, stored_a), _stored(b, stored_b), strict=False):
        if one.dims == other.dims and (largest := _apart(one, other)) > 0:
            yield Difference(f"values of {one.name}", "", f"apart by up to {largest:.4g}")


def _stored(layer: LayerSummary, tensors: Stored) -> list[Tensor]:
    return [tensors[name] for name in dict.fromkeys(layer.inputs) if _is_stored(name, tensors)]


def _is_stored(name: str, tensors: Stored) -> bool:
    return name in tensors and tensors[name].role == "static"


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference between the reals that two stored tensors mean."""
    if a.dtype == b.dtype and a.encoding is b.encoding is None and bytes(a.data().data) == bytes(b.data().data):
        return 0.0
    if math.prod(a.dims) > LARGE:
        return 0.0 if bytes(a.data().data) == bytes(b.data().data) else math.inf
    with np.errstate(all="ignore"):  # a damaged file's numbers may be anything
        return float(np.max(np.abs(_reals(a) - _reals(b)), initial=0.0))


def _reals(tensor: Tensor) -> np.ndarray:
    data, encoding = tensor.data(), tensor.encoding
    if data.dtype.kind not in "iuf":
        raise InputError(f"tensor '{tensor.name}' does not hold numbers: {tensor.dtype}")
    if encoding is None:
        return data.astype(np.float64)
    shape, axis = [1] * data.ndim, encoding.axis
    if axis is not None:
        shape[axis] = -1
    if axis is None or math.prod(shape) == 1 or data.shape[axis] == len(encoding.scale):
        return (data + encoding.offset.astype(np.float64).reshape(shape)) * encoding.scale.reshape(shape)
    raise InputError(f"the .dlc is damaged: tensor '{tensor.name}' has {len(encoding.scale)} scales")


def _near(a: EncodingSummary | None, b: EncodingSummary | None) -> bool:
    if a is None or b is None:
        return a is b
    same = (a.bits, a.channels, a.offset) == (b.bits, b.channels, b.offset)
    return same and math.isclose(a.scale, b.scale, rel_tol=NEAR)


def _port(port) -> str:
    return f"{port.name} {'x'.join(map(str, port.shape))} {port.dtype}"
