"""Reading the kinds whose decoder is Pillow's: JPEG, WebP, BMP, GIF, TGA, AVIF, JPEG 2000, ICO.

Pillow's mode does not always say what the file holds. What it hides is read from the file itself before: a JPEG's
precision and colour convention, an AVIF's and a JPEG 2000's depth and colours.
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.imaging.decoded import (
    Accept,
    Damaged,
    Decoded,
    Layout,
    Refused,
    cmyk_to_rgb,
    listed,
    stretched,
    without_alpha_multiplied,
)
from snpe_srgan.imaging.kinds import AVIF, BMP, GIF, ICO, JP2, JPEG, Kind
from snpe_srgan.imaging.metadata import Metadata, read_exif

if TYPE_CHECKING:
    from PIL.Image import Image

_PILLOW_LIMIT = threading.Lock()


def read_common(data: bytes, kind: Kind, accept: Accept) -> Decoded:
    """Decodes by Pillow; raises `Refused`, `Damaged` or what the decoder raises for a broken file."""
    remarks: list[str] = []
    lost: list[str] = []
    if kind is JPEG:
        precision, adobe, lost = _jpeg(data)
        if precision == 12:
            return _jpeg_12(data, accept, lost)
    bits, colour = _avif(data) if kind is AVIF else (8, ())
    if kind is JP2:
        _refuse_deep_jp2(data)
    with _open(data, kind) as image:
        see_through = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        grey = image.mode in ("1", "L", "LA", "La")
        accept(Layout(*image.size, (1 if grey else 3) + see_through, 16 if bits > 8 else 8))
        if getattr(image, "is_animated", False) and image.format != "MPO":
            remarks.append("an animation: its first picture is enlarged")
        image.load()
        metadata, orientation, more = _metadata(image, kind, colour)
        lost += more
        if kind is ICO and len(sizes := image.info.get("sizes", ())) > 1:
            remarks.append(f"the largest of its {len(sizes)} pictures is enlarged")
        if image.mode == "CMYK":
            ink = np.asarray(image)  # Pillow takes every JPEG's ink for Adobe's, which is stored upside down
            planes = cmyk_to_rgb(ink if kind is not JPEG or adobe else 255 - ink, metadata.icc_profile)
            metadata = Metadata(exif=metadata.exif, resolution=metadata.resolution)
        elif bits > 8:
            planes = _avif_deep(data, bits, image.size)
        else:
            planes = _planes(image, grey=grey, see_through=see_through)
    if lost:
        remarks.append(f"not kept: {listed(lost)}")
    return Decoded(planes, metadata, orientation, tuple(remarks))


def _open(data: bytes, kind: Kind) -> Image:
    from PIL import Image

    formats = ["BMP", "DIB"] if kind is BMP else [str(kind.pillow)]
    with _PILLOW_LIMIT:  # our own limit is checked on the header, before a pixel is decoded
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _planes(image: Image, *, grey: bool, see_through: bool) -> np.ndarray:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise Refused(f"a {image.format} of more than 8 bits a channel, which is not read")
    if image.mode in ("La", "RGBa"):
        return without_alpha_multiplied(np.asarray(image))
    pixels = np.asarray(image.convert(("LA" if grey else "RGBA") if see_through else ("L" if grey else "RGB")))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _metadata(image: Image, kind: Kind, colour: tuple) -> tuple[Metadata, int, list[str]]:
    info, lost = image.info, []
    block = info.get("exif")
    exif, orientation, resolution = read_exif(block)
    if block and exif is None:
        lost.append("damaged EXIF")
    if kind is AVIF:  # its plugin puts the container's turn into this tag
        orientation = image.getexif().get(0x0112, 1)
    if kind is JPEG and info.get("jfif_unit") in (1, 2):
        across, down = (value * (1.0, 2.54)[info["jfif_unit"] - 1] for value in info["jfif_density"])
        resolution = (across, down) if across and down else None
    elif kind is BMP and "dpi" in info and min(info["dpi"]) > 0:
        resolution = tuple(info["dpi"])
    if kind is not JPEG and info.get("xmp"):
        lost.append("XMP")
    if kind is GIF and info.get("comment"):
        lost.append("a comment")
    profile = info.get("icc_profile") or None
    return Metadata(profile, colour, exif, resolution), orientation, lost


# ---- JPEG -------------------------------------------------------------------------------------------------------


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of the segments up to the first scan."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        yield marker, data[position + 4 : position + 2 + length]
        if marker == 0xDA or length < 2:
            return
        position += 2 + length


def _jpeg(data: bytes) -> tuple[int, bool, list[str]]:
    """(bits, whether Adobe wrote it, what is in it that is not kept)."""
    precision, adobe, lost = 8, False, []
    for marker, body in _jpeg_segments(data):
        if marker in (0xC3, 0xC7, 0xCB, 0xCF):
            raise Refused("a lossless JPEG, which is not read")
        if marker in (0xC5, 0xC6, 0xCD, 0xCE):
            raise Refused("a hierarchical JPEG, which is not read")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and body:
            precision = body[0]
            height, width = struct.unpack_from(">HH", body.ljust(5, b"\0"), 1)
            if marker in (0xC0, 0xC1, 0xC2) and (height // 8) * (width // 8) > 8 * len(data):
                raise Damaged(f"{len(data)} bytes cannot hold its {width}x{height} pixels")  # a bit for each 8x8
        if marker == 0xEE and body.startswith(b"Adobe"):
            adobe = True
        elif marker == 0xFE:
            lost.append("a comment")
        elif 0xE0 <= marker <= 0xEF and not body.startswith((b"JFIF\0", b"Exif\0", b"ICC_PROFILE\0")):
            known = {b"http": "XMP", b"Phot": "Photoshop's data", b"MPF\0": "further pictures", b"JFXX": "a thumbnail"}
            lost.append(known.get(body[:4], f"segment APP{marker - 0xE0}"))
    if precision not in (8, 12):
        raise Refused(f"a JPEG of {precision} bits a channel, which is not read")
    return precision, adobe, lost


def _jpeg_12(data: bytes, accept: Accept, lost: list[str]) -> Decoded:
    """A JPEG of 12 bits, which Pillow does not read."""
    import imagecodecs

    height = width = components = 0
    exif = None
    for marker, body in _jpeg_segments(data):
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) and len(body) > 5:
            height, width, components = struct.unpack_from(">HHB", body, 1)
        if marker == 0xE1 and body.startswith(b"Exif\0"):
            exif = body[6:]
        if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            lost.append("the colour profile")
    if components not in (1, 3) or not height or not width:
        raise Refused(f"a JPEG of 12 bits with {components} channels, which is not read")
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise Damaged("it ends in the middle")
    accept(Layout(width, height, components, 16))
    values = imagecodecs.jpeg8_decode(data)
    if values.dtype != np.uint16 or values.shape[:2] != (height, width):
        raise Damaged("its pixels do not fit its header")
    kept, orientation, resolution = read_exif(exif)
    planes = stretched(values if values.ndim == 3 else values[..., None], 12)
    remarks = (f"not kept: {listed(lost)}",) if lost else ()
    return Decoded(planes, Metadata(exif=kept, resolution=resolution), orientation, remarks)


# ---- AVIF and JPEG 2000 -----------------------------------------------------------------------------------------


def _avif(data: bytes) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    """(bits, the colours as a PNG's cICP chunk) from the container's boxes."""
    head = data[: 1 << 16]
    bits = 8
    colour: tuple[tuple[bytes, bytes], ...] = ()
    at = head.find(b"av1C")
    if at >= 0 and at + 7 <= len(head) and head[at + 6] & 0x40:
        bits = 12 if head[at + 6] & 0x20 else 10
    at = head.find(b"colrnclx")
    if at >= 0 and at + 15 <= len(head):
        primaries, transfer = struct.unpack_from(">HH", head, at + 8)
        # 2: not said. 1 (BT.709) and 6 are what pictures on the web call sRGB's curve; 13 is sRGB.
        if not (primaries in (1, 2) and transfer in (1, 2, 6, 13)) and max(primaries, transfer) < 256:
            colour = ((b"cICP", bytes([primaries, transfer, 0, 1])),)
    return bits, colour


def _avif_deep(data: bytes, bits: int, size: tuple[int, int]) -> np.ndarray:
    """10 and 12 bits, which Pillow cuts to 8."""
    import imagecodecs

    values = imagecodecs.avif_decode(data, index=0)
    values = values[..., None] if values.ndim == 2 else values
    if values.dtype != np.uint16 or values.shape[1::-1] != size or values.max() >= 1 << bits:
        raise Damaged("its pixels do not fit its header")
    return stretched(values, bits)


def _refuse_deep_jp2(data: bytes) -> None:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 44 > len(data):
        raise Damaged("its codestream is missing")
    (channels,) = struct.unpack_from(">H", data, at + 40)
    depths = data[at + 42 : at + 42 + 3 * channels : 3]
    if any(depth != 7 for depth in depths):
        raise Refused("a JPEG 2000 of other than 8 bits a channel, which is not read")
    if channels > 4 or (b"colr\1\0\0\0\0\0\x0c" in data[:at]):
        raise Refused("a JPEG 2000 of other colours than grey and RGB, which is not read")
