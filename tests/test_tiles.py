"""Tiled equals untiled, for a random convolution network in numpy with zero padding at each layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.imaging.tiles import plan_tiles, upscale_tiled

RADIUS = 3  # three 3x3 convolutions


def small_network(seed: int = 0, scale: int = 2):
    """`(1, h, w, 3) -> (1, h * scale, w * scale, 3)`: three 3x3 convolutions with ReLU, then depth_to_space."""
    rng = np.random.default_rng(seed)
    kernels = [rng.normal(size=(3, 3, a, b)) / 5 for a, b in ((3, 4), (4, 4), (4, 3 * scale * scale))]

    def run(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64)
        for kernel in kernels:
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            h, w = x.shape[1:3]
            x = sum(padded[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))
            x = np.maximum(x + 0.1, 0)
        x = x.reshape(1, h, w, scale, scale, 3).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(1, h * scale, w * scale, 3)

    return run


def only_size(run, tile):
    def checked(x):
        assert x.shape == (1, *tile, 3)
        return run(x)

    return checked


sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.integers(2 * RADIUS + 1, 20), st.integers(2 * RADIUS + 1, 20))
def test_tiled_equals_untiled(height, width, tile_height, tile_width):
    lr, run = np.random.default_rng(1).random((height, width, 3)), small_network()
    tiled = upscale_tiled(run, lr, scale=2, tile=(tile_height, tile_width), overlap=RADIUS)
    np.testing.assert_allclose(tiled, run(lr[None])[0], atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(12, 40), st.integers(10, 40))
def test_fixed_tiles_have_one_size_and_change_nothing(height, width):
    lr, run, tile = np.random.default_rng(2).random((height, width, 3)), small_network(), (12, 10)
    tiled = upscale_tiled(only_size(run, tile), lr, scale=2, tile=tile, fixed=True, overlap=RADIUS)
    np.testing.assert_allclose(tiled, run(lr[None])[0], atol=1e-12)


def test_too_little_overlap_shows():
    lr, run = np.random.default_rng(3).random((28, 28, 3)), small_network()
    tiled = upscale_tiled(run, lr, scale=2, tile=(16, 16), overlap=RADIUS - 1)
    assert np.abs(tiled - run(lr[None])[0]).max() > 1e-6


@pytest.mark.parametrize("size", [(1, 1), (5, 30), (30, 3), (7, 7)])
def test_pictures_smaller_than_a_fixed_tile_are_mirrored(size):
    lr, run, tile = np.random.default_rng(4).random((*size, 3)), small_network(), (16, 16)
    sr = upscale_tiled(only_size(run, tile), lr, scale=2, tile=tile, fixed=True, overlap=RADIUS)
    padded = np.pad(lr, ((0, max(0, 16 - size[0])), (0, max(0, 16 - size[1])), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(sr, run(padded[None])[0][: 2 * size[0], : 2 * size[1]], atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 64), st.integers(1, 64), st.integers(0, 8))
def test_plan_covers_each_pixel_once_away_from_artificial_borders(height, width, tall, wide, overlap):
    assume(min(tall, wide) > 2 * overlap)
    seen = np.zeros((height, width), int)
    for t in plan_tiles(height, width, tile=(tall, wide), overlap=overlap):
        assert t.y >= 0 and t.y + t.height <= height and t.x >= 0 and t.x + t.width <= width
        assert (t.height, t.width) == (min(tall, height), min(wide, width))
        assert t.y == 0 or t.keep_y - t.y >= overlap
        assert t.x == 0 or t.keep_x - t.x >= overlap
        assert t.y + t.height == height or t.y + t.height - t.keep_y_end >= overlap
        assert t.x + t.width == width or t.x + t.width - t.keep_x_end >= overlap
        seen[t.keep_y : t.keep_y_end, t.keep_x : t.keep_x_end] += 1
    assert (seen == 1).all()


def test_tile_smaller_than_its_overlap_is_an_error():
    with pytest.raises(InputError, match="too small for an overlap of 8"):
        plan_tiles(64, 64, tile=(16, 32), overlap=8)


def failing(on: int, how):
    """A network whose call number `on` goes wrong."""
    calls = []

    def run(x):
        calls.append(x)
        return how(x) if len(calls) == on else np.repeat(np.repeat(x, 2, 1), 2, 2)

    return run


def raise_runtime_error(x):
    raise RuntimeError("graph execution failed")


def raise_own_error(x):
    raise InputError("engine refused", where="model.dlc", hint="use another")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (raise_runtime_error, "graph execution failed"),
        (raise_own_error, "engine refused"),
        (lambda x: x, "gave shape"),
        (lambda x: np.full((1, 2 * x.shape[1], 2 * x.shape[2], 3), np.nan), "not finite"),
    ],
)
def test_failing_tile_stops_the_run_with_its_place(how, message):
    with pytest.raises(SnpeSrganError, match=message) as caught:
        upscale_tiled(failing(3, how), np.zeros((20, 20, 3)), scale=2, tile=(12, 12), overlap=2)
    assert "tile 3 of 4: rows 8..19, columns 0..11" in caught.value.where


def test_progress_counts_tiles_and_dtype_is_the_engines():
    seen = []
    lr = np.zeros((20, 12, 3), np.float32)
    sr = upscale_tiled(failing(0, None), lr, scale=2, tile=(12, 12), progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 2), (2, 2)] and sr.dtype == np.float32
