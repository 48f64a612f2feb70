"""Writing a `Picture` in the format its name asks for.

| suffix | bits | alpha | ICC profile | gamma, cICP | EXIF | resolution | compression |
|---|---|---|---|---|---|---|---|
| `.png` | 8, 16 | kept | kept | kept | kept | kept | lossless |
| `.tif`, `.tiff` | 8, 16 | kept | kept | lost | lost | kept | lossless |
| `.webp` | 8 | kept | kept | lost | kept | in EXIF | lossless, or `quality` |
| `.jpg`, `.jpeg`, `.jfif`, `.jpe` | 8 | refused | kept | lost | kept | kept | `quality` (95), no chroma subsampling |
| `.bmp` | 8 | refused | lost | lost | lost | kept | none |

What is lost is a note of `check_output`. Transparency is never flattened behind the user's back: a picture with a
see-through pixel cannot be written as JPEG or BMP. Pictures go to the file strip by strip where the encoder allows it,
and no encoder writes to the file itself: of those that do, some pass over a disk that is full.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from snpe_srgan.artifacts.files import atomic_write
from snpe_srgan.errors import InputError, UsageError, did_you_mean
from snpe_srgan.imaging import png
from snpe_srgan.imaging.colour import full_range, to_uint8
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.opener import os_error

WRITABLE = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".bmp": "BMP",
}
_DEEP = ("PNG", "TIFF")
_OPAQUE = ("JPEG", "BMP")
_LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # JPEG's own limit is 65535, libjpeg's is this
_LARGEST_FILE = {"BMP": (1 << 31) - 1024}
_MOST_EXIF_IN_JPEG = 65533 - 6
_ICC_PART = 65533 - 14  # of a colour profile in one segment of a JPEG, of which there are at most 255
_USUAL_DPI = (72, 96)  # what programs write who know nothing: losing it loses nothing
_STRIP = 1 << 20  # bytes
_WEBP_A_PIXEL = 24  # bytes that libwebp takes while it works without loss


def output_format(path: str | Path) -> str:
    """The format that a file name asks for.

    Returns:
        Pillow's name of it, a value of `WRITABLE`.

    Raises:
        UsageError: no suffix, or one that is not written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise UsageError(
            f"cannot write pictures of kind '{suffix}'" if suffix else "the output name has no suffix",
            where=path,
            hint=did_you_mean(suffix, WRITABLE),
        )
    return WRITABLE[suffix]


def check_output(path: str | Path, picture: Picture, *, scale: int = 1) -> tuple[str, ...]:
    """Call before long work: what writing `picture`, enlarged `scale` times, to `path` loses; raises if it cannot.

    Args:
        picture: before it is enlarged.
        scale: by how much its sides grow.

    Returns:
        A line for each thing that is lost; () where nothing is.

    Raises:
        UsageError: no suffix, or one that is not written.
        InputError: a format without transparency, or without room for the picture.
    """
    kind = output_format(path)
    if kind in _OPAQUE and _see_through(picture):
        raise InputError(
            f"{kind} has no transparency, and this picture has", where=path, hint="write a .png, .webp or .tif instead"
        )
    largest = max(picture.height, picture.width) * scale
    if largest > _LARGEST_SIDE.get(kind, largest):
        raise InputError(
            f"{kind} holds at most {_LARGEST_SIDE[kind]} pixels a side, this picture would have {largest}",
            where=path,
            hint="write a .png or .tif instead",
        )
    size = picture.height * picture.width * scale**2 * 3
    if size > _LARGEST_FILE.get(kind, size):
        raise InputError(f"{kind} holds at most 2 GB, this picture needs {size / 1e9:.1f} GB", where=path,
                         hint="write a .png or .tif instead")  # fmt: skip
    notes = []
    if picture.bits == 16 and kind not in _DEEP:
        notes.append(f"{kind} has 8 bits a channel: the picture's 16 are rounded")
    return tuple(notes + _losses(kind, picture))


def _losses(kind: str, picture: Picture) -> list[str]:
    """What of the metadata a format cannot hold."""
    metadata, notes = picture.metadata, []
    if kind == "BMP" and metadata.icc_profile:
        notes.append("BMP holds no colour profile: the picture's own is lost")
    elif _grey_profile_without_grey(kind, picture):
        notes.append(f"{kind} holds no grey: the picture's profile, which is for grey, is lost")
    if kind != "PNG" and metadata.unusual_colour:
        notes.append(
            f"{kind} cannot say what {', '.join(metadata.unusual_colour)} said of the colours: they will look "
            "different; a .png keeps it"
        )
    profile_bytes = len(metadata.icc_profile or b"")
    if kind == "JPEG" and profile_bytes > 255 * _ICC_PART:
        notes.append(f"a colour profile of {profile_bytes} bytes is too long for a JPEG and lost")
    if metadata.exif and kind in ("TIFF", "BMP"):
        notes.append(f"camera data (EXIF) are not kept in a {kind}")
    if metadata.exif and kind == "JPEG" and len(metadata.exif) > _MOST_EXIF_IN_JPEG:
        notes.append(f"camera data (EXIF) of {len(metadata.exif)} bytes are too long for a JPEG and not kept")
    if kind == "WEBP" and metadata.resolution and not metadata.exif and round(metadata.resolution[0]) not in _USUAL_DPI:
        notes.append(f"WEBP holds no resolution: the picture's {metadata.resolution[0]:.0f} dpi are lost")
    return notes


