"""Progress of long work: a bar at a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import sys

import pytest

from snpe_srgan import progress as module
from snpe_srgan.console import Output
from snpe_srgan.progress import Telling, clock, draws, track


class Time:
    """A clock that the test moves."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_tell_how_far_how_fast_and_how_long_still(monkeypatch):
    time, said = Time(monkeypatch), []
    with track(said.append, "decoding", total=40, unit="picture") as progress:
        for _ in range(20):
            time.now += 4
            progress.advance()
    assert said == [
        "decoding: 3 of 40 pictures, 0.25 pictures/s, 2:28 left",
        "decoding: 11 of 40 pictures, 0.25 pictures/s, 1:56 left",
        "decoding: 19 of 40 pictures, 0.25 pictures/s, 1:24 left",
    ]


def test_bytes_are_megabytes_and_an_unknown_total_is_left_out(monkeypatch):
    time, said = Time(monkeypatch), []
    with track(said.append, "x.zip", total=300_000_000, unit="B", scaled=True) as progress:
        progress.to(0)
        time.now += 10
        progress.to(100_000_000)
    with track(said.append, "clip.mp4", unit="frame") as progress:
        time.now += 20
        progress.to(50, 0, note="fast")
    assert said == ["x.zip: 100.0 of 300.0 MB, 10.0 MB/s, 0:20 left", "clip.mp4: 50 frames, fast"]


def test_what_an_earlier_run_did_says_nothing_of_the_rate(monkeypatch):
    time, said = Time(monkeypatch), []
    with track(said.append, "clip.mp4", total=1000, unit="frame") as progress:
        progress.to(501)
        time.now += 10
        progress.to(511)
    assert said == ["clip.mp4: 511 of 1000 frames, 1 frames/s, 8:09 left"]


def test_the_rate_counts_from_the_beginning_when_the_first_call_comes_late(monkeypatch):
    """Several processes evaluate: the first picture's begin and end are told in one moment, when it is done."""
    time, said = Time(monkeypatch), []
    with track(said.append, "evaluating", total=5, unit="picture") as progress:
        time.now += 20
        progress.to(0)
        progress.to(1)
    assert said == ["evaluating: 1 of 5 pictures, 0.05 pictures/s, 1:20 left"]


def test_a_bar_at_a_terminal_and_remarks_above_it(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    output = Output()
    with track(output.say, "enlarging", total=2, unit="picture") as outer:
        output.note("a remark")
        output.warn("a warning")
        with track(output.say, "a.png", total=4, unit="tile") as inner:
            inner.advance()
        outer.advance()
    text = sys.stderr.getvalue()
    assert "enlarging:" in text and "a.png:" in text
    assert "\ra remark\n" in text.replace("\x1b[A", "") or "a remark\n" in text
    assert "warning: a warning\n" in text and output.say.bar is None


@pytest.mark.parametrize(("rows", "columns", "bar"), [(24, 80, True), (0, 0, False), (0, 80, False), (24, 0, False)])
def test_a_terminal_without_a_size_gets_plain_lines(rows, columns, bar):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with open(theirs, "w") as terminal, open(ours, "rb"):
        assert draws(terminal) is bar
    assert not draws(io.StringIO()) and draws(Terminal())


def test_names_from_outside_are_escaped(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with track(Output().say, "a\x1b[2Jb", total=2) as progress:
        progress.to(1, note="c\nd")
    assert "\x1b[2J" not in sys.stderr.getvalue() and "c\nd" not in sys.stderr.getvalue()


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_quiet_is_quiet_but_for_warnings(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    time, output = Time(monkeypatch), Output(quiet=True)
    with track(output.say, "enlarging", total=2) as progress:
        time.now += 60
        progress.advance()
        output.note("a remark")
        output.warn("a warning")
    assert sys.stderr.getvalue() == "warning: a warning\n"


def test_an_error_leaves_no_bar_behind(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    say = Telling(print, quiet=False, terminal=True)
    with pytest.raises(ZeroDivisionError), track(say, "dividing", total=2):
        raise ZeroDivisionError
    assert say.bar is None


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (65.4, "1:05"), (3725, "1:02:05"), (59.6, "1:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text
