"""The arithmetic of quantization against brute force and its defining properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snpe_srgan.quantization.kernels import affine, ranges, weights
from snpe_srgan.quantization.observe.calibration import bin_edges, histogram

finite = st.floats(-100, 100, width=32)


def heavy_tails(rng, n=20000):
    return rng.standard_t(2.5, n)


def binned(x, bins=2048):
    unit = float(np.sqrt(np.square(x).mean()))
    edges = bin_edges(x.min(), x.max(), unit, bins)
    return histogram(x, np.ones_like(x), edges, unit)[0], edges


def grid_error(x, low, high, bits=8):
    scale, zero = affine.affine_range(low, high, bits)
    return float(np.square(affine.fake_quantize(x, scale, zero, bits=bits) - x).mean())


@settings(max_examples=200, deadline=None)
@given(finite, finite, st.sampled_from([8, 16]))
def test_round_trip_error_is_half_a_step_inside_the_range(a, b, bits):
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero = affine.affine_range(low, high, bits)
    x = np.linspace(-zero * float(scale), (2**bits - 1 - zero) * float(scale), 999)
    error = np.abs(affine.fake_quantize(x, scale, zero, bits=bits) - x)
    assert error.max() <= float(scale) / 2 * 1.001 + 1e-5 * np.abs(x).max()


@settings(max_examples=100, deadline=None)
@given(finite, finite, st.sampled_from([8, 16]))
def test_zero_is_on_every_grid_and_the_ends_move_half_a_step_at_most(a, b, bits):
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero = affine.affine_range(low, high, bits)
    assert affine.fake_quantize(np.zeros(1), scale, zero, bits=bits)[0] == 0
    assert 0 <= zero < 2**bits
    assert abs(-zero * float(scale) - low) <= float(scale) * 0.501


def test_nothing_wraps_around():
    scale, zero = affine.affine_range(-1, 1, 8)
    q = affine.quantize(np.array([-1e9, 1e9]), scale, zero, low=0, high=255)
    assert q.tolist() == [0, 255]


@pytest.mark.parametrize("bits", [8, 16])
def test_unit_range_holds_black_and_white_exactly(bits):
    scale, zero = affine.unit_range(bits)
    x = np.float32([-1, 0, 1])
    assert np.allclose(affine.fake_quantize(x, scale, zero, bits=bits), x, atol=1e-7)


def test_range_error_is_what_brute_force_measures(rng):
    x = heavy_tails(rng)
    counts, edges = binned(x)
    for low, high in ((-2.0, 3.0), (-6.0, 6.0), (-1.0, 9.0)):
        expected = ranges.range_error(counts, edges, [low], [high], bits=8)[0, 0] / len(x)
        assert expected == pytest.approx(grid_error(x, low, high), rel=0.05)


def test_mse_range_is_the_best_of_its_grid(rng):
    counts, edges = binned(heavy_tails(rng), 512)
    low, high = ranges.mse_range(counts, edges, bits=8)
    best = ranges.range_error(counts, edges, [low], [high], bits=8)[0, 0]
    lowest, highest = ranges.min_max(counts, edges)
    others = np.linspace(0.01, 1, 40)
    assert best <= ranges.range_error(counts, edges, lowest * others, highest * others, bits=8).min() * 1.02


def test_mse_range_beats_min_max_on_heavy_tails_and_equals_it_on_a_flat_histogram(rng):
    x = rng.laplace(size=20000)
    counts, edges = binned(x)
    found, everything = ranges.mse_range(counts, edges, bits=4), ranges.min_max(counts, edges)
    assert grid_error(x, *found, bits=4) < grid_error(x, *everything, bits=4) / 2
    flat = np.ones(512)
    assert ranges.mse_range(flat, np.linspace(-1, 1, 513), bits=8) == pytest.approx((-1, 1), abs=0.02)


def test_values_that_do_not_matter_do_not_widen_the_range(rng):
    counts, edges = binned(heavy_tails(rng))
    matters = np.where(np.abs(edges[:-1]) < 2, counts, 0)
    low, high = ranges.mse_range(matters, edges, bits=8)
    assert low >= -2.1 and high <= 2.1


def test_percentile_is_numpys(rng):
    x = heavy_tails(rng)
    low, high = ranges.percentile(*binned(x), keep=0.99)
    assert (low, high) == pytest.approx(np.quantile(x, [0.005, 0.995]), abs=0.05)


def test_ranges_of_a_constant_tensor_are_usable():
    counts, edges = binned(np.full(100, 3.0))
    for low, high in (ranges.min_max(counts, edges), ranges.mse_range(counts, edges, bits=8)):
        scale, zero = affine.affine_range(low, high, 8)
        assert affine.fake_quantize(np.float32([3.0]), scale, zero, bits=8)[0] == pytest.approx(3.0, abs=0.02)
    assert ranges.mse_range(np.zeros(64), np.zeros(65), bits=8) == (0.0, 0.0)


def test_a_crop_on_which_everything_explodes_does_not_widen_the_range(rng):
    unit, usual = 1.0, rng.normal(0, 1, (8, 5000))
    wild = rng.normal(0, 300, (1, 5000))
    edges = bin_edges(wild.min(), wild.max(), unit)
    crops = [histogram(x, np.full(5000, 1 / np.square(np.ptp(x) / 255).sum()), edges, unit)[1] for x in (*usual, *wild)]
    low, high = ranges.decibel_range(np.array(crops), edges, bits=8)
    assert -8 < low < -2.5 and 2.5 < high < 8
    assert ranges.mse_range(np.sum(crops, axis=0), edges, bits=8)[1] > 3 * high
    alone = ranges.decibel_range(np.array(crops[:8]), edges, bits=8)
    assert (low, high) == pytest.approx(alone, rel=0.5)


def test_histogram_counts_as_numpy_does(rng):
    x, w = heavy_tails(rng), rng.random(20000)
    edges = bin_edges(x.min(), x.max(), 0.7, 100)
    counts, sums = histogram(x, w, edges, 0.7)
    assert np.abs(counts - np.histogram(x, edges)[0]).sum() <= 20 and sums.sum() == pytest.approx(w.sum())
    assert counts.sum() == len(x)


def test_rebinning_keeps_every_count_and_its_place():
    counts, edges = np.arange(64.0), np.linspace(-1, 1, 65)
    wanted = np.linspace(-2, 4, 65)
    more = ranges.rebin(counts[None], edges, wanted)[0]
    centre = (wanted[:-1] + wanted[1:]) / 2
    assert more.sum() == counts.sum()
    assert (more @ centre) / more.sum() == pytest.approx(counts @ (edges[:-1] + edges[1:]) / 2 / counts.sum(), abs=0.05)


def kernel(rng, out=16, spread=3.0):
    return rng.normal(0, 1, (out, 8, 3, 3)) * np.exp(rng.normal(0, spread, out))[:, None, None, None]


def weight_rms(w, scale, bits=8):
    scale = np.broadcast_to(np.asarray(scale, np.float64), len(w))
    back = weights.quantize_weights(w, scale, bits=bits) * scale[:, None, None, None]
    return np.square(back - w).reshape(len(w), -1).sum(axis=1)


def test_per_channel_is_never_worse_than_per_tensor_or_min_max(rng):
    w = kernel(rng)
    ours = weight_rms(w, weights.channel_scales(w))
    assert (ours <= weight_rms(w, affine.symmetric_scale(np.abs(w).reshape(len(w), -1).max(1), 8)) * (1 + 1e-9)).all()
    assert ours.sum() <= weight_rms(w, affine.symmetric_scale(np.abs(w).max(), 8)).sum()


def test_a_channel_of_zeros_stays_zero():
    w = np.zeros((2, 4, 1, 1))
    assert not weights.quantize_weights(w, weights.channel_scales(w)).any()


def test_bias_is_on_the_accumulators_grid_and_always_fits(rng):
    w, bias = kernel(rng, spread=12.0), rng.normal(0, 100, 16)
    scale = weights.widen_for_bias(weights.channel_scales(w), bias, 1 / 255)
    grid = np.float32(1 / 255) * scale
    q = weights.quantize_bias(bias, grid)
    assert q.dtype == np.int32 and np.abs(q.astype(np.int64)).max() <= weights.LARGEST_BIAS
    assert (np.abs(q * grid.astype(np.float64) - bias) <= grid / 2 * 1.001).all()


def test_slope_grid_holds_all_slopes_and_beats_plain_min_max(rng):
    slopes, weight = rng.uniform(-0.6, 1.3, 64), np.exp(rng.normal(0, 3, 64))

    def loss(scale, zero):
        return weight @ np.square(affine.fake_quantize(slopes, scale, zero, bits=8) - slopes)

    scale, zero = weights.slope_grid(slopes, weight, bits=8)
    assert loss(scale, zero) <= loss(*affine.affine_range(slopes.min(), slopes.max(), 8))
    assert np.abs(affine.fake_quantize(slopes, scale, zero, bits=8) - slopes).max() <= float(scale) * 0.501


def test_moments_that_rounding_made_no_matrix_of_moments_are_rounded_for_all_the_same(rng):
    from snpe_srgan.quantization.kernels.rounding import round_weights

    weights, gram = rng.normal(0, 1, (3, 6)), np.diag([1.0, 1, 1, 1, 1, -0.5])  # float32's errors leave such a thing
    integers = round_weights(weights, gram, np.full(3, 0.05), bits=8)
    assert np.isfinite(integers).all() and np.abs(integers * 0.05 - weights).max() < 0.5
