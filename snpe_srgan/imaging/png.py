"""Writing PNG files of 8 and 16 bits (PNG specification, ISO/IEC 15948, third edition), on all processors.

Pillow writes no 16 bits, and its encoder is one thread's work: a third of the time that it takes to enlarge a photo.
Here bands of rows are filtered and deflated each by itself, flushed to whole bytes, and put one behind the other.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from snpe_srgan.imaging.metadata import Metadata
from snpe_srgan.machine import threads_that_fit

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA
_BAND = 1 << 20  # bytes of a band: each starts without a history, which at this length costs nothing
_THREADS = 8  # at most: each holds about eight bands
_ADLER = 65521


def encode(
    planes: np.ndarray, *, alpha: np.ndarray | None = None, metadata: Metadata | None = None, level: int = 1
) -> Iterator[bytes]:
    """The bytes of a PNG file, piece by piece.

    Args:
        planes: uint8 / uint16 `(h, w, 1..4)`.
        alpha: `(h, w)` of the same dtype, a further channel of 1 or 3 planes; woven in band by band.
        metadata: what the file says besides (`colour`, profile, EXIF, resolution).
        level: zlib's; 6 takes four times as long as 1, to make the file an eighth smaller.
    """
    height, width, channels = planes.shape
    channels += alpha is not None
    pixel = channels * planes.itemsize
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * planes.itemsize, _COLOUR_TYPE[channels], 0, 0, 0))
    yield from _describe(metadata or Metadata())
    step = max(1, _BAND // (1 + width * pixel))

    def pack(start: int) -> tuple[bytes, int, int]:
        part = slice(max(0, start - 1), start + step)
        band = planes[part] if alpha is None else np.concatenate([planes[part], alpha[part, :, None]], axis=2)
        band = _bytes(band)
        above, rows = (band[0], band[1:]) if start else (np.zeros_like(band[0]), band)
        data = filter_rows(rows, above, pixel)
        packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(data.data) + packer.flush(zlib.Z_FULL_FLUSH), zlib.adler32(data.data), data.size

    yield _chunk(b"IDAT", b"\x78\x5e")
    checksum = 1
    threads = threads_that_fit(min(_THREADS, os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) if threads else contextlib.nullcontext() as pool:  # zlib and numpy let others run
        for first in range(0, height, 4 * max(1, threads) * step):  # a few bands ahead of what is written, not all
            starts = range(first, min(height, first + 4 * max(1, threads) * step), step)
            for packed, adler, size in pool.map(pack, starts) if pool else map(pack, starts):
                checksum = _join_adler(checksum, adler, size)
                yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", checksum))  # an empty last block ends the stream
    yield _chunk(b"IEND", b"")


def _describe(metadata: Metadata) -> Iterator[bytes]:
    """The chunks before the pixels."""
    for kind, data in metadata.colour:
        if not (kind == b"sRGB" and metadata.icc_profile):  # a file must not hold both
            yield _chunk(kind, data)
    if metadata.icc_profile:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc_profile))
    if metadata.resolution:
        across, down = (min(0x7FFFFFFF, max(1, round(value / 0.0254))) for value in metadata.resolution)
        yield _chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    if metadata.exif:
        yield _chunk(b"eXIf", metadata.exif)


def filter_rows(rows: np.ndarray, above: np.ndarray, pixel: int) -> np.ndarray:
    """Filters raw bytes `(n, bytes)`, `above` being the row before the first: `(n, 1 + bytes)` uint8.

    Each row gets the filter with the smallest sum of absolute differences, the specification's own advice (12.7), of
    none, left, up and average; Paeth's costs more than it saves on enlarged pictures. `pixel` is a pixel's bytes.

    Args:
        rows: uint8, 16-bit samples with the high byte first.
        above: uint8 (bytes,), zeros for a picture's first row.
        pixel: 1 to 8.

    Returns:
        Each row behind the number of its filter, ready to be deflated.
    """
    up = np.concatenate([above[None], rows[:-1]])
    left = np.zeros_like(rows)
    left[:, pixel:] = rows[:, :-pixel]
    average = (left & up) + ((left ^ up) >> 1)  # in 8 bits, without the carry
    candidates = [rows, rows - left, rows - up, rows - average]
    sampled = [c[:, ::5] for c in candidates]  # every fifth byte tells as much, and meets every channel
    sizes = [np.minimum(c, -c).sum(axis=1, dtype=np.uint32) for c in sampled]  # |c| as a signed byte
    best = np.argmin(sizes, axis=0)
    filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = best
    for kind, candidate in enumerate(candidates):
        filtered[best == kind, 1:] = candidate[best == kind]
    return filtered


def _bytes(rows: np.ndarray) -> np.ndarray:
    """Rows of pixels as rows of bytes, the high byte of 16 bits first."""
    ordered = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder(">"))
    return ordered.view(np.uint8).reshape(len(rows), -1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _join_adler(first: int, second: int, size: int) -> int:
    """Adler-32 (RFC 1950) of two runs of bytes behind each other, the second `size` bytes long, from that of each."""
    a1, b1, a2, b2 = first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16
    low, high = (a1 + a2 - 1) % _ADLER, (b1 + b2 + size * (a1 - 1)) % _ADLER
    return high << 16 | low
