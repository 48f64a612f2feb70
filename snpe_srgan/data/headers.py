"""What a picture's header says, without decoding its pixels."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

from snpe_srgan.data.sources import PicturePair
from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular

ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 turn the picture by a quarter


@dataclasses.dataclass(frozen=True)
class Header:
    """Size as displayed (EXIF orientation applied), bits a channel, and Pillow's name of the colour mode."""

    height: int
    width: int
    bits: int
    mode: str


def read_header(path: Path) -> Header:
    """The header of a picture file; `InputError` when there is none to read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the decoder decides what is too large
            with open_regular(path, doing="read the picture") as file, Image.open(file) as image:
                width, height = image.size
                # Asking a PNG file for EXIF that does not stand before its pixels would decode them.
                exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
                if exif.get(ORIENTATION) in (5, 6, 7, 8):
                    width, height = height, width
                return Header(height, width, 16 if "16" in image.mode else _bits(image), image.mode)
    except InputError:
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged files
        reason = "not a picture" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise InputError(f"cannot read the picture: {reason}", where=path) from error


def _bits(image) -> int:
    """Bits a channel. Pillow opens 16-bit RGB PNG files as 8-bit 'RGB'; only the raw mode of its decoder tells."""
    tile = image.tile[0] if getattr(image, "tile", None) else None
    raw = tile[3] if tile and len(tile) > 3 else ""
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    return 16 if isinstance(raw, str) and ";16" in raw else 1 if image.mode == "1" else 8


def headers(pairs: Sequence[PicturePair]) -> tuple[list[tuple[PicturePair, Header]], list[str]]:
    """What each HR file says of itself, and a line for each file that cannot be read."""
    found, bad = [], []
    for pair in pairs:
        try:
            found.append((pair, read_header(pair.hr)))
        except InputError as error:
            bad.append(f"{pair.hr} ({error.what})")
    return found, bad
