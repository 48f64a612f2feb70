"""What `run` sees of a picture's damage, and what it says."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers_cli import snpe_srgan
from PIL import Image
from skimage import data

from snpe_srgan.imaging.damage import blockiness, damage, noise
from snpe_srgan.zoo.named import shipped_models


def jpeg(rgb, quality):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.fixture(params=["astronaut", "coffee", "chelsea"])
def photo(request):
    return getattr(data, request.param)()


def test_clean_photos_and_good_jpegs_are_not_remarked(photo):
    assert damage(photo).sentence() is None
    assert damage(jpeg(photo, 92)).sentence() is None


def test_a_strong_jpeg_is_seen_wherever_its_grid_begins(photo):
    strong = jpeg(photo, 15)
    for cut in (strong, strong[3:, 5:]):
        assert "JPEG blocks" in damage(cut).sentence()
    assert blockiness(jpeg(photo, 10)[..., 1]) > blockiness(jpeg(photo, 60)[..., 1])


@pytest.mark.parametrize("sigma", [2.0, 8.0, 20.0])
def test_white_noise_is_measured_on_a_plane(sigma):
    y, x = np.mgrid[:256, :256]
    plane = 60 + 0.3 * x + 0.2 * y + np.random.default_rng(0).normal(0, sigma, x.shape)
    assert noise(plane) == pytest.approx(sigma, rel=0.12)


def test_noise_is_seen_and_sixteen_bits_read_alike(photo):
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    assert "noise" in damage(noisy).sentence()
    assert damage(noisy.astype(np.uint16) * 257) == damage(noisy)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (40, 40)])
def test_small_and_flat_pictures_are_whole(shape):
    assert damage(np.full((*shape, 3), 128, np.uint8)).sentence() is None


def test_run_says_so_and_switches_nothing(tmp_path):
    if "mobile-photo" not in shipped_models():
        pytest.skip("mobile-photo does not ship yet")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(jpeg(data.astronaut()[:128, :160], 10)).save(folder / f"{name}.png")
    Image.fromarray(data.astronaut()[:128, :160]).save(folder / "clean.png")
    result = snpe_srgan("run", folder, "-o", tmp_path / "out", "--json")
    assert result.code == 0 and result.json["network"]["name"] == "mobile"
    assert result.err.count("mobile-photo") == 1 and "2 of 3 pictures" in result.err
    assert [item["damage"] is None for item in result.json["pictures"]] == [False, False, True]
    quiet = snpe_srgan("run", "mobile-photo", folder, "-o", tmp_path / "photo", "--json")
    assert quiet.code == 0 and "made for such pictures" not in quiet.err


@pytest.mark.parametrize("levels", [2, 4, 16])
def test_a_dithered_scan_or_a_drawing_is_no_damaged_photograph(levels, rng):
    y, x = np.mgrid[0:128, 0:160]
    dithered = np.round(((x + y) / 290 + rng.uniform(-0.5, 0.5, x.shape) / (levels - 1)).clip(0, 1) * (levels - 1))
    grey = (dithered * 255 / (levels - 1)).astype(np.uint8)
    assert damage(np.repeat(grey[..., None], 3, axis=-1)).sentence() is None
