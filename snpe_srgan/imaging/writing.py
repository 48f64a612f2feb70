"""Writing a `Picture` in the format its name asks for.

| suffix | bits | alpha | ICC profile | compression |
|---|---|---|---|---|
| `.png`, `.tif`, `.tiff` | 8, 16 | kept | kept | lossless |
| `.webp` | 8 | kept | kept | lossless, or `quality` |
| `.jpg`, `.jpeg` | 8 | refused | kept | `quality` (95), no chroma subsampling |
| `.bmp` | 8 | refused | lost | none |

16 bits become 8 where the format has no more, and a profile is lost in a `.bmp`; `check_output` says so. Transparency
is never flattened behind the user's back: a picture with a see-through pixel cannot be written as JPEG or BMP.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import atomic_write, os_error
from snpe_srgan.errors import InputError, UsageError, did_you_mean
from snpe_srgan.imaging import png
from snpe_srgan.imaging.colour import full_range, rgb_to_grey, to_uint8
from snpe_srgan.imaging.picture import Picture

WRITABLE = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
}
_DEEP = ("PNG", "TIFF")
_OPAQUE = ("JPEG", "BMP")
_LARGEST_SIDE = {"JPEG": 65535, "WEBP": 16383}


def output_format(path: str | Path) -> str:
    """The format that a file name asks for."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise UsageError(
            f"cannot write pictures of kind '{suffix}'" if suffix else "the output name has no suffix",
            where=path,
            hint=did_you_mean(suffix, WRITABLE),
        )
    return WRITABLE[suffix]


def check_output(path: str | Path, picture: Picture, *, scale: int = 1) -> tuple[str, ...]:
    """Call before long work: what writing `picture`, enlarged `scale` times, to `path` loses; raises if it cannot."""
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
    notes = []
    if picture.bits == 16 and kind not in _DEEP:
        notes.append(f"{kind} has 8 bits a channel: the picture's 16 are rounded")
    if picture.icc_profile and kind == "BMP":
        notes.append("BMP holds no colour profile: the picture's own is lost")
    return tuple(notes)


def write_picture(
    path: str | Path, picture: Picture, *, overwrite: bool = False, quality: int | None = None
) -> tuple[str, ...]:
    """Writes a picture, whole or not at all; returns what the format could not keep (`check_output`).

    Args:
        quality: 1 to 100 for JPEG (95 when None) and WebP (lossless when None).
    """
    path = Path(path)
    notes = check_output(path, picture)
    kind = output_format(path)
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"the quality is a number from 1 to 100, not {quality}")
    with atomic_write(path, overwrite=overwrite) as temporary:
        planes = _planes(picture, kind)
        try:
            if kind == "PNG":
                with open(temporary, "wb") as file:
                    file.writelines(png.encode(planes, icc_profile=picture.icc_profile))
            elif planes.dtype == np.uint8:
                _write_8_bit(temporary, kind, planes, picture.icc_profile, quality)
            else:
                _write_tiff_16(temporary, planes, picture.icc_profile)
        except OSError as error:
            if error.errno is not None:
                raise os_error(error, path, "write the picture") from error
            raise InputError(f"cannot encode the picture: {error}", where=path) from error
        except (ValueError, MemoryError) as error:
            raise InputError(f"cannot encode the picture: {error or type(error).__name__}", where=path) from error
    return notes


def _see_through(picture: Picture) -> bool:
    return picture.alpha is not None and bool((picture.alpha != full_range(picture.alpha.dtype)).any())


def _planes(picture: Picture, kind: str) -> np.ndarray:
    """`(h, w, 1..4)` as the format wants it."""
    colours = rgb_to_grey(picture.rgb)[..., None] if picture.grey else picture.rgb
    alpha = None if picture.alpha is None or kind in _OPAQUE else picture.alpha[..., None]
    planes = colours if alpha is None else np.concatenate([colours, alpha], axis=2)
    return planes if kind in _DEEP else to_uint8(planes)


def _write_8_bit(path: Path, kind: str, planes: np.ndarray, icc_profile: bytes | None, quality: int | None) -> None:
    from PIL import Image

    options: dict = {} if kind == "BMP" or not icc_profile else {"icc_profile": icc_profile}
    if kind == "JPEG":
        options |= {"quality": quality or 95, "subsampling": 0, "optimize": True}
    elif kind == "WEBP":
        # exact: the colours under transparent pixels belong to the picture too
        best = {"lossless": True, "exact": True, "method": 2, "quality": 50}  # here quality is effort, not loss
        options |= best if quality is None else {"quality": quality}
    elif kind == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes).save(path, format=kind, **options)


def _write_tiff_16(path: Path, planes: np.ndarray, icc_profile: bytes | None) -> None:
    import tifffile

    colours, alpha = planes.shape[2] - 1 + planes.shape[2] % 2, planes.shape[2] % 2 == 0
    if alpha and colours == 1:  # few programs (not even our own reader) know 16-bit grey with alpha
        planes, colours = planes[..., (0, 0, 0, 1)], 3
    tifffile.imwrite(
        path,
        planes[..., 0] if planes.shape[2] == 1 else planes,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if planes.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if alpha else None,
        compression="zlib",
        iccprofile=icc_profile,
        metadata=None,
    )
