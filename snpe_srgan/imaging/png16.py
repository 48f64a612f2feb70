"""Writing 16-bit PNG files, which Pillow cannot (PNG specification, ISO/IEC 15948, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA
_ROWS = 64  # rows filtered at a time: bounds the memory of a huge picture


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def filter_rows(rows: np.ndarray, above: np.ndarray, pixel: int) -> np.ndarray:
    """Filters raw bytes `(n, bytes)`, `above` being the row before the first: `(n, 1 + bytes)` uint8.

    Of the five filters (none, left, up, average, Paeth) each row gets the one with the smallest sum of absolute
    differences, the specification's own advice (12.7). `pixel` is the number of bytes in a pixel.
    """
    up = np.concatenate([above[None], rows[:-1]]).astype(np.int16)
    left, corner = np.zeros_like(up), np.zeros_like(up)
    left[:, pixel:], corner[:, pixel:] = rows[:, :-pixel], up[:, :-pixel]
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
    guesses = (np.zeros_like(up), left, up, (left + up) // 2, paeth)
    candidates = np.stack([(rows - guess).astype(np.uint8) for guess in guesses], axis=1)
    sizes = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = sizes.argmin(axis=1)
    return np.concatenate([best[:, None].astype(np.uint8), candidates[np.arange(len(rows)), best]], axis=1)


def encode(planes: np.ndarray, *, icc_profile: bytes | None = None, level: int = 3) -> Iterator[bytes]:
    """The bytes of a PNG file with the pixels `planes`, uint16 `(h, w, 1..4)`, piece by piece."""
    height, width, channels = planes.shape
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0))
    if icc_profile:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
    packer = zlib.compressobj(level)
    above = np.zeros(width * channels * 2, np.uint8)
    for start in range(0, height, _ROWS):
        block = np.ascontiguousarray(planes[start : start + _ROWS], dtype=">u2")
        rows = block.view(np.uint8).reshape(len(block), -1)
        data = packer.compress(filter_rows(rows, above, 2 * channels).tobytes())
        above = rows[-1]
        if data:
            yield _chunk(b"IDAT", data)
    yield _chunk(b"IDAT", packer.flush())
    yield _chunk(b"IEND", b"")
