"""A video file, read: what it is, and its frames one after the other, each with its time.

with open_source("clip.mp4") as source:
    for frame in source.frames(): frame.pts, frame.rgb

Every frame is given: the decoder is flushed at the end. What could not be read is told in `source.damage` afterwards.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular
from snpe_srgan.video.colour import Colour, colour_of, to_rgb
from snpe_srgan.video.kinds import STDIN, require_av

PQ_OR_HLG = (16, 18)  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
DOLBY = ("DOVI_RPU_BUFFER", "DOVI_METADATA")
DYNAMIC = ("DYNAMIC_HDR_PLUS", "DYNAMIC_HDR_VIVID")
TAIL = 0.5  # seconds by which a file may end before the length it states


@dataclass(frozen=True)
class Facts:
    """What a video stream is. Sizes are of the upright picture, (height, width).

    Attributes:
        rate: frames a second on average; `variable` where the distances differ is seen only while reading.
        rotation: degrees counter-clockwise by which frames are turned to stand upright, `mirrored` before that.
        aspect: width of a pixel over its height, upright.
        bits: of one channel as stored.
        frames: how many the container says there are, 0 where it does not.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    pix_fmt: str
    bits: int
    alpha: bool
    codec: str
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    rotation: int
    mirrored: bool
    interlaced: bool
    colour: Colour
    mastering: bytes | None
    light: bytes | None
    dynamic: tuple[str, ...]
    frames: int


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its number in the file, its time in units of the stream's time base, its pixels upright.

    rgb: uint8 or uint16 `(h, w, 3)`; alpha: the same type `(h, w)`, or None.
    """

    number: int
    pts: int
    duration: int
    rgb: np.ndarray
    alpha: np.ndarray | None


class Source:
    """An opened video; `facts` are read from its first frame."""

    def __init__(self, path: str | Path, container, *, live: bool = False):
        self.path, self.container, self.live = path, container, live
        videos = [s for s in container.streams.video if not _is_cover(s)]
        if not videos:
            raise InputError("there is no video stream in it", where=path)
        best = container.streams.best("video")
        self.stream = best if best is not None and not _is_cover(best) else videos[0]
        if self.stream.codec_context is None:
            raise InputError("the codec of its video stream is not known here", where=path)
        self.stream.thread_type = "SLICE" if live else "AUTO"  # threads over frames hold several back
        self.damage: list[str] = []
        self.moved = 0  # frames whose time was missing or not after the one before
        self._bad = 0
        self._decoded = self._decode()
        self._first = next(self._decoded, None)
        if self._first is None:
            detail = f": {self.damage[0]}" if self.damage else ""
            raise InputError(f"no frame of it can be decoded{detail}", where=path)
        self.facts = _facts(self.stream, self._first)

    def frames(self, *, wanted=None) -> Iterator[Frame]:
        """All frames in order, once. `wanted(number, pts)` says False for frames whose pixels are not needed (they are
        decoded all the same, which is what makes numbers exact), None to stop."""
        facts, number, before = self.facts, -1, None
        step = max(1, round(1 / (facts.rate * facts.time_base)))
        for number, raw in enumerate(self._raw()):
            pts = raw.pts
            if pts is None or (before is not None and pts <= before):
                pts = 0 if before is None else before + (step if raw.pts is None else 1)
                self.moved += 1
            before = pts
            verdict = True if wanted is None else wanted(number, pts)
            if verdict is None:
                return
            if not verdict:
                continue
            if (raw.height, raw.width) != facts.stored:
                self.damage.append(
                    f"the size changes from {facts.stored[0]}x{facts.stored[1]} to {raw.height}x{raw.width} at frame "
                    f"{number}: it ends there"
                )
                return
            rgb, alpha = to_rgb(raw, facts.colour, bits=facts.bits, alpha=facts.alpha)
            upright = None if alpha is None else self._upright(alpha)
            yield Frame(number, pts, raw.duration or step, self._upright(rgb), upright)
        self._count_missing(number + 1, before)

    def _raw(self):
        first, self._first = self._first, None
        yield first
        yield from self._decoded

    def _decode(self):
        """Frames as the decoder gives them. A packet that is broken loses its frames and no others."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                if isinstance(error, MemoryError):
                    raise
                self.damage.append(f"the file cannot be read on: {reason(error)}")
                packet = None
            try:
                frames = self.stream.decode(packet)  # None flushes
            except av.EOFError:
                return  # flushed already, by the empty packet that ends a demuxer
            except (av.FFmpegError, ValueError):
                self._bad += 1
                frames = []
            yield from frames
            if packet is None or (packet.size == 0 and packet.dts is None):
                return

    def _count_missing(self, count: int, last: int | None) -> None:
        """After the last frame: whether the file went as far as it says."""
        if self._bad:
            self.damage.append(f"{self._bad} packets are damaged and their frames are lost")
        if self.live:
            return
        stated = self.stream.duration
        start = self.stream.start_time or 0
        base = self.facts.time_base
        if stated is None and self.container.duration:  # Matroska states the whole file's only
            stated = int(Fraction(self.container.duration, 1_000_000) / base)
            others = [s for s in self.container.streams if s.type == "audio"]
            stated = None if others else stated  # sound may go on longer than the pictures
        if stated is not None and last is not None:
            missing = float((start + stated - last) * base) - 1 / float(self.facts.rate)
            if missing > max(TAIL, 2 / float(self.facts.rate)):
                self.damage.append(f"the file is cut off: it ends {missing:.1f} s before the length it states")
                return
        if self._cut_off():
            self.damage.append("the file is cut off: its index names data behind its end")

    def _cut_off(self) -> bool:
        try:
            size = Path(self.path).stat().st_size
            entries = self.stream.index_entries
            return len(entries) > 0 and any(e.pos + e.size > size for e in entries[max(0, len(entries) - 64) :])
        except (OSError, AttributeError, TypeError):
            return False

    def _upright(self, pixels: np.ndarray) -> np.ndarray:
        if not (self.facts.rotation or self.facts.mirrored):
            return pixels
        if self.facts.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels, self.facts.rotation // 90))

    def close(self) -> None:
        """Closes the file; harmless when repeated."""
        self._decoded.close()
        with contextlib.suppress(Exception):
            self.container.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def open_source(path: str | Path) -> Source:
    """A video file, or standard input (`-`), opened and its first frame decoded.

    Raises:
        InputError: it is missing, empty, no video, of an unknown codec, or has no frame that decodes.
        MissingToolError: PyAV is not installed.
    """
    container = open_container(path)
    live = str(path) == STDIN
    try:
        return Source("standard input" if live else path, container, live=live)
    except BaseException:
        container.close()
        raise


