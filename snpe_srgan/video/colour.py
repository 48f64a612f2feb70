"""Colours of a video's frames: YUV as stored to RGB and back, by one matrix and one range, with the tags kept.

The same matrix goes in and out, so colours stay what they were whatever the tags say. A video without a tag is taken
for what players take one of its size for, and the enlargement is tagged as that: enlarged fourfold without a tag, a
player would take it for high definition and show other colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# AVCOL_SPC (H.273 matrix coefficients) -> the matrix in swscale's own numbers
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
RGB, UNSPECIFIED, BT709, BT601 = 0, 2, 1, 6
LIMITED, FULL = 1, 2
HD_LINES = 720  # from here on players take BT.709


@dataclass(frozen=True)
class Colour:
    """The tags of a stream, as H.273 numbers; `guessed` where the stream has no matrix; `unknown` is one not known
    here, for which BT.709 stands in both ways."""

    matrix: int
    range: int
    primaries: int
    transfer: int
    guessed: bool = False
    unknown: int | None = None

    @property
    def swscale(self) -> int:
        """The matrix in swscale's own numbers; BT.709's for one that is not known."""
        return MATRICES.get(self.matrix, 1)


def colour_of(frame) -> Colour:
    """The colour of a decoded frame, gaps filled as players fill them."""
    matrix, name = int(frame.colorspace), frame.format.name
    rgb = frame.format.is_rgb or name == "pal8"
    guessed = matrix == UNSPECIFIED and not rgb
    unknown = None
    if guessed or (matrix == RGB and not rgb):
        matrix = BT709 if frame.height >= HD_LINES else BT601
    elif matrix not in MATRICES and not rgb:
        unknown = matrix
    full = name.startswith("yuvj") or rgb or name.startswith(("gray", "ya"))
    limits = int(frame.color_range) or (FULL if full else LIMITED)
    return Colour(matrix, limits, int(frame.color_primaries), int(frame.color_trc), guessed, unknown)


def _quality():
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


def to_rgb(frame, colour: Colour, *, bits: int, alpha: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels of a decoded frame: uint8 for up to 8 bits, else uint16 (scaled to 65535), and its transparency.

    Args:
        frame: PyAV's, of any pixel format.
        colour: the matrix and range that its numbers are read by.
        bits: of a channel in the stream.
        alpha: whether its transparency is wanted.

    Returns:
        Full-range RGB `(h, w, 3)`, and alpha `(h, w)` of the same dtype or None.
    """
    wide = bits > 8
    name = ("rgba64le" if alpha else "rgb48le") if wide else ("rgba" if alpha else "rgb24")
    turned = frame.reformat(
        format=name, src_colorspace=colour.swscale, src_color_range=colour.range, dst_color_range=FULL,
        interpolation=_quality(), threads=1,
    )  # fmt: skip
    pixels = turned.to_ndarray()
    return (pixels[..., :3], np.ascontiguousarray(pixels[..., 3])) if alpha else (pixels, None)


def from_rgb(rgb: np.ndarray, alpha: np.ndarray | None, colour: Colour, *, pix_fmt: str):
    """A frame of `pix_fmt`, tagged with `colour`, from uint8 / uint16 `(h, w, 3)` pixels (and alpha of that type).

    Args:
        rgb: full range.
        alpha: `(h, w)`; None where there is none.
        colour: the matrix and range that YUV is written by.
        pix_fmt: FFmpeg's name; an RGB one is always of full range.

    Returns:
        A PyAV frame of the same size, without a time stamp.
    """
    import av

    wide = rgb.dtype == np.uint16
    if alpha is not None:
        rgb = np.dstack([rgb, alpha])
        name = "rgba64le" if wide else "rgba"
    else:
        name = "rgb48le" if wide else "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format=name)
    kind = av.VideoFormat(pix_fmt)
    matrix = {} if kind.is_rgb else {"dst_colorspace": colour.swscale}
    frame = frame.reformat(
        format=pix_fmt, src_color_range=FULL, dst_color_range=FULL if kind.is_rgb else colour.range,
        interpolation=_quality(), threads=1, **matrix,
    )  # fmt: skip
    frame.colorspace = RGB if kind.is_rgb else colour.matrix
    frame.color_range = FULL if kind.is_rgb else colour.range
    frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    return frame
