"""`run` on videos: every frame at its time, everything else copied, unfinished work gone on with."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan

av = pytest.importorskip("av", reason="the extra 'video' is not installed")

from helpers_video import look, make_clip, picture, remux, turn  # noqa: E402

from snpe_srgan.errors import InputError, UsageError  # noqa: E402
from snpe_srgan.runtimes.session import Description, Session  # noqa: E402
from snpe_srgan.video.channel import Channel, Stopped  # noqa: E402
from snpe_srgan.video.colour import BT601, BT709, FULL, LIMITED, Colour, from_rgb, to_rgb  # noqa: E402
from snpe_srgan.video.encoding import choose_format, mastering_display  # noqa: E402
from snpe_srgan.video.enlarge import VideoOptions, enlarge_video  # noqa: E402
from snpe_srgan.video.kinds import is_video  # noqa: E402
from snpe_srgan.video.segments import place_for  # noqa: E402
from snpe_srgan.video.selection import Selection, parse_point  # noqa: E402
from snpe_srgan.video.source import open_source  # noqa: E402


class Nearest(Session):
    """A session whose network repeats each pixel twice: what must come out is known."""

    def __init__(self, fails_at: int | None = None):
        super().__init__(Description(Path("here"), "nearest", "1", scale=2))
        self.calls, self.fails_at = 0, fails_at

    def _infer(self, lr):
        if self.calls == self.fails_at:
            raise InputError("the network failed")
        self.calls += 1
        return np.repeat(np.repeat(lr, 2, 1), 2, 2) * 2 - 1


def enlarged(path, target, session=None, **options):
    options.setdefault("segment", 5)
    return enlarge_video(session or Nearest(), path, target, VideoOptions(**options), identity={"model": "nearest"})


def clip_of(kind: str, folder: Path) -> tuple[Path, str]:
    """One odd clip, and the suffix of its enlargement."""
    mp4, mkv = folder / "clip.mp4", folder / "clip.mkv"
    b_frames = {"bf": "3", "b-adapt": "0", "crf": "10"}
    if kind == "B-frames":
        return make_clip(mp4, frames=23, options=b_frames, sound=1), ".mp4"
    if kind == "edit list":
        return make_clip(mp4, frames=20, options=b_frames, times=list(range(-6, 14)), sound=1), ".mp4"
    if kind == "late start":
        return make_clip(mp4, frames=8, times=[n + 12 for n in range(8)], sound=1), ".mp4"
    if kind == "variable rate":
        times = [0, 10, 11, 40, 41, 43, 90, 91, 300, 301, 302, 303, 1000]
        return make_clip(mp4, frames=13, times=times, time_base=Fraction(1, 1200), options=b_frames), ".mp4"
    if kind == "variable rate, Matroska":
        times = [0, 10, 11, 40, 41, 43, 90, 91, 300, 301, 302, 303, 1000]
        return make_clip(mkv, frames=13, times=times, time_base=Fraction(1, 1000), options=b_frames), ".mkv"
    if kind == "no sound":
        return make_clip(mp4, frames=7), ".mov"
    if kind == "three sounds":
        return make_clip(mkv, frames=12, sound=3), ".mkv"
    if kind == "one frame":
        return make_clip(mp4, frames=1), ".mp4"
    if kind == "odd size":
        return make_clip(mp4, frames=6, size=(33, 47), pix_fmt="yuv444p"), ".mp4"
    if kind == "10 bits":  # x265 writes beyond its buffers in smaller pictures
        x265 = {"x265-params": "log-level=none"}
        return make_clip(mkv, frames=6, size=(64, 96), codec="libx265", pix_fmt="yuv420p10le", options=x265), ".mkv"
    if kind == "rotated":
        return turn(make_clip(mp4, frames=6), 90), ".mp4"
    if kind == "NTSC":
        return make_clip(
            mp4, frames=11, time_base=Fraction(1001, 30000), rate=Fraction(30000, 1001), options=b_frames, sound=1
        ), ".mp4"
    if kind == "WebM":
        return make_clip(
            folder / "clip.webm",
            frames=9,
            codec="libvpx-vp9",
            time_base=Fraction(1, 1000),
            times=[40 * n for n in range(9)],
        ), ".webm"
    if kind == "AVI":
        return make_clip(folder / "clip.avi", frames=14, codec="mpeg4", options={"bf": "2"}), ".mkv"
    if kind == "MPEG-TS, interlaced":
        return make_clip(
            folder / "clip.ts",
            frames=10,
            codec="mpeg2video",
            options={"flags": "+ildct+ilme", "top": "1", "bf": "2"},
            sound=0,
        ), ".mp4"
    assert kind == "truncated"
    whole = make_clip(folder / "whole.mkv", frames=60, size=(64, 96), options={"g": "10", "bf": "0", "crf": "5"})
    mkv.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    return mkv, ".mkv"


KINDS = [
    "B-frames", "edit list", "late start", "variable rate", "variable rate, Matroska", "no sound", "three sounds",
    "one frame", "odd size", "10 bits", "rotated", "NTSC", "WebM", "AVI", "MPEG-TS, interlaced", "truncated",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_has_its_time_and_the_sound_is_copied(kind, tmp_path):
    path, suffix = clip_of(kind, tmp_path)
    target = tmp_path / f"large{suffix}"
    before = look(path)
    result = enlarged(path, target, crf=None if suffix == ".webm" else 4)
    after = look(target)
    assert len(after.times) == len(before.times) == result.frames > 0
    if kind == "AVI" or kind.startswith("MPEG-TS"):  # the frames of the first have no times; ms, or another origin
        gaps = [[float(b - a) for a, b in itertools.pairwise(t)] for t in (before.times, after.times)]
        assert np.allclose(*gaps, atol=0.0011)
    else:
        assert after.times == before.times
    assert list(after.packets.values()) == list(before.packets.values())
    for old, new in zip(before.packet_times.values(), after.packet_times.values(), strict=True):
        assert new == old
    assert bool(result.damage) == (kind == "truncated")
    for old, new in zip(before.pixels, after.pixels, strict=True):
        old = np.rot90(old, -1) if kind == "rotated" else old
        assert new.shape == (old.shape[0] * 2, old.shape[1] * 2, 3)
        small = new.reshape(*old.shape[:2][:1], 2, old.shape[1], 2, 3).mean((1, 3))
        assert np.abs(small - old).mean() < 12  # each is its own: another frame of the clip is 40 off
    assert not place_for(target).exists()


def test_frames_are_told_apart():
    assert np.abs(picture(3, (32, 48)).astype(int) - picture(4, (32, 48))).mean() > 12


def video_packets(path: Path) -> list[tuple[bytes, int, int]]:
    with av.open(str(path)) as clip:
        return [(bytes(p), p.pts, p.dts) for p in clip.demux(clip.streams.video[0]) if p.size]


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip.mp4", frames=23, options={"bf": "3", "crf": "10"}, sound=1)


def test_a_run_that_failed_goes_on_at_the_last_finished_segment(clip, tmp_path):
    whole, target = tmp_path / "whole.mp4", tmp_path / "large.mp4"
    enlarged(clip, whole)
    with pytest.raises(InputError) as failure:
        enlarged(clip, target, Nearest(fails_at=13))
    assert "frame 13" in str(failure.value) and not target.exists()
    session = Nearest()
    result = enlarged(clip, target, session)
    assert result.resumed == 10 and session.calls == 13 and result.frames == 23
    assert video_packets(target) == video_packets(whole)
    assert not place_for(target).exists()


def test_unfinished_work_of_other_settings_is_refused_and_can_be_forgotten(clip, tmp_path):
    target = tmp_path / "large.mp4"
    with pytest.raises(InputError):
        enlarged(clip, target, Nearest(fails_at=13))
    with pytest.raises(InputError, match="other settings"):
        enlarged(clip, target, crf=30)
    assert enlarged(clip, target, crf=30, restart=True).resumed == 0


@pytest.mark.parametrize("damage", ["cut", "changed", "journal"])
def test_a_damaged_segment_is_made_again(clip, tmp_path, damage):
    whole, target = tmp_path / "whole.mp4", tmp_path / "large.mp4"
    enlarged(clip, whole)
    with pytest.raises(InputError):
        enlarged(clip, target, Nearest(fails_at=18))
    second = place_for(target) / "000001.packets"
    data = bytearray(second.read_bytes())
    if damage == "cut":
        second.write_bytes(data[:-7])
    elif damage == "changed":
        data[100] ^= 1
        second.write_bytes(data)
    else:
        journal = place_for(target) / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-20])
    result = enlarged(clip, target)
    assert result.resumed == (10 if damage == "journal" else 5)
    assert video_packets(target) == video_packets(whole)


def test_two_runs_at_one_output(clip, tmp_path):
    target = tmp_path / "large.mp4"

    refused = []

    class Second(Nearest):
        def _infer(self, lr):
            if self.calls == 3:
                with pytest.raises(InputError, match="another run"):
                    enlarged(clip, target)
                refused.append(True)
            return super()._infer(lr)

    assert enlarged(clip, target, Second()).frames == 23 and refused == [True]


@pytest.mark.parametrize(
    "start, end, every, numbers",
    [
        ("4f", "9f", 1, range(4, 9)),
        ("0.2", "0.4", 1, range(5, 10)),
        (None, "0:00.1", 1, range(3)),
        ("20f", None, 1, range(20, 23)),
        (None, None, 3, range(0, 23, 3)),
        ("3f", "17f", 4, range(3, 17, 4)),
    ],
)
def test_parts_are_exact_to_the_frame(clip, tmp_path, start, end, every, numbers):
    points = [None if p is None else parse_point(p, "--from") for p in (start, end)]
    target = tmp_path / "part.mp4"
    result = enlarged(clip, target, selection=Selection(*points, every), crf=4)
    before, after = look(clip), look(target)
    assert result.frames == len(after.times) == len(numbers)
    origin = before.times[numbers[0]]
    assert after.times == [before.times[n] - origin for n in numbers]
    for number, new in zip(numbers, after.pixels, strict=True):
        old = before.pixels[number]
        assert np.abs(new.reshape(32, 2, 48, 2, 3).mean((1, 3)) - old).mean() < 12
    (sound,), (all_sound,) = after.packets.values(), before.packets.values()
    place = all_sound.index(sound[0])
    assert all_sound[place : place + len(sound)] == sound  # whole packets, in a row
    begin, stop = after.packet_times[1][0], after.packet_times[1][-1]
    step = Fraction(1024, 44100)
    assert -2 * step < begin <= (0 if start is None else step)
    if end is not None:
        assert stop < after.times[-1] + Fraction(every, 25)


def test_wrong_points_and_empty_parts(clip, tmp_path):
    for text in ("x", "-1", "1:2:3:4", "f", "1e3", "nan"):
        with pytest.raises(UsageError):
            parse_point(text, "--from")
    with pytest.raises(InputError, match="no frame"):
        enlarged(clip, tmp_path / "none.mp4", selection=Selection(start=parse_point("9:00", "--from")))


def test_subtitles_chapters_attachments_and_metadata_are_kept(tmp_path):
    (tmp_path / "words.srt").write_text(
        "1\n00:00:00,100 --> 00:00:00,300\nfirst\n\n2\n00:00:00,400 --> 00:00:00,450\nlast\n"
    )
    chapters = [
        {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},
        {"id": 2, "start": 200, "end": 480, "time_base": Fraction(1, 1000), "metadata": {"title": "two"}},
    ]
    plain = make_clip(tmp_path / "plain.mkv", sound=2)
    clip = remux(plain, tmp_path / "clip.mkv", subtitles=tmp_path / "words.srt", attachment=b"font" * 99)
    with av.open(str(clip)) as old, av.open(str(tmp_path / "full.mkv"), "w") as out:
        streams = {}
        for stream in old.streams:
            if stream.type == "attachment":
                streams[stream.index] = out.add_attachment("font.ttf", stream.mimetype, stream.data)
            else:
                streams[stream.index] = out.add_stream_from_template(stream, opaque=True)
                streams[stream.index].metadata["language"] = "deu"
        out.metadata["title"] = "A title"
        out.set_chapters(chapters)
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux_one(packet)
    result = enlarged(tmp_path / "full.mkv", tmp_path / "large.mkv")
    assert result.streams_copied == 4
    with av.open(str(tmp_path / "full.mkv")) as old, av.open(str(tmp_path / "large.mkv")) as new:
        assert [s.type for s in new.streams] == [s.type for s in old.streams]
        assert [s.metadata.get("language") for s in new.streams] == [s.metadata.get("language") for s in old.streams]
        assert new.metadata["title"] == "A title"
        titles = [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in new.chapters()]
        assert titles == [(0, "one"), (Fraction(1, 5), "two")]
        (font,) = [s.data for s in new.streams if s.type == "attachment"]
        assert font == b"font" * 99
    assert look(tmp_path / "large.mkv").packets == look(tmp_path / "full.mkv").packets


def test_what_a_container_does_not_take_is_said_before_the_work(tmp_path):
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nfirst\n")
    clip = remux(make_clip(tmp_path / "plain.mkv"), tmp_path / "clip.mkv", subtitles=tmp_path / "words.srt")
    session = Nearest()
    with pytest.raises(InputError, match="subtitle") as failure:
        enlarged(clip, tmp_path / "large.mp4", session)
    assert ".mkv" in failure.value.hint and session.calls == 0 and not place_for(tmp_path / "large.mp4").exists()


def test_aspect_colour_and_range_are_kept(tmp_path):
    attributes = {
        "sample_aspect_ratio": Fraction(4, 3),
        "colorspace": 1,
        "color_range": 2,
        "color_primaries": 9,
        "color_trc": 16,
    }
    clip = make_clip(tmp_path / "clip.mkv", attributes=attributes)
    result = enlarged(clip, tmp_path / "large.mkv")
    with av.open(str(tmp_path / "large.mkv")) as new:
        context = new.streams.video[0].codec_context
        assert new.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        tags = context.colorspace, context.color_range, context.color_primaries, context.color_trc
        assert tags == (1, 2, 9, 16)
    assert any("HDR" in note for note in result.notes)  # PQ in 8 bits


def test_a_video_without_a_matrix_is_tagged_as_players_take_it(tmp_path):
    enlarged(make_clip(tmp_path / "clip.mp4"), tmp_path / "large.mp4")
    with av.open(str(tmp_path / "large.mp4")) as new:
        assert new.streams.video[0].codec_context.colorspace == BT601


@pytest.mark.parametrize("matrix, kr, kb", [(BT709, 0.2126, 0.0722), (BT601, 0.299, 0.114), (9, 0.2627, 0.0593)])
@pytest.mark.parametrize("limits", [LIMITED, FULL])
@pytest.mark.parametrize("pix_fmt, unit", [("yuv420p", 1), ("yuv444p10le", 4)])
def test_colours_follow_the_standard(matrix, kr, kb, limits, pix_fmt, unit):
    red, green, blue = 200, 90, 30
    rgb = np.full((16, 32, 3), (red, green, blue), np.uint8)
    rgb = rgb.astype(np.uint16) * 257 if unit > 1 else rgb
    colour = Colour(matrix, limits, 1, 1)
    frame = from_rgb(rgb, None, colour, pix_fmt=pix_fmt)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    wanted = [luma, *(128 + c for c in chroma)]
    if limits == LIMITED:
        wanted = [16 + luma * 219 / 255, *(128 + c * 224 / 255 for c in chroma)]
    for plane, value in zip(frame.planes, wanted, strict=True):
        got = np.frombuffer(bytes(plane), np.uint8 if unit == 1 else np.uint16)[0] / unit
        assert abs(got - value) <= 1
    back, _ = to_rgb(frame, colour, bits=10 if unit > 1 else 8, alpha=False)
    assert np.abs(back.astype(int) - rgb).max() <= 4 * (257 if unit > 1 else 1)


def test_transparency_is_kept_where_it_can_be(tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", codec="ffv1", pix_fmt="bgra", alpha=True, frames=4)
    enlarged(clip, tmp_path / "large.mkv")
    with av.open(str(tmp_path / "large.mkv")) as new:
        frame = next(new.decode(video=0)).to_ndarray(format="rgba")
    wanted = picture(0, (32, 48))[..., 0]
    assert np.abs(frame[::2, ::2, 3].astype(int) - wanted)[4:-4, 4:-4].mean() < 4
    result = enlarged(clip, tmp_path / "large.mp4")
    assert any("transparency" in note for note in result.notes)


def test_hdr_metadata_reach_the_file(tmp_path):
    x265 = "log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:master-display="
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    attributes = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    clip = make_clip(
        tmp_path / "hdr.mkv", frames=4, size=(64, 96), codec="libx265", pix_fmt="yuv420p10le",
        options={"x265-params": x265 + display}, attributes=attributes,
    )  # fmt: skip
    enlarged(clip, tmp_path / "large.mkv")
    for path in (clip, tmp_path / "large.mkv"):
        with open_source(path) as source:
            facts = source.facts
        assert mastering_display(facts.mastering) == display
        assert np.frombuffer(facts.light[:8], np.uint32).tolist() == [1000, 400]
        assert (facts.bits, facts.colour.transfer, facts.colour.primaries, facts.colour.matrix) == (10, 16, 9, 9)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_phones_videos_stand_upright(tmp_path, degrees):
    clip = turn(make_clip(tmp_path / "clip.mp4", frames=2), degrees)
    with open_source(clip) as source:
        frame = next(source.frames())
        assert source.facts.rotation == -degrees % 360
    assert np.abs(frame.rgb.astype(int) - np.rot90(picture(0, (32, 48)), -degrees // 90)).mean() < 20


# --- the command line


@pytest.fixture
def model():
    return "mobile"


def test_run_takes_a_video(model, clip, tmp_path):
    target = tmp_path / "large.mp4"
    outcome = snpe_srgan("run", model, clip, "-o", target, "--json", "--crf", "30", "--every", "4")
    assert outcome.code == 0, outcome.err
    (video,) = outcome.json["videos"]
    assert video["frames"] == 6 == len(look(target).times)
    assert video["streams_copied"] == 1 and set(video["busy"]) == {"decode", "network", "encode", "join"}
    assert_error(snpe_srgan("run", model, clip, "-o", target), 1, "exists already", "--overwrite")


def test_several_videos_and_names(model, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = make_clip(tmp_path / "b.avi", codec="mpeg4", frames=2)
    broken = tmp_path / "c.mkv"
    broken.write_bytes(b"nothing")
    outcome = snpe_srgan("run", model, clip, other, broken, "-o", "out", "--to", "2f")
    assert outcome.code == 1 and "c.mkv" in outcome.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b_x4.mkv", "clip_x4.mp4"]
    assert_error(snpe_srgan("run", model, clip, other), 2, "folder")
    for name in ("b_x4.mkv", "clip_x4.mp4"):  # a killed run of several goes on with what is missing
        words = ("run", model, clip, other, "-o", "out", "--to", "2f", "--skip-existing", "--json")
        (tmp_path / "out" / name).write_bytes(b"half a video")
        assert_error(snpe_srgan(*words), 1, "exists already", name)
        (tmp_path / "out" / name).unlink()
        done = snpe_srgan(*words)
        assert done.code == 0 and [Path(v["target"]).name for v in done.json["videos"]] == [name]
        assert len(done.json["skipped"]) == 1
    assert_error(snpe_srgan("run", model, clip, other, "-o", "x.mp4"), 2, "one file")


def test_what_does_not_go_together(model, clip, tmp_path):
    photo = tmp_path / "p.png"
    from PIL import Image

    Image.fromarray(picture(0, (8, 8))).save(photo)
    target = tmp_path / "large.mp4"
    assert_error(snpe_srgan("run", model, clip, photo, "-o", tmp_path), 2, "p.png", "no video")
    assert_error(snpe_srgan("run", model, photo, "--crf", "20"), 2, "--crf", "for videos")
    assert_error(snpe_srgan("run", model, photo, "--from", "20"), 2, "--from", "for videos")
    assert_error(snpe_srgan("run", model, clip, "-o", tmp_path / "large.avi"), 2, ".avi", ".mkv")
    assert_error(snpe_srgan("run", model, clip, "-o", target, "--codec", "h246"), 2, "h264")
    assert_error(snpe_srgan("run", model, clip, "-o", target, "--codec", "ffv1"), 2, "ffv1", ".mp4")
    assert_error(snpe_srgan("run", model, clip, "-o", tmp_path / "a.mkv", "--codec", "ffv1", "--crf", "3"), 2, "--crf")
    assert_error(snpe_srgan("run", model, clip, "-o", target, "--crf", "60"), 2, "--crf 60")
    assert_error(snpe_srgan("run", model, clip, "-o", target, "--pix-fmt", "yuv9"), 2, "yuv9", "yuv420p")
    assert_error(snpe_srgan("run", model, clip, "-o", target, "--to", "soon"), 2, "--to")
    assert_error(
        snpe_srgan("run", model, clip, "-o", clip, "--overwrite"), 1, "one of the files that this command reads"
    )
    assert not target.exists() and not place_for(target).exists()


def no_video(path: Path) -> None:
    with av.open(str(path), "w") as out:
        track = out.add_stream("aac", rate=44100)
        for start in range(0, 4096, 1024):
            piece = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            piece.sample_rate, piece.pts = 44100, start
            out.mux(track.encode(piece))
        out.mux(track.encode(None))


@pytest.mark.parametrize(
    "kind, words",
    [
        ("empty", "empty"),
        ("text", "cannot be read as a video"),
        ("no index", "cannot be read as a video"),
        ("only sound", "no video stream"),
        ("unknown codec", "codec"),
        ("missing", "no such file"),
        ("folder", "folder"),
        ("no frame", "no frame"),
    ],
)
def test_files_that_are_no_videos(kind, words, model, clip, tmp_path):
    path = tmp_path / "odd.mp4"
    data = clip.read_bytes()
    if kind == "only sound":
        no_video(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "no frame":
        place = data.index(b"mdat") + 4
        end = data.index(b"moov") - 4
        path.write_bytes(data[:place] + bytes(end - place) + data[end:])
    elif kind != "missing":
        contents = {
            "empty": b"", "text": b"a film\n" * 99, "no index": data[: data.index(b"moov") - 4],
            "unknown codec": data.replace(b"avc1", b"zzzz"),
        }  # fmt: skip
        path.write_bytes(contents[kind])
    outcome = snpe_srgan("run", model, path, "-o", tmp_path / "large.mp4")
    assert_error(outcome, 1)
    assert words in outcome.err.lower(), outcome.err
    assert not (tmp_path / "large.mp4").exists() and not place_for(tmp_path / "large.mp4").exists()


def test_a_truncated_video_is_said_and_what_was_there_is_kept(model, tmp_path):
    path, _ = clip_of("truncated", tmp_path)
    target = tmp_path / "large.mkv"
    outcome = snpe_srgan("run", model, path, "-o", target, "--json")
    assert_error(outcome, 1, "cut off", "kept in")
    assert len(look(target).times) == len(look(path).times) == outcome.json["videos"][0]["frames"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
@pytest.mark.parametrize("limit, kept", [(4000, None), (30000, 23)])
def test_a_full_disk_loses_nothing_that_was_finished(clip, tmp_path, limit, kept):
    import resource

    target = tmp_path / "large.mp4"
    words = [sys.executable, "-m", "snpe_srgan", "run", "mobile", str(clip), "-o", str(target), "--segment", "6"]

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=small_disk)
    assert done.returncode == 1 and "Traceback" not in done.stderr and not target.exists()
    assert len(done.stderr[done.stderr.rindex("error: ") :].strip().splitlines()) <= 3
    if kept is None:
        assert not place_for(target).exists()  # nothing was finished
        return
    assert f"{kept} frames are kept" in done.stderr
    outcome = snpe_srgan(*words[3:], "--json")
    assert outcome.code == 0 and outcome.json["videos"][0]["resumed"] == kept


def test_without_pyav(model, clip, monkeypatch):
    monkeypatch.setattr("snpe_srgan.machine.installed", lambda package: package != "av")
    assert_error(snpe_srgan("run", model, clip), 3, "pip install av")


def test_which_inputs_are_videos(tmp_path, clip):
    bare = tmp_path / "bare"
    shutil.copy(clip, bare)
    assert is_video(bare) and is_video("-") and is_video("missing.mkv")
    (tmp_path / "notes.txt").write_bytes(b"RIFF1234WEBP")
    assert not is_video(tmp_path / "notes.txt") and not is_video("a.png") and not is_video(tmp_path)


def test_channel_ends_fails_and_stops():
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.fail(ValueError("x"))
    things = iter(channel)
    assert next(things) == 1
    with pytest.raises(ValueError):
        next(things)
    channel.stop()
    with pytest.raises(Stopped):
        channel.put(2)


def test_pixel_formats_are_the_nearest():
    class Facts:
        def __init__(self, pix_fmt):
            self.pix_fmt = pix_fmt

    x264 = [f.name for f in av.Codec("libx264", "w").video_formats]
    for source, size, wanted in (
        ("yuv420p", (64, 64), "yuv420p"), ("yuvj420p", (64, 64), "yuv420p"), ("yuv422p10le", (64, 64), "yuv422p10le"),
        ("yuv420p", (63, 64), "yuv422p"), ("yuv420p", (64, 63), "yuv444p"),
        ("gray", (64, 64), "yuv420p"), ("rgb24", (64, 64), "yuv444p"),
        ("yuv420p12le", (64, 64), "yuv420p10le"), ("yuv411p", (64, 64), "yuv420p"), ("nv12", (64, 64), "yuv420p"),
    ):  # fmt: skip
        assert choose_format(Facts(source), x264, size) == wanted, source


def kill_and_finish(model: str, clip: Path, target: Path, *, kills: int, seconds: float, seed: int) -> int:
    """Kills `run` at moments drawn at random, then lets it end; how many kills hit it at work."""
    words = [sys.executable, "-m", "snpe_srgan", "run", model, str(clip), "-o", str(target), "--segment", "4"]
    moments, hits = random.Random(seed), 0
    for _ in range(kills):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            process.communicate(timeout=seconds * moments.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            hits += 1
        if target.exists():
            break
    if not target.exists():
        subprocess.run(words, check=True, capture_output=True)
    return hits


@pytest.mark.slow
def test_twenty_kills_change_no_frame(model, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=120, size=(96, 160), options={"bf": "3"}, sound=1)
    whole = tmp_path / "whole.mp4"
    begun = time.monotonic()
    assert kill_and_finish(model, clip, whole, kills=0, seconds=0, seed=0) == 0
    seconds = time.monotonic() - begun
    hits, seed = 0, 0
    while hits < 20:
        target = tmp_path / f"large{seed}.mp4"
        hits += kill_and_finish(model, clip, target, kills=min(5, 20 - hits), seconds=seconds, seed=seed)
        assert video_packets(target) == video_packets(whole)
        assert look(target, pixels=False).packets == look(clip, pixels=False).packets
        assert not place_for(target).exists()
        seed += 1
