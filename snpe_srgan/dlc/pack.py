"""Writes the records of a .dlc the way Qualcomm's tools do, so that their loaders take the file.

    write_bytes(path, pack({"model": ..., "htp.cache.sm8650.0": ...}))

Their ZIP is a peculiar one: stored entries with 64-bit sizes, CRC 0, and an extra field that says how the record is
aligned: sizes, 8 + 4 zero bytes, the number of bytes of padding (32 bits), the alignment (64 bits), the padding.
Records that a chip's runtime maps into memory (`htp.*`) begin at a multiple of 4096. Read off files that
onnxruntime-qnn 2.7 writes, whose loader refuses plainer ones. See `container.py` for the format's source.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from snpe_srgan.dlc.container import CENTRAL, END, END64, END64_PLACE, FILLED_IN_64, LOCAL

VERSION = 45  # of the ZIP format: the first with 64-bit sizes
PAGE, WORD = 4096, 8
LOCAL_EXTRA = struct.Struct("<2H3Q2IQ")
CENTRAL_EXTRA = struct.Struct("<2H5Q")


def pack(records: Mapping[str, bytes | memoryview]) -> bytes:
    """The file's bytes; records stand in the order given, their directory in that of their names."""
    body, entries, wide = bytearray(), {}, FILLED_IN_64
    for name, content in records.items():
        encoded, place, size = name.encode(), len(body), len(content)
        align = PAGE if name.startswith("htp.") else WORD
        padding = -(place + LOCAL.size + len(encoded) + LOCAL_EXTRA.size) % align
        body += LOCAL.pack(b"PK\x03\x04", VERSION, 0, 0, 0, 0, 0, wide, wide, len(encoded), LOCAL_EXTRA.size + padding)
        body += encoded + LOCAL_EXTRA.pack(1, LOCAL_EXTRA.size - 4 + padding, size, size, 0, 0, padding, align)
        body += bytes(padding) + content
        extra = CENTRAL_EXTRA.pack(1, CENTRAL_EXTRA.size - 4, size, size, place, 0, 0)
        head = (VERSION, VERSION, 0, 0, 0, 0, 0, wide, wide, len(encoded), len(extra), 0, 0, 0, 0, wide)
        entries[name] = CENTRAL.pack(b"PK\x01\x02", *head) + encoded + extra
    directory = b"".join(entries[name] for name in sorted(entries))
    at, count = len(body), len(records)
    end64 = END64.pack(b"PK\x06\x06", END64.size - 12, VERSION, VERSION, 0, 0, count, count, len(directory), at)
    locator = END64_PLACE.pack(b"PK\x06\x07", 0, at + len(directory), 1)
    return (
        bytes(body) + directory + end64 + locator + END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), wide, 0)
    )
