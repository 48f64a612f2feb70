"""Reading PBM, PGM and PPM (P1 to P6), of 1 to 16 bits: https://netpbm.sourceforge.net/doc/"""

from __future__ import annotations

import re

import numpy as np

from snpe_srgan.imaging.decoded import Accept, Damaged, Decoded, Layout

_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d{1,9})")
_COMMENT = re.compile(rb"#[^\r\n]*")


def read_netpbm(data: bytes, accept: Accept) -> Decoded:
    """Decodes the first picture of the file; values are stretched so that the header's maximum is white."""
    kind = data[1] - ord("0")
    position, numbers = 2, []
    for _ in range(2 if kind in (1, 4) else 3):
        token = _TOKEN.match(data, position)
        if token is None:
            raise Damaged("its header is no Netpbm header")
        numbers.append(int(token[1]))
        position = token.end()
    width, height, *rest = numbers
    white = rest[0] if rest else 1
    if not width or not height or not 1 <= white <= 65535:
        raise Damaged(f"its header says {width}x{height} with a maximum of {white}")
    channels = 3 if kind in (3, 6) else 1
    accept(Layout(width, height, channels, 16 if white > 255 else 8))
    count = width * height * channels
    if kind <= 3:
        values, more = _plain(data, position, count, bits=kind == 1)
    else:
        values, more = _raw(data, position + 1, (height, width, channels), white, bits=kind == 4)
    values = values.reshape(height, width, channels)
    if values.max() > white:
        raise Damaged(f"it has values over its maximum, {white}")
    if kind in (1, 4):
        values = 1 - values  # 1 is black in these
    full = 65535 if white > 255 else 255
    table = ((np.arange(white + 1, dtype=np.uint64) * full * 2 + white) // (2 * white)).astype(
        np.uint16 if white > 255 else np.uint8
    )
    remarks = ("a second picture in the file is not read, only the first",) if more else ()
    return Decoded(values.astype(table.dtype) if white == full else table[values], remarks=remarks)


def _plain(data: bytes, position: int, count: int, *, bits: bool) -> tuple[np.ndarray, bool]:
    """Numbers in ASCII; a bitmap's may stand without spaces."""
    if len(data) - position < count:
        raise Damaged("it ends before its pixels do")
    text = _COMMENT.sub(b"", data[position:])
    if bits:
        text = bytes(text).translate(None, b" \t\r\n\v\f")
        values = np.frombuffer(text[:count], np.uint8) - np.uint8(ord("0"))
        more = len(text) > count
    else:
        words = text.split(None, count)
        more = len(words) > count
        try:
            values = np.array(words[:count], dtype=np.bytes_).astype(np.int64)
        except (ValueError, OverflowError) as error:
            raise Damaged("its pixels are not numbers") from error
    if len(values) < count or (values < 0).any() or (values > 65535).any():
        raise Damaged("it ends before its pixels do" if len(values) < count else "its pixels are out of range")
    return values.astype(np.uint16), more


def _raw(data: bytes, position: int, shape: tuple[int, int, int], white: int, *, bits: bool) -> tuple[np.ndarray, bool]:
    height, width, channels = shape
    wide = 2 if white > 255 else 1
    row = (width + 7) // 8 if bits else width * channels * wide
    if len(data) - position < row * height:
        raise Damaged("it ends before its pixels do")
    raw = np.frombuffer(data, np.uint8, row * height, position)
    more = len(data) - position - row * height > 2
    if bits:
        return np.unpackbits(raw.reshape(height, row), axis=1)[:, :width], more
    return raw.view(">u2") if wide == 2 else raw, more
