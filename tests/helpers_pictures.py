"""Picture files written by their specifications, byte by byte: a reader is not held to its own library's writer."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_CODES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "Q": 16}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of `(h, n)` numbers of `bits` bits, most significant bit first, each row filled up to whole bytes."""
    spread = (values[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1, dtype=np.uint32)) & 1
    return np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def png(
    planes: np.ndarray, *, bits: int, colour: int, before: bytes = b"", after: bytes = b"", adam7: bool = False
) -> bytes:
    """A PNG without filters of `(h, w, channels)` numbers; `before` and `after` are chunks around the pixels."""
    height, width, _ = planes.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [planes[y::dy, x::dx] for y, x, dy, dx in passes] if adam7 else [planes]
    rows = b"".join(
        b"\0" + packed(row[None], bits) for part in parts if part.size for row in part.reshape(len(part), -1)
    )
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, adam7))
    body = header + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Tiff:
    """A TIFF of any tags: `tags` maps a code to (type, values); strips go where they are told."""

    def __init__(self, order: str = "<", *, big: bool = False):
        self.order, self.big = order, big
        self.pages: list[tuple[dict[int, tuple[str, list]], list[bytes]]] = []

    def page(self, tags: dict[int, tuple[str, list]], strips: list[bytes]) -> Tiff:
        self.pages.append((tags, strips))
        return self

    def bytes(self) -> bytes:
        order, wide = self.order, "Q" if self.big else "I"
        out = bytearray(b"II" if order == "<" else b"MM")
        out += struct.pack(order + "HHHQ", 43, 8, 0, 0) if self.big else struct.pack(order + "HI", 42, 0)
        pointer = len(out) - (8 if self.big else 4)
        for tags, strips in self.pages:
            places = []
            for strip in strips:
                places.append(len(out))
                out += strip + b"\0" * (len(strip) % 2)
            entries = {**tags, 273: (wide, places), 279: (wide, [len(s) for s in strips])}
            stored = [(code, kind, *self._value(kind, values)) for code, (kind, values) in sorted(entries.items())]
            inline = 8 if self.big else 4
            for index, (code, kind, count, data) in enumerate(stored):
                if len(data) > inline:
                    place = struct.pack(order + wide, len(out))
                    out += data + b"\0" * (len(data) % 2)
                    stored[index] = (code, kind, count, place)
            struct.pack_into(order + wide, out, pointer, len(out))
            out += struct.pack(order + ("Q" if self.big else "H"), len(stored))
            for code, kind, count, data in stored:
                out += struct.pack(order + "HH" + wide, code, _CODES[kind], count) + data.ljust(inline, b"\0")
            pointer = len(out)
            out += struct.pack(order + wide, 0)
        return bytes(out)

    def _value(self, kind: str, values) -> tuple[int, bytes]:
        if kind == "s":
            return len(values), bytes(values)
        if kind == "R":
            return len(values), b"".join(struct.pack(self.order + "II", *value) for value in values)
        return len(values), b"".join(struct.pack(self.order + kind, value) for value in values)


def tiff_tags(planes: np.ndarray, *, bits: int, photometric: int, planar: bool = False, **more) -> dict:
    """The tags that every TIFF of `(h, w, channels)` numbers needs."""
    height, width, channels = planes.shape
    return {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels), 259: ("H", [1]),
        262: ("H", [photometric]), 277: ("H", [channels]), 278: ("I", [height]), 284: ("H", [2 if planar else 1]),
        **{int(code[1:]): value for code, value in more.items()},
    }  # fmt: skip


def tiff_strips(planes: np.ndarray, *, bits: int, order: str = "<", planar: bool = False) -> list[bytes]:
    """One strip, or one for each channel."""
    parts = [planes[..., [c]] for c in range(planes.shape[2])] if planar else [planes]
    if bits in (16, 32):
        return [part.astype(f"{order}u{bits // 8}").tobytes() for part in parts]
    return [packed(part.reshape(len(part), -1), bits) for part in parts]


def tiff(planes: np.ndarray, *, bits: int, photometric: int, order: str = "<", planar: bool = False, big=False, **more):
    """The bytes of a TIFF of one page; `t338=("H", [2])` adds tag 338."""
    tags = tiff_tags(planes, bits=bits, photometric=photometric, planar=planar, **more)
    return Tiff(order, big=big).page(tags, tiff_strips(planes, bits=bits, order=order, planar=planar)).bytes()


def wanted(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of `bits` bits as pixels of 8 or 16, in exact arithmetic: the nearest, halves up."""
    full = 255 if bits <= 8 else 65535
    white = 2**bits - 1
    exact = [(2 * int(v) * full + white) // (2 * white) for v in values.ravel()]
    return np.array(exact, np.uint8 if full == 255 else np.uint16).reshape(values.shape)


def cmyk_profile() -> bytes:
    """A small ICC profile of ink (version 2): a table of 2^4 nodes from CMYK to L*a*b*, in 8 bits."""
    nodes = bytearray()
    for node in range(16):
        c, m, y, k = ((node >> shift) & 1 for shift in (3, 2, 1, 0))
        lightness = 255 * (1 - k) * (1 - 0.3 * c) * (1 - 0.4 * m) * (1 - 0.1 * y)
        red, yellow = (1 - k) * (60 * m - 40 * c), (1 - k) * (70 * y - 40 * c)
        nodes += bytes([round(lightness), 128 + red, 128 + yellow])
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curve = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + curve * 4 + bytes(nodes) + curve * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    offset = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2) + struct.pack(">4sII", b"A2B0", offset, len(table))
    tags += struct.pack(">4sII", b"wtpt", offset + len(table), len(white))
    body = tags + table + white
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body
