"""What is inside a .dlc, as plain numbers for `inspect`: layers, parameters, bytes, encodings, inputs and outputs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snpe_srgan.dlc.history import Step, history
from snpe_srgan.dlc.model import Dlc, Encoding, Graph, Tensor
from snpe_srgan.errors import InputError

MAX_SHOWN = 64  # numbers of one attribute
CACHE = re.compile(r"htp\.cache\.([\w-]{1,40})\.\d+$|aip\.metadata\d+$")


@dataclass(frozen=True)
class EncodingSummary:
    """An encoding in words of quantization: the reals it spans; `channels` is 1 per tensor, else how many scales."""

    bits: int
    channels: int
    scale: float
    offset: int
    low: float
    high: float


@dataclass(frozen=True)
class Port:
    """A graph input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoding: EncodingSummary | None


@dataclass(frozen=True)
class TensorSummary:
    """One tensor; `role` is input, output, native (computed) or static (stored: it takes `bytes` in the file)."""

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    encoding: EncodingSummary | None


@dataclass(frozen=True)
class LayerSummary:
    """One operator: parameters are weights and biases (not strides and such), `bytes` what they take in the file.

    `attributes` are the file's own names and values; a stored tensor among them is a flat tuple of its numbers.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    output_dtype: str
    parameters: int
    bytes: int
    output_encoding: EncodingSummary | None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class DlcSummary:
    """A whole file. `bytes_by_dtype` counts weights only; `quantized` tells whether any tensor has an encoding."""

    path: Path
    version: int
    bytes: int
    history: tuple[Step, ...]
    graph: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[LayerSummary, ...]
    tensors: tuple[TensorSummary, ...]
    operators: Mapping[str, int]
    parameters: int
    weight_bytes: int
    bytes_by_dtype: Mapping[str, int]
    activation_dtypes: Mapping[str, int]
    quantized: bool
    records: Mapping[str, int]
    caches: tuple[str, ...]


def describe(dlc: Dlc) -> DlcSummary:
    """Summarizes the first network of a file (files with several are rare; the others count in `bytes`)."""
    graph = dlc.graphs[0]
    weights = [t for t in graph.tensors.values() if t.role == "static"]
    computed = [t for t in graph.tensors.values() if t.role != "static"]
    by_dtype: Counter[str] = Counter()
    for tensor in weights:
        by_dtype[tensor.dtype] += tensor.nbytes
    return DlcSummary(
        path=dlc.path,
        version=dlc.version,
        bytes=dlc.bytes,
        history=history(dlc.metadata),
        graph=graph.name,
        inputs=tuple(_port(t) for t in graph.of_role("input")),
        outputs=tuple(_port(t) for t in graph.of_role("output")),
        layers=_layers(graph),
        tensors=tuple(
            TensorSummary(t.name, t.role, t.dims, t.dtype, t.nbytes, _encoding(t)) for t in graph.tensors.values()
        ),
        operators=dict(Counter(node.type for node in graph.nodes).most_common()),
        parameters=sum(math.prod(t.dims) for t in weights),
        weight_bytes=sum(t.nbytes for t in weights),
        bytes_by_dtype=dict(by_dtype.most_common()),
        activation_dtypes=dict(Counter(t.dtype for t in computed).most_common()),
        quantized=any(t.quantized for t in graph.tensors.values()),
        records=dlc.records,
        caches=_caches(dlc.records),
    )


def _layers(graph: Graph) -> tuple[LayerSummary, ...]:
    """A stored tensor counts where it is used first."""
    seen: set[str] = set()
    layers = []
    for node in graph.nodes:
        used = dict.fromkeys(name for name in node.inputs if name in graph.tensors and name not in seen)
        stored = [graph.tensors[name] for name in used if graph.tensors[name].role == "static"]
        seen.update(tensor.name for tensor in stored)
        output = graph.tensors.get(node.outputs[0]) if node.outputs else None
        layers.append(
            LayerSummary(
                name=node.name,
                type=node.type,
                output_shape=output.dims if output else (),
                output_dtype=output.dtype if output else "",
                parameters=sum(math.prod(t.dims) for t in stored),
                bytes=sum(t.nbytes for t in stored),
                output_encoding=_encoding(output) if output else None,
                inputs=node.inputs,
                outputs=node.outputs,
                attributes={key: _value(value) for key, value in node.attributes.items()},
            )
        )
    return tuple(layers)


def _value(value: object) -> object:
    """An attribute as plain data; what a file stores damaged is said, not read."""
    if not isinstance(value, Tensor):
        return value
    if math.prod(value.dims) > MAX_SHOWN:
        return f"{value.dtype} {value.dims}"
    try:
        return tuple(value.data().reshape(-1).tolist())
    except InputError as error:
        return error.what


def _port(tensor: Tensor) -> Port:
    return Port(tensor.name, tensor.dims, tensor.dtype, _encoding(tensor))


def _encoding(tensor: Tensor) -> EncodingSummary | None:
    if tensor.encoding is None or not tensor.quantized:
        return None
    return summarize(tensor.encoding, signed=tensor.dtype.startswith("s"))


def summarize(encoding: Encoding, *, signed: bool) -> EncodingSummary:
    """The widest channel's scale stands for a per-channel encoding."""
    widest = int(np.argmax(encoding.scale))
    scale, offset = float(encoding.scale[widest]), int(encoding.offset[widest])
    bits = min(max(encoding.bits, 1), 32)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = (low + offset) * scale, (high + offset) * scale
    return EncodingSummary(encoding.bits, len(encoding.scale), scale, offset, *ends)


def _caches(records: Mapping[str, int]) -> tuple[str, ...]:
    """The chips that a file holds ready-compiled graphs for, by the names of its records."""
    found = (CACHE.match(name) for name in records)
    return tuple(dict.fromkeys("AIP" if m[1] is None else m[1].upper() for m in found if m))
