"""Two networks by difficulty: each tile is one network's picture, bit for bit, and its own pixels decide whose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image

from snpe_srgan.errors import UsageError
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.runtimes.mixing import PATCH, MixedSession, difficulty
from snpe_srgan.runtimes.session import Description, Session
from snpe_srgan.runtimes.upscale import upscale_picture, upscale_pixels
from snpe_srgan.video.frames import FrameEnlarger


class Smear(Session):
    """A network that sees `radius` pixels up and to the left, with zeros beyond the picture; one sum after the other,
    so that tiles have the whole picture's bits."""

    def __init__(self, name: str, radius: int, **more):
        super().__init__(Description(Path(name), "smear", **{"scale": 2, "radius": radius, **more}))
        self.pixels, self.steps = 0, radius

    def _infer(self, lr):
        self.pixels += lr.shape[1] * lr.shape[2]
        out = lr
        for _ in range(self.steps):
            out = (out + np.pad(out, ((0, 0), (1, 0), (1, 0), (0, 0)))[:, :-1, :-1]) / 2
        return out.repeat(2, 1).repeat(2, 2) * 2 - 1


@pytest.fixture
def halves(rng):
    """Flat on the left, noise on the right; `(h, w)` no multiple of anything."""
    lr = np.full((131, 263, 3), 90, np.uint8)
    lr[:, 140:] = rng.integers(0, 256, (131, 123, 3))
    return lr


def mixed(above: float) -> MixedSession:
    return MixedSession(Smear("small.npz", 2), Smear("large.npz", 9), above=above)


