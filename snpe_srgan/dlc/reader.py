"""Reads a .dlc file into plain dataclasses: what it computes, with which weights, in which encodings.

    dlc = read("generator_w8a8.dlc")
    for node in dlc.graphs[0].nodes: print(node.type, node.inputs, node.outputs)

Both generations come out alike: format 3 (SNPE 1.x, `reader_v3.py`) and format 4 (SNPE 2, QAIRT, onnxruntime-qnn,
`reader_v4.py`). A file from a stranger can fail with InputError, and in no other way.
"""

from __future__ import annotations

import json
from pathlib import Path

from snpe_srgan.dlc import reader_v3, reader_v4
from snpe_srgan.dlc.container import Container
from snpe_srgan.dlc.flatbuffer import Buffer
from snpe_srgan.dlc.model import Dlc, Graph
from snpe_srgan.errors import InputError

MAX_METADATA = 1 << 22  # bytes of one record, of which more is not read
MAX_METADATA_RECORDS = 16
MAGIC = b"\xd5\x0a"  # then the format's major and minor number, 16 bits each, and two zero bytes
BARE = {b"NETD", b"NETP"}  # flatbuffers without that head: the oldest files


def read(path: str | Path) -> Dlc:
    """Reads a .dlc file; InputError says why a file cannot be read."""
    container = Container(path)
    try:
        version, graphs = _graphs(container)
    except (ValueError, OverflowError, MemoryError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"the .dlc is damaged: {error}", where=path) from error
    return Dlc(
        path=Path(path),
        version=version,
        bytes=container.total,
        records={name: container.size(name) for name in container.names},
        metadata=_metadata(container),
        graphs=graphs,
    )


def _graphs(container: Container) -> tuple[int, tuple[Graph, ...]]:
    if "model" not in container.names:
        caches = [name for name in container.names if name.startswith("htp.cache.")]
        if caches:
            raise InputError("the .dlc holds ready-compiled caches only, no network", where=container.path)
        raise InputError(
            "not a .dlc file: the mandatory record 'model' is missing (a conversion that failed, or another archive)",
            where=container.path,
        )
    version, model = _record(container, "model")
    parameters = _record(container, "model.params")[1] if "model.params" in container.names else None
    if version == 3:
        return 3, (reader_v3.graph(model, parameters, where=container.path),)
    return 4, reader_v4.graphs(model, parameters, container)


def _record(container: Container, name: str) -> tuple[int, Buffer]:
    """(format, flatbuffer) of a record, with its head checked."""
    data = container.read(name)
    head = bytes(data[:8])
    if head[4:] in BARE:
        return 3, Buffer(data, where=container.path)
    if head[:2] == MAGIC and head[2:4] == b"\x02\x00":
        raise InputError(
            "the .dlc is of format 2, which nobody has documented",
            where=container.path,
            hint="convert the network again with SNPE 1.25 or later, or with 'snpe-srgan convert'",
        )
    if head[:2] != MAGIC or head[2:4] not in (b"\x03\x00", b"\x04\x00"):
        raise InputError(
            f"unknown .dlc format (record '{name}' begins with {head[:4].hex() or 'nothing'})", where=container.path
        )
    return head[2], Buffer(data[8:], where=container.path)


def _metadata(container: Container) -> dict[str, object]:
    """The converter's own words: JSON (late format 4) or key=value lines; unreadable metadata is no reason to fail."""
    found: dict[str, object] = {}
    names = [name for name in container.names if name.startswith("dlc.metadata")]
    for name in names[:MAX_METADATA_RECORDS]:
        try:
            text = bytes(container.read(name, MAX_METADATA)).decode("utf-8", "replace")
            found[name] = json.loads(text)
        except InputError:
            continue
        except (ValueError, RecursionError):
            found[name] = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return found
