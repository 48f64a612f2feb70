"""Degraded LR pictures: each step against another implementation, and what a training may rely on."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image
from scipy import integrate, ndimage
from scipy.spatial.transform import Rotation

from snpe_srgan.config import DegradationConfig, parse_config
from snpe_srgan.data.batches import prefetch
from snpe_srgan.data.cache import prepare
from snpe_srgan.data.degradation import filters, kernels, noise, recipe
from snpe_srgan.data.degradation.jpeg import jpeg
from snpe_srgan.data.degradation.pool import Pool
from snpe_srgan.data.degraded import DegradedBatches
from snpe_srgan.data.sample import make_sample
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.errors import ConfigError
from snpe_srgan.imaging.bicubic import downscale

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder / "sample")
    return prepare(find_pictures(folder / "sample"), folder / "cache", scale=4)


@pytest.fixture
def picture():
    smooth = ndimage.gaussian_filter(np.random.default_rng(3).random((40, 56, 3)), (3, 3, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


# --- kernels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_gaussian_is_scipys_density(angle):
    from scipy.stats import multivariate_normal

    turn = Rotation.from_euler("z", angle).as_matrix()[:2, :2]
    density = multivariate_normal([0, 0], turn @ np.diag([2.0**2, 0.8**2]) @ turn.T)
    y, x = np.mgrid[-6:7, -6:7]
    expected = density.pdf(np.stack([x, y], -1))
    np.testing.assert_allclose(kernels.bell(13, (2.0, 0.8), angle), expected / expected.sum(), atol=1e-12)


def test_generalized_and_plateau_by_their_definition():
    bell, flat = kernels.bell(9, (1.5, 1.5), beta=2.0), kernels.plateau(9, (1.5, 1.5), beta=1.5)
    d = (3**2 + 1) / 1.5**2  # at three pixels right and one up, of the centre's value
    assert bell[3, 7] / bell[4, 4] == pytest.approx(np.exp(-(d**2) / 2))
    assert flat[3, 7] / flat[4, 4] == pytest.approx(1 / (1 + d**1.5))


def test_sinc_is_the_integral_over_a_disc_of_frequencies():
    cutoff, kernel = 1.3, kernels.sinc(9, 1.3)

    def value(r):  # the inverse Fourier transform of a disc, by quadrature
        inner = integrate.quad(
            lambda k: k * integrate.quad(lambda t: np.cos(k * r * np.cos(t)), 0, 2 * np.pi)[0], 0, cutoff
        )
        return inner[0] / (2 * np.pi) ** 2

    for y, x in ((4, 5), (2, 7), (0, 4)):
        expected = value(np.hypot(y - 4, x - 4)) / value(0.0)
        assert kernel[y, x] / kernel[4, 4] == pytest.approx(expected, abs=1e-6)


def test_drawn_kernels_keep_brightness_and_place():
    rng = np.random.default_rng(0)
    for _ in range(200):
        kernel = kernels.draw(rng, sigma=(0.2, 3.0), sinc_probability=0.1)
        assert kernel.shape[0] in kernels.SIZES and kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)  # symmetric: nothing moves


# --- filters -----------------------------------------------------------------------------------------------------


def test_blur_is_scipys_convolution(picture):
    kernel = np.random.default_rng(0).random((7, 7))  # not symmetric: correlation would be another picture
    expected = np.stack([ndimage.convolve(picture[..., c], kernel / kernel.sum(), mode="mirror") for c in range(3)], -1)
    np.testing.assert_allclose(filters.blur(picture, kernel / kernel.sum()), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(20, 28), (17, 23), (61, 90), (40, 56)])
def test_bilinear_is_scipys_interpolation(picture, size):
    places = [(np.arange(out) + 0.5) * n / out - 0.5 for n, out in zip(picture.shape, size, strict=False)]
    grid = np.meshgrid(*places, indexing="ij")
    expected = np.stack([ndimage.map_coordinates(picture[..., c], grid, order=1, mode="nearest") for c in range(3)], -1)
    np.testing.assert_allclose(filters.resize(picture, size, "bilinear"), expected, atol=1e-5)


def test_bicubic_enlarges_as_pillow_and_shrinks_without_antialiasing(picture):
    wide = np.stack(
        [Image.fromarray(picture[..., c]).resize((140, 100), Image.Resampling.BICUBIC) for c in range(3)], -1
    )
    np.testing.assert_allclose(filters.resize(picture, (100, 140), "bicubic")[8:-8, 8:-8], wide[8:-8, 8:-8], atol=1e-5)
    np.testing.assert_allclose(  # a pixel's centre falls on every third pixel: sampled, not averaged
        filters.resize(picture[:39, :54], (13, 18), "bicubic"), picture[1:39:3, 1:54:3], atol=1e-5
    )


def test_area_is_the_mean_of_what_a_pixel_covers(picture):
    blocks = picture.reshape(10, 4, 14, 4, 3).mean((1, 3))
    np.testing.assert_allclose(filters.resize(picture, (10, 14), "area"), blocks, atol=1e-6)
    box = np.stack([Image.fromarray(picture[..., c]).resize((20, 15), Image.Resampling.BOX) for c in range(3)], -1)
    assert filters.resize(picture, (15, 20), "area").mean() == pytest.approx(picture.mean(), abs=1e-6)
    np.testing.assert_allclose(filters.resize(picture, (15, 20), "area"), box, atol=0.05)  # Pillow weighs whole pixels


# --- noise and JPEG ----------------------------------------------------------------------------------------------


def test_gaussian_noise_has_its_deviation_and_its_channels():
    flat = np.full((128, 128, 3), 0.5, np.float32)
    colour = noise.gaussian(flat, np.random.default_rng(0), sigma=0.05, grey=False) - flat
    grey = noise.gaussian(flat, np.random.default_rng(0), sigma=0.05, grey=True) - flat
    assert colour.std() == pytest.approx(0.05, rel=0.02) and grey.std() == pytest.approx(0.05, rel=0.03)
    assert abs(np.corrcoef(colour[..., 0].ravel(), colour[..., 1].ravel())[0, 1]) < 0.05
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_poisson_noise_has_the_variance_of_counted_photons():
    ramp = np.repeat(np.linspace(0.2, 0.8, 256, dtype=np.float32)[None, :, None], 256, 0).repeat(3, 2)
    added = noise.poisson(ramp, np.random.default_rng(0), scale=1.0, grey=False) - ramp
    photons = 2 ** np.ceil(np.log2(len(np.unique(np.round(ramp * 255)))))
    for column in (20, 128, 230):
        part = slice(column - 10, column + 10)
        assert added[:, part].var() == pytest.approx(ramp[0, column, 0] / photons, rel=0.08)
    double = noise.poisson(ramp, np.random.default_rng(0), scale=0.5, grey=False) - ramp
    assert double.std() == pytest.approx(added.std() / 2, rel=0.05)


def test_camera_noise_is_largest_in_the_dark_and_coarse():
    rng = np.random.default_rng(0)
    dark, light = (np.full((128, 128, 3), value, np.float32) for value in (0.3, 0.8))
    added = [noise.camera(x, rng, shot=1e-4, read=1e-5) - x for x in (dark, light)]
    assert added[0].std() > 1.3 * added[1].std()
    neighbours = np.corrcoef(added[1][:, :-1, 0].ravel(), added[1][:, 1:, 0].ravel())[0, 1]
    assert neighbours > 0.3  # demosaiced: not white


def test_demosaic_keeps_what_the_sensor_saw_of_a_flat_picture():
    colour = noise.bayer(9, 12)
    assert [np.mean(noise.bayer(8, 8) == c) for c in range(3)] == [0.25, 0.5, 0.25]
    np.testing.assert_allclose(noise.demosaic(np.array([0.2, 0.5, 0.9])[colour], colour)[4, 5], [0.2, 0.5, 0.9])


def test_jpeg_is_pillows_file(picture):
    file = io.BytesIO()
    pixels = np.round(picture * 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=40, subsampling=2)
    np.testing.assert_array_equal(np.round(jpeg(picture, 40) * 255).astype(np.uint8), np.asarray(Image.open(file)))


# --- the recipe --------------------------------------------------------------------------------------------------


def _photo(cache, **options):
    hr = cache.hr(0)[:192, :160]
    return recipe.degrade(hr, scale=4, **{"preset": "photo", "seed": (1, 2, 3), **options})


def test_the_same_seed_gives_the_same_picture_and_others_another(cache):
    first = _photo(cache)
    assert first.shape == (48, 40, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, _photo(cache))
    for seed in ((1, 2, 4), (1, 3, 3), (2, 2, 3)):
        assert not np.array_equal(first, _photo(cache, seed=seed))


def test_presets(cache):
    hr = cache.hr(0)[:192, :160]
    clean = downscale(hr, 4)
    np.testing.assert_array_equal(_photo(cache, preset="bicubic"), clean)
    worst = recipe.degrade(hr, scale=4, preset="jpeg", strength=1.0, seed=(0, 0, 0))
    assert 0 < np.abs(worst.astype(int) - clean).mean() < 20


def test_strength_and_scale(cache):
    """Weaker is nearer to bicubic, and nothing is moved: on average the picture lies where bicubic's does."""
    hr = cache.hr(0)[:192, :192]
    clean = downscale(hr, 4).astype(float)
    off = {s: np.mean([np.abs(_lr(hr, s, n) - clean).mean() for n in range(12)]) for s in (0.1, 1.0)}
    assert off[0.1] < 0.7 * off[1.0]
    mean = np.mean([_lr(hr, 0.3, n) for n in range(40)], axis=0)
    errors = {
        (dy, dx): np.square(np.roll(mean, (dy, dx), (0, 1)) - clean)[4:-4, 4:-4].mean()
        for dy in (-1, 0, 1) for dx in (-1, 0, 1)
    }  # fmt: skip
    assert min(errors, key=errors.get) == (0, 0)
    assert recipe.degrade(hr, scale=2, preset="photo", seed=(0,)).shape == (96, 96, 3)
    assert recipe.degrade(hr[:8, :8], scale=4, preset="photo", seed=(0,)).shape == (2, 2, 3)


