"""YCbCr of a TIFF that is not compressed as JPEG (TIFF 6.0, section 21): colours stored at the full size or less.

Each unit holds the luma of a block of pixels, row by row, and one Cb and one Cr for all of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.imaging.decoded import Damaged, Refused

if TYPE_CHECKING:
    from tifffile import TiffPage

_LUMA = (0.299, 0.587, 0.114)  # of R, G, B where the file does not say
_RANGE = (0, 255, 128, 255, 128, 255)  # black and white of luma; no colour and most colour of Cb and Cr


def read_ycbcr(page: TiffPage, data: bytes) -> np.ndarray:
    """The page's pixels as uint8 RGB `(h, w, 3)`; colours are repeated over their block, as libtiff does.

    Args:
        page: of samples with 8 bits, in one plane.
        data: the whole file.

    Raises:
        Refused: other channels, bits or planes, or a predictor.
        Damaged: the pixels do not fit the tags.
    """
    import tifffile

    if page.bitspersample != 8 or page.samplesperpixel != 3 or page.planarconfig != 1:
        raise Refused("a TIFF of YCbCr with other than three channels of 8 bits in one plane, which is not read")
    across, down = page.tags.valueof(530, (2, 2))
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise Damaged(f"its colours are stored at {across}x{down} of its size")
    if page.predictor != 1 and (across, down) != (1, 1):
        raise Refused("a TIFF of YCbCr with a predictor, which is not read")
    matrix, offset = _to_rgb(page)
    height, width = page.imagelength, page.imagewidth
    out = np.empty((height, width, 3), np.uint8)
    tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    unpack = tifffile.TIFF.DECOMPRESSORS[page.compression]
    for number, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        row, column = divmod(number, math.ceil(width / wide))
        top, left = row * tall, column * wide
        if top >= height:
            break
        rows = tall if page.is_tiled else min(tall, height - top)
        packed = data[start : start + count]
        size = math.ceil(rows / down) * math.ceil(wide / across) * (across * down + 2)
        samples = _unpacked(packed if page.compression == 1 else unpack(packed, out=size), size, page, wide)
        place = out[top : top + tall, left : left + wide]
        for first in range(0, len(place), down):  # a row of blocks at a time: floats take 12 bytes a pixel
            block = _block(samples[first // down], across, down)[: len(place) - first, : place.shape[1]]
            place[first : first + down] = np.clip(np.floor(block @ matrix + offset + 0.5), 0, 255)
    return out


def _unpacked(samples: bytes, size: int, page: TiffPage, wide: int) -> np.ndarray:
    """Rows of units `(rows, units, samples of a unit)`."""
    across, down = page.tags.valueof(530, (2, 2))
    if len(samples) < size:
        raise Damaged("it ends before its pixels do")
    units = np.frombuffer(samples, np.uint8, size).reshape(-1, math.ceil(wide / across), across * down + 2)
    if page.predictor == 2:
        return np.cumsum(units, axis=1, dtype=np.uint8)
    if page.predictor != 1:
        raise Refused("a TIFF of YCbCr with this predictor, which is not read")
    return units


def _block(units: np.ndarray, across: int, down: int) -> np.ndarray:
    """One row of units as float32 `(down, width, 3)`: Y, Cb, Cr of each pixel."""
    luma = units[:, :-2].reshape(-1, down, across).transpose(1, 0, 2).reshape(down, -1)
    colours = np.broadcast_to(units[:, -2:].repeat(across, axis=0), (down, luma.shape[1], 2))
    return np.concatenate([luma[..., None], colours], axis=2).astype(np.float32)


def _to_rgb(page: TiffPage) -> tuple[np.ndarray, np.ndarray]:
    """(matrix 3x3, offset): RGB = (Y, Cb, Cr) @ matrix + offset."""
    red, green, blue = _numbers(page.tags.valueof(529), _LUMA)
    black, white, *colours = _numbers(page.tags.valueof(532), _RANGE)
    if not green or white == black or colours[1] == colours[0] or colours[3] == colours[2]:
        raise Damaged("the matrix or the range of its colours is not one")
    scale = np.array([255 / (white - black), 127 / (colours[1] - colours[0]), 127 / (colours[3] - colours[2])])
    matrix = np.array([
        [1, 1, 1],
        [0, -blue * (2 - 2 * blue) / green, 2 - 2 * blue],
        [2 - 2 * red, -red * (2 - 2 * red) / green, 0],
    ]) * scale[:, None]  # fmt: skip
    offset = -np.array([black, colours[0], colours[2]]) @ matrix
    return matrix.astype(np.float32), offset.astype(np.float32)


def _numbers(value: object, default: tuple[float, ...]) -> tuple[float, ...]:
    """A tag's numbers, which are whole or fractions."""
    if value is None:
        return default
    values = np.asarray(value, np.float64).ravel()
    if len(values) == 2 * len(default):  # numerators and denominators in turn
        if not values[1::2].all():
            raise Damaged("the matrix or the range of its colours is not one")
        values = values[::2] / values[1::2]
    if len(values) != len(default) or not np.isfinite(values).all():
        raise Damaged("the matrix or the range of its colours is not one")
    return tuple(values.tolist())
