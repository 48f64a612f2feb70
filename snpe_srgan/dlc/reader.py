"""Reads a .dlc file into plain dataclasses: what it computes, with which weights, in which encodings.

    dlc = read("generator_w8a8.dlc")
    for node in dlc.graphs[0].nodes: print(node.type, node.inputs, node.outputs)

Format 4 (SNPE 2, QAIRT) is read as onnxruntime-qnn 2.7 writes it. A file from a stranger can fail with InputError, and
in no other way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snpe_srgan.dlc.container import Container
from snpe_srgan.dlc.flatbuffer import Buffer, Table
from snpe_srgan.dlc.model import DTYPES, ROLES, Dlc, Encoding, Graph, Node, Tensor
from snpe_srgan.errors import InputError

MAX_RANK = 8
MAX_METADATA = 1 << 22


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
    """Kind 0: one scale and offset. Kinds 1 and 3: one each along an axis (3: fewer bits than the type has)."""
    if table is None or table.number(1, "i") == 0:
        return None
    kind = table.number(0, "i")
    single, along = table.table(2), table.table(3)
    if kind == 0 and single is not None:
        scale, offset = np.array([single.number(3, "f", 0.0)]), np.array([single.number(4, "i")])
        return Encoding(single.number(0, "i"), scale.astype(np.float32), offset.astype(np.int32))
    if kind in (1, 3) and along is not None:
        rows = [(t.number(0, "i"), t.number(3, "f", 0.0), t.number(4, "i")) for t in along.tables(1)]
        axis = along.number(0, "i")
        if not rows or not 0 <= axis < rank:
            return None
        bits, scale, offset = (np.array(column) for column in zip(*rows, strict=True))
        return Encoding(int(bits[0]), scale.astype(np.float32), offset.astype(np.int32), axis)
    return None
