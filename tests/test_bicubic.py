"""MATLAB's bicubic: against its own files, against a slow transcription of the definition, and by its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import bicubic_resize, contributions, cubic_kernel, downscale, modcrop, upscale
from snpe_srgan.metrics.dataset import find_evaluation_set
from snpe_srgan.metrics.protocol import mean_score, score


def slow_pass(column: list[float], scale: float) -> list[float]:
    """One 1-D pass by the definition, a Python loop a tap."""
    out, stretch = [], min(scale, 1.0)
    for i in range(math.ceil(len(column) * scale)):
        centre = (i + 0.5) / scale - 0.5
        taps = range(math.floor(centre - 2 / stretch) - 1, math.ceil(centre + 2 / stretch) + 2)
        weights = [float(cubic_kernel(np.float64(stretch * (centre - tap)))) for tap in taps]
        values = [column[mirror(tap, len(column))] for tap in taps]
        out.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return out


def mirror(position: int, length: int) -> int:
    position %= 2 * length
    return position if position < length else 2 * length - 1 - position


def picture(rng, *shape) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4, 1.7])
def test_float_resize_follows_the_definition(rng, scale):
    image = rng.random((13, 9))
    rows = np.array([slow_pass(list(column), scale) for column in image.T]).T
    both = np.array([slow_pass(list(row), scale) for row in rows])
    np.testing.assert_allclose(bicubic_resize(image, scale=scale), both, atol=1e-12)


def test_integers_are_rounded_after_each_pass(rng):
    image = picture(rng, 16, 24)
    rows = np.array([slow_pass(list(map(float, column)), 1 / 4) for column in image.T]).T
    rows = np.clip(np.floor(rows + 0.5), 0, 255)
    both = np.array([slow_pass(list(row), 1 / 4) for row in rows])
    assert np.array_equal(downscale(image, 4), np.clip(np.floor(both + 0.5), 0, 255))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_any_size_gives_any_size_and_keeps_a_flat_picture(height, width, new_height, new_width):
    flat = np.full((height, width, 3), 77, np.uint8)
    assert np.array_equal(bicubic_resize(flat, size=(new_height, new_width)), np.full((new_height, new_width, 3), 77))


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_weights_sum_to_one(scale):
    weights, indices = contributions(20, math.ceil(20 * scale), scale)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert indices.min() >= 0 and indices.max() < 20


def test_channels_and_strips_are_independent(rng):
    image = picture(rng, 40, 200, 3)
    planes = [downscale(np.ascontiguousarray(image[..., c]), 4) for c in range(3)]
    assert np.array_equal(downscale(image, 4), np.stack(planes, axis=-1))


def test_mirrored_picture_gives_mirrored_result(rng):
    image = rng.random((12, 20))
    np.testing.assert_allclose(upscale(image[:, ::-1], 3), upscale(image, 3)[:, ::-1], atol=1e-12)


def test_sixteen_bits_are_the_same_picture_more_finely(rng):
    image = picture(rng, 32, 32, 3)
    fine = upscale(image.astype(np.uint16) * 257, 2)
    assert fine.dtype == np.uint16 and np.abs(fine / 257 - upscale(image, 2)).max() < 1.5


def test_size_and_scale_agree(rng):
    image = picture(rng, 24, 36, 3)
    assert np.array_equal(bicubic_resize(image, size=(8, 12)), downscale(image, 3))
    assert np.array_equal(bicubic_resize(image, size=(24, 36)), image)


def test_a_third_is_a_third():
    assert bicubic_resize(np.zeros((9, 300)), scale=1 / 3).shape == (3, 100)


def test_modcrop_cuts_right_and_bottom(rng):
    image = picture(rng, 11, 9, 3)
    assert np.array_equal(modcrop(image, 4), image[:8, :8])
    with pytest.raises(InputError, match="too small"):
        modcrop(image[:3], 4)


@pytest.mark.parametrize("wrong", [{}, {"scale": 0}, {"scale": 2, "size": (3, 3)}, {"size": (0, 3)}, {"scale": -1}])
def test_impossible_requests_are_errors(wrong):
    with pytest.raises(InputError):
        bicubic_resize(np.zeros((4, 4)), **wrong)


def test_downscale_needs_whole_blocks():
    with pytest.raises(InputError, match="divided"):
        downscale(np.zeros((10, 8), np.uint8), 4)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_equal_to_matlab_bit_by_bit(shared_data, name):
    for hr in sorted((shared_data / "test" / name / "HR").glob("*.png")):
        matlab = np.asarray(Image.open(hr.parents[1] / "LRx4" / hr.name))
        assert np.array_equal(downscale(modcrop(np.asarray(Image.open(hr)), 4), 4), matlab), hr.name


@pytest.mark.shared
@pytest.mark.parametrize(("name", "published"), [("Set5", 28.42), ("Set14", 26.00)])
def test_the_ruler_is_right(shared_data, name, published):
    pairs = find_evaluation_set(shared_data / "test" / name, scale=4)
    scores = [score(upscale(pair.lr, 4), pair.hr, scale=4, grey=pair.grey) for pair in pairs]
    assert mean_score(scores).psnr == pytest.approx(published, abs=0.02)
