"""Pictures as a page shows them: of one size, cut where they are too large, inside the page as data: URLs.

comparison = compare("baby", [Item("bicubic", bicubic), Item("mobile", sr), Item("HR", hr)], reference=2)
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.side_by_side import busiest_box

MOST_SIDE = 1536  # pixels of a picture in a page, to each side
MAP_SIDE = 480  # pixels of a difference map
MAP_TOP = 32  # levels of 255 that are drawn in the brightest colour
MAP_COLOURS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))  # black to white
DETAIL = 40  # pixels of the square that is shown enlarged at first


@dataclass(frozen=True, eq=False)
class Item:
    """A picture to compare: uint8 `(h, w, 3)` or `(h, w, 4)`; `note` is a line below its name, its score."""

    name: str
    pixels: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """A picture in a page."""

    name: str
    note: str
    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Comparison:
    """Pictures of one size, the first two of which the slider shows at first.

    `centre`: (x, y) of the place with the most detail. `differences`: maps of how far each is from `reference`.
    """

    title: str
    pictures: tuple[Shown, ...]
    centre: tuple[int, int]
    left: int
    right: int
    reference: str | None = None
    differences: tuple[Shown, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels of each picture, as shown."""
        return self.pictures[0].width

    @property
    def height(self) -> int:
        """Pixels of each picture, as shown."""
        return self.pictures[0].height


def compare(
    title: str, items: Sequence[Item], *, reference: int | None = None, start: tuple[int, int] = (0, 1),
    remarks: Sequence[str] = (),
) -> Comparison:  # fmt: skip
    """Makes what a page shows of some pictures of one size.

    Args:
        reference: index of the picture that is the truth; the maps show the distance from it.
        start: indices of the pictures on the left and on the right of the slider at first.

    Raises:
        InputError: their sizes differ.
    """
    sizes = {item.pixels.shape[:2] for item in items}
    if len(sizes) != 1:
        each = ", ".join(f"{item.name} {item.pixels.shape[0]}x{item.pixels.shape[1]}" for item in items)
        raise InputError(f"pictures of several sizes: {each}"[:400], where=title, hint="compare pictures of one size")
    judge = items[-1 if reference is None else reference].pixels
    top, left, height, width = _window(judge)
    cut = [Item(i.name, i.pixels[top : top + height, left : left + width], i.note) for i in items]
    judge = judge[top : top + height, left : left + width, :3]
    said = list(remarks)
    if (height, width) != next(iter(sizes)):
        whole = "{}x{}".format(*next(iter(sizes)))
        scored = "; scores are of the whole picture" if any(item.note for item in items) else ""
        said.append(f"Cut to {height}x{width} of {whole} pixels, from row {top}, column {left}{scored}.")
    y, x, rows, columns = busiest_box(judge, DETAIL)
    maps = () if reference is None else tuple(
        difference(item, judge) for index, item in enumerate(cut) if index != reference
    )  # fmt: skip
    return Comparison(
        title=title, pictures=tuple(shown(item) for item in cut), centre=(x + columns // 2, y + rows // 2),
        left=start[0], right=start[1], reference=None if reference is None else items[reference].name,
        differences=maps, remarks=tuple(said),
    )  # fmt: skip


def _window(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, height, width) of what is shown: all, or the square with the most detail."""
    height, width = pixels.shape[:2]
    if height <= MOST_SIDE and width <= MOST_SIDE:
        return 0, 0, height, width
    if min(height, width) >= MOST_SIDE:
        return busiest_box(pixels[..., :3], MOST_SIDE)
    tall, wide = min(height, MOST_SIDE), min(width, MOST_SIDE)
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def shown(item: Item) -> Shown:
    """A picture as lossless WebP inside the page."""
    height, width = item.pixels.shape[:2]
    return Shown(item.name, item.note, webp_url(item.pixels), width, height)


def difference(item: Item, reference: np.ndarray) -> Shown:
    """The mean distance of the channels, 0 to MAP_TOP levels, in 16 colours; means of blocks where it is large."""
    distance = np.abs(item.pixels[..., :3].astype(np.int16) - reference).mean(axis=2)
    block = -(-max(distance.shape) // MAP_SIDE)
    if block > 1:
        height, width = (n // block for n in distance.shape)
        whole = distance[: height * block, : width * block]
        distance = whole.reshape(height, block, width, block).mean(axis=(1, 3))
    index = np.minimum(distance * (16 / MAP_TOP), 15).astype(np.uint8)
    places = np.linspace(0, len(MAP_COLOURS) - 1, 16)
    palette = [np.interp(places, range(len(MAP_COLOURS)), channel) for channel in zip(*MAP_COLOURS, strict=True)]
    pixels = np.stack(palette, axis=1).astype(np.uint8)[index]
    mean = float(np.abs(item.pixels[..., :3].astype(np.int16) - reference).mean())
    return Shown(item.name, f"mean {mean:.2f} levels", webp_url(pixels), pixels.shape[1], pixels.shape[0])


def webp_url(pixels: np.ndarray) -> str:
    """uint8 pixels as a data: URL, without loss."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "WEBP", lossless=True, method=3)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def png_file(path: Path, name: str) -> Shown:
    """A picture file of ours as it is shown: as lossless WebP, smaller than the PNG."""
    from snpe_srgan.imaging.pictures import read_picture

    return shown(Item(name, read_picture(path).rgb))
