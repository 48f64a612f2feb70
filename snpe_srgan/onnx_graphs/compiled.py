"""Ready-compiled ONNX files: one EPContext node whose attribute is NPU code for one or several chips.

    if is_compiled(model): facts = compiled_facts(model, where=path)

ONNX knows nothing of what such a node does. How far the network sees and what it is are therefore written into the
file's metadata when it is made (`describe`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.graph import attributes_of, dims_of
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.tflite.context import DOMAIN, OPERATOR, CodeFacts, facts

if TYPE_CHECKING:
    import onnx

WHOLE_KEY = "reads_whole_picture"
SEVERAL = re.compile(rb"htp\.cache\.(\w+)\.\d+")


def _node(model: onnx.ModelProto):
    return next((n for n in model.graph.node if n.op_type == OPERATOR and n.domain == DOMAIN), None)


def is_compiled(model: onnx.ModelProto) -> bool:
    """Whether a model's graph is NPU code."""
    return _node(model) is not None


def _attributes(model: onnx.ModelProto) -> dict:
    node = _node(model)
    return {} if node is None else attributes_of(node)


def refuse_outside(model: onnx.ModelProto, *, where: object) -> None:
    """Raises `InputError` for code that lies in another file, which is not read."""
    if is_compiled(model) and _attributes(model).get("embed_mode", 1) != 1:
        raise InputError("its NPU code lies in another file, which is not read", where=where, hint="embed_mode 1")


def code_of(model: onnx.ModelProto) -> bytes:
    """The compiled code: a QNN context binary, or a .dlc with a cache for each of several chips."""
    return bytes(_attributes(model).get("ep_cache_context", b""))


def code_facts(model: onnx.ModelProto) -> CodeFacts:
    """QAIRT release, chip and Hexagon of the code; see `chips_of` for a file for several."""
    return facts(code_of(model))


def chips_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the chips, e.g. ("SM8650",)."""
    code = code_of(model)
    several = sorted({m.decode().upper() for m in SEVERAL.findall(code)})
    if several:
        return tuple(several)
    chip = facts(code).chip
    return () if chip is None else (chip,)


def compiled_facts(model: onnx.ModelProto, *, lr, sr, where: object) -> Facts:
    """Scale, size and reach of a compiled file, as its ends and its metadata say them.

    Args:
        lr, sr: the model's input and output (`model.ports`).

    Raises:
        InputError: a size is free, or it does not enlarge RGB by a whole number from 1 to 16.
    """
    sizes = [[length or 0 for length in dims_of(value)] for value in (lr, sr)]
    if any(len(size) != 4 or min(size) < 1 for size in sizes):
        raise InputError("the compiled model's sizes are not fixed", where=where)
    (_, height, width, _), (_, high, wide, channels) = sizes
    scale = high // height
    if (high, wide, channels) != (height * scale, width * scale, 3) or not 1 <= scale <= 16:
        raise InputError(f"not a super-resolution model: {height}x{width} in, {high}x{wide} out", where=where)
    known = {item.key: item.value for item in model.metadata_props}
    radius = known.get("receptive_radius", "")
    overlap = int(radius) if radius.isdecimal() else None
    because = None if overlap is not None else OPERATOR
    memory = 4 * 3 * 3 * scale**2
    return Facts(lr.name, sr.name, scale, (height, width), overlap, memory, because, known.get(WHOLE_KEY) or None)


def describe(model: onnx.ModelProto, values: Mapping[str, str]) -> None:
    """Writes what `compiled_facts` reads into the metadata, in place; keys that are there are replaced."""
    kept = [item for item in model.metadata_props if item.key not in values]
    items = [(item.key, item.value) for item in kept] + sorted(values.items())
    del model.metadata_props[:]
    for key, value in items:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
