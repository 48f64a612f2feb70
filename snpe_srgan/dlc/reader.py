"""Reads a .dlc file into plain dataclasses: what it computes, with which weights, in which encodings.

    dlc = read("generator_w8a8.dlc")
    for node in dlc.graphs[0].nodes: print(node.type, node.inputs, node.outputs)

Format 4 (SNPE 2, QAIRT) is read as onnxruntime-qnn 2.7 writes it. Tensors are in the file's own layout: images NHWC,
convolution weights HWIO. A file from a stranger can fail with InputError, and in no other way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snpe_srgan.dlc.container import Container
from snpe_srgan.dlc.flatbuffer import Buffer, Table
from snpe_srgan.errors import InputError

# Qualcomm's type codes: (name, numpy dtype of the stored bytes). A 4-bit value takes a whole byte.
DTYPES = {
    0x0008: ("int8", "i1"),
    0x0016: ("int16", "<i2"),
    0x0032: ("int32", "<i4"),
    0x0064: ("int64", "<i8"),
    0x0108: ("uint8", "u1"),
    0x0116: ("uint16", "<u2"),
    0x0132: ("uint32", "<u4"),
    0x0164: ("uint64", "<u8"),
    0x0216: ("float16", "<f2"),
    0x0232: ("float32", "<f4"),
    0x0304: ("sfxp4", "i1"),
    0x0308: ("sfxp8", "i1"),
    0x0316: ("sfxp16", "<i2"),
    0x0332: ("sfxp32", "<i4"),
    0x0404: ("ufxp4", "u1"),
    0x0408: ("ufxp8", "u1"),
    0x0416: ("ufxp16", "<u2"),
    0x0432: ("ufxp32", "<u4"),
    0x0508: ("bool", "u1"),
    0x0608: ("string", "S1"),
}
ROLES = {0: "input", 1: "output", 2: "inout", 3: "native", 4: "static", 5: "null"}
MAX_RANK = 8
MAX_METADATA = 1 << 22


@dataclass(frozen=True)
class Encoding:
    """How stored integers mean reals: value = (q + offset) * scale; arrays of one, or one each along `axis`."""

    bits: int
    scale: np.ndarray
    offset: np.ndarray
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """One tensor. `role`: input, output, native (computed), static (stored); `dtype` as in `DTYPES`."""

    id: int
    name: str
    role: str
    dims: tuple[int, ...]
    dtype: str
    encoding: Encoding | None = None
    _bytes: memoryview | None = field(default=None, repr=False, compare=False)
    _where: object = field(default=None, repr=False, compare=False)

    @property
    def quantized(self) -> bool:
        return self.encoding is not None and "fxp" in self.dtype

    @property
    def nbytes(self) -> int:
        """Bytes stored in the file: 0 for a computed tensor."""
        return 0 if self._bytes is None else len(self._bytes)

    def data(self) -> np.ndarray:
        """The stored values, as integers where quantized; a read-only view of the file."""
        if self._bytes is None:
            raise InputError(f"the .dlc stores no data for tensor '{self.name}'", where=self._where)
        kind = np.dtype(STORED[self.dtype])
        if math.prod(self.dims) * kind.itemsize != len(self._bytes):
            raise InputError(
                f"the .dlc is damaged: tensor '{self.name}' of shape {self.dims} has {len(self._bytes)} bytes",
                where=self._where,
            )
        return np.frombuffer(self._bytes, kind).reshape(self.dims)


STORED = {name: dtype for name, dtype in DTYPES.values()}


@dataclass(frozen=True)
class Node:
    """One operator; `attributes` are numbers, strings, or small stored tensors (stride, padding, ...)."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, int | float | str | Tensor]


@dataclass(frozen=True)
class Graph:
    """Operators in executing order, and every tensor by name."""

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]

    def of_role(self, role: str) -> tuple[Tensor, ...]:
        return tuple(t for t in self.tensors.values() if t.role == role)


@dataclass(frozen=True)
class Dlc:
    """A whole file. `version` is the format's (4); `metadata` what the converter wrote about itself."""

    path: Path
    version: int
    bytes: int
    records: Mapping[str, int]
    metadata: Mapping[str, object]
    graphs: tuple[Graph, ...]


def read(path: str | Path) -> Dlc:
    """Reads a .dlc file; InputError says why a file cannot be read."""
    container = Container(path)
    version = _version(container)
    if version == 3:
        raise InputError(
            "SNPE 1.x .dlc (format 3) is not readable yet",
            where=path,
            hint="convert the network again with SNPE 2, QAIRT or 'snpe-srgan convert'",
        )
    try:
        graphs = _graphs(container)
    except (ValueError, OverflowError, MemoryError, KeyError, TypeError) as error:
        raise InputError(f"the .dlc is damaged: {error}", where=path) from error
    return Dlc(
        path=Path(path),
        version=version,
        bytes=container.total,
        records={name: container.size(name) for name in container.names},
        metadata=_metadata(container),
        graphs=graphs,
    )


def _version(container: Container) -> int:
    if "model" not in container.names:
        raise InputError(
            "not a .dlc file: the mandatory record 'model' is missing (a conversion that failed, or another archive)",
            where=container.path,
        )
    head = bytes(container.read("model")[:4])
    if head[:2] != b"\xd5\x0a" or head[2] not in (3, 4):
        raise InputError(f"unknown .dlc format (record head {head.hex() or 'empty'})", where=container.path)
    return head[2]


