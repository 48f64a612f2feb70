"""What a decoder of one kind hands over, and the steps that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.metadata import Metadata


@dataclass(frozen=True)
class Layout:
    """What a file's header promises.

    Attributes:
        width: before the picture is turned upright.
        height: likewise.
        channels: 1 to 4, alpha among them.
        bits: 8 or 16 of a channel.
        decoding: bytes of memory that decoding takes at its peak, beside the file itself; 0 for pixels in memory.
    """

    width: int
    height: int
    channels: int
    bits: int
    decoding: int = 0


_TABLES = 8 << 20  # bytes that a decoder and the strips it hands over take for the smallest picture


def promised(width: int, height: int, channels: int, bits: int, *, a_pixel: float, beside: int = 0) -> Layout:
    """The `Layout` of a file that is about to be decoded.

    Args:
        a_pixel: bytes that this decoder takes for a pixel at its peak, as measured (`tests/test_picture_memory.py`).
            The pixels themselves are the least, twice where alpha is separated from them afterwards.
        beside: bytes that it takes whatever the number of pixels.
    """
    least = channels * (bits // 8) * (2 if channels in (2, 4) else 1)
    return Layout(width, height, channels, bits, int(width * height * max(a_pixel, least)) + beside + _TABLES)


Accept = Callable[[Layout], None]  # called with a header's promise before a pixel is decoded; raises to refuse


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels uint8 / uint16 `(h, w, 1..4)`, alpha last and not multiplied in, not yet turned upright."""

    planes: np.ndarray
    metadata: Metadata = field(default_factory=Metadata)
    orientation: int = 1
    remarks: tuple[str, ...] = ()


class Damaged(Exception):
    """A file that is cut short or contradicts itself; the text is for people."""


class Refused(Exception):
    """A picture that is whole, of a sort that is not read: what it is, and what to do."""

    def __init__(self, what: str, hint: str = "export it as a PNG or TIFF of 8 or 16 bits a channel"):
        super().__init__(what)
        self.error = InputError(what, hint=hint)


def stretched(values: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers of `bits` bits, 1 to 16, as uint8 (up to 8 bits) or uint16 pixels: 0 stays black, the largest
    becomes white, what lies between is rounded."""
    white, full = (1 << bits) - 1, 255 if bits <= 8 else 65535
    dtype = np.uint8 if bits <= 8 else np.uint16
    if white == full:
        return values.astype(dtype, copy=False)
    table = ((np.arange(white + 1, dtype=np.uint64) * full * 2 + white) // (2 * white)).astype(dtype)
    out = np.empty(values.shape, dtype)
    for row in range(len(values)):  # a row at a time: indices of a whole picture would be a copy of it
        out[row] = table[np.minimum(values[row], white)]
    return out


def without_alpha_multiplied(planes: np.ndarray) -> np.ndarray:
    """Colours that were multiplied by their alpha (the last channel), divided by it again; 0 where it is 0."""
    white = np.iinfo(planes.dtype).max
    out = planes.copy()
    for row in range(len(planes)):  # a row at a time: the division needs wide numbers
        alpha = planes[row, :, -1:].astype(np.uint64)
        colours = (planes[row, :, :-1].astype(np.uint64) * white * 2 + alpha) // np.maximum(2 * alpha, 1)
        out[row, :, :-1] = np.where(alpha == 0, 0, np.minimum(colours, white))
    return out


def cmyk_to_rgb(planes: np.ndarray, icc_profile: bytes | None) -> np.ndarray:
    """Ink `(h, w, 4)`, 0 for none, as RGB of the same depth: by its profile (to sRGB), else by the plain formula."""
    if icc_profile:
        import imagecodecs

        try:
            if icc_profile[16:20] == b"CMYK":
                srgb = imagecodecs.cms_profile("srgb")
                return imagecodecs.cms_transform(
                    np.ascontiguousarray(planes), icc_profile, srgb, colorspace="cmyk", outcolorspace="rgb",
                    outdtype=planes.dtype,
                )  # fmt: skip
        except (imagecodecs.CmsError, ValueError):  # a damaged profile: the plain formula is what viewers then use
            pass
    white = np.iinfo(planes.dtype).max
    out = np.empty((*planes.shape[:2], 3), planes.dtype)
    for row in range(len(planes)):
        left = white - planes[row].astype(np.uint64)
        out[row] = (left[:, :3] * left[:, 3:] * 2 + white) // (2 * white)
    return out


def upright(planes: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the camera's turn; `orientation` is EXIF tag 274 (1 upright, 2 mirrored, 3 half turn, ... 8)."""
    if orientation in (5, 6, 7, 8):
        planes = planes.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        planes = planes[::-1]
    if orientation in (2, 3, 6, 7):
        planes = planes[:, ::-1]
    return planes


def listed(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Names in a sentence, not too many of them."""
    names = list(dict.fromkeys(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
