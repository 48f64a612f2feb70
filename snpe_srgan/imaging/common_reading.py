"""Reading the kinds whose decoder is Pillow's: JPEG, WebP, BMP, GIF, TGA, AVIF, JPEG 2000, ICO.

Pillow's mode does not always say what the file holds. What it hides is read from the file itself before: a JPEG's
precision and colour convention, an AVIF's and a JPEG 2000's depth and colours.
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.imaging.decoded import (
    Accept,
    Damaged,
    Decoded,
    Refused,
    cmyk_to_rgb,
    listed,
    promised,
    stretched,
    without_alpha_multiplied,
)
from snpe_srgan.imaging.kinds import AVIF, BMP, GIF, ICO, JP2, JPEG, WEBP, Kind
from snpe_srgan.imaging.metadata import Metadata, read_exif
from snpe_srgan.imaging.pillow_planes import planes_of, stored_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

_PILLOW_LIMIT = threading.Lock()


@dataclass(frozen=True)
class _Way:
    """How the pixels are decoded: what of a pixel's bytes it takes at its peak, and beside; None: Pillow does it."""

    a_pixel: float
    beside: int = 0
    decode: Callable[[bytes], np.ndarray] | None = None


def read_common(data: bytes, kind: Kind, accept: Accept) -> Decoded:
    """Decodes by Pillow or imagecodecs; raises `Refused`, `Damaged` or what the decoder raises for a broken file.

    Args:
        data: the whole file.
        kind: one of those named above.
        accept: told what the head promises before a pixel is decoded; it raises to stop.

    Returns:
        The pixels as stored: not yet turned upright.

    Raises:
        Refused: a depth or colours that are not read.
        Damaged: the pixels do not fit the header.
    """
    remarks: list[str] = []
    lost: list[str] = []
    coefficients, adobe = 0.0, False
    if kind is JPEG:
        seen = _jpeg(data)
        lost, adobe, coefficients = seen.lost, seen.adobe, seen.coefficients
        if seen.precision == 12:
            return _jpeg_12(data, accept, lost)
    bits, colour = _avif(data) if kind is AVIF else (8, ())
    if kind is JP2:
        _refuse_deep_jp2(data)
    with _open(data, kind) as image:
        see_through = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        grey = image.mode in ("1", "L", "LA", "La")
        channels = (1 if grey else 3) + see_through
        animated = getattr(image, "is_animated", False) and image.format != "MPO"
        way = _way(data, kind, image, channels=channels, bits=bits, animated=animated, coefficients=coefficients)
        accept(promised(*image.size, channels, 16 if bits > 8 else 8, a_pixel=way.a_pixel, beside=way.beside))
        if animated:
            remarks.append("an animation: its first picture is enlarged")
        if way.decode is None:
            image.load()
        metadata, orientation, more = _metadata(image, kind, colour)
        lost += more
        if kind is ICO and len(sizes := image.info.get("sizes", ())) > 1:
            remarks.append(f"the largest of its {len(sizes)} pictures is enlarged")
        if way.decode is not None:
            planes = _by_imagecodecs(way.decode, data, bits=bits, size=image.size, channels=channels)
        elif image.mode == "CMYK":
            planes = _ink(image, metadata.icc_profile, inverted=kind is JPEG and not adobe)
            metadata = Metadata(exif=metadata.exif, resolution=metadata.resolution)
        else:
            planes = _planes(image, grey=grey, see_through=see_through)
    if lost:
        remarks.append(f"not kept: {listed(lost)}")
    return Decoded(planes, metadata, orientation, tuple(remarks))


def _way(
    data: bytes, kind: Kind, image: Image, *, channels: int, bits: int, animated: bool, coefficients: float
) -> _Way:
    """The decoder of this picture that takes least, and what it takes (`tests/test_picture_memory.py` measures it)."""
    import imagecodecs

    copied = stored_bytes(image.mode) + channels  # Pillow's image, and the pixels that are taken out of it
    if kind is WEBP and animated:
        return _Way(24.0, 2 * len(data))
    if kind is WEBP:
        lossless, see_through = b"VP8L" in data[:1024], channels == 4
        return _Way(9.0 if lossless else 7.0 if see_through else 3.5, 2 * len(data), imagecodecs.webp_decode)
    if kind is AVIF:
        samples = _avif_samples(data, alpha=channels in (2, 4))  # of the luma, chroma and alpha planes
        width = 2 if bits > 8 else 1
        return _Way(width * (samples + channels), len(data), lambda data: imagecodecs.avif_decode(data, index=0))
    if kind is JP2:
        return _Way(5.0 * channels + copied, len(data))
    if kind is JPEG:
        return _Way(max(copied, stored_bytes(image.mode) + coefficients))
    return _Way(copied)


