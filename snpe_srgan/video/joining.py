"""The finished segments and everything else of the source into one file, packet by packet.

Sound, subtitles, further videos, covers, attachments, chapters and metadata are copied as they are, with their times.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.video.encoding import Encoding, open_encoder
from snpe_srgan.video.segments import Stored, Workplace
from snpe_srgan.video.source import reason

_FILES_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # written anew by each muxer
_STREAMS_OWN = {"encoder", "duration", "handler_name", "vendor_id", "rotate"}
_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")  # mkvmerge's, of the video as it was
COPIED = ("audio", "subtitle", "data", "attachment", "video")


@dataclass(frozen=True)
class Window:
    """The part of the source that is kept, in seconds of its own clock; None: all. Everything moves by `shift`."""

    start: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)

    def holds(self, begin: Fraction, end: Fraction) -> bool:
        """Whether any of what is shown from `begin` to `end` (seconds of the source's clock) is kept."""
        return not ((self.start is not None and end <= self.start) or (self.end is not None and begin >= self.end))


@dataclass(frozen=True)
class Joined:
    """How many streams were copied, and their packets; remarks on what the file cannot hold."""

    streams: int
    packets: int
    remarks: tuple[str, ...]


def check_streams(source, encoding: Encoding, target: Path) -> tuple[str, ...]:
    """Before the work: whether `target`'s container takes all streams of an opened source.

    Sound and subtitles that it does not take are an error with the way out; data that no other file takes (a camera's
    own tracks) are remarked on.

    Args:
        source: an opened `Source`; nothing is read from it.
        encoding: of the enlarged stream.

    Returns:
        A remark for each stream that is dropped.

    Raises:
        InputError: the container does not take a stream of sound, subtitles or video.
    """
    import io

    import av

    container = av.open(io.BytesIO(), "w", format=encoding.container)
    try:
        _, remarks = _streams(container, source.container, source.stream.index, encoding, target)
        container.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{target.suffix} does not take what the source has: {reason(error)}", where=target, hint=_ELSEWHERE
        ) from error
    return tuple(remarks)


_ELSEWHERE = "-o with .mkv, which holds nearly every kind of stream"


def _streams(container, source, video: int, encoding: Encoding, target: Path):
    """Adds the streams in the source's order: {source's index: stream}, and remarks."""
    streams, remarks = {}, []
    for stream in source.streams:
        if stream.index == video:
            made = container.add_stream(encoding.encoder, rate=encoding.rate)
            open_encoder(encoding, made.codec_context)
            made.time_base = encoding.time_base
        else:
            try:
                made = _copy_of(container, stream)
            except ValueError as error:
                if stream.type in ("audio", "subtitle", "video"):
                    name = stream.codec_context.name if stream.codec_context is not None else "an unknown codec"
                    raise InputError(
                        f"{target.suffix} takes no {stream.type} of {name} (stream {stream.index})", where=target,
                        hint=_ELSEWHERE,
                    ) from error
                remarks.append(f"stream {stream.index} ({stream.type}) is dropped: {target.suffix} does not take it")
                continue
            if made is None:
                remarks.append(f"stream {stream.index} ({stream.type}) is dropped: {target.suffix} does not take it")
                continue
        made.disposition = stream.disposition
        for key, value in stream.metadata.items():
            if key.lower() not in _STREAMS_OWN and not key.startswith(_STATISTICS):
                made.metadata[key] = value
        streams[stream.index] = made
    return streams, remarks


def _copy_of(container, stream):
    if stream.type == "attachment":
        if container.format.name != "matroska":
            return None
        name = stream.metadata.get("filename", f"attachment-{stream.index}")
        return container.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
    if stream.type not in COPIED or (stream.type == "data" and container.format.name != "mov"):
        return None
    return container.add_stream_from_template(stream, opaque=True)


def join(work: Workplace, source, video: int, encoding: Encoding, path: Path, window: Window) -> Joined:
    """Writes the whole video to `path`.

    Args:
        source: PyAV's container of the source, of which nothing has been read yet.
        video: the index of the stream that was enlarged.
        path: what its name ends in says nothing; the container is the encoding's.

    Raises:
        InputError: the container does not take a stream or a packet.
        OSError: the disk is full.
    """
    import av

    options = {"movflags": "+faststart"} if encoding.container in ("mp4", "mov") else {}
    try:
        with av.open(str(path), "w", format=encoding.container, container_options=options) as container:
            streams, remarks = _streams(container, source, video, encoding, path)
            container.metadata.update(
                {k: v for k, v in source.metadata.items() if k.lower() not in _FILES_OWN}
            )
            if chapters := _chapters(source.chapters(), window):
                container.set_chapters(chapters)
            container.start_encoding()
            own = streams.pop(video)
            step = max(1, round(1 / (encoding.rate * encoding.time_base)))
            copied = 0
            ours = _own_packets(work.packets(step=step), own, encoding.time_base)
            others = _other_packets(source, streams, window)
            for _, mine, packet in heapq.merge(ours, others, key=lambda item: item[0]):
                copied += not mine
                container.mux_one(packet)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and not isinstance(error, SnpeSrganError):
            raise OSError(error.errno, error.strerror) from error  # a full disk, with the place of the output
        what = f"the video cannot be put together: {reason(error)}"
        raise InputError(what, where=path.name, hint=_ELSEWHERE) from error
    return Joined(len(streams), copied, tuple(remarks))


def _own_packets(stored: Iterator[Stored], stream, time_base: Fraction):
    import av

    for item in stored:
        packet = av.Packet(item.data)
        packet.pts, packet.dts, packet.duration = item.pts, item.dts, item.duration
        packet.time_base, packet.is_keyframe, packet.stream = time_base, item.key, stream
        yield item.dts * time_base, True, packet


def _other_packets(source, streams, window: Window):
    """The other streams' packets in the source's order, cut to the window and moved by its shift."""
    import av

    wanted = [s for s in source.streams if s.index in streams and s.type != "attachment"]
    if not wanted:
        return
    latest = Fraction(-(10**9))
    packets = source.demux(wanted)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            return  # where a source is cut off: said by whoever read its frames
        if packet is None:
            return
        if packet.size == 0 and packet.dts is None:
            continue  # the demuxer's sign of the end
        base = packet.time_base
        begin = next((t for t in (packet.pts, packet.dts) if t is not None), None)
        if begin is not None and not window.holds(begin * base, (begin + (packet.duration or 0)) * base):
            if window.end is not None and begin * base > window.end + 10:
                return
            continue
        if window.shift:
            moved = round(window.shift / base)
            packet.pts = None if packet.pts is None else packet.pts - moved
            packet.dts = None if packet.dts is None else packet.dts - moved
        elif packet.dts is None:
            packet.dts = packet.pts
        latest = max(latest, packet.dts * base) if packet.dts is not None else latest
        packet.stream = streams[packet.stream_index]
        yield latest, False, packet


def _chapters(chapters, window: Window) -> list:
    """Chapters of the part that is kept, cut to it."""
    kept = []
    for chapter in chapters:
        base = chapter["time_base"]
        begin, end = chapter["start"] * base, chapter["end"] * base
        if not window.holds(begin, end):
            continue
        begin = max(begin, window.start) if window.start is not None else begin
        end = min(end, window.end) if window.end is not None else end
        kept.append(
            {**chapter, "start": round((begin - window.shift) / base), "end": round((end - window.shift) / base)}
        )
    return kept
