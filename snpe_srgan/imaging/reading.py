"""Any picture a user has, as a `Picture`: upright, with its transparency, depth, profile and camera data, or an error.

The file's first bytes choose the decoder (`kinds.py`). What is not kept is remarked on the picture; what cannot be read
right is refused by name; what is cut short or contradicts itself is never half decoded.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.colour import grey_to_rgb
from snpe_srgan.imaging.decoded import Accept, Damaged, Decoded, Layout, Refused, listed, upright
from snpe_srgan.imaging.kinds import HEAD, NETPBM, PNG, READ, TIFF, Kind, recognize
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.machine import available_memory
from snpe_srgan.opener import open_regular, read_regular
from snpe_srgan.streams import printable

MAX_PIXELS = 250_000_000  # 0.75 GB of RGB; a file of a few kB can claim to be far larger
LARGE = 40_000_000  # pixels: a page at 600 dpi; up to here an empty one is taken, however small its file
EMPTY = 1000  # pixels for each byte of the file: a blank page compresses so well, a picture does not
MAX_MEMORY = 1_800_000_000  # bytes that reading one picture takes, its file among them; the program itself adds 0.1 GB
_SMALL = 100_000_000  # bytes: less is not worth asking what is free
MAX_BYTES = 1 << 31  # of a picture's file: 16 bits of RGBA of so many pixels, uncompressed


def read_picture(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    max_memory: int = MAX_MEMORY,
    accept: Callable[[Layout], None] | None = None,
) -> Picture:
    """Reads one picture.

    Args:
        max_pixels: a larger picture is refused by its header.
        max_memory: bytes; a picture whose decoder takes more, or more than is free, is refused by its header.
        accept: called with what the header promises, before a pixel is decoded; it may raise an `InputError`, which
            is then raised here with the file's name.

    Returns:
        The picture; its `remarks` say what of the file it does not hold.

    Raises:
        InputError: for whatever cannot be read whole, naming the file.
    """
    path = Path(path)

    def checked(layout: Layout) -> None:
        if layout.width * layout.height > max_pixels:
            raise InputError(
                f"a picture of {layout.width}x{layout.height} pixels is over the limit of "
                f"{max_pixels / 1e6:g} megapixels",
                hint="cut it in parts",
            )
        _refuse_emptiness(layout, len(data))
        _refuse_memory(layout, kind, size=len(data), limit=max_memory)
        if accept is not None:
            accept(layout)

    kind = _kind(path)
    data = read_regular(path, limit=MAX_BYTES, doing="read the picture")
    try:
        with warnings.catch_warnings(), _complaints() as complaints:
            warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF and the like: the pixels are whole
            decoded = _decode(data, kind, checked)
        remarks = decoded.remarks
        if complaints:
            remarks = (f"{path.name} is damaged, but its pixels could be decoded: {listed(complaints)}", *remarks)
        height, width = decoded.planes.shape[:2]
        if decoded.orientation != 1 and (needed := 2 * decoded.planes.nbytes) > max_memory:  # turning copies them
            raise _too_much(f"turning {width}x{height} pixels upright", needed, max_memory)
        return _picture(replace(decoded, remarks=remarks), path)
    except InputError as error:
        raise InputError(error.what, where=error.where or path, hint=error.hint) from error
    except Refused as error:
        raise InputError(error.error.what, where=path, hint=error.error.hint) from error
    except MemoryError as error:
        raise InputError("not enough memory for this picture", where=path, hint="cut it in parts first") from error
    except ImportError:
        raise
    except Exception as error:  # decoders meet hostile bytes with ValueError, SyntaxError, struct.error, IndexError...
        reason = str(error) or type(error).__name__
        raise InputError(
            f"the {kind.name} is damaged or cut short: {reason[:200]}", where=path,
            hint="copy or download it again, or convert it",
        ) from error  # fmt: skip


def _refuse_emptiness(layout: Layout, size: int) -> None:
    """A few bytes can unpack to gigabytes: what is that large and holds next to nothing is no photo and no scan."""
    pixels = layout.width * layout.height
    if pixels > LARGE and pixels > EMPTY * size:
        raise InputError(
            f"a file of {size} bytes that claims {layout.width}x{layout.height} pixels: blank, or made to fill the "
            "memory",
            hint=f"cut it in parts of at most {LARGE / 1e6:g} megapixels",
        )


def _refuse_memory(layout: Layout, kind: Kind, *, size: int, limit: int) -> None:
    """Raises where decoding takes more memory than is allowed or free; the file's `size` bytes are taken already."""
    what = f"decoding {layout.width}x{layout.height} pixels of {kind.name}"
    if size + layout.decoding > limit:
        raise _too_much(what, size + layout.decoding, limit)
    if layout.decoding > _SMALL and (free := available_memory()) is not None and layout.decoding > free:
        raise InputError(
            f"{what} takes {layout.decoding / 1e9:.2g} GB of memory and {free / 1e9:.2g} GB are free",
            hint="cut it in parts",
        )


def _too_much(what: str, needed: int, limit: int) -> InputError:
    return InputError(
        f"{what} takes {needed / 1e9:.2g} GB of memory, over the limit of {limit / 1e9:.2g} GB",
        hint="cut it in parts",
    )


class _Listener(logging.Handler):
    """Keeps what one thread's decoder logs."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.heard.append(printable(record.getMessage().removeprefix("PNG warning: ")))


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What imagecodecs (for libpng) logs of a damaged picture meanwhile: without a listener it reaches the terminal."""
    logger, listener = logging.getLogger("imagecodecs"), _Listener()
    logger.propagate = False
    logger.addHandler(listener)
    try:
        yield listener.heard
    finally:
        logger.removeHandler(listener)


def _kind(path: Path) -> Kind:
    """The kind that the file's first bytes say."""
    with open_regular(path, doing="read the picture") as file:
        head = file.read(HEAD)
    if not head:
        raise InputError("the picture file is empty", where=path, hint="copy or download it again")
    kind = recognize(head)
    if kind is None:
        raise InputError(
            "not a picture of a kind that can be read", where=path,
            hint=f"these can: {', '.join(known.name for known in READ)}",
        )  # fmt: skip
    if kind.refusal:
        raise InputError(f"{kind.name} files are not read", where=path, hint=kind.refusal)
    return kind


def _decode(data: bytes, kind: Kind, accept: Accept) -> Decoded:
    """The decoders are imported here: each takes time that the other kinds need not spend."""
    if kind is PNG:
        from snpe_srgan.imaging.png_reading import read_png

        return read_png(data, accept)
    if kind is TIFF:
        from snpe_srgan.imaging.tiff_reading import read_tiff

        return read_tiff(data, accept)
    if kind is NETPBM:
        from snpe_srgan.imaging.netpbm import read_netpbm

        return read_netpbm(data, accept)
    from snpe_srgan.imaging.common_reading import read_common

    return read_common(data, kind, accept)


def _picture(decoded: Decoded, path: Path) -> Picture:
    planes = upright(decoded.planes, decoded.orientation)
    if not planes.size:
        raise Damaged("it has no pixels")
    colours, alpha = planes, None
    if planes.shape[2] in (2, 4):
        colours, alpha = planes[..., :-1], np.ascontiguousarray(planes[..., -1])
    grey = colours.shape[2] == 1
    return Picture(
        grey_to_rgb(np.ascontiguousarray(colours[..., 0])) if grey else np.ascontiguousarray(colours),
        alpha=alpha,
        grey=grey,
        metadata=decoded.metadata,
        remarks=decoded.remarks,
        path=path,
    )
