"""`snpe-srgan compare`: pictures and models into a page; what does not go together is refused."""

import math

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image

from snpe_srgan.imaging.bicubic import downscale
from snpe_srgan.metrics.protocol import score


@pytest.fixture
def pictures(tmp_path, rng):
    hr = rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)
    made = {"hr": hr, "a": hr // 2, "b": hr // 4 * 3, "small": downscale(hr, 4), "odd": hr[:-1]}
    for name, pixels in made.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path, made


def test_pictures_with_their_psnr(pictures):
    folder, made = pictures
    outcome = snpe_srgan("compare", folder / "a.png", folder / "b.png", "--hr", folder / "hr.png", "--json",
                         "-o", folder / "c.html")  # fmt: skip
    assert outcome.code == 0, outcome
    (one,) = outcome.json["comparisons"]
    assert [p["name"] for p in one["pictures"]] == ["a", "b", "HR"]
    assert one["pictures"][0]["score"]["psnr"] == pytest.approx(score(made["a"], made["hr"], scale=4).psnr)
    assert (folder / "c.html").stat().st_size == outcome.json["bytes"]


def test_models_enlarge_a_picture_that_is_made_small(pictures):
    folder, made = pictures
    outcome = snpe_srgan("compare", "mobile", "mobile-gan", "--hr", folder / "hr.png", "--json",
                         "-o", folder / "c.html")  # fmt: skip
    assert outcome.code == 0, outcome
    names = [p["name"] for p in outcome.json["comparisons"][0]["pictures"]]
    assert names == ["bicubic", "mobile", "mobile-gan", "HR"]
    run = snpe_srgan("run", "mobile", folder / "small.png", "-o", folder / "sr.png")
    assert run.code == 0
    expected = score(np.asarray(Image.open(folder / "sr.png").convert("RGB")), made["hr"], scale=4).psnr
    assert outcome.json["comparisons"][0]["pictures"][1]["score"]["psnr"] == pytest.approx(expected)


def test_models_without_hr_have_no_score(pictures):
    folder, _ = pictures
    outcome = snpe_srgan("compare", "mobile", "--picture", folder / "small.png", "--json", "-o", folder / "c.html")
    pictures = outcome.json["comparisons"][0]["pictures"]
    assert [p["name"] for p in pictures] == ["bicubic", "mobile"] and all(p["score"] is None for p in pictures)


def test_folders_go_together_by_name(pictures):
    folder, made = pictures
    for place, suffix in (("x", "_x4"), ("y", "")):
        (folder / place).mkdir()
        for name in ("a", "b"):
            Image.fromarray(made[name]).save(folder / place / f"{name}{suffix}.png")
    Image.fromarray(made["a"]).save(folder / "x" / "alone.png")
    outcome = snpe_srgan("compare", folder / "x", folder / "y", "-o", folder / "c.html", "--json")
    assert [c["title"] for c in outcome.json["comparisons"]] == ["a", "b"] and "1 pictures are not" in outcome.err


def test_a_smaller_picture_is_enlarged_and_equal_ones_are_infinite(pictures):
    folder, _ = pictures
    outcome = snpe_srgan("compare", folder / "small.png", folder / "hr.png", "--hr", folder / "hr.png", "--json",
                         "--name", "LR", "--name", "same", "-o", folder / "c.html")  # fmt: skip
    assert outcome.code == 0, outcome
    low, same, _ = outcome.json["comparisons"][0]["pictures"]
    assert low["size"] == [32, 48] and same["score"]["psnr"] is None and same["score"]["ssim"] == 1.0
    assert not math.isnan(low["score"]["psnr"])
    assert "enlarged 4 times by bicubic" in (folder / "c.html").read_text()


@pytest.mark.parametrize(
    "arguments,code,words",
    [
        (["a.png"], 2, "nothing to be compared"),
        (["a.png", "odd.png"], 1, "31x48"),
        (["a.png", "gone.png"], 1, "no such picture"),
        (["mobile"], 2, "--picture"),
        (["mobile", "a.png", "--picture", "small.png"], 2, "not both"),
        (["a.png", "b.png", "--picture", "small.png"], 2, "goes with models"),
        (["a.png", "b.png", "--name", "x"], 2, "--name"),
        (["a.png", "b.png", "--name", "x", "--name", "x"], 2, "same name"),
        (["mobile", "--picture", "small.png", "--hr", "odd.png"], 1, "31x48"),
        (["gone.npz", "--picture", "small.png"], 1, "gone.npz"),
        (["a.png", "b.png", "-o", "a.png", "--overwrite"], 1, "a.png"),
    ],
)
def test_what_does_not_go_together(pictures, monkeypatch, arguments, code, words):
    monkeypatch.chdir(pictures[0])
    assert_error(snpe_srgan("compare", *arguments), code, words)
    assert not (pictures[0] / "compare.html").exists()


def test_a_page_that_is_there_is_kept(pictures):
    folder, _ = pictures
    (folder / "c.html").write_text("mine")
    outcome = snpe_srgan("compare", folder / "a.png", folder / "b.png", "-o", folder / "c.html")
    assert outcome.code == 1 and (folder / "c.html").read_text() == "mine"
