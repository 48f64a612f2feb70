"""Which frames are taken: `--from 1:02.5 --to 300f --every 2`.

A time is seconds or [h:]mm:ss[.s] on the clip's own clock, which starts at its first frame; `300f` is a frame's number,
counted from 0. `--from` is taken, `--to` is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from snpe_srgan.errors import UsageError

_TIME = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{1,9})?)")
_FRAME = re.compile(r"(\d{1,12})f")


@dataclass(frozen=True)
class Point:
    """A place in a clip: a frame's number, or seconds after its first frame."""

    frame: int | None = None
    seconds: Fraction | None = None

    def reached(self, number: int, seconds: Fraction) -> bool:
        """Whether a frame, by its number and its seconds after the first, is this point or lies behind it."""
        return number >= self.frame if self.frame is not None else seconds >= (self.seconds or 0)


def parse_point(text: str, option: str) -> Point:
    """`300f`, `12.5`, `1:02:03.5`; a usage error for anything else."""
    text = text.strip()
    if found := _FRAME.fullmatch(text):
        return Point(frame=int(found[1]))
    if found := _TIME.fullmatch(text):
        hours, minutes, seconds = (Fraction(part or 0) for part in found.groups())
        return Point(seconds=hours * 3600 + minutes * 60 + seconds)
    raise UsageError(f"{option} {text[:40]!r} is no time and no frame", hint=f"{option} 12.5, 1:02:03.5 or 300f")


@dataclass(frozen=True)
class Selection:
    """Asked for each frame in order: `wanted` says whether it is taken; None, that no later one is either."""

    start: Point | None = None
    end: Point | None = None
    every: int = 1

    @property
    def cuts(self) -> bool:
        """Whether the clip is made shorter at either end; leaving out every second frame does not count."""
        return self.start is not None or self.end is not None

    def describe(self) -> dict[str, object]:
        """For the state of an unfinished run: the same words, the same frames."""
        return {"from": str(self.start), "to": str(self.end), "every": self.every}


class Picker:
    """One pass of a selection over a clip; `done` frames of it were made before and are passed over.

    `first` is the time stamp of the first frame that the selection holds, whether or not it was made before.
    """

    def __init__(self, selection: Selection, time_base: Fraction, *, done: int = 0):
        self.selection, self.time_base, self.done = selection, time_base, done
        self.zero: int | None = None
        self.first: int | None = None
        self.inside = self.taken = self.seen = 0
        self.ended = False

    def wanted(self, number: int, pts: int) -> bool | None:
        """Asked for each frame in order: whether its pixels are needed; None when no later frame is taken.

        Args:
            number: of the frame in the file, from 0.
            pts: its time stamp in units of the time base.
        """
        if self.zero is None:
            self.zero = pts
        seconds = (pts - self.zero) * self.time_base
        if self.selection.end is not None and self.selection.end.reached(number, seconds):
            self.ended = True
            return None
        self.seen += 1
        if self.selection.start is not None and not self.selection.start.reached(number, seconds):
            return False
        index, self.inside = self.inside, self.inside + 1
        if index % self.selection.every:
            return False
        if self.first is None:
            self.first = pts
        self.taken += 1
        return self.taken > self.done
