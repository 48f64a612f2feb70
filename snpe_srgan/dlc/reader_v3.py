"""Format 3 of the .dlc (SNPE 1.x) as plain dataclasses; `reader.py` opens the file.

The tables' slots are those of Netron's public schema (MIT), corrected by what real files of SNPE 1.37 to 1.56 hold:

    Model       1 nodes, 4 attributes (BufferInfos: every tensor's shape)
    Node        0 index, 1 name, 2 type, 3 inputs, 4 outputs, 5 attributes
    Attribute   0 name, 1 type, then one slot a type: 2 bool, 3 int, 4 uint, 5 float, 6 text, 7 bools, 8 uints,
                9 ints, 10 floats, 11 not seen yet, 12 attributes; the slot is type + 1
    Parameters  0 nodes {0 name, 1 tensors {0 name, 1 shape, 2 data {0 type, 1 bytes, 2 floats}, 3 attributes}}

A layer's weights hang on the layer, not in the graph: here they become stored tensors `LAYER/WEIGHT`, the layer's last
inputs. Quantization is an attribute of a layer (its outputs) or of a weight: `FxpData` (until 1.48) or `DataEncoding`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from snpe_srgan.dlc.flatbuffer import Buffer, Table
from snpe_srgan.dlc.model import Encoding, Graph, Node, Tensor, Value

MAX_DEPTH = 12  # of attributes within attributes; real files have 4
MAX_RANK = 8
MAX_DIM = 1 << 31
FLOAT_TYPE = 9
INTEGERS = {1: ("ufxp8", "uint8"), 2: ("ufxp16", "uint16"), 4: ("sfxp32", "int32")}  # bytes: (with encoding, without)


def graph(model: Buffer, parameters: Buffer | None, *, where: object) -> Graph:
    """The network of a file: format 3 holds one.

    Args:
        model: the record of the layers.
        parameters: the record of the weights; None for a file without one.
        where: the .dlc, for errors.

    Returns:
        Weights are views of the file. A layer whose shape the file does not give has the shape ().

    Raises:
        InputError: a record is damaged, or claims more than any network has.
    """
    root = model.root()
    infos = attributes(root.tables(4)).get("BufferInfos", {})
    weights = _weights(parameters, where)
    tensors: dict[str, Tensor] = {}
    nodes = []
    for table in root.tables(1):
        table.keep()
        name, kind = table.text(1), table.text(2)
        inputs, outputs = table.texts(3), table.texts(4)
        values = attributes(table.tables(5))
        is_input = kind.lower() in ("input", "data")
        shapes, encodings = _listed(values.pop("OutputDims", {})), _encodings(values)
        for index, output in enumerate(outputs):
            shape = shapes[index] if index < len(shapes) else _info(infos, output)
            encoding = encodings[index] if index < len(encodings) else None
            tensors[output] = Tensor(
                id=len(tensors),
                name=output,
                role="input" if is_input else "native",
                dims=_dims(shape, model),
                dtype=INTEGERS[max(1, encoding.bits // 8)][0] if encoding else "float32",
                encoding=encoding,
                _where=where,
            )
        if not is_input:
            stored = [_named(weight, name, tensors) for weight in weights.pop(name, ())]
            tensors.update((tensor.name, tensor) for tensor in stored)
            nodes.append(Node(name, kind, (*inputs, *(tensor.name for tensor in stored)), outputs, values))
    return Graph("", tuple(nodes), _with_outputs(tensors, nodes))


def _with_outputs(tensors: dict[str, Tensor], nodes: Iterable[Node]) -> dict[str, Tensor]:
    """The format marks no outputs: they are what is computed and never used."""
    used = {name for node in nodes for name in node.inputs}
    roles = {name: "output" if t.role == "native" and name not in used else t.role for name, t in tensors.items()}
    return {name: Tensor(**{**vars(tensor), "role": roles[name]}) for name, tensor in tensors.items()}


def attributes(tables: Iterable[Table], depth: int = 0) -> dict[str, Value]:
    """Attributes by name; those within attributes become dicts. A type nobody has seen yet is left as a text."""
    found: dict[str, Value] = {}
    for table in tables:
        table.keep()
        kind = table.number(1, "B")
        slot = kind + 1
        value: Value = f"(type {kind})"
        if kind == 1:
            value = bool(table.number(slot, "B"))
        elif kind in (2, 3, 4):
            value = table.number(slot, {2: "i", 3: "I", 4: "f"}[kind])
        elif kind == 5:
            value = table.text(slot)
        elif kind in (6, 7, 8, 9):
            value = table.numbers(slot, {6: "?", 7: "<u4", 8: "<i4", 9: "<f4"}[kind])
        elif kind == 11 and depth < MAX_DEPTH:
            value = attributes(table.tables(slot), depth + 1)
        found[table.text(0)] = value
    return found


def _listed(value: object) -> list:
    """The values of a dict whose keys count from 0, which is how the format writes a list of attributes."""
    if not isinstance(value, Mapping):
        return []
    found: list = []
    while str(len(found)) in value:
        found.append(value[str(len(found))])
    return found


def _info(infos: object, name: str) -> object:
    info = infos.get(name) if isinstance(infos, Mapping) else None
    return info.get("dims") if isinstance(info, Mapping) else None


def _dims(shape: object, buffer: Buffer) -> tuple[int, ...]:
    dims = tuple(shape) if isinstance(shape, tuple) else ()
    if len(dims) > MAX_RANK or not all(isinstance(d, int) and 0 <= d < MAX_DIM for d in dims):
        raise buffer.broken(f"a tensor has the shape {str(shape)[:60]}")
    return dims


def _encodings(values: dict[str, Value]) -> list[Encoding | None]:
    """One for each output of a layer (or one for a weight); takes them out of the attributes."""
    old, new = values.pop("FxpData", None), values.pop("DataEncoding", None)
    found = [_encoding([element], None) for element in _listed(old)]
    for item in _listed(new):
        elements = _listed(item.get("DataEncodingElement")) if isinstance(item, Mapping) else []
        axis = item.get("axis") if elements else None
        found.append(_encoding(elements, axis if isinstance(axis, int) and axis >= 0 else None))
    return found


def _encoding(elements: list, axis: int | None) -> Encoding | None:
    """Elements {delta, offset, min, max, precision}: real = (q + offset) * delta; precision's low byte is the bits."""
    rows = [e for e in elements if isinstance(e, Mapping) and {"delta", "offset", "precision"} <= e.keys()]
    numbers = [v for row in rows for v in (row["delta"], row["offset"], row["precision"])]
    if not rows or (axis is None and len(rows) > 1) or not all(isinstance(v, (int, float)) for v in numbers):
        return None
    bits = int(rows[0]["precision"]) & 0xFF
    offset = np.array([row["offset"] for row in rows], np.float64)
    if bits not in (4, 8, 16, 32) or not np.isfinite(offset).all() or (np.abs(offset) > 2**31 - 1).any():
        return None
    scale = np.array([row["delta"] for row in rows], np.float32)
    return Encoding(bits, scale, np.rint(offset).astype(np.int32), axis)