def encoder_bytes(path: str | Path, *, pixels: int, channels: int) -> int:
    """Memory that writing a picture takes besides the picture: formats that are not written strip by strip copy it.

    Args:
        path: its suffix decides.
        pixels: of the picture that is written, in all.
        channels: 1 to 4.

    Returns:
        Bytes, an upper estimate.
    """
    kind = output_format(path)
    if kind in ("PNG", "TIFF", "BMP"):
        return 1 << 26
    if kind == "JPEG":
        return pixels * 2 * channels  # the strips joined, and a file of noise
    return pixels * (channels + 4 + _WEBP_A_PIXEL)


def write_picture(
    path: str | Path, picture: Picture, *, overwrite: bool = False, quality: int | None = None
) -> tuple[str, ...]:
    """Writes a picture, whole or not at all; returns what the format could not keep (`check_output`).

    Args:
        quality: 1 to 100 for JPEG (95 when None) and WebP (lossless when None).

    Raises:
        UsageError: a suffix that is not written, or a quality out of range.
        InputError: the format cannot hold the picture, the file is there and may not be replaced, the disk is full, or
            there is too little memory.
    """
    path = Path(path)
    notes = check_output(path, picture)
    kind = output_format(path)
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"the quality is a number from 1 to 100, not {quality}")
    with atomic_write(path, overwrite=overwrite) as temporary:
        try:
            with open(temporary, "wb") as file:
                _encode(file, kind, picture, quality)
        except OSError as error:
            if error.errno is not None:
                raise os_error(error, path, "write the picture") from error
            raise InputError(f"cannot encode the picture: {_reason(error)}", where=path) from error
        except (MemoryError, ValueError, RuntimeError, SystemError) as error:
            if isinstance(error, MemoryError) or str(error) in _WEBP_MEMORY:
                hint = None if kind == "PNG" else "write a .png: it needs least"
                raise InputError("not enough memory to encode the picture", where=path, hint=hint) from error
            raise InputError(f"cannot encode the picture: {_reason(error)}", where=path) from error
    return notes


_WEBP_MEMORY = ("encoding error 1", "encoding error 2")  # OUT_OF_MEMORY, BITSTREAM_OUT_OF_MEMORY (webp/encode.h)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__  # an exception's text may be empty


def _encode(file: BinaryIO, kind: str, picture: Picture, quality: int | None) -> None:
    if kind == "PNG":
        file.writelines(png.encode(_colours(picture), alpha=picture.alpha, metadata=picture.metadata))
    elif kind == "TIFF":
        _write_tiff(file, picture)
    elif kind == "BMP":
        _write_bmp(file, picture)
    elif kind == "JPEG":
        _write_jpeg(file, picture, quality)
    else:
        _write_webp(_OnlyWritable(file), picture, quality)


class _OnlyWritable:
    """A file without a descriptor: Pillow's encoders write past Python to one, and do not look at what came of it."""

    def __init__(self, file: BinaryIO):
        self.write, self.flush, self.tell, self.seek = file.write, file.flush, file.tell, file.seek


def _see_through(picture: Picture) -> bool:
    return picture.alpha is not None and int(picture.alpha.min()) < full_range(picture.alpha.dtype)


def _colours(picture: Picture) -> np.ndarray:
    return picture.rgb[..., :1] if picture.grey else picture.rgb


def _channels(picture: Picture, kind: str) -> int:
    return (1 if picture.grey else 3) + (picture.alpha is not None and kind not in _OPAQUE)


def _strips(picture: Picture, kind: str, rows: int) -> Iterator[np.ndarray]:
    """`(rows, w, 1..4)` from top to bottom, with the depth and the alpha that the format has."""
    colours, alpha = _colours(picture), None if kind in _OPAQUE else picture.alpha
    for start in range(0, picture.height, rows):
        strip = colours[start : start + rows]
        if alpha is not None:
            strip = np.concatenate([strip, alpha[start : start + rows, :, None]], axis=2)
        yield np.ascontiguousarray(strip if kind in _DEEP else to_uint8(strip))


