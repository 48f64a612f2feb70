"""Frames from anywhere to anywhere: a video or standard input, enlarged and written to a pipe as YUV4MPEG2.

ffmpeg -f v4l2 -i /dev/video0 -f yuv4mpegpipe - | snpe-srgan run - --to-stdout | mpv -

With a budget of frames a second the network is watched: where it is too slow a smaller one takes over, which is said,
and where there is none the run fails.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from snpe_srgan.errors import CheckFailed
from snpe_srgan.runtimes.session import Session
from snpe_srgan.video.channel import Channel, Stopped
from snpe_srgan.video.colour import FULL, Colour, from_rgb
from snpe_srgan.video.encoding import choose_format
from snpe_srgan.video.frames import FrameEnlarger
from snpe_srgan.video.selection import Picker, Selection
from snpe_srgan.video.source import Frame, open_source
from snpe_srgan.video.steady import Steady

# Pixel format -> YUV4MPEG2's name of it (https://wiki.multimedia.cx/index.php/YUV4MPEG2, and what FFmpeg adds to it).
FORMATS = {
    "yuv420p": "420mpeg2", "yuv422p": "422", "yuv444p": "444", "gray": "mono", "yuv420p10le": "420p10 XYSCSS=420P10",
    "yuv422p10le": "422p10 XYSCSS=422P10", "yuv444p10le": "444p10 XYSCSS=444P10",
}  # fmt: skip
MEASURED = 12  # frames whose median time is held against the budget
SAY_EVERY = 2.0  # seconds


@dataclass(frozen=True)
class LiveRun:
    """What went through: frames, frames a second in all and of the network alone (median), seconds from a frame's
    decoding to its last byte in the pipe (median and worst), the networks used in their order, remarks."""

    frames: int
    frame_rate: float
    network_rate: float
    latency: float
    worst_latency: float
    networks: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A network under its name, opened."""

    name: str
    session: Session