def _by_imagecodecs(
    decode: Callable[[bytes], np.ndarray], data: bytes, *, bits: int, size: tuple[int, int], channels: int
) -> np.ndarray:
    """WebP and AVIF: Pillow takes three to seven times the memory, and cuts 10 and 12 bits to 8."""
    values = decode(data)
    values = values[..., None] if values.ndim == 2 else values
    dtype = np.uint16 if bits > 8 else np.uint8
    if values.dtype != dtype or values.shape != (size[1], size[0], channels) or values.max() >= 1 << bits:
        raise Damaged("its pixels do not fit its header")
    return stretched(values, bits)


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
        return planes_of(image, lambda strip: without_alpha_multiplied(np.asarray(strip)))
    mode = ("LA" if grey else "RGBA") if see_through else ("L" if grey else "RGB")
    return planes_of(image, lambda strip: np.asarray(strip.convert(mode)))


def _ink(image: Image, icc_profile: bytes | None, *, inverted: bool) -> np.ndarray:
    """CMYK as RGB; Pillow takes every JPEG's ink for Adobe's, which is stored upside down."""

    def convert(strip: Image) -> np.ndarray:
        ink = np.asarray(strip)
        return cmyk_to_rgb(255 - ink if inverted else ink, icc_profile)

    return planes_of(image, convert)


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


@dataclass(frozen=True)
class _Jpeg:
    """What a JPEG's segments say: bits a channel, whether Adobe wrote it, what is in it that is not kept, and the bytes
    a pixel of the coefficients that the decoder keeps where they come in more than one scan."""

    precision: int
    adobe: bool
    lost: list[str]
    coefficients: float


def _jpeg(data: bytes) -> _Jpeg:
    precision, adobe, lost, coefficients = 8, False, [], 0.0
    frame, kept = b"", False
    for marker, body in _jpeg_segments(data):
        if marker in (0xC3, 0xC7, 0xCB, 0xCF):
            raise Refused("a lossless JPEG, which is not read")
        if marker in (0xC5, 0xC6, 0xCD, 0xCE):
            raise Refused("a hierarchical JPEG, which is not read")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and body:
            precision, frame, kept = body[0], body, marker in (0xC2, 0xCA)
            height, width = struct.unpack_from(">HH", body.ljust(5, b"\0"), 1)
            if marker in (0xC0, 0xC1, 0xC2) and (height // 8) * (width // 8) > 8 * len(data):
                raise Damaged(f"{len(data)} bytes cannot hold its {width}x{height} pixels")  # a bit for each 8x8
        if marker == 0xDA and (kept or body[:1] != frame[5:6]):
            coefficients = _coefficients(frame)
        if marker == 0xEE and body.startswith(b"Adobe"):
            adobe = True
        elif marker == 0xFE:
            lost.append("a comment")
        elif 0xE0 <= marker <= 0xEF and not body.startswith((b"JFIF\0", b"Exif\0", b"ICC_PROFILE\0")):
            known = {b"http": "XMP", b"Phot": "Photoshop's data", b"MPF\0": "further pictures", b"JFXX": "a thumbnail"}
            lost.append(known.get(body[:4], f"segment APP{marker - 0xE0}"))
    if precision not in (8, 12):
        raise Refused(f"a JPEG of {precision} bits a channel, which is not read")
    return _Jpeg(precision, adobe, lost, coefficients)


def _coefficients(frame: bytes) -> float:
    """Bytes a pixel of all channels' coefficients, two each, from the frame's sampling factors."""
    areas = [(factors >> 4) * (factors & 15) for factors in frame[7::3]]
    most = max((factors >> 4) for factors in frame[7::3] or b"\x11") * max(
        (factors & 15) for factors in frame[7::3] or b"\x11"
    )
    return 2.0 * sum(areas) / max(most, 1)


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
    accept(promised(width, height, components, 16, a_pixel=4.0 * components))
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


def _avif_samples(data: bytes, *, alpha: bool) -> float:
    """Samples a pixel of the planes that the decoder keeps, by the container's description of the codec.

    A picture made of a grid of smaller ones is kept twice: in its parts, and put together.
    """
    head = data[: 1 << 16]
    at = head.find(b"av1C")
    flags = head[at + 6] if at >= 0 and at + 7 <= len(head) else 0
    monochrome, across, down = flags & 0x10, flags & 0x08, flags & 0x04
    samples = 1.0 if monochrome else 1 + 2 / ((2 if across else 1) * (2 if down else 1))
    return (samples + alpha) * (2 if b"grid" in head else 1)


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