def _rows(picture: Picture) -> int:
    return min(picture.height, max(1, _STRIP // (picture.width * 4)))


def _grey_profile_without_grey(kind: str, picture: Picture) -> bool:
    profile = picture.metadata.icc_profile
    return kind == "WEBP" and profile is not None and profile[16:20] == b"GRAY"


def _joined(picture: Picture, kind: str) -> np.ndarray:
    """uint8 `(h, w, 1..4)`, for encoders that want it all at once."""
    whole = np.empty((picture.height, picture.width, _channels(picture, kind)), np.uint8)
    at = 0
    for strip in _strips(picture, kind, _rows(picture)):
        whole[at : at + len(strip)] = strip
        at += len(strip)
    return whole


def _write_webp(file: _OnlyWritable, picture: Picture, quality: int | None) -> None:
    from PIL import Image

    whole = _joined(picture, "WEBP")
    image = Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole)
    del whole
    metadata = picture.metadata
    options: dict[str, bytes | int | bool] = {}
    if metadata.icc_profile and not _grey_profile_without_grey("WEBP", picture):
        options["icc_profile"] = metadata.icc_profile
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    # exact: the colours under transparent pixels belong to the picture too
    if quality is None:
        options |= {"lossless": True, "exact": True, "method": 2, "quality": 50}  # here quality is effort, not loss
    else:
        options["quality"] = quality
    image.save(cast("IO[bytes]", file), format="WEBP", **options)


def _write_jpeg(file: BinaryIO, picture: Picture, quality: int | None) -> None:
    """The encoder's stream, with the segments that hold the metadata in place of its own first one."""
    import imagecodecs

    whole = picture.rgb if picture.bits == 8 and not picture.grey else _joined(picture, "JPEG")
    grey = whole.shape[2] == 1
    stream = memoryview(imagecodecs.jpeg8_encode(
        whole[..., 0] if grey else np.ascontiguousarray(whole), level=quality or 95, optimize=True,
        colorspace="GRAY" if grey else "RGB", outcolorspace="GRAY" if grey else "YCBCR", subsampling="444",
    ))  # fmt: skip
    start = 2  # behind the start marker
    while bytes(stream[start : start + 2]) == b"\xff\xe0":
        start += 2 + int.from_bytes(stream[start + 2 : start + 4], "big")
    file.write(b"\xff\xd8")
    metadata = picture.metadata
    across, down = (min(65535, max(1, round(value))) for value in metadata.resolution or (1, 1))
    _segment(file, 0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0102, bool(metadata.resolution), across, down, 0, 0))
    if metadata.exif and len(metadata.exif) <= _MOST_EXIF_IN_JPEG:
        _segment(file, 0xE1, b"Exif\0\0" + metadata.exif)
    profile = metadata.icc_profile or b""
    parts = [profile[at : at + _ICC_PART] for at in range(0, len(profile), _ICC_PART)]
    for number, part in enumerate(parts if len(parts) < 256 else (), 1):
        _segment(file, 0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part)
    file.write(stream[start:])


def _segment(file: BinaryIO, marker: int, body: bytes) -> None:
    file.write(struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body)


def _write_tiff(file: BinaryIO, picture: Picture) -> None:
    import imagecodecs
    import tifffile

    rows, channels, metadata = _rows(picture), _channels(picture, "TIFF"), picture.metadata
    shape = (picture.height, picture.width, channels) if channels > 1 else (picture.height, picture.width)

    def packed() -> Iterator[bytes]:
        for strip in _strips(picture, "TIFF", rows):
            # level 6 takes three times as long, to make the file an eighth smaller
            yield bytes(imagecodecs.zlib_encode(imagecodecs.delta_encode(strip, axis=1).tobytes(), level=4))

    nbytes = picture.height * picture.width * channels * picture.rgb.itemsize
    tifffile.imwrite(
        file,
        packed(),
        shape=shape,
        dtype=picture.rgb.dtype,
        rowsperstrip=rows,
        bigtiff=nbytes > (1 << 32) - (1 << 26),
        photometric="minisblack" if picture.grey else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if picture.alpha is not None else None,
        compression="zlib",
        predictor=True,
        iccprofile=metadata.icc_profile,
        resolution=metadata.resolution,
        resolutionunit="inch" if metadata.resolution else None,
        metadata=None,
        software=False,
    )


def _write_bmp(file: BinaryIO, picture: Picture) -> None:
    """Windows' format of version 3: 24 bits, or 8 with a palette of greys; rows from the bottom up, of whole words."""
    channels = _channels(picture, "BMP")
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256)) if channels == 1 else b""
    row = (picture.width * channels + 3) // 4 * 4
    offset = 14 + 40 + len(palette)
    across, down = (round(v / 0.0254) for v in picture.metadata.resolution or (0, 0))
    file.write(struct.pack("<2sIHHI", b"BM", offset + row * picture.height, 0, 0, offset))
    file.write(struct.pack(
        "<IiiHHIIiiII", 40, picture.width, picture.height, 1, 8 * channels, 0, row * picture.height,
        min(across, 0x7FFFFFFF), min(down, 0x7FFFFFFF), len(palette) // 4, 0,
    ))  # fmt: skip
    file.write(palette)
    step = _rows(picture)
    colours = _colours(picture)
    for end in range(picture.height, 0, -step):
        strip = to_uint8(colours[max(0, end - step) : end])[::-1, :, ::-1]
        padded = np.zeros((len(strip), row), np.uint8)
        padded[:, : picture.width * channels] = strip.reshape(len(strip), -1)
        file.write(padded.data)
