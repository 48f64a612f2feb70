"""PSNR and SSIM against scikit-image and against the definition; protocols; evaluation folders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.imaging import colour
from snpe_srgan.imaging.bicubic import downscale, modcrop
from snpe_srgan.metrics.dataset import find_evaluation_set
from snpe_srgan.metrics.protocol import Protocol, Score, mean_score, score
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.metrics.ssim import gaussian_window, ssim, ssim_map


@pytest.fixture
def pair(rng) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture and the same with noise, uint8 `(90, 52, 3)`."""
    y, x = np.mgrid[:90, :52]
    clean = 128 + 90 * np.sin(np.stack([x / 7 + y / 11, x / 5, y / 6], axis=-1))
    noisy = clean + rng.normal(0, 12, clean.shape)
    return clean.clip(0, 255).astype(np.uint8), noisy.clip(0, 255).astype(np.uint8)


def save(path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_psnr_is_skimages(pair):
    from skimage.metrics import peak_signal_noise_ratio

    assert psnr(*pair) == pytest.approx(peak_signal_noise_ratio(*pair))


def test_psnr_of_equal_pictures_is_infinite(pair):
    assert psnr(pair[0], pair[0]) == math.inf


def test_ssim_is_skimages_where_the_window_fits(pair):
    from skimage.metrics import structural_similarity

    a, b = (picture[..., 0].astype(float) for picture in pair)
    _, full = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    np.testing.assert_allclose(ssim_map(a, b), full[5:-5, 5:-5], atol=1e-9)


def test_ssim_follows_the_definition_at_one_place(pair):
    a, b = (picture[3:14, 7:18, 1].astype(float) for picture in pair)
    w = np.outer(gaussian_window(), gaussian_window())
    ma, mb = (w * a).sum(), (w * b).sum()
    va, vb, cov = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim(a, b) == pytest.approx(expected)


def test_ssim_of_channels_is_their_mean(pair):
    a, b = pair
    assert ssim(a, b) == pytest.approx(np.mean([ssim(a[..., c], b[..., c]) for c in range(3)]))
    assert ssim(a, a) == pytest.approx(1)


def test_luma_is_skimages():
    from skimage.color import rgb2ycbcr

    rgb = np.random.default_rng(5).integers(0, 256, (6, 7, 3), np.uint8)
    np.testing.assert_allclose(colour.rgb_to_y(rgb), rgb2ycbcr(rgb)[..., 0], atol=1e-9)
    assert colour.rgb_to_y(np.array([[0, 0, 0], [255, 255, 255]])) == pytest.approx([16, 235])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_the_networks_ranges(dtype):
    pixels = np.arange(0, np.iinfo(dtype).max + 1, dtype=dtype)
    assert np.array_equal(colour.sr_to_pixels(colour.pixels_to_lr(pixels) * 2 - 1, dtype), pixels)
    assert np.array_equal(colour.rgb_to_grey(colour.grey_to_rgb(pixels[None])), pixels[None])


def test_outputs_beyond_the_range_are_clipped():
    assert colour.sr_to_pixels(np.array([-7.0, 1.01, 0.0])).tolist() == [0, 255, 128]


def test_depths_convert_back_and_forth():
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(colour.to_uint8(every.astype(np.uint16) * 257), every)
    fine = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(colour.to_uint8(fine), np.floor(fine / 257 + 0.5))


def test_border_is_the_scale_and_is_cut(pair):
    hr, sr = pair
    spoilt = hr.copy()
    spoilt[:4], spoilt[-4:], spoilt[:, :4], spoilt[:, -4:] = 0, 0, 0, 0
    assert score(spoilt, hr, scale=4) == Score(math.inf, pytest.approx(1))
    assert score(spoilt, hr, scale=4, protocol=Protocol("y", border=0)).psnr < 30
    assert score(sr, hr, scale=4) == score(sr, hr, scale=2, protocol=Protocol("y", border=4))


def test_protocols_differ_by_their_plane(pair):
    hr, sr = pair
    cut = (slice(2, -2), slice(2, -2))
    assert score(sr, hr, scale=2).psnr == pytest.approx(psnr(colour.rgb_to_y(sr)[cut], colour.rgb_to_y(hr)[cut]))
    assert score(sr, hr, scale=2, protocol=Protocol("rgb")).psnr == pytest.approx(psnr(sr[cut], hr[cut]))


def test_grey_pictures_are_scored_on_their_grey_plane(pair):
    hr, sr = (picture[..., 0] for picture in pair)
    as_rgb = score(colour.grey_to_rgb(sr), colour.grey_to_rgb(hr), scale=4, grey=True)
    assert as_rgb == score(sr, hr, scale=4)
    assert as_rgb.psnr < score(colour.grey_to_rgb(sr), colour.grey_to_rgb(hr), scale=4).psnr


def test_protocol_describes_itself():
    assert "BT.601" in Protocol("y").describe() and "RGB" in Protocol("rgb", border=3).describe()
    with pytest.raises(UsageError, match="unknown protocol"):
        Protocol("ycbcr")


def test_mean_is_of_decibels():
    assert mean_score([Score(20, 0.5), Score(30, 0.7)]) == Score(25, pytest.approx(0.6))
    assert mean_score([Score(20, 0.5), Score(math.inf, 1)]).psnr == math.inf
    with pytest.raises(InputError):
        mean_score([])


@pytest.mark.parametrize("size", [(10, 30), (18, 30)])
def test_pictures_too_small_to_compare_are_errors(size):
    with pytest.raises(InputError):
        score(np.zeros((*size, 3), np.uint8), np.zeros((*size, 3), np.uint8), scale=4)


def test_different_sizes_are_an_error():
    with pytest.raises(InputError, match="different size"):
        psnr(np.zeros((4, 4)), np.zeros((4, 5)))


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("Set5/HR/a.png", "Set5/LRx4/a.png"),
        ("Set5/HR/a.png", "Set5/LRx4/ax4.png"),
        ("Set5/HR/a.png", "Set5/LR_bicubic/X4/ax4.png"),
        ("DIV2K/DIV2K_valid_HR/0801.png", "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png"),
    ],
)
@pytest.mark.parametrize("named", ["root", "hr"])
def test_lr_is_read_where_the_layout_has_it(tmp_path, rng, hr, lr, named):
    pixels = rng.integers(0, 256, (41, 30, 3), np.uint8)
    save(tmp_path / hr, pixels)
    save(tmp_path / lr, np.full((10, 7, 3), 9, np.uint8))
    folder = (tmp_path / hr).parent if named == "hr" else (tmp_path / hr).parents[1]
    found = find_evaluation_set(folder, scale=4)
    (pair,) = found
    assert (pair.lr == 9).all() and np.array_equal(pair.hr, pixels[:40, :28])
    assert "LR read from" in found.describe()