def _lr(hr, strength, number):
    return recipe.degrade(hr, scale=4, preset="photo", strength=strength, seed=(0, number)).astype(float)


# --- batches -----------------------------------------------------------------------------------------------------

CONFIG = DegradationConfig(preset="photo", strength=0.5, clean=0.25, windows=6, refresh=2, workers=2)


def _batches(cache, config=CONFIG, **options):
    return DegradedBatches(cache, config, **{"batch_size": 4, "crop": 64, "seed": 7, **options})


def test_batches_are_a_function_of_seed_and_step(cache):
    run = list(prefetch(_batches(cache), 0, 5))
    resumed = list(prefetch(_batches(cache), 3, 5))  # in the middle of a generation, with fresh processes
    for whole, later in zip(run[3:], resumed, strict=True):
        for a, b in zip(whole, later, strict=True):
            np.testing.assert_array_equal(a, b)
    assert [array.shape for array in run[0]] == [(4, 16, 16, 3), (4, 64, 64, 3)]
    other = next(iter(prefetch(_batches(cache, seed=8), 0, 1)))
    assert not np.array_equal(run[0][0], other[0])


def test_clean_windows_are_the_caches_and_all_lie_where_hr_does(cache):
    config = DegradationConfig(preset="photo", strength=0.2, clean=0.5, windows=8, refresh=100)
    batches = _batches(cache, config, batch_size=8, augment=False)
    try:
        (lr, hr), crops = batches.batch(0), batches.crops(0)
        windows = batches._pool.windows(0)
    finally:
        batches.close()
    assert {w.clean for w in windows} == {True, False}
    for one, crop in zip(lr, crops, strict=True):
        expected = cache.lr(crop.picture)[crop.top : crop.top + 16, crop.left : crop.left + 16]
        assert np.array_equal(one, expected) == windows[crop.window].clean
        assert np.corrcoef(one.ravel().astype(float), expected.ravel())[0, 1] > 0.8
    np.testing.assert_array_equal(hr[0], cache.hr(crops[0].picture)[crops[0].top * 4 :, crops[0].left * 4 :][:64, :64])


