"""A TensorFlow 1 graph as it computes at inference: training switches set, the branches they turn off taken out.

    plain = without_switches(graph_def, where=path)

Such graphs take more than a picture: `is_training`, a dropout rate, often with a default
(`tf.compat.v1.placeholder_with_default`), and choose between two branches by them (`tf.cond`: Switch and Merge).
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any

from snpe_srgan.errors import InputError

DT_FLOAT, DT_BOOL = 1, 10
PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")
KEPT, DROPPED = ("keep",), ("rate", "drop")  # parts of the names of a dropout's numbers: all is kept, none is dropped


def without_switches(graph_def: Any, *, where: object) -> Any:
    """A copy in which every placeholder but the picture's is a constant and no Switch or Merge is left.

    Raises:
        InputError: a placeholder whose value cannot be told, or a branch that depends on the picture.
    """
    copy = type(graph_def)()
    copy.CopyFrom(graph_def)
    picture = _picture(copy)
    for node in copy.node:
        if node.op in PLACEHOLDERS and node is not picture:
            _settle(node, where)
    if picture is not None and picture.op == "PlaceholderWithDefault":
        picture.op = "Placeholder"
        del picture.input[:]
    if any(node.op in ("Switch", "Merge") for node in copy.node):
        _take_branches(copy, where)
    return copy


def _picture(graph_def: Any) -> Any:
    """The one placeholder that can be a picture: of four dimensions, or of unknown ones and not a number or a truth."""
    found = [n for n in graph_def.node if n.op in PLACEHOLDERS and n.attr["dtype"].type != DT_BOOL]
    full = [n for n in found if len(n.attr["shape"].shape.dim) == 4]
    free = [n for n in found if n.attr["shape"].shape.unknown_rank or "shape" not in n.attr]
    chosen = full or [n for n in free if n.op == "Placeholder"] or free
    return chosen[0] if len(chosen) == 1 else None


def _settle(node: Any, where: object) -> None:
    """Turns a switch's placeholder into what it is at inference."""
    if len(node.attr["shape"].shape.dim) == 4:
        return  # another picture: whoever reads the graph says that it takes two
    if node.op == "PlaceholderWithDefault":
        node.op = "Identity"
        kind = node.attr["dtype"].type
        node.attr.clear()
        node.attr["T"].type = kind
        return
    kind, name = node.attr["dtype"].type, node.name.lower()
    if kind == DT_BOOL:
        value: bool | float = False
    elif kind == DT_FLOAT and any(part in name for part in KEPT):
        value = 1.0
    elif kind == DT_FLOAT and any(part in name for part in DROPPED):
        value = 0.0
    else:
        raise InputError(
            f"'{node.name[:60]}' is an input beside the picture, and what it is at inference is not known", where=where,
            hint="freeze the graph with it as a constant",
        )  # fmt: skip
    del node.input[:]
    node.op = "Const"
    node.attr.clear()
    node.attr["dtype"].type = kind
    tensor = node.attr["value"].tensor
    tensor.dtype = kind
    (tensor.bool_val if kind == DT_BOOL else tensor.float_val).append(value)


def _take_branches(graph_def: Any, where: object) -> None:
    """Removes Switch and Merge: a Switch passes its data on to the side that its condition says, a Merge takes the side
    that arrives."""
    by_name = {node.name: node for node in graph_def.node}
    dead: dict[str, bool] = {}

    def gone(text: str) -> bool:
        """Whether nothing arrives over an input `name:port` or `^name`."""
        name, _, port = text.removeprefix("^").partition(":")
        node = by_name[name]
        if node.op == "Switch" and not text.startswith("^"):
            return _is_dead(node) or int(port or 0) != int(_truth(by_name, node.input[1], where))
        return _is_dead(node)

    def _is_dead(node: Any) -> bool:
        return dead[node.name]

    for node in _in_order(graph_def, by_name, where):
        data = [text for text in node.input if not text.startswith("^")]
        arrives = [not gone(text) for text in node.input]
        dead[node.name] = not any(not gone(t) for t in data) if node.op == "Merge" else not all(arrives)
    for node in list(graph_def.node):
        if node.op == "Merge" and not dead[node.name]:
            kept = next(text for text in node.input if not text.startswith("^") and not gone(text))
            _identity(node, kept)
    for node in list(graph_def.node):
        if dead[node.name]:
            graph_def.node.remove(node)
        elif node.op == "Switch":
            _identity(node, node.input[0])
    switched = {node.name for node in graph_def.node if by_name[node.name].op == "Identity"}
    for node in graph_def.node:
        inputs = [text for text in node.input if not text.startswith("^")]  # what only waits for a side waits no more
        del node.input[:]
        node.input.extend(text.split(":")[0] if text.split(":")[0] in switched else text for text in inputs)


def _identity(node: Any, source: str) -> None:
    kind = node.attr["T"].type
    node.op = "Identity"
    node.attr.clear()
    node.attr["T"].type = kind
    del node.input[:]
    node.input.append(source)


def _truth(by_name: dict[str, Any], text: str, where: object) -> bool:
    """The value of a condition, which must be made of constants alone."""
    node = by_name[text.split(":")[0]]
    if node.op in ("Identity", "Switch"):
        return _truth(by_name, node.input[0], where)
    if node.op == "LogicalNot":
        return not _truth(by_name, node.input[0], where)
    if node.op in ("LogicalAnd", "LogicalOr"):
        sides = [_truth(by_name, text, where) for text in node.input[:2]]
        return all(sides) if node.op == "LogicalAnd" else any(sides)
    tensor = node.attr["value"].tensor
    if node.op != "Const" or tensor.dtype != DT_BOOL:
        raise InputError(
            f"a branch depends on '{node.name[:60]}' ({node.op}), which is no constant", where=where,
            hint="freeze the graph for inference, without tf.cond on the picture",
        )  # fmt: skip
    return bool(tensor.bool_val[0]) if tensor.bool_val else any(tensor.tensor_content)


def _in_order(graph_def: Any, by_name: dict[str, Any], where: object) -> list[Any]:
    """The nodes, each behind what it reads."""
    read = {node.name: {text.removeprefix("^").split(":")[0] for text in node.input} for node in graph_def.node}
    try:
        return [by_name[name] for name in TopologicalSorter(read).static_order()]
    except (CycleError, KeyError) as error:
        raise InputError("the graph runs in a circle, or reads what it lacks", where=where) from error