def test_difficulty_is_the_mean_total_variation():
    steps = np.zeros((4, 5, 3), np.uint8)
    steps[:, 1::2] = 255  # four edges of 219 levels in each row of five pixels
    assert difficulty(steps) == pytest.approx(219 * 4 / 5)
    assert difficulty(steps.astype(np.uint16) * 257) == pytest.approx(219 * 4 / 5)
    assert difficulty(np.full((9, 1, 3), 200, np.uint8)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_tile_is_one_networks_picture(halves, dtype):
    lr = halves.astype(dtype) * (257 if dtype is np.uint16 else 1)
    session = mixed(20)
    plan = session.plan(*lr.shape[:2])
    done = upscale_pixels(session, lr).pixels
    alone = [upscale_pixels(s, lr).pixels for s in (Smear("small.npz", 2), Smear("large.npz", 9))]
    hard = [difficulty(lr[part.kept(plan.size)]) > 20 for part in plan.parts]
    assert len(plan.parts) >= 6 and len(set(hard)) == 2
    for part, is_hard in zip(plan.parts, hard, strict=True):
        rows, columns = (slice(s.start * 2, s.stop * 2) for s in part.kept(plan.size))
        assert np.array_equal(done[rows, columns], alone[is_hard][rows, columns])
    assert session.share == pytest.approx(np.mean(hard))
    assert session.arithmetic == f"large for {sum(hard)} of {len(hard)} tiles, small for the others"


def test_the_large_network_sees_hard_tiles_only(halves):
    session = mixed(20)
    upscale_pixels(session, halves)
    side = PATCH + 2 * 9 + 2  # a multiple of 4
    hard = round(session.share * len(session.plan(*halves.shape[:2]).parts))
    assert session._large.pixels == hard * side * side and session._small.pixels == halves.shape[0] * halves.shape[1]


class Choosy(Smear):
    """An engine that computes no width but 96, and says with each tile which part of it must be right."""

    def plan(self, height, width, *, tile=None):
        return super().plan(height, width, tile=(96, 96))

    def run_parts(self, arrays, plan, parts):
        assert plan.run_size == (96, 96) and all(part in plan.parts for part in parts)
        return super().run_parts(arrays, plan, parts)

    def check_input(self, lr):
        assert lr.shape[1:3] == (96, 96)


def test_the_large_networks_engine_chooses_its_tiles(halves):
    session = MixedSession(Smear("small.npz", 2), Choosy("large.npz", 9), above=0)
    noise = slice(300, None)  # flat tiles are the small network's
    wanted = upscale_pixels(mixed(0), halves).pixels
    assert np.array_equal(upscale_pixels(session, halves).pixels[:, noise], wanted[:, noise])
    assert session.share > 0


def test_tiles_overlap_by_what_the_farther_sighted_network_sees(halves):
    far, near = Smear("far.npz", 9), Smear("near.npz", 2)
    enlarger = FrameEnlarger(MixedSession(far, near, above=20), halves.shape[:2])
    assert enlarger.plan.overlap == 9
    enlarger(halves)
    moved = halves.copy()
    moved[40:60, 60:70] = 0
    assert np.array_equal(
        enlarger(moved), upscale_pixels(MixedSession(Smear("far.npz", 9), Smear("n", 2), above=20), moved).pixels
    )


@pytest.mark.parametrize(("above", "which"), [(1000.0, 0), (0.0, 1)])
def test_the_ends_are_the_networks_themselves(rng, above, which):
    lr = rng.integers(0, 256, (150, 97, 3), dtype=np.uint8)
    alone = upscale_pixels((Smear("s", 2), Smear("l", 9))[which], lr).pixels
    assert np.array_equal(upscale_pixels(mixed(above), lr).pixels, alone)


def test_grey_pictures_and_pictures_smaller_than_a_tile(rng):
    grey = rng.integers(0, 256, (20, 7), dtype=np.uint8)
    picture = Picture(grey[..., None].repeat(3, -1), grey=True)
    sr, plan = upscale_picture(mixed(5), picture)
    assert sr.grey and len(plan.parts) == 1
    assert np.array_equal(sr.rgb, upscale_picture(Smear("l", 9), picture)[0].rgb)


def test_frames_take_unchanged_tiles_from_the_frame_before(halves, rng):
    session = mixed(20)
    enlarger = FrameEnlarger(session, halves.shape[:2])
    enlarger(halves)
    moved = halves.copy()
    moved[5:30, 5:30] = rng.integers(0, 256, (25, 25, 3))
    before = session._large.pixels
    assert np.array_equal(enlarger(moved), upscale_pixels(mixed(20), moved).pixels)
    assert enlarger.taken and session._large.pixels - before < before
    assert np.array_equal(enlarger(halves), upscale_pixels(mixed(20), halves).pixels)


@pytest.mark.parametrize("wrong", [{"scale": 4}, {"radius": None}, {"reads_all": True}])
def test_networks_that_do_not_mix(wrong):
    odd, other = Smear("odd", 2), Smear("other", 2)
    odd.description = replace(odd.description, **wrong)
    for pair in ((odd, other), (other, odd)):
        with pytest.raises(UsageError):
            MixedSession(*pair, above=20)


@pytest.fixture
def photo(tmp_path, halves):
    Image.fromarray(halves).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_run_says_what_made_the_tiles(photo, tmp_path):
    done = snpe_srgan("run", "--mix", "mobile,mobile-l", photo, "-o", tmp_path / "a.png", "--json", "--mix-above", "20")
    assert done.code == 0, done.err
    network = done.json["network"]
    assert network["name"] == "mobile-l" and network["mix"] == {"small": "mobile", "above": 20}
    assert "mobile-l for" in done.json["pictures"][0]["arithmetic"]
    for name, words in (("s", ["mobile"]), ("m", ["--mix", "mobile,mobile-l", "--mix-above", "1000"])):
        assert snpe_srgan("run", *words, photo, "-o", tmp_path / f"{name}.png").code == 0
    assert (tmp_path / "s.png").read_bytes() == (tmp_path / "m.png").read_bytes()


@pytest.mark.parametrize("how", [["--jobs", "2"], ["--cluster", "local:1"]])
def test_other_processes_have_both_networks(tmp_path, halves, how):
    if "--cluster" in how:
        pytest.importorskip("distributed", reason="Dask is not installed")
    (tmp_path / "HR").mkdir()
    for name in "ab":
        Image.fromarray(halves[:, 100:].repeat(2, 0).repeat(2, 1)).save(tmp_path / "HR" / f"{name}.png")
    words = ["evaluate", "--mix", "mobile,mobile-l", tmp_path / "HR", "--json"]
    means = [snpe_srgan(*words, *more).json["datasets"][0]["mean"] for more in ([], how)]
    assert means[0] == means[1]


def test_evaluate_takes_two_networks_too(tmp_path, halves):
    (tmp_path / "HR").mkdir()
    Image.fromarray(halves[:, 100:].repeat(2, 0).repeat(2, 1)).save(tmp_path / "HR" / "a.png")
    means = {}
    for words in (["mobile"], ["mobile-l"], ["--mix", "mobile,mobile-l", "--mix-above", "0"]):
        done = snpe_srgan("evaluate", *words, tmp_path / "HR", "--json")
        assert done.code == 0, done.err
        means[done.json["model"]] = done.json["datasets"][0]["mean"]["psnr"]
    assert set(means) == {"mobile", "mobile-l", "mobile,mobile-l"} and means["mobile"] != means["mobile-l"]
    assert means["mobile,mobile-l"] == pytest.approx(means["mobile-l"], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mix", "mobile", "PHOTO"], "takes two networks"),
        (["--mix", "mobile,", "PHOTO"], "takes two networks"),
        (["--mix", "mobile,mobil", "PHOTO"], "mobile"),
        (["mobile", "--mix", "mobile,mobile-l", "PHOTO"], "leave out mobile"),
        (["--mix", "mobile,mobile-l", "--detail", "0.5", "PHOTO"], "--detail"),
        (["--mix", "mobile,mobile-l", "--cluster", "local:1", "PHOTO"], "--cluster"),
        (["--mix", "mobile,mobile-l", "--on", "device", "PHOTO"], "--on device"),
        (["--mix-above", "3", "PHOTO"], "--mix SMALL,LARGE"),
        (["--mix", "mobile,mobile-l", "--mix-above", "nan", "PHOTO"], "nan"),
    ],
)
def test_what_does_not_go_together(photo, words, said):
    done = snpe_srgan("run", *[photo if word == "PHOTO" else word for word in words], "-o", photo.parent / "o.png")
    assert done.code in (1, 2) and said in done.err and "Traceback" not in done.err
    assert not (photo.parent / "o.png").exists()


def test_evaluate_without_a_data_set(photo):
    assert_error(snpe_srgan("evaluate", "mobile"), 2, "DATASET")
    assert_error(snpe_srgan("evaluate", "--mix", "mobile,mobile-l"), 2, "MODEL")
