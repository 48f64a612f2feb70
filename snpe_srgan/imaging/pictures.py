"""Pictures in and out: `list_pictures`, `read_picture`, `write_picture`, and the `Picture` between them."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import InputError
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


def natural_key(path: Path) -> tuple:
    """Sorts `2.png` before `10.png`, capitals beside small letters."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((1, int(part), part) if part.isdecimal() else (0, 0, part.lower()) for part in parts), str(path)


def list_pictures(path: str | Path) -> list[Path]:
    """The pictures of a file, a folder (not of the folders in it) or a glob (`photos/**/*.jpg`), naturally sorted.

    A single file is taken whatever its name; in folders and globs other files, and hidden ones, are passed over.
    """
    if str(path) == "":  # an unset variable of a script, and no wish to take the current folder
        raise InputError("the name of a picture or folder is empty", hint="`.` is the current folder")
    text, path = str(path), Path(path)
    try:
        if path.is_file():
            return [path]
        if path.is_dir():
            found = _only_pictures(path.iterdir())
            if not found:
                raise InputError(
                    "there is no picture in this folder", where=path, hint=f"pictures end in {', '.join(SUFFIXES)}"
                )
            return found
    except OSError as error:
        raise os_error(error, path, "read the folder") from error
    if glob.has_magic(text):
        found = _only_pictures(Path(match) for match in glob.glob(text, recursive=True))
        if not found:
            raise InputError("no picture matches this pattern", where=text, hint="quote it: 'photos/*.png'")
        return found
    raise InputError("no such picture or folder", where=path, hint=_neighbour(path))


def _only_pictures(paths) -> list[Path]:
    wanted = (p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file())
    return sorted(wanted, key=natural_key)


def _neighbour(path: Path) -> str | None:
    from snpe_srgan.errors import nearest

    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either"
    match = nearest(path.name, [p.name for p in path.parent.iterdir()])
    return f"did you mean '{path.parent / match}'?" if match else None
