"""Is a `.pb` a frozen TensorFlow graph? Asked of its bytes, without TensorFlow, before a native reader gets them.

A GraphDef is, in protobuf's wire format, a row of fields: 1 node (repeated), 2 library, 3 version, 4 versions, 5 debug
information; a node's fields 1, 2, 3 are its name, operator and inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import InputError

MAX_BYTES = 1 << 31  # the protobuf format's own limit
VARIABLES = ("VarHandleOp", "VariableV2", "Variable", "ReadVariableOp")
LENGTH_DELIMITED, VARINT = 2, 0


def check_frozen_graph(path: str | Path) -> None:
    """`InputError` unless the file is a whole GraphDef without variables."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError("the file is larger than a frozen graph can be", where=path)
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise os_error(error, path, "read the file") from error
    try:
        operators = _operators(data)
    except (ValueError, IndexError) as error:  # UnicodeDecodeError is a ValueError
        hint = "a SavedModel's saved_model.pb is another format: freeze it first"
        raise InputError(f"not a frozen TensorFlow graph (GraphDef): {error}", where=path, hint=hint) from error
    for name, operator in operators:
        if operator in VARIABLES:
            raise InputError(f"the graph is not frozen: '{name}' is a variable", where=path)


def _operators(data: memoryview) -> list[tuple[str, str]]:
    """(name, operator) of each node."""
    nodes = []
    for field, kind, value in _fields(data):
        if (field, kind) == (1, LENGTH_DELIMITED):
            texts = {1: "", 2: ""}
            for part, part_kind, text in _fields(value):
                if part in (1, 2, 3) and part_kind == LENGTH_DELIMITED:
                    decoded = str(text, "utf-8")
                    texts[part] = decoded if part < 3 else ""
            if not texts[1] or not texts[2]:
                raise ValueError("a node without a name or an operator")
            nodes.append((texts[1], texts[2]))
        elif (field, kind) not in ((2, LENGTH_DELIMITED), (3, VARINT), (4, LENGTH_DELIMITED), (5, LENGTH_DELIMITED)):
            raise ValueError("it holds what no graph holds")
    if not nodes:
        raise ValueError("it has no nodes")
    return nodes


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The fields of one protobuf message: (number, wire type, the bytes of its value)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            start, (_, at) = at, _varint(data, at)
        elif kind in (1, 5):
            start, at = at, at + (8 if kind == 1 else 4)
        elif kind == LENGTH_DELIMITED:
            length, start = _varint(data, at)
            at = start + length
        else:
            raise ValueError("it is damaged or of another kind")
        if at > len(data):
            raise ValueError("it is cut short")
        yield field, kind, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it is cut short")
        byte = data[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
    raise ValueError("it is damaged or of another kind")