@pytest.mark.parametrize("where", ["Set5/HR", "photos"])
def test_lr_is_made_where_there_is_none(tmp_path, rng, where):
    pixels = rng.integers(0, 256, (41, 30), np.uint8)
    save(tmp_path / where / "b.png", pixels)
    found = find_evaluation_set(tmp_path / where.split("/")[0], scale=4)
    (pair,) = found
    assert np.array_equal(pair.lr[..., 0], downscale(modcrop(pixels, 4), 4)) and pair.grey
    assert "MATLAB-compatible bicubic" in found.describe() and found.name == where.split("/")[0]


def test_a_missing_lr_picture_is_an_error(tmp_path):
    for name in ("HR/a.png", "HR/b.png", "LRx4/a.png"):
        save(tmp_path / name, np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="have no LR picture: b"):
        find_evaluation_set(tmp_path, scale=4)


def test_lr_of_another_scale_is_an_error(tmp_path):
    save(tmp_path / "HR/a.png", np.zeros((16, 16, 3), np.uint8))
    save(tmp_path / "LRx4/a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="does not belong"):
        list(find_evaluation_set(tmp_path, scale=4))


def test_hr_smaller_than_the_scale_is_an_error_with_its_name(tmp_path):
    save(tmp_path / "tiny.png", np.zeros((3, 16, 3), np.uint8))
    with pytest.raises(InputError) as caught:
        list(find_evaluation_set(tmp_path, scale=4))
    assert "tiny.png" in caught.value.where
