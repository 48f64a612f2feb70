"""A page with a slider for any pictures, or for what several models make of the same pictures.

pictures = compare_pictures([Named("a", read_picture("a.png")), Named("b", read_picture("b.png"))], hr=None)
write_page([pictures], "compare.html", title="a, b")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import write_text
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import downscale, modcrop
from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.imaging.colour import to_uint8
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.metrics.protocol import Protocol, Score, score
from snpe_srgan.report.page import page
from snpe_srgan.report.shown import Comparison, Item, compare

MOST_BYTES = 64 << 20  # of a page: more is slow to open
BORDER = 4  # pixels cut before scoring where no network says how much it enlarges
Enlarge = Callable[[Picture], Picture]


@dataclass(frozen=True, eq=False)
class Named:
    """A picture and the name it is shown under."""

    name: str
    picture: Picture


@dataclass(frozen=True)
class Scored:
    """What `--json` says of one picture of a comparison; `score` is None without an HR picture."""

    name: str
    size: tuple[int, int]
    score: Score | None


@dataclass(frozen=True)
class Compared:
    """A comparison as the page shows it, and its figures."""

    shown: Comparison
    pictures: tuple[Scored, ...]


@dataclass(frozen=True)
class Written:
    """The page: its file and size, and what is in it."""

    path: Path
    bytes: int
    comparisons: tuple[Compared, ...]


def compare_pictures(pictures: Sequence[Named], *, hr: Picture | None, title: str) -> Compared:
    """Compares ready-made pictures; smaller ones that fit a whole number of times are enlarged by bicubic.

    Args:
        hr: the true picture, which all are scored against; None: nothing is scored.
        title: of the comparison on the page.

    Raises:
        InputError: their sizes differ and are no whole multiples.
    """
    everything = [*pictures, *([Named("HR", hr)] if hr else [])]
    height, width = (max(getattr(p.picture, side) for p in everything) for side in ("height", "width"))
    alike = [_enlarged_to(height, width, one) for one in everything]
    return _compared(title, alike, hr is not None, border=BORDER)


def compare_models(
    models: Mapping[str, Enlarge], lr: Picture, *, scale: int, hr: Picture | None, title: str
) -> Compared:
    """Compares what the models make of one LR picture with bicubic, and with HR where there is one.

    Args:
        models: name -> its enlargement.
        scale: by how much all of them enlarge.
        hr: the true picture, which all are scored against; None: nothing is scored.
        title: of the comparison on the page.

    Raises:
        InputError: HR is not `scale` times as large as LR.
    """
    if hr is not None and (hr.height, hr.width) != (lr.height * scale, lr.width * scale):
        raise InputError(
            f"the HR picture is {hr.height}x{hr.width}, not {scale} times {lr.height}x{lr.width}", where=hr.path
        )
    made = [Item("bicubic", bicubic(eight_bits(lr), scale))]
    made += [Item(name, eight_bits(enlarge(lr))) for name, enlarge in models.items()]
    made += [Item("HR", eight_bits(hr))] if hr else []
    return _compared(title, made, hr is not None, border=scale)


def made_small(hr: Picture, scale: int) -> tuple[Picture, Picture]:
    """(LR, HR) of one HR picture: HR cut to a multiple of the scale, LR made of it by MATLAB-compatible bicubic."""
    cut = modcrop(to_uint8(hr.rgb), scale)
    return Picture(downscale(cut, scale), grey=hr.grey, path=hr.path), Picture(cut, grey=hr.grey, path=hr.path)


def write_page(
    comparisons: Sequence[Compared], path: str | os.PathLike, *, title: str, overwrite: bool = False
) -> Written:
    """Writes the page, one file with all pictures inside.

    Args:
        title: of the page.
        overwrite: whether the file may exist already.

    Raises:
        InputError: the page would be larger than MOST_BYTES, or the file exists and may not.
    """
    scored = any(picture.score for one in comparisons for picture in one.pictures)
    text = page(
        "compare.html.j2", title=title, comparisons=[one.shown for one in comparisons],
        protocol=Protocol("y").describe().replace("`scale`", "the scale's") if scored else "",
    )  # fmt: skip
    if len(text) > MOST_BYTES:
        raise InputError(
            f"the page would have {len(text) / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}", where=path,
            hint="fewer pictures, or smaller ones",
        )  # fmt: skip
    written = write_text(path, text, overwrite=overwrite)
    return Written(Path(written), written.stat().st_size, tuple(comparisons))


def eight_bits(picture: Picture) -> np.ndarray:
    """uint8 `(h, w, 3)`, or `(h, w, 4)` where the picture has transparency."""
    rgb = to_uint8(picture.rgb)
    return rgb if picture.alpha is None else np.concatenate([rgb, to_uint8(picture.alpha)[..., None]], axis=2)


def _enlarged_to(height: int, width: int, one: Named) -> Item:
    pixels, own = eight_bits(one.picture), (one.picture.height, one.picture.width)
    if own == (height, width):
        return Item(one.name, pixels)
    factor = height // own[0]
    if (own[0] * factor, own[1] * factor) != (height, width):
        raise InputError(
            f"{one.name} has {own[0]}x{own[1]} pixels, another picture {height}x{width}", where=one.picture.path,
            hint="compare pictures of one size, or whole multiples of it",
        )  # fmt: skip
    return Item(one.name, bicubic(pixels, factor), f"enlarged {factor} times by bicubic")


def _compared(title: str, items: Sequence[Item], has_hr: bool, *, border: int) -> Compared:
    """Scores the items against the last one where that is HR."""
    figures, noted = [], []
    for index, item in enumerate(items):
        own = None
        if has_hr and index < len(items) - 1:
            own = score(item.pixels[..., :3], items[-1].pixels[..., :3], protocol=Protocol("y", border), scale=border)
        note = item.note if own is None else " ".join(filter(None, [f"{own.psnr:.2f} dB", item.note]))
        noted.append(Item(item.name, item.pixels, note))
        figures.append(Scored(item.name, item.pixels.shape[:2], own))
    return Compared(compare(title, noted, reference=len(items) - 1 if has_hr else None), tuple(figures))
