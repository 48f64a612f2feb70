"""Damaged .dlc files: what any file from a stranger may look like. Used by the tests and by `scripts/fuzz`."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path

import numpy as np

TINY = Path(__file__).parent / "data" / "tiny_w8a8.dlc"  # write_dlc of quantize(mobile((6, 8), blocks=0, width=4))
EDGES = (0, 1, 2, 3, 4, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four random injuries: bits, edge numbers, lost or repeated bytes, the end cut off.

    Each record is hit as often as each other, however large: most bytes of a file are weights, where nothing can break.
    """
    damaged = bytearray(data)
    directory = max(data.find(b"PK\x01\x02"), 0)
    records = [0, *(m.start() for m in re.finditer(b"PK\x03\x04", data[:directory])), directory, len(data)]
    for _ in range(rng.integers(1, 5)):
        record = rng.integers(0, len(records) - 1)
        at = int(rng.integers(records[record], records[record + 1] + 1))
        if at >= len(damaged):
            continue
        kind = rng.integers(0, 7) if rng.integers(0, 50) else 7
        if kind <= 1:
            damaged[at] ^= 1 << int(rng.integers(0, 8))
        elif kind <= 4:
            number = EDGES[rng.integers(0, len(EDGES))] if kind < 4 else len(data) + int(rng.integers(-64, 64))
            at -= at % 4
            damaged[at : at + 4] = struct.pack("<I", number % 2**32)
        elif kind == 5:
            del damaged[at : at + int(rng.integers(1, 400))]
        elif kind == 7:
            del damaged[at:]
        else:
            damaged[at:at] = damaged[at : at + int(rng.integers(1, 400))]
    return bytes(damaged)


def damaged_copies(path: Path, count: int, seed: int):
    """Writes one damaged copy after the other beside a file, and gives its path each time."""
    data, rng, target = path.read_bytes(), np.random.default_rng(seed), path.with_name("damaged.dlc")
    for _ in range(count):
        target.write_bytes(mutate(data, rng))
        yield target


def repack(path: Path, target: Path, change: dict[str, bytes | None]) -> Path:
    """The same archive with some records replaced, or left out (None)."""
    from snpe_srgan.dlc.container import Container

    container = Container(path)
    records = {name: bytes(container.read(name)) for name in container.names} | change
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in records.items():
            if content is not None:
                archive.writestr(name, content)
    return target


def read_all(path: Path) -> None:
    """Everything the program does with a stranger's file before it runs it."""
    from snpe_srgan.dlc.compare import compare
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild

    dlc = read(path)
    compare(dlc, dlc)
    rebuild(dlc)
