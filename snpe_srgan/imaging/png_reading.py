"""Reading PNG files of every depth (PNG specification, third edition).

The chunks are separated here; only those that make the pixels (IHDR, PLTE, tRNS, IDAT, IEND) reach the decoder
(libpng, by imagecodecs), so no size of metadata can stop a picture, and every other chunk is kept, known to be
harmless, or remarked.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from snpe_srgan.imaging.decoded import Accept, Damaged, Decoded, Layout, Refused, listed, promised
from snpe_srgan.imaging.metadata import Metadata, read_exif

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
# sBIT: how many bits meant something before; an enlargement's all do. bKGD: a viewer's colour behind the picture.
_HARMLESS = (b"sBIT", b"bKGD", b"hIST", b"sPLT", b"tIME")
_ELSEWHERE = (b"iCCP", b"eXIf", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"fdAT")  # `_metadata` sees them
_KNOWN = (*_PIXELS, *_COLOUR, *_HARMLESS, *_ELSEWHERE)
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MOST_PACKED = 1032  # DEFLATE makes at most so many bytes of one
MAX_PROFILE = 64 << 20


def read_png(data: bytes, accept: Accept) -> Decoded:
    """Decodes a PNG; raises `Damaged` or what the decoder raises for a broken one."""
    import imagecodecs

    kept: list[bytes | memoryview] = [_SIGNATURE]
    seen: dict[bytes, list[bytes]] = {}
    layout, raw, packed = None, 0, 0
    for kind, body, whole in _chunks(data):
        if not seen and kind == b"CgBI":
            raise Refused("a PNG as Apple's tools pack it into apps, which is not read", hint="undo it with pngcrush")
        if not seen and kind != b"IHDR":
            raise Damaged("its first part is not a header")
        if kind not in seen or kind in (b"IDAT", b"tEXt", b"zTXt", b"iTXt"):
            if kind == b"IHDR" and len(body) != 13:
                raise Damaged("its header has a wrong length")
            if kind == b"IDAT" and kind not in seen:
                layout, raw = _layout(seen, len(data))
                accept(layout)
            seen.setdefault(kind, []).append(b"" if kind == b"IDAT" else bytes(body))
            if kind in _PIXELS and _belongs(kind, body, seen):
                kept.append(_in_range(bytes(whole), seen) if kind == b"tRNS" else whole)
                packed += len(body)
    if layout is None:
        raise Damaged("it has no pixels")
    if raw > packed * _MOST_PACKED + 4096:
        raise Damaged(f"{packed} bytes cannot hold its {layout.width}x{layout.height} pixels")
    planes = imagecodecs.png_decode(b"".join(kept))
    planes = planes[..., None] if planes.ndim == 2 else planes
    if planes.shape[:2] != (layout.height, layout.width) or planes.dtype not in (np.uint8, np.uint16):
        raise Damaged("its pixels do not fit its header")
    metadata, orientation, lost = _metadata(seen)
    return Decoded(planes, metadata, orientation, lost)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes | memoryview, memoryview]]:
    """(kind, body, the chunk's bytes) of every whole chunk up to IEND. A bad checksum is the decoder's to find."""
    position = len(_SIGNATURE)
    view = memoryview(data)  # the packed pixels are not copied here
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if end > len(data):
            raise Damaged("it ends in the middle")
        kind = data[position + 4 : position + 8]
        body = view[position + 8 : end - 4]
        yield kind, body if kind == b"IDAT" else bytes(body), view[position:end]
        if kind == b"IEND":
            return
        position = end
    raise Damaged("it ends in the middle")


def _belongs(kind: bytes, body: bytes | memoryview, seen: dict[bytes, list[bytes]]) -> bool:
    """Whether a chunk has a say in the pixels: in RGB a palette is a suggestion, and has none.

    A broken one is an error here: libpng drops it with a warning of its own, and with it the transparency.
    """
    depth, colour = seen[b"IHDR"][0][8:10]
    if kind == b"PLTE" and colour == 3 and (len(body) % 3 or not 3 <= len(body) <= 3 << depth):
        raise Damaged("its palette has a wrong length")
    if kind == b"tRNS":
        most = {0: 2, 2: 6, 3: len(seen.get(b"PLTE", [b""])[0]) // 3}.get(colour, 0)
        if len(body) > most or (len(body) < most and colour != 3) or not body or b"IDAT" in seen:
            raise Damaged("its transparency has a wrong length or place")
    return kind != b"PLTE" or colour == 3


def _in_range(transparency: bytes, seen: dict[bytes, list[bytes]]) -> bytes:
    """The chunk tRNS with the low bits of its key, of which alone the specification speaks."""
    depth, colour = seen[b"IHDR"][0][8:10]
    if colour == 3 or depth == 16:
        return transparency
    numbers = np.frombuffer(transparency[8:-4], ">u2") & ((1 << depth) - 1)
    body = b"tRNS" + numbers.astype(">u2").tobytes()
    return transparency[:4] + body + struct.pack(">I", zlib.crc32(body))


def _layout(seen: dict[bytes, list[bytes]], size: int) -> tuple[Layout, int]:
    """The header's promise, and how many bytes the pixels take unpacked; `size` is the file's: its packed pixels are
    copied once."""
    width, height, depth, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", seen[b"IHDR"][0])
    if depth not in _DEPTHS.get(colour, ()) or not width or not height or packing or filtering or interlaced > 1:
        raise Damaged(f"its header says {width}x{height}, colour type {colour} of {depth} bits")
    channels = _CHANNELS[colour] + (b"tRNS" in seen and colour in (0, 2, 3))
    stored = (1 if colour == 3 else _CHANNELS[colour]) * depth
    deep = 16 if depth == 16 else 8
    layout = promised(width, height, channels, deep, a_pixel=0, beside=size)
    return layout, height * ((width * stored + 7) // 8)


def _metadata(seen: dict[bytes, list[bytes]]) -> tuple[Metadata, int, tuple[str, ...]]:
    remarks, lost = [], []
    if b"acTL" in seen:
        remarks.append("an animation: its first picture is enlarged")
    profile = _profile(seen[b"iCCP"][0]) if b"iCCP" in seen else None
    if b"iCCP" in seen and profile is None:
        lost.append("a damaged colour profile")
    exif, orientation, _ = read_exif(seen.get(b"eXIf", [None])[0])
    if b"eXIf" in seen and exif is None:
        lost.append("damaged EXIF")
    resolution = None
    if len(physical := seen.get(b"pHYs", [b""])[0]) == 9:
        across, down, unit = struct.unpack(">IIB", physical)
        if unit == 1 and across and down:
            resolution = (across * 0.0254, down * 0.0254)
        elif across != down:
            lost.append("the shape of its pixels")
    texts = [t.partition(b"\0")[0].decode("latin-1") for k in (b"tEXt", b"zTXt", b"iTXt") for t in seen.get(k, [])]
    lost += ["XMP" if t == "XML:com.adobe.xmp" else f"text '{_printable(t)}'" for t in texts]
    lost += [f"chunk {_printable(kind.decode('latin-1'))}" for kind in seen if kind not in _KNOWN]
    if lost:
        remarks.append(f"not kept: {listed(lost)}")
    colour = tuple((kind, seen[kind][0]) for kind in seen if kind in _COLOUR)
    return Metadata(profile, colour, exif, resolution), orientation, tuple(remarks)


def _profile(body: bytes) -> bytes | None:
    packed = body.partition(b"\0")[2][1:]
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof and profile else None


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:40])
