"""Format 4 of the .dlc (SNPE 2, QAIRT, onnxruntime-qnn) as plain dataclasses; `reader.py` opens the file.

The tables' slots are listed in Netron's public schema (MIT) and were checked on files of onnxruntime-qnn 2.7. Weights
lie in one of three places: in the parameters' own tables (early files), in a list of buffers beside them (record
NR64), or in the record `model.params.bin` (since format 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snpe_srgan.dlc.container import Container
from snpe_srgan.dlc.flatbuffer import Buffer, Table
from snpe_srgan.dlc.model import DTYPES, ROLES, Encoding, Graph, Node, Tensor
from snpe_srgan.errors import InputError

MAX_RANK = 8
IN_BUFFERS = b"NR64"


def graphs(model: Buffer, parameters: Buffer | None, container: Container) -> tuple[Graph, ...]:
    """The networks of a file: nearly always one.

    Args:
        model: the record of the layers.
        parameters: the record of the weights, or of where they are; None for a file without one.
        container: the file, for weights in a record of their own.

    Returns:
        At least one graph. Weights are views of the file.

    Raises:
        InputError: a record is damaged, claims more than any network has, or holds no network.
    """
    tables, buffers = _parameters(parameters, container)
    by_name = {table.text(0): table for table in tables}
    found = []
    for table in model.root().tables(0):
        name = table.text(0)
        values = _Values(container, by_name.get(name), buffers)
        nodes = tuple(_node(node, index, values, container) for index, node in enumerate(table.tables(1)))
        tensors = [_tensor(t, values.tensors, container) for t in table.tables(2)]
        found.append(Graph(name, nodes, {t.name: t for t in tensors}))
    if not found:
        raise InputError("the .dlc holds no network", where=container.path)
    return tuple(found)


def _parameters(record: Buffer | None, container: Container) -> tuple[list[Table], list[memoryview]]:
    """(the parameters of each network, the buffers they refer to by number: none unless the record is an NR64)."""
    if record is None:
        return [], []
    if bytes(record.data[4:8]) != IN_BUFFERS:
        return list(record.root().tables(0)), []
    root = record.root()
    inner = Buffer(root.array(1, "u1").data, where=container.path)
    return list(inner.root().tables(0)), [table.array(0, "u1").data for table in root.tables(0)]


class _Values:
    """Where the stored bytes of a graph's tensors are: by tensor name, and by node and attribute name."""

    def __init__(self, container: Container, graph: Table | None, buffers: list[memoryview]):
        self._container, self._buffers = container, buffers
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
        if place is None and self._buffers:
            index = table.number(2, "q")
            if not 0 <= index < len(self._buffers):
                raise InputError(f"the .dlc is damaged: weights in buffer {index}", where=self._container.path)
            return self._buffers[index]
        if place is None:
            return table.array(1, "u1").data
        if self._binary is None:
            self._binary = self._container.read("model.params.bin")
        start, size = place.number(0, "Q"), place.number(1, "Q")
        if start + size > len(self._binary):
            raise InputError("the .dlc is damaged: weights lie beyond its end", where=self._container.path)
        return self._binary[start : start + size]


def _node(table: Table, index: int, values: _Values, container: Container) -> Node:
    stored = values.attributes[index] if index < len(values.attributes) else {}
    attributes: dict[str, int | float | str | Tensor] = {}
    table.keep()
    for attribute in table.tables(4):
        attribute.keep()
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
    table.keep()
    dims = table.array(3, "<u4")
    code = table.number(6, "i")
    if len(dims) > MAX_RANK:
        raise InputError(f"the .dlc is damaged: a tensor has {len(dims)} dimensions", where=container.path)
    name = table.text(1)
    role = ROLES.get(table.number(2, "i"), "unknown")
    return Tensor(
        id=table.number(0, "I"),
        name=name,
        role=role,
        dims=tuple(int(d) for d in dims),
        dtype=DTYPES[code][0] if code in DTYPES else f"type {code:#06x}",
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
