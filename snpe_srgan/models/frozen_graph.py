"""Is a `.pb` a frozen TensorFlow graph that can be computed? Asked of its bytes, before a native reader gets them.

    data = check_frozen_graph("generator.pb")       # the file's bytes; InputError for what no reader is to see

TensorFlow's and OpenVINO's readers end the process on some damaged graphs and never return from others (a node that
reads itself, a loop, a constant of another type than its attribute says). A GraphDef is, in protobuf's wire format, a
row of fields: 1 node (repeated), 2 library, 3 version, 4 versions, 5 debug information; a node's fields 1, 2, 3 are its
name, operator and inputs, 5 its attributes, a map. Source: tensorflow/core/framework/{graph,node_def,attr_value,
tensor,tensor_shape,types}.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import InputError
from snpe_srgan.opener import read_regular

MAX_BYTES = 1 << 31  # the protobuf format's own limit
MAX_NODES = 20_000  # ESRGAN's graph has 3,000
MAX_DIMENSIONS = 8
VARIABLES = ("VarHandleOp", "VariableV2", "Variable", "ReadVariableOp")
CONTROL = (
    "Enter", "Exit", "NextIteration", "Merge", "Switch", "LoopCond", "While", "StatelessWhile", "If", "StatelessIf",
    "Case", "StatelessCase", "For", "PartitionedCall", "StatefulPartitionedCall", "SymbolicGradient", "RemoteCall",
)  # fmt: skip
SWITCHES = ("Switch", "Merge")
FOREIGN = (
    "ReadFile", "WriteFile", "PyFunc", "PyFuncStateless", "EagerPyFunc", "SaveV2", "RestoreV2", "Save", "Restore",
)  # fmt: skip
FIXED64, LENGTH_DELIMITED, FIXED32, VARINT = 1, 2, 5, 0
SIZES = {  # DT_* -> bytes of one number, of those that a network may hold
    1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 19: 2, 22: 4, 23: 8,
}  # fmt: skip
STRING = 7
LISTS = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11, 14: 13, 17: 7, 19: 13, 22: 16, 23: 17}  # -> field of values
SAVED_MODEL = "a SavedModel is imported first: snpe-srgan import FOLDER -o model.onnx"


@dataclass(frozen=True)
class Node:
    """One node: attributes are the bytes of their AttrValue."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, memoryview]


def check_frozen_graph(path: str | Path, *, switches: bool = False) -> bytes:
    """The bytes of a `.pb` that is a whole GraphDef without variables, loops or impossible constants.

    Args:
        path: the file.
        switches: whether the reader takes branches out itself (`onnx_graphs/switches.py`).

    Raises:
        InputError: it is none, or one that no reader is to see.
    """
    data = read_regular(path, limit=MAX_BYTES)
    try:
        nodes = read_nodes(memoryview(data))
        allowed = SWITCHES if switches else ()
        problems = ((node, None if node.operator in allowed else _problem(node)) for node in nodes)
        found = next(((node, problem) for node, problem in problems if problem), None)
    except InputError as error:
        raise InputError(error.what, where=path) from error
    except (ValueError, IndexError) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(
            f"not a frozen TensorFlow graph (GraphDef): {str(error)[:100]}", where=path, hint=_hint(data)
        ) from error
    for node in nodes:
        if node.operator in VARIABLES:
            raise InputError(f"the graph is not frozen: '{node.name:.60}' is a variable", where=path)
    if found is not None:
        node, problem = found
        raise InputError(f"node '{node.name:.60}' {problem}", where=path)
    _check_wires(nodes, path)
    return data


def _hint(data: bytes) -> str | None:
    """A SavedModel begins with its schema version, then one MetaGraphDef."""
    return SAVED_MODEL if data[:2] == b"\x08\x01" else None


def _problem(node: Node) -> str | None:
    """What is wrong with one node, in words that follow its name."""
    if node.operator in CONTROL:
        return f"is a loop, a branch or a call ({node.operator}): import takes such a graph where it can"
    if node.operator in FOREIGN:
        return f"reaches outside the graph ({node.operator}): it is not taken"
    if not (node.name + node.operator).isprintable() or len(node.name) > 1000:
        return "has a name that cannot be printed"
    for name in ("dtype", "T", "DstT", "SrcT", "out_type"):
        value = node.attributes.get(name)
        if value is not None and _type_of(value) not in (*SIZES, STRING):
            return f"is of a type that no network has ('{name}')"
    if node.operator in ("Const", "Placeholder") and "dtype" not in node.attributes:
        return "does not say its type"
    if node.operator == "Const":
        return _constant_problem(node)
    shape = node.attributes.get("shape")
    sizes = None if shape is None else _shape_of(shape)
    if sizes is not None and (len(sizes) > MAX_DIMENSIONS or any(not -1 <= size < 1 << 31 for size in sizes)):
        return "has an impossible shape"
    return None


