"""Reading TIFF files by their own tags (TIFF 6.0 and its supplements), with tifffile.

The tags decide: photometric interpretation, planar configuration, bits, sample format, extra samples, orientation. What
they say and is not understood is refused by name; what is understood and not kept is remarked.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from functools import partial
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
    promised,
    stretched,
    without_alpha_multiplied,
)
from snpe_srgan.imaging.metadata import Metadata, read_exif
from snpe_srgan.imaging.ycbcr import read_ycbcr

if TYPE_CHECKING:
    from tifffile import TiffPage

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR = range(7)
_COLOURS = {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_NAMES = {
    _MASK: "a transparency mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a camera's raw sensor",
    32844: "LogL", 32845: "LogLuv", 34892: "a camera's linear raw", 51177: "a depth map",
}  # fmt: skip
_JPEG, _OLD_JPEG = 7, 6
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ASSOCIATED, _UNASSOCIATED = 1, 2
# What the pixels were made of, or is kept elsewhere. All other tags are remarked.
_STRUCTURE = frozenset((
    *range(254, 260), *range(262, 267), *range(273, 275), *range(277, 285), *range(290, 294), 296, 297, 317, 320,
    *range(322, 326), 330, 332, 334, 336, *range(338, 342), 347, *range(512, 522), *range(529, 533), 34665, 34675,
))  # fmt: skip
_EXIF_TAGS = (270, 271, 272, 305, 306, 315, 33432, 34665, 34853)  # kept as EXIF: camera, time, author, place
_BUFFER = 16 << 20  # bytes of packed pixels that are read at once
_MOST_PAGES = 100  # looked at; a chain of pages may be long


def read_tiff(data: bytes, accept: Accept) -> Decoded:
    """Decodes the main picture of a TIFF; raises `Refused`, `Damaged` or what the decoder raises for a broken one."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # its warnings would reach the terminal
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page, remarks = _main_page(file)
        bits, kind, colours = _understood(page)
        extra = page.samplesperpixel - colours
        alpha = next((i for i, e in enumerate(page.extrasamples) if e in (_ASSOCIATED, _UNASSOCIATED)), None)
        shown = 3 if page.photometric in (_RGB, _PALETTE, _CMYK, _YCBCR) else 1
        table = _palette(page, bits) if page.photometric == _PALETTE else None
        deep = 16 if (bits > 8 or kind == _FLOAT) and table is None else 8 if table is None else 8 * table.itemsize
        accept(_promise(page, size=len(data), bits=bits, deep=deep, shown=shown, alpha=alpha))
        _whole(page, len(data))
        if page.photometric == _YCBCR and page.compression != _JPEG:
            planes = read_ycbcr(page, data)
        else:
            planes = _samples(page)
        if kind == _FLOAT:
            planes, bits = _from_floats(planes), 16
            remarks.append("floats: 0 is read as black and 1 as white, with 16 bits a channel")
        if extra > (alpha is not None):
            remarks.append(f"not kept: {extra - (alpha is not None)} further channels that do not say what they are")
        metadata, lost = _metadata(page, data)
        planes, metadata = _colours(page, planes, bits, colours, alpha, metadata, table)
    remarks += [f"not kept: {listed(lost)}"] if lost else []
    orientation = page.tags.valueof(274, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    return Decoded(np.ascontiguousarray(planes), metadata, orientation, tuple(remarks))


def _main_page(file) -> tuple[TiffPage, list[str]]:
    """The first page that is neither a thumbnail nor a mask."""
    import tifffile

    pages = []
    for index in range(_MOST_PAGES):
        try:
            page = file.pages[index]
        except (IndexError, tifffile.TiffFileError):
            break
        pages.append(page if isinstance(page, tifffile.TiffPage) else page.aspage())
    if not pages:
        raise Damaged("it holds no picture")
    full = [p for p in pages if not p.subfiletype & 5 and p.tags.valueof(255, 1) != 2] or pages[:1]
    if full[0].subfiletype & 1 and full[0].tags.get(330) is not None:
        raise Refused("a camera's raw file: its picture is not developed", hint="develop it to a TIFF or PNG first")
    others = len(full) - 1
    return full[0], [f"{others} further pages are not read, only the first" if others > 1 else
                     "a second page is not read, only the first"] if others else []  # fmt: skip


def _understood(page: TiffPage) -> tuple[int, int, int]:
    """(bits, sample format, colour channels) of pixels that can be read."""
    import tifffile

    if page.tags.get(262) is None:
        raise Refused("a TIFF that does not say what its numbers mean (photometric interpretation)")
    if page.photometric not in _COLOURS:
        name = _NAMES.get(int(page.photometric), f"of photometric interpretation {int(page.photometric)}")
        raise Refused(f"a TIFF whose pixels are {name}, which is not read")
    bits, kind = page.bitspersample, int(page.sampleformat) if not isinstance(page.sampleformat, tuple) else 0
    if not isinstance(bits, int):
        raise Refused(f"a TIFF whose channels have different depths {bits}")
    if kind == _SIGNED:
        raise Refused(f"a TIFF of signed numbers ({bits} bits), which is not read: their black and white are unknown")
    if kind == _FLOAT and (page.photometric not in (_MIN_IS_BLACK, _RGB) or bits not in (16, 24, 32, 64)):
        raise Refused(f"a TIFF of {bits}-bit floats of this colour space, which is not read")
    if kind not in (_UNSIGNED, _FLOAT, 4):  # 4: not said, which means whole numbers
        raise Refused(f"a TIFF of sample format {kind}, which is not read")
    if kind != _FLOAT and not 1 <= bits <= 16:
        raise Refused(f"a TIFF of {bits} bits a channel, which is not read")
    colours = _COLOURS[page.photometric]
    if page.photometric == _CMYK and page.tags.valueof(332, 1) != 1:
        raise Refused("a TIFF of inks other than cyan, magenta, yellow and black, which is not read")
    if page.samplesperpixel < colours or (colours == 1 and page.samplesperpixel > 2 and not page.extrasamples):
        raise Refused(f"a TIFF of {page.samplesperpixel} channels where its colour space has {colours}")
    if page.compression == _OLD_JPEG:
        raise Refused("a TIFF of the old JPEG compression (6), which is not read")
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        name = getattr(page.compression, "name", str(page.compression))
        raise Refused(f"a TIFF compressed by {name}, which the installed tifffile and imagecodecs do not read")
    if page.imagedepth != 1:
        raise Refused("a TIFF with depth, a volume, which is not read")
    return bits, _UNSIGNED if kind == 4 else kind, colours


def _promise(page: TiffPage, *, size: int, bits: int, deep: int, shown: int, alpha: int | None) -> Layout:
    """The layout, with what decoding takes.

    Args:
        size: of the file, in bytes.
        bits: of a sample as it is stored.
        deep: 8 or 16, as it is handed over.
        shown: colour channels that are handed over.
        alpha: which extra sample is alpha.
    """
    channels = shown + (alpha is not None)
    made = channels * deep // 8
    promise = partial(promised, page.imagewidth, page.imagelength, channels, deep)
    if page.photometric == _YCBCR and page.compression != _JPEG:
        return promise(a_pixel=2 * made if math.prod(page.chunked) == 1 else made, beside=min(size, _BUFFER))
    separate = page.planarconfig == 2
    stored = page.samplesperpixel * (4 if bits == 24 else -(-bits // 8))  # floats of 24 bits are widened
    as_stored = page.compression == 1 and bits in (8, 16, 32, 64)
    one_piece = not as_stored and math.prod(page.chunked) <= (page.samplesperpixel if separate else 1)
    copies = 0 if alpha is None else 2 if page.extrasamples[alpha] == _ASSOCIATED else 1
    changed = bits not in (8, 16) or page.photometric in (_MIN_IS_WHITE, _PALETTE, _CMYK)
    rearranged = separate or page.samplesperpixel > _COLOURS[page.photometric]
    copies += changed or (rearranged and not copies)
    a_pixel = max(stored * (2 if one_piece else 1), stored + made * copies)
    return promise(a_pixel=a_pixel, beside=0 if as_stored else size if one_piece else 2 * min(size, _BUFFER))


def _whole(page: TiffPage, size: int) -> None:
    """Raises unless every strip or tile lies in the file."""
    if not page.imagewidth or not page.imagelength:
        raise Damaged("it has no pixels")
    wanted = math.prod(page.chunked)
    if min(len(page.dataoffsets), len(page.databytecounts)) < wanted:
        raise Damaged("parts of its pixels are missing")
    for offset, count in zip(page.dataoffsets[:wanted], page.databytecounts[:wanted], strict=True):
        if count <= 0 or offset <= 0 or offset + count > size:
            raise Damaged("it ends before its pixels do")


def _samples(page: TiffPage) -> np.ndarray:
    """`(h, w, samples)` as stored, of unsigned numbers or floats."""
    separate, _, height, width, contiguous = page.shaped
    values = page.asarray(maxworkers=1, buffersize=_BUFFER)
    if values.dtype.kind not in "uf" or values.size != math.prod(page.shaped):
        if values.dtype != bool:
            raise Damaged("its pixels are not of the type that it states")
        values = values.astype(np.uint8)
    values = values.reshape(separate, height, width, contiguous)
    return np.moveaxis(values[..., 0], 0, -1) if contiguous == 1 else values[0]


def _from_floats(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())  # not numbers, if one of them is not
    if not (low >= 0 and high <= 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of nothing but NaN
            low, high = np.nanmin(values), np.nanmax(values)
        raise Refused(
            f"a TIFF of floats from {low:.4g} to {high:.4g}: only 0 (black) to 1 (white) is read",
            hint="scale them to 0 to 1, or save whole numbers of 16 bits",
        )
    out = np.empty(values.shape, np.uint16)
    for row in range(len(values)):  # a row at a time: float64 of a whole picture takes 24 bytes a pixel
        out[row] = np.floor(values[row].astype(np.float64) * 65535 + 0.5)
    return out


def _colours(
    page: TiffPage, planes: np.ndarray, bits: int, colours: int, alpha: int | None, metadata: Metadata,
    table: np.ndarray | None,
) -> tuple[np.ndarray, Metadata]:
    """Grey or RGB with its alpha behind it, and the metadata that still hold."""
    shades, see_through = planes[..., :colours], None
    if alpha is not None:
        see_through = stretched(planes[..., colours + alpha], bits)
    if table is not None:
        shades = table[shades[..., 0]]
        if see_through is not None and see_through.dtype != shades.dtype:
            see_through = stretched(see_through, 8).astype(np.uint16) * 257
    else:
        shades = stretched(shades, bits)
    if page.photometric == _MIN_IS_WHITE:
        shades = np.iinfo(shades.dtype).max - shades
    if page.photometric == _CMYK:
        shades = cmyk_to_rgb(shades, metadata.icc_profile)
        metadata = Metadata(exif=metadata.exif, resolution=metadata.resolution)
    if alpha is None or see_through is None:
        return shades, metadata
    joined = np.concatenate([shades, see_through[..., None]], axis=2)
    return (without_alpha_multiplied(joined) if page.extrasamples[alpha] == _ASSOCIATED else joined), metadata


def _palette(page: TiffPage, bits: int) -> np.ndarray:
    """Palette colours `(2 ** bits, 3)`: uint8 where the file's 16 bits hold no more (v * 257, v * 256, or plain v)."""
    table = page.colormap
    if table is None or table.shape != (3, 1 << bits):
        raise Damaged("its palette is missing or has a wrong length")
    table = np.ascontiguousarray(table.T).astype(np.uint16)
    if table.max() > 255 and not ((table % 257 == 0).all() or (table % 256 == 0).all()):
        return table
    return (table if table.max() <= 255 else table >> 8).astype(np.uint8)


def _metadata(page: TiffPage, data: bytes) -> tuple[Metadata, list[str]]:
    tags = page.tags
    profile = tags.valueof(34675)
    lost = [] if profile is None or isinstance(profile, bytes) else ["a damaged colour profile"]
    unit = {2: 1.0, 3: 2.54}.get(tags.valueof(296, 2))
    across, down = (_ratio(tags.valueof(code)) for code in (282, 283))
    resolution = (across * unit, down * unit) if unit and across and down else None
    exif = _exif(data) if any(code in tags for code in _EXIF_TAGS) and page.index == 0 else None
    kept = _STRUCTURE | (frozenset(_EXIF_TAGS) if exif else frozenset())
    lost += [{700: "XMP", 33723: "IPTC", 34377: "Photoshop's data"}.get(tag.code, tag.name)
             for tag in tags if tag.code not in kept]  # fmt: skip
    return Metadata(profile if isinstance(profile, bytes) else None, (), exif, resolution), lost


def _ratio(value) -> float | None:
    try:
        above, below = value
        return above / below if above and below else None
    except (TypeError, ValueError):
        return None


def _exif(data: bytes) -> bytes | None:
    """The camera's tags as an EXIF block of its own: in a TIFF they stand among the picture's."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            found, block = image.getexif(), Image.Exif()
            for tag in _EXIF_TAGS[:-2]:
                if tag in found:
                    block[tag] = found[tag]
            for pointer in (34665, 34853):
                if inner := dict(found.get_ifd(pointer)):
                    block.get_ifd(pointer).update(inner)
            return read_exif(block.tobytes())[0]
    except Exception:  # a damaged EXIF says nothing about the pixels; its tags are remarked
        return None