def _metadata(container: Container) -> dict[str, object]:
    """The converter's own words: JSON (format 4) or key=value lines; unreadable metadata is no reason to fail."""
    found: dict[str, object] = {}
    for name in container.names:
        if name.startswith("dlc.metadata") and container.size(name) <= MAX_METADATA:
            text = bytes(container.read(name)).decode("utf-8", "replace")
            try:
                found[name] = json.loads(text)
            except (ValueError, RecursionError):
                found[name] = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return found


def _record(container: Container, name: str) -> Table:
    return Buffer(container.read(name)[8:], where=container.path).root()


class _Values:
    """Where the stored bytes of a graph's tensors are: by tensor name, and by node and attribute name."""

    def __init__(self, container: Container, graph: Table | None):
        self._container = container
        self._binary: memoryview | None = None
        self.tensors: dict[str, memoryview] = {}
        self.attributes: list[dict[str, memoryview]] = []
        if graph is not None:
            self.tensors = self._block(graph.tables(1))
            self.attributes = [self._block(node.tables(0)) for node in graph.tables(2)]

    def _block(self, tables) -> dict[str, memoryview]:
        return {table.text(0): self._bytes(table) for table in tables}

    def _bytes(self, table: Table) -> memoryview:
        place = table.table(3)
        if place is None:
            return memoryview(table.array(1, "u1"))
        if self._binary is None:
            self._binary = self._container.read("model.params.bin")
        start, size = place.number(0, "Q"), place.number(1, "Q")
        if start + size > len(self._binary):
            raise InputError("the .dlc is damaged: weights lie beyond its end", where=self._container.path)
        return self._binary[start : start + size]


def _graphs(container: Container) -> tuple[Graph, ...]:
    parameters: list[Table] = []
    if "model.params" in container.names:
        parameters = list(_record(container, "model.params").tables(0))
    by_name = {table.text(0): table for table in parameters}
    graphs = []
    for table in _record(container, "model").tables(0):
        name = table.text(0)
        values = _Values(container, by_name.get(name))
        nodes = tuple(_node(node, index, values, container) for index, node in enumerate(table.tables(1)))
        tensors = [_tensor(t, values.tensors, container) for t in table.tables(2)]
        graphs.append(Graph(name, nodes, {t.name: t for t in tensors}))
    if not graphs:
        raise InputError("the .dlc holds no network", where=container.path)
    return tuple(graphs)


def _node(table: Table, index: int, values: _Values, container: Container) -> Node:
    stored = values.attributes[index] if index < len(values.attributes) else {}
    attributes: dict[str, int | float | str | Tensor] = {}
    for attribute in table.tables(4):
        tensor, scalar = attribute.table(4), attribute.table(3)
        if attribute.number(1) == 1 and tensor is not None:
            attributes[attribute.text(0)] = _tensor(tensor, stored, container)
        elif scalar is not None:
            attributes[attribute.text(0)] = _scalar(scalar)
    return Node(table.text(0), table.text(1), table.texts(2), table.texts(3), attributes)


def _scalar(table: Table) -> int | float | str:
    kind = DTYPES.get(table.number(0, "i"), ("", ""))[0]
    if kind.startswith("float"):
        return table.number(2, "d", 0.0)
    return table.text(3) if kind == "string" else table.number(1, "i")


def _tensor(table: Table, stored: Mapping[str, memoryview], container: Container) -> Tensor:
    dims = table.array(3, "<u4")
    code = table.number(6, "i")
    if len(dims) > MAX_RANK:
        raise InputError(f"the .dlc is damaged: a tensor has {len(dims)} dimensions", where=container.path)
    if code not in DTYPES:
        raise InputError(f"tensor '{table.text(1)}' has the unknown type code {code:#06x}", where=container.path)
    name = table.text(1)
    role = ROLES.get(table.number(2, "i"), "unknown")
    return Tensor(
        id=table.number(0, "I"),
        name=name,
        role=role,
        dims=tuple(int(d) for d in dims),
        dtype=DTYPES[code][0],
        encoding=_encoding(table.table(5), len(dims)),
        _bytes=stored.get(name) if role == "static" else None,
        _where=container.path,
    )


def _encoding(table: Table | None, rank: int) -> Encoding | None:
    """Kind 0: one scale and offset. Kinds 1 and 3: one each along an axis (3: with bit widths of their own)."""
    if table is None or table.number(1, "i") == 0:
        return None
    kind = table.number(0, "i")
    single, along = table.table(2), table.table(3)
    if kind == 0 and single is not None:
        scale, offset = np.array([single.number(3, "f", 0.0)]), np.array([single.number(4, "i")])
        return Encoding(single.number(0, "i"), scale.astype(np.float32), offset.astype(np.int32))
    if kind == 1 and along is not None:
        rows = [(t.number(0, "i"), t.number(3, "f", 0.0), t.number(4, "i")) for t in along.tables(1)]
        axis = along.number(0, "i")
        if not rows or not 0 <= axis < rank:
            return None
        bits, scale, offset = (np.array(column) for column in zip(*rows, strict=True))
        return Encoding(int(bits[0]), scale.astype(np.float32), offset.astype(np.int32), axis)
    return None