def _constant_problem(node: Node) -> str | None:
    """A constant's tensor must be of the type that the node says, and hold as many numbers as its shape."""
    value = node.attributes.get("value")
    tensor = None if value is None else next((v for n, k, v in fields(value) if (n, k) == (8, LENGTH_DELIMITED)), None)
    if not isinstance(tensor, memoryview):
        return "is a constant without a value"
    kind, content, listed = 0, 0, 0
    sizes: Sequence[int] = ()
    for number, _, part in fields(tensor):
        if number == 1 and isinstance(part, int):
            kind = part
        elif number == 2 and isinstance(part, memoryview):
            sizes = _dimensions(part)
        elif number == 4 and isinstance(part, memoryview):
            content = len(part)
        elif number == LISTS.get(kind):  # a list of numbers: what it holds at least and at most
            listed += len(part) if isinstance(part, memoryview) else 1
    if kind != _type_of(node.attributes["dtype"]):
        return "is a constant of another type than it says"
    if kind == STRING:
        return None
    if len(sizes) > MAX_DIMENSIONS or any(size < 0 for size in sizes):
        return "is a constant of an impossible shape"
    count = math.prod(sizes)
    if content and content != count * SIZES[kind]:
        return f"is a constant of {content} bytes, where its shape asks for {count * SIZES[kind]}"
    if not content and (count > 1 << 24 or (count and not listed)):
        # One listed number may fill the whole tensor; a tensor of gigabytes made of four bytes is no weight.
        return f"is a constant of {count} numbers that are not in the file"
    return None


def _check_wires(nodes: Sequence[Node], path: str | Path) -> None:
    """Each name once, each input there, and no way round: nodes are taken away whose inputs are all taken away."""
    names = {node.name for node in nodes}
    if len(names) != len(nodes):
        raise InputError("two nodes of the graph have one name", where=path)
    sources = {node.name: {_source(text) for text in node.inputs} for node in nodes}
    readers: dict[str, list[str]] = {name: [] for name in names}
    for name, read in sources.items():
        for source in read:
            if source not in names:
                raise InputError(f"node '{name:.60}' reads '{source:.60}', which the graph lacks", where=path)
            readers[source].append(name)
    waiting = {name: len(read) for name, read in sources.items()}
    free = [name for name, count in waiting.items() if not count]
    done = 0
    while free:
        done += 1
        for reader in readers[free.pop()]:
            waiting[reader] -= 1
            if not waiting[reader]:
                free.append(reader)
    if done < len(nodes):
        name = next(name for name, count in waiting.items() if count)
        raise InputError(f"the graph runs in a circle: '{name:.60}' reads what is made from it", where=path)


def _source(text: str) -> str:
    """`^node` and `node:1` as `node`."""
    name, colon, port = text.removeprefix("^").rpartition(":")
    return name if colon and port.isdecimal() else text.removeprefix("^")


def _type_of(value: memoryview) -> int:
    """DT_* of an AttrValue; 0 when it holds no type."""
    return next((part for n, k, part in fields(value) if (n, k) == (6, VARINT) and isinstance(part, int)), 0)


def _shape_of(value: memoryview) -> list[int] | None:
    """Sizes of an AttrValue; None when it holds no shape."""
    shape = next((part for n, k, part in fields(value) if (n, k) == (7, LENGTH_DELIMITED)), None)
    return _dimensions(shape) if isinstance(shape, memoryview) else None


def _dimensions(shape: memoryview) -> list[int]:
    """The sizes in a TensorShapeProto; -1 is a free one."""
    sizes = []
    for number, wire, dim in fields(shape):
        if number == 2 and wire == LENGTH_DELIMITED and isinstance(dim, memoryview):
            size = next((part for n, k, part in fields(dim) if (n, k) == (1, VARINT) and isinstance(part, int)), 0)
            sizes.append(size - (1 << 64) if size >> 63 else size)
    return sizes


def read_nodes(data: memoryview) -> list[Node]:
    """The nodes of a GraphDef; ValueError for bytes that are none, InputError for too many."""
    nodes = []
    for field, kind, value in fields(data):
        if field == 1 and isinstance(value, memoryview):
            nodes.append(read_node(value))
            if len(nodes) > MAX_NODES:
                raise InputError(f"the graph has more than {MAX_NODES} nodes: not a super-resolution network")
        elif (field, kind) not in ((2, LENGTH_DELIMITED), (3, VARINT), (4, LENGTH_DELIMITED), (5, LENGTH_DELIMITED)):
            raise ValueError("it holds what no graph holds")
    if not nodes:
        raise ValueError("it has no nodes")
    return nodes


def read_node(data: memoryview) -> Node:
    """One NodeDef; ValueError for bytes that are none."""
    name = operator = ""
    inputs, attributes = [], {}
    for part, _, value in fields(data):
        if not isinstance(value, memoryview):
            continue
        if part == 1:
            name = str(value, "utf-8")
        elif part == 2:
            operator = str(value, "utf-8")
        elif part == 3:
            inputs.append(str(value, "utf-8"))
        elif part == 5:
            entry = {n: v for n, _, v in fields(value) if isinstance(v, memoryview)}
            attributes[str(entry.get(1, b""), "utf-8")] = entry.get(2, memoryview(b""))
    if not name or not operator:
        raise ValueError("a node without a name or an operator")
    return Node(name, operator, tuple(inputs), attributes)


def fields(data: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """The fields of one protobuf message: (number, wire type, value).

    The value is a view of the bytes of a length-delimited field, the number of a varint, and 0 for fixed-size
    fields, whose bytes are passed over.

    Raises:
        ValueError: the message is cut short, or damaged.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        value: memoryview | int
        if kind == VARINT:
            value, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            value, at = 0, at + (8 if kind == FIXED64 else 4)
        elif kind == LENGTH_DELIMITED:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("it is damaged or of another kind")
        if at > len(data):
            raise ValueError("it is cut short")
        yield field, kind, value


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
