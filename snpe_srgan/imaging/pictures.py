"""Pictures in and out: `list_pictures`, `read_picture`, `write_picture`, and the `Picture` between them."""

from __future__ import annotations

import os
from pathlib import Path

from snpe_srgan.imaging.finder import find_pictures, natural_key
from snpe_srgan.imaging.kinds import SUFFIXES
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.imaging.reading import MAX_PIXELS, read_picture
from snpe_srgan.imaging.writing import check_output, output_format, write_picture

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Picture",
    "check_output",
    "list_pictures",
    "natural_key",
    "output_format",
    "read_picture",
    "write_picture",
]


def list_pictures(path: str | os.PathLike) -> list[Path]:
    """The pictures of a file, a folder (not of the folders in it) or a glob (`photos/**/*.jpg`), naturally sorted.

    See `finder.find_pictures`, which also tells what was passed over.
    """
    return list(find_pictures(path).pictures)
