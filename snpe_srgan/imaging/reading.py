"""Any picture a user has, as a `Picture`: upright RGB with its transparency, depth and profile, or a clear error.

Kept: grey, alpha, palette transparency, 16 bits a channel, ICC profile. Applied: EXIF orientation; a CMYK picture's own
profile (it becomes sRGB). Refused, never half-decoded or silently reduced: truncated files, animations and multi-page
files, 32-bit and float pixels, files of other kinds.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.colour import grey_to_rgb
from snpe_srgan.imaging.picture import Picture

MAX_PIXELS = 250_000_000  # 0.75 GB of RGB; a file of a few kB can claim to be far larger
# Formats whose Pillow decoders keep what the file holds; others (EPS starts Ghostscript) are not even tried.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "TGA", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".tga", ".avif")

_PILLOW_LIMIT = threading.Lock()


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads one picture; raises `InputError` naming the file for whatever cannot be read whole."""
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if path.is_dir():
        raise InputError("a picture is needed, this is a folder", where=path)
    try:
        if path.stat().st_size == 0:
            raise InputError("the picture file is empty", where=path, hint="copy or download it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF and the like: the pixels are whole
            with _open(path) as image:
                _refuse_size(image.size, max_pixels, path)
                _refuse_frames(image, path)
                return _decode(image, path)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            "not a picture of a kind that can be read", where=path, hint="convert it to PNG, TIFF or JPEG first"
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large("the picture", max_pixels, path) from error
    except MemoryError as error:
        raise InputError("not enough memory for this picture", where=path, hint="cut it in parts first") from error
    except OSError as error:
        if error.errno is not None:
            raise os_error(error, path, "read the picture") from error
        raise _damaged(error, path) from error
    except Exception as error:  # decoders meet hostile bytes with ValueError, SyntaxError, struct.error, IndexError...
        raise _damaged(error, path) from error


@contextlib.contextmanager
def _open(path: Path):
    from PIL import Image

    # A file object, not the path: Pillow maps files that it opens by name, and then reads a turned TIFF wrongly
    # (13.0: rows of the turned picture's width), and a file cut short meanwhile would kill the process.
    with open(path, "rb") as file:
        with _PILLOW_LIMIT:  # our own limit is checked on the header, before a pixel is decoded
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(file, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with image:
            yield image


def _damaged(error: Exception, path: Path) -> InputError:
    reason = str(error) or type(error).__name__
    return InputError(
        f"the picture is damaged or cut short: {reason}", where=path, hint="copy or download it again, or convert it"
    )


def _too_large(what: str, max_pixels: int, path: Path) -> InputError:
    limit = f"{max_pixels / 1e6:g} megapixels"
    return InputError(f"{what} is over the limit of {limit}", where=path, hint="cut it in parts")


def _refuse_size(size: tuple[int, int], max_pixels: int, path: Path) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(f"a picture of {width}x{height} pixels", max_pixels, path)


def _refuse_frames(image, path: Path) -> None:
    # An MPO is a camera's JPEG with a preview or a depth map behind the photo: its first frame is the picture.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise InputError(
            "the file holds several frames or pages, one is needed",
            where=path,
            hint="save the frame you want as a PNG",
        )


def _decode(image, path: Path) -> Picture:
    depth = _depth(image)
    if depth > 16 or image.mode == "F":
        raise InputError(
            f"pixels of 32 bits or floats are not supported ({image.format} {image.mode})",
            where=path,
            hint="save it with 8 or 16 bits a channel",
        )
    icc_profile = image.info.get("icc_profile") or None
    # PNG's tRNS chunk can make one colour transparent; Pillow applies it to 8-bit pixels only.
    transparent = image.info.get("transparency") if depth == 16 else None
    if depth == 16:
        planes = _load_16_bit(image, path)
    else:
        image.load()
        planes, icc_profile = _load_8_bit(image, icc_profile)
    # Read after loading: PNG keeps EXIF behind the pixels, and the TIFF reader has turned the picture by then.
    planes = _upright(planes, _orientation(image))
    colours, alpha = planes, None
    if planes.shape[2] in (2, 4):
        colours, alpha = planes[..., :-1], np.ascontiguousarray(planes[..., -1])
    grey = colours.shape[2] == 1
    if transparent is not None:
        key = np.atleast_1d(np.asarray(transparent, np.uint16))
        alpha = np.where((colours == key).all(axis=2), 0, 65535).astype(np.uint16)
    rgb = grey_to_rgb(colours[..., 0]) if grey else np.ascontiguousarray(colours)
    return Picture(rgb, alpha=alpha, grey=grey, icc_profile=icc_profile, path=path)


def _depth(image) -> int:
    """Bits a channel in the file; Pillow's mode does not say (its RGB may be 16 bits cut to 8)."""
    if image.format == "PPM":
        highest = image.tile[0].args[-1] if image.tile[0].codec_name.startswith("ppm") else 0
        return 16 if image.mode == "I" or (isinstance(highest, int) and highest > 255) else 8
    if image.mode in ("I", "F"):
        return 32
    if image.mode.startswith("I;16") or any(";16" in _raw_mode(tile) for tile in image.tile):
        return 16
    return 8


def _raw_mode(tile) -> str:
    args = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
    return args if isinstance(args, str) else ""


def _load_16_bit(image, path: Path) -> np.ndarray:
    """uint16 `(h, w, 1..4)`.

    Pillow has no 16-bit RGB, but two ways to read its bytes: as big-endian and as little-endian numbers, of each of
    which it keeps the high byte. Reading the file both ways gives both bytes.
    """
    if image.mode.startswith("I"):  # grey: Pillow keeps it
        return np.asarray(image).astype(np.uint16)[..., None]
    raw_modes = {_raw_mode(tile) for tile in image.tile}
    raw_mode = raw_modes.pop() if len(raw_modes) == 1 else ""
    if raw_mode == "LA;16B":  # PNG: four bytes a pixel, which RGBA reads as they are
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]
        return np.ascontiguousarray(np.asarray(image)).view(">u2").astype(np.uint16)
    if raw_mode[:-1] not in ("RGB;16", "RGBA;16") or raw_mode[-1] not in "BLN":
        raise InputError(
            f"this layout of 16-bit pixels is not supported ({image.format}, {raw_mode or image.mode})",
            where=path,
            hint="save it as a 16-bit PNG, or with 8 bits",
        )
    big, little = (_reread(path, raw_mode[:-1] + order) for order in "BL")
    # "N" marks libtiff, which hands over numbers in the machine's own order.
    native = "L" if sys.byteorder == "little" else "B"
    high, low = (big, little) if raw_mode[-1].replace("N", native) == "B" else (little, big)
    return high.astype(np.uint16) << 8 | low