def _weights(parameters: Buffer | None, where: object) -> dict[str, list[Tensor]]:
    """The stored tensors of each layer, under their own short names."""
    if parameters is None:
        return {}
    return {
        node.text(0): [_weight(table, parameters, where) for table in node.tables(1)]
        for node in parameters.root().tables(0)
    }


def _weight(table: Table, buffer: Buffer, where: object) -> Tensor:
    table.keep()
    dims = _dims(table.numbers(1, "<u4"), buffer)
    encodings, data = _encodings(attributes(table.tables(3))), table.table(2)
    encoding = encodings[0] if encodings else None
    dtype, stored = "float32", None
    if data is not None:
        floats, raw = data.array(2, "<f4"), data.array(1, "u1")
        count = math.prod(dims)
        width = len(raw) // count if count else 0
        if len(floats) or data.number(0, "B") == FLOAT_TYPE:
            stored = floats.data.cast("B") if len(floats) else raw.data
        elif width in INTEGERS:
            dtype, stored = INTEGERS[width][encoding is None], raw.data
        else:
            dtype, stored = f"type {data.number(0, 'B'):#06x}", raw.data
    if encoding is not None and encoding.axis is not None and encoding.axis >= len(dims):
        encoding = None
    return Tensor(0, table.text(0), "static", dims, dtype, encoding, stored, where)


def _named(weight: Tensor, layer: str, taken: Mapping[str, Tensor]) -> Tensor:
    name = f"{layer}/{weight.name}"
    while name in taken:
        name += "~"
    return Tensor(**{**vars(weight), "name": name, "id": len(taken)})