def test_workers_share_a_batch(cache):
    whole = _batches(cache)
    try:
        halves = [whole.shard(i, 2).crops(1) for i in range(2)]
        assert [c for pair in zip(*halves, strict=True) for c in pair] == whole.crops(1)
    finally:
        whole.close()


def test_a_worker_that_dies_is_one_error_and_none_outlives_its_pool(cache):
    pool = Pool(cache, CONFIG, side=16, seed=0)
    pool.lr(0)
    processes = [worker._process for worker in pool._workers]
    for process in processes:
        process.kill()
    with pytest.raises(Exception, match="the process that degrades pictures ended"):
        pool.lr(4)
    pool.close()
    assert all(process.poll() is not None for process in processes)


# --- config ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section, word",
    [
        ({"preset": "photos"}, "preset"),
        ({"preset": "photo", "strength": 1.5}, "strength"),
        ({"preset": "photo", "clean": -0.1}, "clean"),
        ({"preset": "photo", "windows": 0}, "windows"),
        ({"preset": "photo", "refresh": 0}, "refresh"),
        ({"noise": 3}, "noise"),
    ],
)
def test_a_wrong_section_is_refused_by_its_key(section, word):
    with pytest.raises(ConfigError) as caught:
        parse_config({"data": {"degradation": section}})
    assert word in json.dumps(str(caught.value))


# --- data preview ------------------------------------------------------------------------------------------------


def test_preview_writes_pairs_beside_each_other(tmp_path):
    make_sample(tmp_path / "sample")
    out = tmp_path / "sheet.png"
    arguments = ["data", "preview", tmp_path / "sample", "--count", "4", "-o", out]
    pairs = snpe_srgan(*arguments, "--json").json["pairs"]
    sheet = np.asarray(Image.open(out))
    assert len(pairs) == 4 and sheet.shape == (2 * 262 - 6, 3 * 524 - 6, 3)
    hr = np.asarray(Image.open(next((tmp_path / "sample").rglob(pairs[0]["picture"]))).convert("RGB"))
    top, left, (h, w) = pairs[0]["top"], pairs[0]["left"], pairs[0]["hr_size"]
    np.testing.assert_array_equal(sheet[:h, 256 : 256 + w], hr[top : top + h, left : left + w])
    assert (sheet[:h, :w].reshape(h // 4, 4, w // 4, 4, 3).std((1, 3)) == 0).all()
    assert_error(snpe_srgan(*arguments), 1, "sheet.png")
    assert snpe_srgan(*arguments, "--overwrite", "--strength", "2").code == 2
    assert_error(snpe_srgan("data", "preview", tmp_path / "none"), 1, "none")