def _reread(path: Path, raw_mode: str) -> np.ndarray:
    with _open(path) as image:
        image.tile = [
            tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
            for tile in image.tile
        ]
        return np.asarray(image)


def _load_8_bit(image, icc_profile: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """uint8 `(h, w, 1..4)` and the profile that still holds for it."""
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image, icc_profile), None
    if image.mode == "LAB":
        return np.asarray(_through_profile(image, "LAB")), None
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    image = image.convert(("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB"))
    pixels = np.asarray(image)
    return (pixels[..., None] if pixels.ndim == 2 else pixels), icc_profile


def _cmyk_to_rgb(image, icc_profile: bytes | None) -> np.ndarray:
    from PIL import ImageCms

    if icc_profile:
        try:
            return np.asarray(_through_profile(image, icc_profile))
        except ImageCms.PyCMSError:  # a damaged profile: the plain formula is what viewers then use
            pass
    return np.asarray(image.convert("RGB"))


def _through_profile(image, source: bytes | str):
    import io

    from PIL import ImageCms

    profile = ImageCms.createProfile(source) if isinstance(source, str) else io.BytesIO(source)
    return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")


def _orientation(image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _upright(planes: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the camera's turn; `orientation` is EXIF tag 274 (1 upright, 2 mirrored, 3 half turn, ... 8)."""
    if orientation in (5, 6, 7, 8):
        planes = planes.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        planes = planes[::-1]
    if orientation in (2, 3, 6, 7):
        planes = planes[:, ::-1]
    return planes
