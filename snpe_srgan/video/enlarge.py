"""A video enlarged: decoded, run through the network and encoded at the same time, in three threads.

result = enlarge_video(session, "clip.mp4", Path("clip_x4.mp4"), VideoOptions(), identity={"model": sha})

Between the threads wait at most two frames, and finished segments lie on the disk (segments.py), so the memory does not
depend on the length. Killed at any moment, the same command goes on at the last finished segment; the frames are those
of a run that nobody disturbed, because a segment's packets depend on its own frames only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import atomic_write, refuse_overwrite, require_writable
from snpe_srgan.artifacts.inputs import also_reading
from snpe_srgan.artifacts.staging import discard
from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.runtimes.session import Session, Tiling
from snpe_srgan.video.channel import Channel, Stopped
from snpe_srgan.video.colour import from_rgb
from snpe_srgan.video.encoding import Encoding, choose_encoding, open_encoder
from snpe_srgan.video.frames import FrameEnlarger, enlarge_alpha
from snpe_srgan.video.joining import Joined, Window, check_streams, join
from snpe_srgan.video.segments import Ending, Workplace, left_by_a_kill, workplace
from snpe_srgan.video.selection import Picker, Selection
from snpe_srgan.video.source import Frame, Source, open_container, open_source
from snpe_srgan.video.steady import HISTORY, Steady

WAITING = 2  # frames between two threads
SEGMENT = 48  # frames: 2 s of film


@dataclass(frozen=True)
class VideoOptions:
    """What the user may choose; None is chosen after the source."""

    codec: str | None = None
    crf: int | None = None
    pix_fmt: str | None = None
    selection: Selection = field(default_factory=Selection)
    tile: tuple[int, int] | None = None
    steady: bool = False  # smoothed over time where nothing moves (steady.py)
    segment: int = SEGMENT
    restart: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Busy:
    """Seconds that each part worked, waiting not counted. They overlap."""

    decode: float
    network: float
    encode: float
    join: float


@dataclass(frozen=True)
class Steadied:
    """Mean change from frame to frame of what stands still, in levels of 255: of the source, of the network's pictures,
    and of what was written; None where nothing stood still. `cuts`: scene cuts found."""

    source: float | None
    network: float | None
    written: float | None
    cuts: int


@dataclass(frozen=True)
class EnlargedVideo:
    """One video done. `frames` are in the file, `resumed` of them were made by an earlier run; `frame_rate` is that of
    the work in this run; `unchanged` is the share of this run's tiles taken from the frame before; `damage` says what
    of the source could not be read (then not all was done). `steadied` says what the smoothing over time did."""

    source: Path
    target: Path
    lr_size: tuple[int, int]
    sr_size: tuple[int, int]
    frames: int
    resumed: int
    seconds: float
    frame_rate: float
    busy: Busy
    encoding: str
    streams_copied: int
    packets_copied: int
    tile: tuple[int, int] | None
    tiles: int
    tiling: Tiling
    exact: bool
    unchanged: float
    steadied: Steadied | None
    damage: tuple[str, ...]
    notes: tuple[str, ...]


Progress = Callable[[int, int], None]  # frames done, frames in all (0: not known)


def enlarge_video(
    session: Session,
    path: str | Path,
    target: Path,
    options: VideoOptions,
    *,
    identity: dict[str, object],
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
    finished: Callable[[Path], None] = discard,
) -> EnlargedVideo:
    """Enlarges the video at `path` into `target`, which is there whole or not at all.

    Args:
        identity: what tells this network, engine and precision from others; an unfinished run of another is refused.
        say: told what is being done.
        progress: called after each frame.
        finished: gets the folder of the segments when the output has its name. Until that folder is removed the same
            command goes on, and does not say that its output exists already.

    Raises:
        InputError: the source cannot be read, the output not written; finished segments stay.
    """
    begun = time.perf_counter()
    with also_reading([path]):
        require_writable(target.parent)
        if not options.restart and left_by_a_kill(target):
            options = replace(options, overwrite=True)  # the same command goes on, and puts the segments together again
        refuse_overwrite(target, options.overwrite)
        with open_source(path) as source:
            size = tuple(side * session.scale for side in source.facts.size)
            encoding, remarks = choose_encoding(
                source.facts, target, size=size, codec=options.codec, crf=options.crf, pix_fmt=options.pix_fmt
            )
            open_encoder(encoding)  # whatever is wrong with it is said before the work
            remarks = (*remarks, *check_streams(source, encoding, target))
            enlarge = FrameEnlarger(session, source.facts.size, tile=options.tile)
            with workplace(target, _key(path, source, encoding, options, identity), restart=options.restart) as work:
                resumed = work.frames
                if resumed and say is not None:
                    say(f"{resumed} frames are there from an earlier run; going on")
                steady = Steady(session.scale) if options.steady else None
                flow = Flow(source, encoding, enlarge, steady, session.scale, options, work, progress)
                if work.ending is None:
                    flow.run()
                elapsed = time.perf_counter() - begun
                joined, joining = _finish(work, source, encoding, target, options)
                ending = work.finished
                frames = work.frames
                finished(work.folder)
    return _result(
        source, Path(path), target, encoding, enlarge, flow.steady, joined, ending, frames=frames, resumed=resumed,
        begun=begun, elapsed=elapsed, busy=flow.busy(joining), remarks=remarks,
    )  # fmt: skip


def is_whole(path: str | Path, target: Path, scale: int) -> bool:
    """Whether the output is there as a run would have left it: a video of the right size, tidied up after.

    Args:
        path: the source.
        scale: output pixels for an input pixel.
    """
    try:
        if not target.is_file() or target.samefile(path) or left_by_a_kill(target):
            return False
        with open_source(path) as source, open_source(target) as done:
            return done.facts.size == (source.facts.size[0] * scale, source.facts.size[1] * scale)
    except (OSError, InputError):
        return False


def _result(
    source: Source, path: Path, target: Path, encoding: Encoding, enlarge: FrameEnlarger, steady: Steady | None,
    joined: Joined, ending: Ending, *, frames: int, resumed: int, begun: float, elapsed: float, busy: Busy,
    remarks: tuple[str, ...],
) -> EnlargedVideo:  # fmt: skip
    tiles = enlarge.plan
    notes = [*([tiles.reason] if tiles.reason else []), *remarks]
    if ending.moved:
        notes.append(f"{ending.moved} frames had no time of their own, or one before the last: put in order")
    if encoding.container in ("matroska", "webm") and encoding.time_base.denominator % 1000 and not _in_ms(encoding):
        notes.append("times are rounded to milliseconds, as this container has them: .mp4 and .mov keep them exactly")
    return EnlargedVideo(
        source=path, target=target, lr_size=source.facts.size, sr_size=encoding.size, frames=frames, resumed=resumed,
        seconds=time.perf_counter() - begun, frame_rate=(frames - resumed) / max(elapsed, 1e-9), busy=busy,
        encoding=encoding.describe(), streams_copied=joined.streams, packets_copied=joined.packets, tile=tiles.tile,
        tiles=tiles.tiles, tiling=tiles.tiling, exact=tiles.tiling is Tiling.EXACT, unchanged=enlarge.unchanged,
        steadied=_steadied(steady), damage=ending.damage, notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _steadied(steady: Steady | None) -> Steadied | None:
    if steady is None:
        return None
    source, network, written = steady.flicker.means or (None, None, None)
    return Steadied(source, network, written, steady.cuts)


def _in_ms(encoding: Encoding) -> bool:
    """Whether every frame of a constant rate falls on a whole millisecond."""
    return (1000 / encoding.rate).denominator == 1


def _key(
    path: str | Path, source: Source, encoding: Encoding, options: VideoOptions, identity: dict[str, object]
) -> dict[str, object]:
    """All that the segments depend on, as plain strings: another value of any is another run."""
    import av

    status = Path(path).stat()
    key = {
        **identity,
        "source": f"{Path(path).resolve()}, {status.st_size} bytes, changed {status.st_mtime_ns}",
        "stream": source.stream.index,
        **{f"encoding {k}": v for k, v in asdict(encoding).items()},
        **options.selection.describe(),
        "tile": options.tile, "steady": options.steady, "segment": options.segment, "av": av.__version__, "format": 1,
    }  # fmt: skip
    return {name: str(value) for name, value in key.items()}


def _finish(
    work: Workplace, source: Source, encoding: Encoding, target: Path, options: VideoOptions
) -> tuple[Joined, float]:
    """Puts the file together and gives it its name; (what was copied, seconds)."""
    start, ending = time.perf_counter(), work.finished
    base = encoding.time_base
    window = Window()
    if options.selection.cuts:
        first = ending.first * base
        last = work.segments[-1].last + ending.first  # stored times begin at 0
        step = max(1, round(1 / (encoding.rate * base)))
        start_at = first if options.selection.start is not None else None
        end_at = (last + step) * base if options.selection.end is not None else None
        window = Window(start_at, end_at, first)
    with atomic_write(target, overwrite=options.overwrite) as temporary, open_container(source.path) as again:
        joined = join(work, again, source.stream.index, encoding, temporary, window)
        check_written(temporary, work)
        work.note_done(temporary)
    return joined, time.perf_counter() - start


def check_written(path: Path, work: Workplace) -> None:
    """Counts the video's packets in the finished file: as many as frames were encoded, none lost on the way.

    Raises:
        SnpeSrganError: there are more or fewer.
    """
    import av

    with av.open(str(path)) as container:
        count = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    if count != work.frames:
        raise SnpeSrganError(f"the file holds {count} frames in place of {work.frames}", where=path.name)


@dataclass(frozen=True, eq=False)
class _Large:
    pts: int
    duration: int
    rgb: np.ndarray
    alpha: np.ndarray | None


class Flow:
    """Decoder and encoder in threads of their own, the network in the caller's."""

    def __init__(
        self, source: Source, encoding: Encoding, enlarge: FrameEnlarger, steady: Steady | None, scale: int,
        options: VideoOptions, work: Workplace, progress: Progress | None,
    ):  # fmt: skip
        self.source, self.encoding, self.scale = source, encoding, scale
        self.enlarge, self.steady = enlarge, steady
        self.options, self.work, self.progress = options, work, progress
        self.again = min(HISTORY, work.frames) if steady is not None else 0  # frames enlarged again, to look back at
        self.picker = Picker(options.selection, source.facts.time_base, done=work.frames - self.again)
        self.small: Channel[Frame] = Channel(WAITING)
        self.large: Channel[_Large] = Channel(WAITING)
        self.seconds = {"decode": 0.0, "network": 0.0, "encode": 0.0}
        self._encoded: list[BaseException] = []

    def busy(self, joining: float) -> Busy:
        """The seconds that each part has been at work, with those of `joining` that the caller has measured."""
        return Busy(**self.seconds, join=joining)

    def run(self) -> None:
        """Until the source ends; what fails in a thread is raised here, after the others have stopped.

        Raises:
            InputError: the selection holds no frame, or a frame needs tiles that would not be right.
            SnpeSrganError: the engine or the encoder failed.
        """
        threads = [
            threading.Thread(target=self._decode, name="decode", daemon=True),
            threading.Thread(target=self._encode, name="encode", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._network()
            self.large.close()
        except Stopped:
            pass  # the encoder failed: its error is raised below
        except BaseException as error:
            self.large.fail(error)
            raise
        finally:
            self.small.stop()
            for thread in threads:
                thread.join()
        if self._encoded:
            raise self._encoded[0]
        if not self.work.frames:
            raise InputError("no frame is between --from and --to", where=self.source.path)
        first = self.picker.first if self.options.selection.cuts else 0
        damage, moved = tuple(self.source.damage), self.source.moved
        self.work.finish(Ending(damage, moved, self.picker.seen, first or 0))

    def _decode(self) -> None:
        with self.small.writing():
            clock = time.perf_counter()
            for frame in self.source.frames(wanted=self.picker.wanted):
                self.seconds["decode"] += time.perf_counter() - clock
                self.small.put(frame)
                clock = time.perf_counter()

    def _network(self) -> None:
        every = self.options.selection.every
        total, made = self.source.facts.frames, self.work.frames
        for frame in self.small:
            clock = time.perf_counter()
            try:
                rgb = self.enlarge(frame.rgb)
                alpha = enlarge_alpha(frame.alpha, self.scale) if self.encoding.alpha else None
            except SnpeSrganError as error:
                place = f"frame {frame.number}" + (f"; {error.where}" if error.where else "")
                raise type(error)(error.what, where=place, hint=error.hint) from error
            if self.steady is not None and self.again:
                self.steady.remember(frame.rgb, rgb)
                self.again -= 1
                continue
            if self.steady is not None:
                rgb = self.steady(frame.rgb, rgb)
            self.seconds["network"] += time.perf_counter() - clock
            zero = self.picker.first if self.options.selection.cuts else 0
            self.large.put(_Large(frame.pts - (zero or 0), frame.duration * every, rgb, alpha))
            made += 1
            if self.progress is not None:
                self.progress(made, 0 if self.options.selection.cuts or every > 1 else total)

    def _encode(self) -> None:
        writer = None
        try:
            encoder, count = None, 0
            for large in self.large:
                clock = time.perf_counter()
                if encoder is None or writer is None:
                    encoder, writer, count = open_encoder(self.encoding), self.work.begin(), 0
                for packet in encoder.encode(self._frame(large)):
                    writer.write(packet)
                count += 1
                if count == self.options.segment:
                    _end(encoder, writer, count)
                    encoder = writer = None
                self.seconds["encode"] += time.perf_counter() - clock
            if encoder is not None and writer is not None:
                clock = time.perf_counter()
                _end(encoder, writer, count)
                writer = None
                self.seconds["encode"] += time.perf_counter() - clock
        except BaseException as error:
            self._encoded.append(_as_input_error(error))
            self.large.stop()
        finally:
            if writer is not None:
                writer.abandon()

    def _frame(self, large: _Large):
        frame = from_rgb(large.rgb, large.alpha, self.encoding.colour, pix_fmt=self.encoding.pix_fmt)
        frame.pts, frame.time_base, frame.duration = large.pts, self.encoding.time_base, large.duration
        return frame


def _end(encoder, writer, count: int) -> None:
    """Flushes the encoder and closes the segment; every frame that went in has come out."""
    for packet in encoder.encode(None):
        writer.write(packet)
    writer.close(count)


def _as_input_error(error: BaseException) -> BaseException:
    import av

    from snpe_srgan.video.source import reason

    return InputError(f"the encoder failed: {reason(error)}") if isinstance(error, av.FFmpegError) else error
