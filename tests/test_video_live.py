"""`run --to-stdout`: frames through pipes, each one, in its colours; a budget that is held or missed aloud."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan

av = pytest.importorskip("av", reason="the extra 'video' is not installed")

from helpers_video import look, make_clip  # noqa: E402
from test_video import Nearest  # noqa: E402

from snpe_srgan.errors import CheckFailed  # noqa: E402
from snpe_srgan.video.colour import BT601, FULL, Colour  # noqa: E402
from snpe_srgan.video.live import MEASURED, Network, header, run_live  # noqa: E402
from snpe_srgan.video.selection import Selection, parse_point  # noqa: E402

RUN = [sys.executable, "-m", "snpe_srgan", "run"]


def piped(session, clip, **options):
    pipe = io.BytesIO()
    result = run_live(Network("nearest", session), str(clip), pipe, **options)
    with av.open(io.BytesIO(pipe.getvalue()), format="yuv4mpegpipe") as stream:
        frames = [f.to_ndarray(format="rgb24") for f in stream.decode(video=0)]
        form = stream.streams.video[0].pix_fmt, stream.streams.video[0].average_rate
    return result, frames, form


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_every_frame_goes_through(tmp_path, pix_fmt):
    clip = make_clip(tmp_path / "clip.mkv", frames=9, pix_fmt=pix_fmt, options={"crf": "5", "bf": "2"}, sound=1)
    before = look(clip)
    result, frames, form = piped(Nearest(), clip)
    assert result.frames == len(frames) == 9 and form == (pix_fmt, 25)
    for old, new in zip(before.pixels, frames, strict=True):
        assert np.abs(new.reshape(32, 2, 48, 2, 3).mean((1, 3)) - old).mean() < 8  # another frame is 40 off
    assert any("1 other streams" in note for note in result.notes)
    assert 0 < result.latency <= result.worst_latency


def test_a_part(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=9)
    selection = Selection(parse_point("2f", "--from"), parse_point("8f", "--to"), 3)
    result, frames, form = piped(Nearest(), clip, selection=selection)
    assert result.frames == len(frames) == 2 and form[1] == Fraction(25, 3)


def test_an_uneven_rate_is_said(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=4, times=[0, 1, 5, 6])
    assert any("not even" in note for note in piped(Nearest(), clip)[0].notes)


def test_a_budget_is_held_by_a_smaller_network_or_missed(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=2 * MEASURED + 3)

    now = [0.0]  # a clock that the networks move, so that no other work on the machine matters

    class Timed(Nearest):
        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def _infer(self, lr):
            now[0] += self.seconds
            return super()._infer(lr)

    warnings: list[str] = []
    small = Network("small", Timed(0.01))
    options = {"budget": 45, "clock": lambda: now[0]}
    result, frames, _ = piped(Timed(0.03), clip, smaller=lambda network: small, warn=warnings.append, **options)
    assert result.networks == ("nearest", "small") and len(frames) == 2 * MEASURED + 3
    assert "small enlarges" in warnings[0]
    with pytest.raises(CheckFailed, match=r"33.3 frames/s.*no smaller network"):
        piped(Timed(0.03), clip, **options)
    assert piped(Timed(0.02), clip, **options)[0].networks == ("nearest",)


def test_the_header():
    line = header((144, 176), Fraction(30000, 1001), Fraction(12, 11), "yuv420p10le", Colour(BT601, FULL, 2, 2))
    assert line == b"YUV4MPEG2 W176 H144 F30000:1001 Ip A12:11 C420p10 XYSCSS=420P10 XCOLORRANGE=FULL\n"


def test_from_standard_input_to_standard_output(tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", frames=5)
    with open(clip, "rb") as source:
        done = subprocess.run([*RUN, "-", "--to-stdout"], stdin=source, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with av.open(io.BytesIO(done.stdout), format="yuv4mpegpipe") as stream:
        assert sum(1 for _ in stream.decode(video=0)) == 5
    assert b"5 frames" in done.stderr and b"latency" in done.stderr


def test_a_reader_that_leaves_and_a_writer_that_stalls(tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", frames=60)
    reader = subprocess.Popen([*RUN, str(clip), "--to-stdout"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout is not None
    reader.stdout.read(100)
    reader.stdout.close()
    assert reader.wait(timeout=120) == 1
    assert reader.stderr is not None and b"Traceback" not in reader.stderr.read()
    words = [*RUN, "-", "--to-stdout"]
    stalled = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert stalled.stdin is not None
    stalled.stdin.write(b"not a video\n" * 1000)
    out, err = stalled.communicate(timeout=120)
    assert stalled.returncode == 1 and b"Traceback" not in err and out == b""


def test_what_does_not_go_together(tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", frames=2)
    assert_error(snpe_srgan("run", "mobile", "-", "-o", tmp_path / "x.mkv"), 2, "--to-stdout")
    assert_error(snpe_srgan("run", "mobile", clip, "--fps", "5", "-o", tmp_path / "x.mkv"), 2, "--fps")
    assert_error(snpe_srgan("run", "mobile", clip, "--to-stdout", "--crf", "5"), 2, "--crf")
    assert_error(snpe_srgan("run", "mobile", clip, "--to-stdout", "-o", "x.mkv"), 2, "-o")
    assert_error(snpe_srgan("run", "mobile", clip, clip, "--to-stdout"), 2, "one video")
