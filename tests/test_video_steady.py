"""Smoothing over time: flicker falls, what moves leaves no trace, a run that goes on shows the same frames."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is missing: pip install 'snpe-srgan[video]'")

import av
from helpers_cli import assert_error, snpe_srgan
from test_video import Nearest, enlarged

from snpe_srgan.errors import InputError
from snpe_srgan.video.steady import HISTORY, REACH, WINDOW, Steady, is_cut, luma, weight

SIZE = (48, 64)
SCENE = np.random.default_rng(0).integers(40, 200, (*SIZE, 3), np.uint8)


def noisy(count, *, sigma=2.0, seed=1, scene=SCENE):
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield np.clip(np.rint(scene + random.normal(0, sigma, scene.shape)), 0, 255).astype(np.uint8)


def boiling(lr, scale=2):
    """A network that makes five times as much of its input's noise."""
    sr = SCENE + 5 * (lr.astype(np.float32) - SCENE)
    return np.clip(sr, 0, 255).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)


def test_flicker_is_measured_and_falls_to_less_than_half():
    steady = Steady(2)
    for lr in noisy(12):
        steady(lr, boiling(lr))
    source, network, shown = steady.flicker.means
    # |a - b| of two normal values is 2 / sqrt(pi) sigma on average; brightness weighs three channels' noise.
    expected = 2 / np.sqrt(np.pi) * 2.0 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert source == pytest.approx(expected, rel=0.1)
    assert network == pytest.approx(5 * source, rel=0.1)
    assert shown < 0.45 * network
    assert steady.cuts == 0


def test_what_did_not_change_stays_the_same_bits():
    steady, sr = Steady(2), boiling(SCENE)
    for _ in range(5):
        assert np.array_equal(steady(SCENE, sr), sr)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_moves_drags_nothing_along(dtype):
    factor = 1 if dtype == np.uint8 else 257
    steady = Steady(2)
    for step, lr in enumerate(noisy(10)):
        lr[10:26, 4 * step : 4 * step + 12] = (255, 0, 0)
        lr = lr.astype(dtype) * dtype(factor)
        sr = lr.repeat(2, 0).repeat(2, 1)
        shown = steady(lr, sr)
        assert shown.dtype == dtype
        if step:  # where the square is, and where it has been in one of the frames that are looked back at
            left = max(0, 4 * (step - HISTORY) - REACH)
            box = np.s_[2 * (10 - REACH) : 2 * (26 + REACH), 2 * left : 2 * (4 * step + 12 + REACH)]
            red = (sr[box][..., 0] > 250 * factor) & (sr[box][..., 1] == 0)
            assert np.array_equal(shown[box][red], sr[box][red])
            trail = np.s_[2 * 12 : 2 * 24, 2 * 4 * (step - 1) : 2 * 4 * step]  # just uncovered
            assert np.array_equal(shown[trail], sr[trail])


def test_weights_are_those_of_noise_and_of_movement():
    a, b = (luma(x) for x in noisy(2))
    assert weight(a, b).mean() > 0.9
    b[20:30, 20:30] += 60
    seen = weight(a, b)
    grown = REACH + WINDOW // 2
    assert seen[20 - grown + 1 : 30 + grown - 1, 20 - grown + 1 : 30 + grown - 1].max() == 0
    assert seen[:8].mean() > 0.8


def test_scene_cuts_forget_what_was():
    other = np.random.default_rng(9).integers(0, 90, (*SIZE, 3), np.uint8)
    steady = Steady(2)
    for lr in [*noisy(4), *noisy(4, scene=other)]:
        steady(lr, boiling(lr))
    assert steady.cuts == 1
    assert is_cut(luma(SCENE), luma(other)) and not is_cut(*(luma(x) for x in noisy(2)))
    brighter = np.clip(luma(SCENE) + 10, 0, 255)
    assert not is_cut(luma(SCENE), brighter)  # a lamp


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "bgr0"
        for lr in noisy(23):
            for packet in stream.encode(av.VideoFrame.from_ndarray(lr, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def frames(path):
    with av.open(str(path)) as container:
        return [hashlib.sha256(f.to_ndarray(format="rgb24")).hexdigest() for f in container.decode(video=0)]


def test_a_run_that_failed_goes_on_with_the_same_frames(clip, tmp_path):
    whole = enlarged(clip, tmp_path / "whole.mkv", codec="ffv1", steady=True)
    for fails_at in (1, 7, 13):
        target = tmp_path / f"{fails_at}.mkv"
        with pytest.raises(InputError, match="the network failed"):
            enlarged(clip, target, Nearest(fails_at), codec="ffv1", steady=True)
        result = enlarged(clip, target, codec="ffv1", steady=True)
        assert result.frames == 23 and result.resumed == fails_at // 5 * 5
        assert frames(target) == frames(tmp_path / "whole.mkv")
    plain = enlarged(clip, tmp_path / "plain.mkv", codec="ffv1")
    assert plain.steadied is None and frames(tmp_path / "plain.mkv") != frames(tmp_path / "whole.mkv")
    assert whole.steadied.written < 0.5 * whole.steadied.network


def test_smoothed_and_plain_are_different_runs(clip, tmp_path):
    target = tmp_path / "out.mkv"
    with pytest.raises(InputError, match="the network failed"):
        enlarged(clip, target, Nearest(12), codec="ffv1", steady=True)
    with pytest.raises(InputError, match="unfinished"):
        enlarged(clip, target, codec="ffv1")


def test_pictures_have_no_time(tmp_path):
    assert_error(snpe_srgan("run", "x.png", "--steady"), 2, "--steady is for videos")
