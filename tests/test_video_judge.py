"""`evaluate` on videos: the measures are right, bicubic stands beside, what is missing is said."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan

av = pytest.importorskip("av", reason="the extra 'video' is not installed")
imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra 'video' is not installed")

from helpers_video import make_clip  # noqa: E402

from snpe_srgan.imaging.bicubic import downscale, upscale  # noqa: E402
from snpe_srgan.metrics.protocol import score  # noqa: E402
from snpe_srgan.video.colour import BT601, LIMITED, Colour, from_rgb  # noqa: E402
from snpe_srgan.video.vmaf import Vmaf  # noqa: E402

COLOUR = Colour(BT601, LIMITED, 2, 2)


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip.mp4", frames=4, size=(98, 130), options={"crf": "5"})


def photos(count: int) -> list[np.ndarray]:
    from skimage import data

    whole = data.astronaut()
    return [np.ascontiguousarray(whole[8 * n : 8 * n + 160, 100:300]) for n in range(count)]


def test_vmaf_is_that_of_ffmpeg_on_two_files(tmp_path):
    originals = photos(3)
    worse = [upscale(downscale(p, 4), 4) for p in originals]
    with Vmaf(size=(160, 200), rate=Fraction(25), rivals=2, colour=COLOUR) as vmaf:
        for original, rival in zip(originals, worse, strict=True):
            vmaf.add(original, [original, rival])
        same, other = vmaf.scores()
    assert all(s.vmaf > 95 and s.neg > 95 for s in same)
    names = []
    for name, pictures in (("rival", worse), ("original", originals)):
        frames = [from_rgb(p, None, COLOUR, pix_fmt="yuv420p").to_ndarray().tobytes() for p in pictures]
        (tmp_path / name).write_bytes(b"".join(frames))
        names += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "200x160", "-i", str(tmp_path / name)]
    graph = "libvmaf=log_fmt=json:log_path=log.json:model=version=vmaf_v0.6.1neg"
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *names, "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(words, check=True, cwd=tmp_path)
    wanted = [f["metrics"]["vmaf"] for f in json.loads((tmp_path / "log.json").read_text())["frames"]]
    assert np.allclose([s.neg for s in other], wanted, atol=1e-4)


def test_evaluate_a_video(clip, tmp_path):
    outcome = snpe_srgan("evaluate", "mobile", clip, "--json", "--plot", tmp_path / "plot.png", "--limit", "3")
    assert outcome.code == 0, outcome.err
    (video,) = outcome.json["videos"]
    assert video["size"] == [96, 128] and len(video["frames"]) == 3
    for name in ("psnr", "ssim", "vmaf", "neg"):
        assert video["mean"][name] == pytest.approx(np.mean([f["score"][name] for f in video["frames"]]))
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(clip)) as original:
        hr = next(original.decode(video=0)).to_ndarray(format="rgb24")[:96, :128]
    wanted = score(upscale(downscale(np.ascontiguousarray(hr), 4), 4), hr, scale=4)
    assert video["frames"][0]["bicubic"]["psnr"] == pytest.approx(wanted.psnr, abs=0.3)  # chroma is enlarged otherwise
    assert_error(snpe_srgan("evaluate", "mobile", clip, "--min-psnr", "99", "--limit", "1"), 1, "--min-psnr 99")


def test_bicubic_is_its_own_rival(clip):
    outcome = snpe_srgan("evaluate", "bicubic", clip, "--json", "--limit", "1")
    assert outcome.code == 0, outcome.err
    assert outcome.json["videos"][0]["mean"] == outcome.json["videos"][0]["bicubic"]


def test_what_does_not_go_together(clip, tmp_path):
    assert_error(snpe_srgan("evaluate", "bicubic", clip, tmp_path), 2, "no video file")
    assert_error(snpe_srgan("evaluate", "bicubic", clip, "--save-images", "x"), 2, "--save-images")
    assert_error(snpe_srgan("evaluate", "bicubic", tmp_path, "--plot", "x.png"), 2, "for videos")
    assert_error(snpe_srgan("evaluate", "bicubic", clip, "--plot", tmp_path / "x.jpg"), 2, ".png")
    small = make_clip(tmp_path / "small.mp4", frames=1)
    assert_error(snpe_srgan("evaluate", "bicubic", small), 1, "too small")


def test_a_missing_tool_is_said(clip, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/true")
    assert_error(snpe_srgan("evaluate", "bicubic", clip), 3, "libvmaf", "pip install imageio-ffmpeg")
    monkeypatch.setattr("snpe_srgan.machine.installed", lambda package: package != "imageio_ffmpeg")
    assert_error(snpe_srgan("evaluate", "bicubic", clip), 3, "pip install imageio-ffmpeg")