def open_container(path: str | Path):
    """PyAV's container of a video file or of standard input, nothing read beyond its header.

    Raises:
        MissingToolError: PyAV is not installed.
        InputError: the file is missing, empty or no video.
    """
    require_av()
    import av

    live = str(path) == STDIN
    if not live:
        with open_regular(path, doing="read the video") as file:
            if not file.read(1):
                raise InputError("the video file is empty", where=path)
    try:
        # A local file is opened as one: its name is never taken for a network address or a list of files.
        name = _stdin() if live else f"file:{Path(path).absolute()}"
        return av.open(name, metadata_errors="replace")
    except av.FFmpegError as error:
        where = "standard input" if live else path
        raise InputError(f"it cannot be read as a video: {reason(error)}", where=where) from error


def _stdin():
    """Standard input without Python's buffer, whose lock a waiting thread would hold when the program ends."""
    try:
        handle = sys.stdin.fileno() if sys.stdin is not None else 0
    except (OSError, ValueError):  # replaced by something that is no file
        handle = 0
    return open(handle, "rb", buffering=0, closefd=False)


def reason(error: Exception) -> str:
    """What FFmpeg said, in one short line."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


def _is_cover(stream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _facts(stream, frame) -> Facts:
    rotation, mirrored = _orientation(frame)
    height, width = frame.height, frame.width
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if aspect <= 0:
        aspect = Fraction(1)
    turned = rotation % 180 != 0
    components = frame.format.components
    data = {kind.type.name: kind for kind in frame.side_data if hasattr(kind, "type")}
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return Facts(
        size=(width, height) if turned else (height, width),
        stored=(height, width),
        pix_fmt=frame.format.name,
        bits=max(c.bits for c in components),
        alpha=any(c.is_alpha for c in components),
        codec=stream.codec_context.name,
        time_base=stream.time_base,
        rate=rate if rate > 0 else Fraction(25),
        aspect=1 / aspect if turned else aspect,
        rotation=rotation,
        mirrored=mirrored,
        interlaced=frame.interlaced_frame,
        colour=colour_of(frame),
        mastering=bytes(data["MASTERING_DISPLAY_METADATA"]) if "MASTERING_DISPLAY_METADATA" in data else None,
        light=bytes(data["CONTENT_LIGHT_LEVEL"]) if "CONTENT_LIGHT_LEVEL" in data else None,
        dynamic=tuple(name for name in (*DOLBY, *DYNAMIC) if name in data),
        frames=stream.frames,
    )


def _orientation(frame) -> tuple[int, bool]:
    """(degrees counter-clockwise that make it upright, whether it is mirrored first), of the display matrix.

    The matrix maps a stored pixel (x, y) to (a x + c y, b x + d y) on the display. Other angles than quarters are
    taken for the nearest quarter.
    """
    for data in frame.side_data:
        if getattr(data, "type", None) is not None and data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
            mirrored = a * d - b * c < 0
            if mirrored:  # x is turned round first
                a, b = -a, -b
            degrees = round(np.degrees(np.arctan2(-b, a)) / 90) * 90 % 360
            return int(degrees), mirrored
    return 0, False
