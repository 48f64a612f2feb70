"""A stranger's graph file, read, and brought into our form before anything else sees it.

    model, found = read_graph("theirs.onnx", said=Said())

What runs a stranger's graph to find out what it takes is a child process (`confined/`), which answers with what it
found; it is asked once for each state of a file.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.confined.process import Child, megabytes_for
from snpe_srgan.confined.worker import inside
from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.boundary import (
    LARGE,
    OURS,
    OURS_SAID,
    SIDE,
    Boundary,
    Found,
    Said,
    is_ours,
    looks_like_ours,
    probe_picture,
    size_of,
)
from snpe_srgan.onnx_graphs.compiled import is_compiled
from snpe_srgan.onnx_graphs.finding import find_boundary
from snpe_srgan.onnx_graphs.graph import copied, dims_of, ends, inputs_of, refuse_blind
from snpe_srgan.onnx_graphs.model import MAX_BYTES, checked, onnx_facts, survived
from snpe_srgan.onnx_graphs.our_form import check_in_our_form, in_our_form
from snpe_srgan.opener import read_regular

if TYPE_CHECKING:
    import onnx

SAME, NEARLY = 55.0, 35.0  # dB between the rewritten graph and the network: float32 alone, and with 16 or 8 bits
SECONDS = 120.0  # of work for the probe
_known: dict[tuple[bytes, Said], dict[str, Any] | None] = {}  # SHA-256 and what was said -> what a child found out


def read_graph(path: str | os.PathLike, *, said: Said) -> tuple[onnx.ModelProto, Found | None]:
    """The graph in an `.onnx` or a `.dlc` of anyone, in our form, and what was found out about its ends.

    Args:
        said: what is known of the ends, by the user or a card: taken as it is.

    Raises:
        InputError: no whole graph, or its ends are no pictures.
    """
    path = Path(path)
    if path.suffix.lower() == ".dlc":
        known = said == OURS_SAID
        found = find_out(_rebuilt(path), where=path, said=said) if inside() or known else _asked(path, None, said)
        model = _rebuilt(path)
        if found is None or found.boundary == OURS:
            return model, found
        return in_our_form(model, found.boundary), found
    return graph_of(read_regular(path, limit=MAX_BYTES, doing="read the model"), where=path, said=said)


def graph_of(data: bytes, *, where: Path, said: Said) -> tuple[onnx.ModelProto, Found | None]:
    """As `read_graph`, of the bytes of an ONNX model: a file's, or what was made of the file `where`.

    Args:
        data: the bytes of an ONNX model.
        where: the file; its size bounds what the child may take of memory.
        said: what is known of the ends, taken as it is.

    Returns:
        The graph in our form, and what was found out; None where the graph says that it is in our form.

    Raises:
        InputError: no whole ONNX model, its ends are no pictures, or it ends the child that tries it.
    """
    found = None if inside() else _asked(where, data, said)
    model = of_one_layout(checked(data, where=where))
    found = find_out(model, where=where, said=said) if inside() else found
    if found is None or found.boundary == OURS:
        return model, found
    return in_our_form(model, found.boundary), found


def of_one_layout(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph whose result is NHWC where it takes NCHW, or the other way round (tf2onnx' `inputs_as_nchw` makes such),
    gives its result in the layout that it takes; any other as it is."""
    from onnx import helper

    if len(model.graph.output) != 1 or len(inputs_of(model.graph)) != 1:
        return model  # whoever asks for the ends says so
    sides = [dims_of(inputs_of(model.graph)[0]), dims_of(model.graph.output[0])]
    if any(len(dims) != 4 for dims in sides):
        return model
    first, last = ([dims[axis] in (1, 3) for dims in sides] for axis in (1, 3))
    if first[0] == last[0] or first[1] == last[1] or first[0] == first[1]:
        return model
    copy = copied(model)
    (sr,) = copy.graph.output
    dims, inner = sides[1], f"{sr.name}/turned"
    perm = [0, 3, 1, 2] if first[0] else [0, 2, 3, 1]
    for node in copy.graph.node:
        for names in (node.input, node.output):
            names[:] = [inner if name == sr.name else name for name in names]
    copy.graph.node.append(helper.make_node("Transpose", [inner], [sr.name], name=sr.name, perm=perm))
    shape = [dims[axis] if dims[axis] is not None else f"side{axis}" for axis in perm]
    sr.type.CopyFrom(helper.make_tensor_type_proto(sr.type.tensor_type.elem_type, shape))
    return copy


