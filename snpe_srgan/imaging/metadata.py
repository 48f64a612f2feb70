"""What a picture file says besides its pixels, and how it survives an enlargement.

Kept: the ICC profile, PNG's colour chunks (gAMA, cHRM, sRGB, cICP and the two HDR ones), EXIF, and the resolution. The
resolution stays what it is, as in every picture editor: a print at 300 dpi becomes larger, not finer. What is not kept
becomes a remark.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

ORIENTATION, EXIF_POINTER, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_SHORT, _LONG = 3, 4
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}

_SRGB_GAMMA = struct.pack(">I", 45455)
_SRGB_CHROMATICITIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_SAYS_SRGB = {b"gAMA": (_SRGB_GAMMA,), b"cHRM": (_SRGB_CHROMATICITIES,), b"cICP": (bytes([1, 13, 0, 1]),)}


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file besides the pixels.

    Attributes:
        icc_profile: the embedded colour profile, or None for sRGB.
        colour: PNG's colour chunks, (name, data) in the file's order; an AVIF's colour description is a cICP here.
        exif: a TIFF-structured EXIF block that calls the picture upright, without a thumbnail.
        resolution: dots per inch, (horizontal, vertical).
    """

    icc_profile: bytes | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()
    exif: bytes | None = None
    resolution: tuple[float, float] | None = None

    @property
    def unusual_colour(self) -> tuple[str, ...]:
        """The colour chunks that say anything else than sRGB, by name: without them the picture looks different."""
        if self.icc_profile is not None and not any(name == b"cICP" for name, _ in self.colour):
            return ()  # the profile holds in their place
        names = [n.decode() for n, data in self.colour if n != b"sRGB" and data not in _SAYS_SRGB.get(n, ())]
        return tuple(names)

    def of_size(self, width: int, height: int) -> Metadata:
        """The same for a picture of another size: EXIF's own width and height follow."""
        return self if self.exif is None else replace(self, exif=_patched(self.exif, {_WIDTH: width, _HEIGHT: height}))


def read_exif(block: bytes | None) -> tuple[bytes | None, int, tuple[float, float] | None]:
    """An EXIF block as a file holds it: the block to keep, the orientation (1 to 8), and the resolution it states.

    The block to keep says 1 (upright), since the pixels are turned, and its thumbnail is left out. A block that cannot
    be understood gives (None, 1, None).
    """
    if not block:
        return None, 1, None
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return None, 1, None
    try:
        entries = dict(_entries(block, order, struct.unpack_from(order + "I", block, 4)[0]))
    except (struct.error, ValueError):
        return None, 1, None
    orientation = _number(block, order, entries.get(ORIENTATION)) or 1
    orientation = orientation if 1 <= orientation <= 8 else 1
    unit = {2: 1.0, 3: 2.54}.get(_number(block, order, entries.get(0x0128)) or 2)
    across, down = (_ratio(block, order, entries.get(tag)) for tag in (0x011A, 0x011B))
    resolution = (across * unit, down * unit) if unit and across and down else None
    return _patched(block, {ORIENTATION: 1}, drop_thumbnail=True), orientation, resolution


def _entries(block: bytes, order: str, offset: int):
    """(tag, position of its 12 bytes) of one directory; `struct.error` or `ValueError` where it is damaged."""
    (count,) = struct.unpack_from(order + "H", block, offset)
    if offset + 2 + 12 * count > len(block):
        raise ValueError("a directory that ends behind the block")
    for index in range(count):
        position = offset + 2 + 12 * index
        yield struct.unpack_from(order + "H", block, position)[0], position


def _number(block: bytes, order: str, position: int | None) -> int | None:
    if position is None:
        return None
    kind, count = struct.unpack_from(order + "HI", block, position + 2)
    if count != 1 or kind not in (_SHORT, _LONG):
        return None
    return struct.unpack_from(order + ("H" if kind == _SHORT else "I"), block, position + 8)[0]


def _ratio(block: bytes, order: str, position: int | None) -> float | None:
    if position is None:
        return None
    kind, count, offset = struct.unpack_from(order + "HII", block, position + 2)
    if kind != 5 or count != 1 or offset + 8 > len(block):
        return None
    above, below = struct.unpack_from(order + "II", block, offset)
    return above / below if above and below else None


def _patched(block: bytes, values: dict[int, int], *, drop_thumbnail: bool = False) -> bytes:
    """The block with these whole numbers in place of those it holds; tags that it lacks stay away.

    Patched where they stand: a camera's own notes contain positions in the block, so nothing may move.
    """
    order = "<" if block[:2] == b"II" else ">"
    out = bytearray(block)
    try:
        first = struct.unpack_from(order + "I", block, 4)[0]
        directory = dict(_entries(block, order, first))
        pointer = _number(block, order, directory.get(EXIF_POINTER))
        inner = {} if pointer is None else dict(_entries(block, order, pointer))
    except (struct.error, ValueError):
        return block
    for tag, value in values.items():
        position = directory.get(tag) or inner.get(tag)
        if position is not None and _number(block, order, position) is not None:
            struct.pack_into(order + "HII", out, position + 2, _LONG, 1, value)
            if value < 65536:
                struct.pack_into(order + "HIHH", out, position + 2, _SHORT, 1, value, 0)
    if drop_thumbnail and first + 6 + 12 * len(directory) <= len(out):
        count = struct.unpack_from(order + "H", block, first)[0]
        end = first + 2 + 12 * count
        if end + 4 <= len(out):
            struct.pack_into(order + "I", out, end, 0)
    return bytes(out)
