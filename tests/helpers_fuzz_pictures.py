"""Damaged pictures: one kind of `helpers_fuzz.Kind` for each kind of picture file.

Most injuries go where a decoder believes what it reads: the header, and a PNG's chunks under right checksums.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from helpers_fuzz import Kind, injure_bytes

_HEADER = 600  # bytes: where most formats say how large they are and what they hold


def _pixels(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    smooth = np.add.outer(np.arange(24) * 5, np.arange(31) * 3)[..., None] * np.arange(1, channels + 1)
    return (smooth % 256).astype(np.uint8) if dtype is np.uint8 else (smooth * 97 % 65536).astype(dtype)


def _by_pillow(format: str, mode: str = "RGB", **options) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_pixels()).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def _animated(format: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    frames = [Image.fromarray(np.roll(_pixels(), n * 5, 1)) for n in range(3)]
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def make_png(folder: Path) -> list[bytes]:
    from snpe_srgan.imaging import png
    from snpe_srgan.imaging.metadata import Metadata

    said = Metadata(icc_profile=bytes(200), colour=((b"gAMA", bytes(4)),), exif=_exif(), resolution=(300, 300))
    deep = b"".join(png.encode(_pixels(4, np.uint16), metadata=said))
    palette = _by_pillow("PNG", "P", transparency=bytes(range(200)))
    return [_by_pillow("PNG"), deep, palette, _by_pillow("PNG", "1", transparency=1), _animated("PNG")]


def make_tiff(folder: Path) -> list[bytes]:
    import tifffile

    def made(pixels: np.ndarray, **options) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        return buffer.getvalue()

    planes = np.moveaxis(_pixels(3, np.uint16), -1, 0)
    return [
        made(_pixels(), photometric="rgb", compression="lzw", predictor=True, rowsperstrip=7),
        made(planes, photometric="rgb", planarconfig="separate", tile=(16, 16), compression="zlib"),
        made(_pixels(4), photometric="rgb", extrasamples=["assocalpha"], byteorder=">"),
        made(_pixels(4), photometric="separated", compression="packbits"),
        made(_pixels(3, np.float32) / 65535, photometric="rgb", bigtiff=True),
        made(_pixels(), photometric="rgb", compression="jpeg", tile=(16, 16)),
        made(_pixels(1, np.uint16)[..., 0], photometric="miniswhite", compression="zstd"),
        _by_pillow("TIFF", "1", compression="group4"),
        _by_pillow("TIFF", "P", compression="tiff_lzw"),
        _by_pillow("TIFF", "YCbCr"),
    ]


def make_jpeg(folder: Path) -> list[bytes]:
    exif = b"Exif\0\0" + _exif()
    return [
        _by_pillow("JPEG", exif=exif, icc_profile=bytes(300), comment=b"hello"), _by_pillow("JPEG", "CMYK"),
        _by_pillow("JPEG", progressive=True), _by_pillow("JPEG", "L"), _jpeg_12(), _animated("MPO"),
    ]  # fmt: skip


def _jpeg_12() -> bytes:
    import imagecodecs

    return imagecodecs.jpeg8_encode(_pixels(1, np.uint16)[..., 0] >> 4, bitspersample=12)


def make_webp(folder: Path) -> list[bytes]:
    lossless = _by_pillow("WEBP", "RGBA", lossless=True, exif=b"Exif\0\0" + _exif(), icc_profile=bytes(100))
    return [lossless, _by_pillow("WEBP", quality=80), _animated("WEBP")]


def make_bmp(folder: Path) -> list[bytes]:
    return [_by_pillow("BMP"), _by_pillow("BMP", "P"), _by_pillow("BMP", "1"), _by_pillow("BMP", "RGBA")]


def make_gif(folder: Path) -> list[bytes]:
    return [_by_pillow("GIF"), _by_pillow("GIF", "L"), _animated("GIF")]


def make_netpbm(folder: Path) -> list[bytes]:
    text = b"P2 31 24 999\n" + b" ".join(b"%d" % v for v in _pixels(1).ravel())
    deep = b"P6 31 24 65535\n" + _pixels(3, np.uint16).astype(">u2").tobytes()
    return [_by_pillow("PPM"), _by_pillow("PPM", "1"), text, deep]


def make_avif(folder: Path) -> list[bytes]:
    import imagecodecs

    return [_by_pillow("AVIF"), imagecodecs.avif_encode(_pixels(3, np.uint16) >> 6, bitspersample=10)]


def make_others(folder: Path) -> list[bytes]:
    return [_by_pillow("TGA"), _by_pillow("TGA", "P", compression="tga_rle"), _by_pillow("ICO"), _by_pillow("JPEG2000")]


def _exif() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A], exif[0x0128] = 6, "Camera", 300.0, 2
    exif.get_ifd(0x8769)[0xA002] = 31
    return exif.tobytes().removeprefix(b"Exif\0\0")


def injure_picture(data: bytes, rng: np.random.Generator) -> bytes:
    """A third anywhere, else in the first bytes."""
    if rng.integers(0, 3) == 0:
        return injure_bytes(data, rng)
    return injure_bytes(data[:_HEADER], rng) + data[_HEADER:]


def injure_png(data: bytes, rng: np.random.Generator) -> bytes:
    """In half of the copies what is in a chunk, under a right checksum and length."""
    if rng.integers(0, 2):
        return injure_picture(data, rng)
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    for _ in range(rng.integers(1, 3)):
        chosen = chunks[rng.integers(0, len(chunks))]
        if chosen[0] == b"IDAT" and rng.integers(0, 2):
            try:
                chosen[1] = zlib.compress(injure_bytes(zlib.decompress(chosen[1]), rng))
                continue
            except zlib.error:
                pass
        chosen[1] = injure_bytes(chosen[1], rng)
    out = bytearray(data[:8])
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return bytes(out)


def read_picture(path: Path) -> None:
    """Reads it, and does what an enlargement does with what it says besides."""
    from snpe_srgan.imaging.pictures import check_output
    from snpe_srgan.imaging.pictures import read_picture as read

    picture = read(path)
    picture.metadata.of_size(1000, 1000)
    for remark in picture.remarks:
        assert remark.isprintable(), remark
    check_output("a.png", picture, scale=4)


def _kind(name: str, make: Callable[[Path], list[bytes]], injure=injure_picture) -> Kind:
    return Kind(name, f".{name}", make, injure, read_picture)


PICTURES = (
    _kind("png", make_png, injure_png),
    _kind("tiff", make_tiff),
    _kind("jpeg", make_jpeg),
    _kind("webp", make_webp),
    _kind("bmp", make_bmp),
    _kind("gif", make_gif),
    _kind("netpbm", make_netpbm),
    _kind("avif", make_avif),
    _kind("tga_ico_jp2", make_others),
)
