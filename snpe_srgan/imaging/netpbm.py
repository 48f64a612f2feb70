"""Reading PBM, PGM and PPM (P1 to P6), of 1 to 16 bits: https://netpbm.sourceforge.net/doc/"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from snpe_srgan.imaging.decoded import Accept, Damaged, Decoded, promised

_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d{1,9})")
_COMMENT = re.compile(rb"#[^\r\n]*")
_SPACES = (b" ", b"\t", b"\r", b"\n", b"\v", b"\f")
_PIECE = 1 << 18  # bytes of text that are turned into numbers at once: a word takes thirty times its length meanwhile
_LONGEST = 18  # digits of a number, leading zeros among them


def read_netpbm(data: bytes, accept: Accept) -> Decoded:
    """Decodes the first picture of the file; values are stretched so that the header's maximum is white.

    Args:
        accept: told what the head promises before a pixel is read; it raises to stop.

    Raises:
        Damaged: no Netpbm header, or pixels that do not fit it.
    """
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
    deep = white > 255
    # What is unpacked or parsed, what is made of it, and the text once more where comments are taken out of it.
    unpacked = {1: 3, 4: 3, 2: 3 + deep, 3: 3 * (3 + deep)}.get(kind, channels * (1 + deep))
    beside = len(data) if kind <= 3 and b"#" in data else 0
    accept(promised(width, height, channels, 16 if deep else 8, a_pixel=unpacked, beside=beside))
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
    """Numbers in ASCII, a piece of the text at a time; a bitmap's may stand without spaces.

    Returns:
        `count` values, and whether more of them follow.
    """
    if len(data) - position < count:
        raise Damaged("it ends before its pixels do")
    if data.find(b"#", position) >= 0:
        data, position = _COMMENT.sub(b"", data[position:]), 0
    values = np.empty(count, np.uint8 if bits else np.uint16)
    filled = 0
    for piece in _pieces(data, position):
        numbers = _digits(piece) if bits else _numbers(piece)
        taken = numbers[: count - filled]
        values[filled : filled + len(taken)] = taken
        filled += len(taken)
        if len(numbers) > len(taken):
            return values, True
    if filled < count:
        raise Damaged("it ends before its pixels do")
    return values, False


def _pieces(data: bytes, position: int) -> Iterator[bytes]:
    """The text, cut between numbers."""
    while position < len(data):
        end = min(position + _PIECE, len(data))
        if end < len(data):
            end = max(data.rfind(space, position, end) for space in _SPACES) + 1
            if end <= position:  # a bitmap's digits, or no numbers at all
                end = position + _PIECE
        yield data[position:end]
        position = end


def _digits(piece: bytes) -> np.ndarray:
    values = np.frombuffer(piece.translate(None, b"".join(_SPACES)), np.uint8) - np.uint8(ord("0"))
    if (values > 9).any():
        raise Damaged("its pixels are not numbers")
    return values


def _numbers(piece: bytes) -> np.ndarray:
    words = piece.split()
    if any(len(word) > _LONGEST for word in words):
        raise Damaged("its pixels are not numbers")
    try:
        values = np.array(words, dtype=f"S{_LONGEST}").astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise Damaged("its pixels are not numbers") from error
    if (values < 0).any() or (values > 65535).any():
        raise Damaged("its pixels are out of range")
    return values


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
