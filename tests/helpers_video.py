"""Small clips of odd kinds, made with PyAV, and what is looked at in a clip."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(number: int, size: tuple[int, int], *, wide: bool = False) -> np.ndarray:
    """A frame's pixels: gradients that move, so that every frame is another."""
    y, x = np.mgrid[: size[0], : size[1]]
    planes = [(x * 3 + number * 35) % 256, (y * 5 + number * 43) % 256, (x + y + number * 57) % 256]
    rgb = np.stack(planes, -1).astype(np.uint8)
    return rgb.astype(np.uint16) * 257 if wide else rgb


def make_clip(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (32, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: Fraction | int = 25,
    sound: int = 0,
    metadata: dict[str, str] | None = None,
    chapters: list[dict] | None = None,
    container: dict[str, str] | None = None,
    attributes: dict[str, object] | None = None,
    alpha: bool = False,
) -> Path:
    """A clip; `sound` counts its audio tracks, `times` are the frames' time stamps, `attributes` the encoder's."""
    with av.open(str(path), "w", container_options=container or {}) as out:
        video = out.add_stream(codec, rate=rate)
        video.height, video.width, video.pix_fmt = *size, pix_fmt
        video.codec_context.time_base = time_base
        video.options = options or {}
        for name, value in (attributes or {}).items():
            setattr(video.codec_context, name, value)
        tracks = [out.add_stream("aac", rate=44100) for _ in range(sound)]
        for index, track in enumerate(tracks):
            track.metadata["language"] = ("eng", "deu", "fra")[index]
        out.metadata.update(metadata or {})
        if chapters:
            out.set_chapters(chapters)
        wide = "10" in pix_fmt or "12" in pix_fmt
        for number in range(frames):
            rgb = picture(number, size, wide=wide)
            if alpha:
                rgb = np.dstack([rgb, rgb[..., 0]])
            name = ("rgba" if alpha else "rgb24") if not wide else ("rgba64le" if alpha else "rgb48le")
            frame = av.VideoFrame.from_ndarray(rgb, format=name).reformat(format=pix_fmt)
            frame.pts, frame.time_base = number if times is None else times[number], time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for index, track in enumerate(tracks):
            wave = np.sin(np.arange(frames * 44100 // 25) * 0.05 * (index + 1)).astype(np.float32)
            for start in range(0, len(wave) - 1023, 1024):
                piece = av.AudioFrame.from_ndarray(np.stack([wave[start : start + 1024]] * 2), "fltp", "stereo")
                piece.sample_rate, piece.pts = 44100, start
                out.mux(track.encode(piece))
            out.mux(track.encode(None))
    return path


def turn(path: Path, degrees: int) -> Path:
    """Writes a rotation into an MP4's display matrix, as phones do (90: it is shown turned clockwise)."""
    data = bytearray(path.read_bytes())
    straight = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    turned = struct.pack(">9i", 65536 * cosine, 65536 * sine, 0, -65536 * sine, 65536 * cosine, 0, 0, 0, 1 << 30)
    place = data.index(straight, data.index(b"tkhd"))
    data[place : place + 36] = turned
    path.write_bytes(data)
    return path


@dataclass(frozen=True)
class Seen:
    """What is in a clip: frames' times in seconds, their pixels, the other streams' packets by stream."""

    times: list[Fraction]
    pixels: list[np.ndarray]
    packets: dict[int, list[bytes]]
    packet_times: dict[int, list[Fraction]]


def look(path: Path, *, pixels: bool = True) -> Seen:
    """Decodes a clip by itself, flushing the decoder, without a line of the code that is tested."""
    times, pictures, packets, packet_times = [], [], {}, {}
    with av.open(str(path)) as clip:
        video = clip.streams.video[0]
        for packet in clip.demux():
            if packet.stream.type == "attachment":
                continue
            if packet.stream_index == video.index:
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    continue
                for frame in frames:
                    times.append(frame.pts * video.time_base)
                    if pixels:
                        pictures.append(frame.to_ndarray(format="rgb24"))
            elif packet.size:
                packets.setdefault(packet.stream_index, []).append(bytes(packet))
                packet_times.setdefault(packet.stream_index, []).append(packet.pts * packet.time_base)
    return Seen(times, pictures, packets, packet_times)


def remux(source: Path, target: Path, *, subtitles: Path | None = None, attachment: bytes | None = None) -> Path:
    """Packet by packet into another container, with a subtitle file and an attachment beside."""
    inputs = [av.open(str(path)) for path in (source, subtitles) if path is not None]
    with av.open(str(target), "w") as out:
        streams = {}
        for clip in inputs:
            for stream in clip.streams:
                streams[clip, stream.index] = out.add_stream_from_template(stream, opaque=True)
        if attachment is not None:
            out.add_attachment("font.ttf", "application/x-truetype-font", attachment)
        for clip in inputs:
            for packet in clip.demux():
                if packet.size:
                    packet.stream = streams[clip, packet.stream_index]
                    out.mux_one(packet)
    for clip in inputs:
        clip.close()
    return target