def run_live(
    network: Network,
    path: str,
    pipe: BinaryIO,
    *,
    selection: Selection | None = None,
    tile: tuple[int, int] | None = None,
    budget: float | None = None,
    steady: bool = False,
    smaller: Callable[[Network], Network | None] = lambda network: None,
    say: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> LiveRun:
    """Enlarges the video at `path` (`-`: standard input) into `pipe` until it ends.

    Args:
        budget: frames a second that the network must reach.
        steady: smooth over time where nothing moves.
        smaller: gives the next smaller network of the same scale, or None.
        say: told the frame rate and the latency every two seconds.
        warn: told that a smaller network took over.
        clock: measures the network, in seconds.

    Raises:
        CheckFailed: no network reaches the budget.
        BrokenPipeError: whoever reads the pipe has left.
    """
    source = open_source(path)
    live = _Live(source, network, pipe, selection or Selection(), tile, budget, steady, smaller, say, warn, clock)
    try:
        return live.run()
    finally:
        if not source.live:  # a thread that waits for standard input holds the container
            source.close()


class _Live:
    def __init__(self, source, network, pipe, selection, tile, budget, steady, smaller, say, warn, clock):
        self.source, self.network, self.pipe, self.tile = source, network, pipe, tile
        self.budget, self.smaller, self.say, self.warn = budget, smaller, say, warn
        self.steadies, self.clock = steady, clock
        self.picker = Picker(selection, source.facts.time_base)
        self.facts, self.scale = source.facts, network.session.scale
        self.size = tuple(side * self.scale for side in self.facts.size)
        self.form = choose_format(self.facts, list(FORMATS), self.size)
        self.small: Channel[tuple[float, Frame]] = Channel(1)  # short queues: what waits is old when it is seen
        self.large: Channel[tuple[float, np.ndarray]] = Channel(1)
        self.recent: deque[float] = deque(maxlen=MEASURED)
        self.seconds: list[float] = []
        self.latencies: deque[float] = deque(maxlen=10000)
        self.worst, self.frames, self.uneven = 0.0, 0, 0
        self.names = [network.name]
        self.failed: list[BaseException] = []
        self._open_network()

    def _open_network(self) -> None:
        """Another network draws other detail: nothing of the one before is averaged with it."""
        self.enlarge = FrameEnlarger(self.network.session, self.facts.size, tile=self.tile)
        if self.enlarge.plan.reason:
            self.warn(self.enlarge.plan.reason)
        self.enlarge(np.zeros((*self.facts.size, 3), np.uint8))  # compiled before the first frame waits
        self.steady = Steady(self.scale) if self.steadies else None
        self.recent.clear()

    def run(self) -> LiveRun:
        decode = threading.Thread(target=self._decode, name="decode", daemon=True)
        write = threading.Thread(target=self._write, name="write", daemon=True)
        begun = time.perf_counter()
        decode.start()
        write.start()
        try:
            self._enlarge_all()
            self.large.close()
        except Stopped:
            pass  # the writer failed
        except BaseException as error:
            self.large.fail(error)
            raise
        finally:
            self.small.stop()
            write.join()
        if self.failed:
            raise self.failed[0]
        elapsed = time.perf_counter() - begun
        return LiveRun(
            self.frames, self.frames / max(elapsed, 1e-9), 1 / max(statistics.median(self.seconds or [1.0]), 1e-9),
            statistics.median(self.latencies or [0.0]), self.worst, tuple(self.names), tuple(self._notes()),
        )  # fmt: skip

    def _decode(self) -> None:
        before = None
        step = 1 / (self.facts.rate * self.facts.time_base) * self.picker.selection.every
        with self.small.writing():
            for frame in self.source.frames(wanted=self.picker.wanted):
                if before is not None and abs(frame.pts - before - step) > max(1, step / 50):
                    self.uneven += 1
                before = frame.pts
                self.small.put((time.perf_counter(), frame))

    def _enlarge_all(self) -> None:
        said = time.perf_counter()
        for arrived, frame in self.small:
            start = self.clock()
            rgb = self.enlarge(frame.rgb)
            if self.steady is not None:
                rgb = self.steady(frame.rgb, rgb)
            took = self.clock() - start
            self.recent.append(took)
            self.seconds.append(took)
            if len(self.seconds) > 10000:
                del self.seconds[:5000]
            self.large.put((arrived, rgb))
            if self.budget is not None and len(self.recent) == MEASURED:
                self._hold_to_budget()
            if time.perf_counter() - said >= SAY_EVERY and self.latencies:
                said = time.perf_counter()
                rate, latency = 1 / statistics.median(self.recent or [took]), statistics.median(self.latencies)
                self.say(f"{self.frames} frames, {rate:.1f} frames/s by the network, {latency * 1000:.0f} ms latency")

    def _hold_to_budget(self) -> None:
        rate = 1 / statistics.median(self.recent)
        assert self.budget is not None
        if rate >= self.budget:
            return
        following = self.smaller(self.network)
        if following is None:
            raise CheckFailed(
                f"{self.network.name} reaches {rate:.1f} frames/s, less than --fps {self.budget:g}, and no smaller "
                "network is there",
                where=f"frame {self.frames}",
                hint="smaller pictures, --precision bf16 where the CPU has it, or a lower --fps",
            )
        self.warn(
            f"{self.network.name} reaches {rate:.1f} frames/s, less than --fps {self.budget:g}: from here on "
            f"{following.name} enlarges"
        )
        self.network = following
        self.names.append(following.name)
        self._open_network()

    def _write(self) -> None:
        colour = self.facts.colour
        try:
            self.pipe.write(header(self.size, self.facts.rate / self.picker.selection.every, self.facts.aspect,
                                   self.form, colour))  # fmt: skip
            for arrived, rgb in self.large:
                self.pipe.write(b"FRAME\n")
                for plane in planes(from_rgb(rgb, None, colour, pix_fmt=self.form)):
                    self.pipe.write(plane)
                self.pipe.flush()
                latency = time.perf_counter() - arrived
                self.latencies.append(latency)
                self.worst = max(self.worst, latency)
                self.frames += 1
        except BaseException as error:
            self.failed.append(error)
            self.large.stop()

    def _notes(self):
        others = len(self.source.container.streams) - 1
        if others:
            yield f"a pipe carries pictures only: {others} other streams are left out"
        if self.uneven:
            yield f"the distances of {self.uneven} frames are not even, and YUV4MPEG2 has one rate"
        if self.facts.alpha:
            yield "transparency is left out: YUV4MPEG2 has none"
        yield from self.source.damage


def header(size: tuple[int, int], rate, aspect, form: str, colour: Colour) -> bytes:
    """The first line of a YUV4MPEG2 stream.

    Args:
        size: (height, width) of the enlarged frames.
        rate: frames a second, a Fraction.
        aspect: of one pixel, width over height, a Fraction.
        form: FFmpeg's pixel format, a key of `FORMATS`.

    Returns:
        The line with its end; progressive frames.
    """
    height, width = size
    words = [
        "YUV4MPEG2", f"W{width}", f"H{height}", f"F{rate.numerator}:{rate.denominator}", "Ip",
        f"A{aspect.numerator}:{aspect.denominator}", f"C{FORMATS[form]}",
        f"XCOLORRANGE={'FULL' if colour.range == FULL else 'LIMITED'}",
    ]  # fmt: skip
    return " ".join(words).encode("ascii") + b"\n"


def planes(frame):
    """The planes of a frame as bytes, without the padding of their rows."""
    wide = 2 if max(c.bits for c in frame.format.components) > 8 else 1
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height]
        yield np.ascontiguousarray(rows[:, : plane.width * wide]).data