def adapt(model: onnx.ModelProto, *, where: object, said: Said | None = None) -> tuple[onnx.ModelProto, Found | None]:
    """A graph that was read (and may be run in this process) in our form; None for one that says that it is.

    Args:
        where: the file, for errors.
        said: what is known of the ends; None for nothing.

    Raises:
        InputError: the graph cannot be run, its ends are no pictures, or the rewritten graph draws something else.
    """
    found = find_out(model, where=where, said=said or Said())
    if found is None or found.boundary == OURS:
        return model, found
    return in_our_form(model, found.boundary), found


def _rebuilt(path: Path) -> onnx.ModelProto:
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild

    return rebuild(read(path))


def _asked(path: Path, data: bytes | None, said: Said) -> Found | None:
    """What a child finds out of an `.onnx` file's bytes, or of a `.dlc`; the same bytes are not asked twice. The child
    gets the very bytes that this process goes on with."""
    sent = [] if data is None else [np.frombuffer(data, np.uint8)]
    key = hashlib.sha256(path.read_bytes() if data is None else data).digest(), said
    if key not in _known:
        with Child(where=path, megabytes=megabytes_for(path.stat().st_size)) as child:
            arguments = {"path": str(path.absolute()), "said": asdict(said)}
            function = f"{__name__}:find_out_here"
            told, _ = child.call(function, arguments, sent, doing="read the model", seconds=SECONDS)
        _known[key] = told["found"]
    if data is not None:
        survived(data)
    found = _known[key]
    return None if found is None else Found.of(found)


def find_out_here(
    state: dict, data: np.ndarray | None = None, *, path: str, said: dict[str, str | None]
) -> tuple[dict[str, Any], list]:
    """In the child: reads a file and finds out about its ends.

    Args:
        data: the bytes of an ONNX model, uint8; None to read the .dlc at `path`.
        path: the file, for errors as well.
        said: the fields of `Said`.

    Returns:
        `found`: the fields of `Found` as plain data, or None where the graph says that it is in our form.
    """
    model = _rebuilt(Path(path)) if data is None else of_one_layout(checked(data.tobytes(), where=path))
    found = find_out(model, where=path, said=Said(**said))
    return {"found": None if found is None else found.plain()}, []


def find_out(model: onnx.ModelProto, *, where: object, said: Said) -> Found | None:
    """The boundary of a graph that may be run in this process; None for one that says that it is in our form.

    The rewritten graph is run as well: it must draw what the network itself draws.

    Args:
        where: the file, for errors.
        said: what is known of the ends, taken as it is.

    Raises:
        InputError: the graph cannot be run, its ends are no pictures, or the rewritten graph is further from the
            network than `SAME` dB (`NEARLY` for one that is quantized or not of float32).
    """
    if is_compiled(model):
        return None
    refuse_blind(model, where=where)
    if is_ours(model) and said in (Said(), OURS_SAID):
        return None
    try:
        found = find_boundary(model, where=where, said=said)
    except InputError:
        raise
    except Exception as error:  # an operator that ONNX Runtime does not have: an engine says so in its own words
        if looks_like_ours(model) and not said:
            return Found(OURS, (f"ONNX Runtime does not run it: {str(error)[:100]}",), True)
        raise InputError(f"the graph cannot be run: {_first_lines(error)}", where=where) from error
    if found.boundary == OURS:
        return found
    ours = in_our_form(model, found.boundary)
    facts = onnx_facts(ours, where=where)
    if facts.input_size is None or facts.input_size[0] * facts.input_size[1] <= LARGE:
        _check(model, ours, found.boundary, where)
    return found


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:2]) or type(error).__name__
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", said)[:300]


def _check(model: onnx.ModelProto, ours: onnx.ModelProto, boundary: Boundary, where: object) -> None:
    from snpe_srgan.onnx_graphs.run import open_on_host

    picture = probe_picture(*(size_of(model, boundary.layout) or (SIDE, SIDE)))
    taken, _ = ends(model, where=where)
    raw = open_on_host(model.SerializeToString()).run(None, {taken.name: boundary.given(picture)})[0]
    exact = boundary.dtypes == ("float32", "float32") and not any(
        n.op_type == "QuantizeLinear" for n in model.graph.node
    )
    expected = np.asarray(boundary.drawn(np.asarray(raw), picture))
    check_in_our_form(ours, expected, picture, least=SAME if exact else NEARLY, where=where)
