"""Adds ready-compiled graphs for named chips to a .dlc, as the SDK's `snpe-dlc-graph-prepare` does.

    caches = add_caches("generator.onnx", "generator.dlc", [socs.find("8 Gen 2"), socs.find("8 Elite")])

Without one, a phone compiles the graph when it loads it, which takes seconds. The compiler is the wheel's, and each
cache is given its chip's whole VTCM. The wheel's loader finds the caches, but the emulator cannot run a chip's own:
what is in them is not checked by running it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.files import write_bytes
from snpe_srgan.dlc.container import Container
from snpe_srgan.dlc.pack import pack
from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.toolchains.qnn import PREPARE_TIMEOUT
from snpe_srgan.toolchains.qnn_process import Worker
from snpe_srgan.toolchains.qnn_wheel import require
from snpe_srgan.toolchains.socs import Soc


@dataclass(frozen=True)
class Cache:
    """One compiled graph: `vtcm_mb` is the fast memory it uses, `spill_bytes` what it keeps outside of it."""

    chip: str
    bytes: int
    vtcm_mb: int
    spill_bytes: int


def add_caches(
    onnx_path: str | Path, dlc_path: str | Path, chips: Sequence[Soc], *, name: object = None,
    timeout: float = PREPARE_TIMEOUT,
) -> tuple[Cache, ...]:  # fmt: skip
    """Compiles the model that `dlc_path` was written from, and replaces the .dlc by one that holds the caches too.

    `name`: what errors call the model; its path by default.

    Args:
        onnx_path: the model, float or QDQ, of fixed shape.
        dlc_path: replaced whole or not at all; its other records are kept.
        chips: duplicates count once.
        timeout: seconds that compiling for all chips together may take.

    Returns:
        One `Cache` a chip, in the order of `chips`.

    Raises:
        MissingToolError: onnxruntime-qnn is not installed.
        InputError: an operator that the converter does not have, or a .dlc that cannot be read.
        SnpeSrganError: the compiler failed, made no cache for a chip, or the graph needs more VTCM than the chip has.
    """
    require()
    chips = list({chip.id: chip for chip in chips}.values())
    told = chips if len(chips) > 1 else chips * 2  # for one chip alone the wheel writes a bare cache, not a .dlc
    with Worker(subject=name or onnx_path, timeout=timeout) as worker:
        target = worker.folder / "caches.onnx"
        options = {
            "soc_model": ",".join(str(chip.id) for chip in told),
            "htp_arch": ",".join(str(chip.hexagon) for chip in told),
            "vtcm_mb": ",".join(str(chip.vtcm_mb) for chip in told),
            "ep.context_enable": "1",
            "ep.context_file_path": str(target),
            "ep.context_embed_mode": "0",
        }
        worker.open(onnx_path, options)
        container = Container(target.with_name("caches_qnn.bin"))
        made = {name: bytes(container.read(name)) for name in container.names}
    name, metadata = _metadata(made, dlc_path)
    for entry in metadata["cacheList"][:]:
        if not entry["cacheName"].endswith(".0"):  # the second of one chip
            metadata["cacheList"].remove(entry)
            del made[entry["cacheName"]]
    relations = metadata.get("relations", [])
    metadata["relations"] = [r for r in relations if r.get("parentRecordName") in made]
    made[name] = json.dumps(metadata, indent=4).encode()
    caches = tuple(_cache(chip, metadata["cacheList"], made, dlc_path) for chip in chips)
    old = Container(dlc_path)
    records = {name: old.read(name) for name in old.names}
    write_bytes(dlc_path, pack({**records, **made}), overwrite=True)
    return caches


def _metadata(records: dict[str, bytes], where: object) -> tuple[str, dict]:
    for name, content in records.items():
        if name.startswith("dlc.metadata") and b'"cacheList"' in content:
            return name, json.loads(content)
    raise SnpeSrganError("the compiler wrote no list of caches", where=where)


def _cache(chip: Soc, listed: list[dict], records: dict[str, bytes], where: object) -> Cache:
    entry = next((e for e in listed if e.get("socModel") == chip.id and e["cacheName"] in records), None)
    if entry is None:
        raise SnpeSrganError(f"the compiler wrote no cache for {chip}", where=where)
    blobs = [graph.get("graphBlobInfo", {}).get("info", graph.get("graphBlobInfo", {})) for graph in entry["graphs"]]
    vtcm = max((int(blob.get("vtcmSize", 0)) for blob in blobs), default=0)
    if vtcm > chip.vtcm_mb:
        raise SnpeSrganError(f"the graph needs {vtcm} MB of VTCM, {chip} has {chip.vtcm_mb} MB", where=where)
    spill = sum(int(blob.get("spillFillBufferSize", 0)) for blob in blobs)
    return Cache(chip.name, len(records[entry["cacheName"]]), vtcm, spill)
