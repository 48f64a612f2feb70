"""What is inside a .dlc, as plain numbers for `inspect`: layers, parameters, bytes, encodings, inputs and outputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.dlc.model import Dlc, Encoding, Graph, Tensor


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
class LayerSummary:
    """One operator: parameters are weights and biases (not strides and such), `bytes` what they take in the file."""

    name: str
    type: str
    output_shape: tuple[int, ...]
    output_dtype: str
    parameters: int
    bytes: int
    output_encoding: EncodingSummary | None


@dataclass(frozen=True)
class DlcSummary:
    """A whole file. `bytes_by_dtype` counts weights only; `quantized` tells whether any tensor has an encoding."""

    path: Path
    version: int
    bytes: int
    converter: str
    graph: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[LayerSummary, ...]
    operators: Mapping[str, int]
    parameters: int
    weight_bytes: int
    bytes_by_dtype: Mapping[str, int]
    activation_dtypes: Mapping[str, int]
    quantized: bool
    records: Mapping[str, int]
    metadata: Mapping[str, object]


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
        converter=converter(dlc.metadata),
        graph=graph.name,
        inputs=tuple(_port(t) for t in graph.of_role("input")),
        outputs=tuple(_port(t) for t in graph.of_role("output")),
        layers=_layers(graph),
        operators=dict(Counter(node.type for node in graph.nodes).most_common()),
        parameters=sum(math.prod(t.dims) for t in weights),
        weight_bytes=sum(t.nbytes for t in weights),
        bytes_by_dtype=dict(by_dtype.most_common()),
        activation_dtypes=dict(Counter(t.dtype for t in computed).most_common()),
        quantized=any(t.quantized for t in graph.tensors.values()),
        records=dlc.records,
        metadata=dlc.metadata,
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
            )
        )
    return tuple(layers)


def _port(tensor: Tensor) -> Port:
    return Port(tensor.name, tensor.dims, tensor.dtype, _encoding(tensor))


def _encoding(tensor: Tensor) -> EncodingSummary | None:
    return summarize(tensor.encoding, signed=tensor.dtype.startswith("s")) if tensor.quantized else None


def summarize(encoding: Encoding, *, signed: bool) -> EncodingSummary:
    """The widest channel's scale stands for a per-channel encoding."""
    widest = int(np.argmax(encoding.scale))
    scale, offset = float(encoding.scale[widest]), int(encoding.offset[widest])
    bits = min(max(encoding.bits, 1), 32)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = (low + offset) * scale, (high + offset) * scale
    return EncodingSummary(encoding.bits, len(encoding.scale), scale, offset, *ends)


def converter(metadata: Mapping[str, object]) -> str:
    """The tool that wrote the file, as it says itself; '' when it does not."""
    for record in metadata.values():
        history = record.get("dlcGenerationInfo") if isinstance(record, dict) else None
        for step in history if isinstance(history, list) else []:
            command = step.get("converterCommand") if isinstance(step, dict) else None
            if isinstance(command, dict):
                words = [str(command[key]) for key in ("tool", "converterVersion") if command.get(key)]
                return " ".join(words)[:200]
    return ""
