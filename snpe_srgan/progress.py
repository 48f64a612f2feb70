"""How far long work is, in one style: what, how far, how fast, how long still.

    with track(say, "enlarging", total=40, unit="picture") as progress:
        for picture in pictures:
            ...
            progress.advance()

At a terminal it is a bar (tqdm); anywhere else a plain line now and then:

    enlarging: 12 of 40 pictures, 1.3 pictures/s, 0:21 left

`say` is whatever a function says its remarks by. A `Telling` (`Output.say`) knows whether a person watches; any other
function of one line gets the plain lines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from snpe_srgan.streams import printable

Say = Callable[[str], None]


def SILENT(text: str) -> None:
    """Says nothing."""


def draws(stream: TextIO) -> bool:
    """Whether a bar can be drawn on a stream: a terminal that knows its size. A serial line or a job's pseudo-terminal
    may say 0 x 0; there are plain lines then, as in a file."""
    if not stream.isatty():
        return False
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return True
    return size.columns > 0 and size.lines > 0


FIRST, LATER = 10.0, 30.0  # seconds to the first plain line, and between later ones


class Telling:
    """Says lines by `write`, above the bar if one is drawn.

    Args:
        write: prints one line.
        quiet: only what is `loud` is said, and no bar is drawn.
        terminal: whether a person watches, so that bars may be drawn on standard error.
    """

    def __init__(self, write: Say, *, quiet: bool, terminal: bool):
        self.write, self.quiet, self.terminal = write, quiet, terminal and not quiet
        self.bar: Any = None

    def __call__(self, text: str) -> None:
        if not self.quiet:
            self.loud(text)

    def loud(self, text: str) -> None:
        """A line that is said even when quiet."""
        if self.bar is None:
            self.write(text)
            return
        self.bar.clear()
        self.write(text)
        self.bar.refresh()


class Progress:
    """What `track` returns. It may be closed twice, and left without an end (an error says what happened)."""

    def __init__(self, say: Say, what: str, *, total: int | None, unit: str, done: int, scaled: bool):
        self.say, self.what, self.total, self.unit = say, printable(what), total, unit
        self.done = done
        # The rate's. When a first call says that more is done, the run was resumed: what an earlier one did is no rate.
        self.begun = time.monotonic(), done
        self.origin: tuple[float, int] | None = None
        self.next_line = self.begun[0] + FIRST
        self.scaled, self.note = scaled, ""
        self.bar: Any = None
        if isinstance(say, Telling) and say.terminal:
            from tqdm import tqdm

            self.outer, say.bar = say.bar, self._drawn(tqdm)

    def _drawn(self, tqdm: Any) -> Any:
        self.bar = tqdm(
            total=self.total, initial=self.done, desc=self.what, unit=self.unit, unit_scale=self.scaled,
            dynamic_ncols=True, leave=False, smoothing=0.05,
        )  # fmt: skip
        return self.bar

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self.to(self.done + count)

    def to(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """So many are done.

        Args:
            done: in all, not since the last call.
            total: where that has changed.
            note: stands behind the bar from now on; None leaves what is there.
        """
        change, self.done = done - self.done, done
        self.total = total or self.total
        self.note = note if note is not None else self.note
        if self.bar is not None:
            self.bar.total = self.total
            if note is not None:
                self.bar.set_postfix_str(printable(note), refresh=False)
            self.bar.update(change)
            return
        now = time.monotonic()
        self.origin = self.origin or (self.begun if done <= self.begun[1] else (now, done))
        if now >= self.next_line and done:
            self.next_line = now + LATER
            self.say(self.line(now))

    def line(self, now: float) -> str:
        """The plain line of this moment."""
        unit = "" if self.unit == "B" else f" {self.unit}s"
        shown = f"{self.done / 1e6:.1f}" if self.scaled else str(self.done)
        whole = "" if not self.total else f" of {self.total / 1e6:.1f}" if self.scaled else f" of {self.total}"
        text = f"{self.what}: {shown}{whole}{' MB' if self.scaled else unit}"
        then, first = self.origin or (now, self.done)
        if now > then and self.done > first:
            rate = (self.done - first) / (now - then)
            text += f", {rate / 1e6:.1f} MB/s" if self.scaled else f", {_figure(rate)}{unit}/s"
            if self.total and self.total > self.done:
                text += f", {clock((self.total - self.done) / rate)} left"
        return f"{text}, {self.note}" if self.note else text

    def close(self) -> None:
        """Ends the bar; says nothing."""
        if self.bar is not None:
            self.bar.close()
            self.say.bar, self.bar = self.outer, None  # type: ignore[attr-defined]

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def track(
    say: Say, what: str, *, total: int | None = None, unit: str = "step", done: int = 0, scaled: bool = False
) -> Progress:
    """Starts to show how far some work is.

    Args:
        say: says a line; a `Telling` at a terminal draws a bar instead.
        what: the work, as in "decoding".
        total: how many there are; None where that is not known.
        unit: one of them, in the singular; "B" for bytes.
        done: how many were done before (a run that goes on).
        scaled: large numbers are shown in millions (bytes as MB).
    """
    return Progress(say, what, total=total, unit=unit, done=done, scaled=scaled)


def clock(seconds: float) -> str:
    """65 -> '1:05', 3725 -> '1:02:05'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figure(rate: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
