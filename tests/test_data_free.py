"""Quantization without any picture: synthetic ones, moments from batch norms, bias correction, bias absorption."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_networks import random_weights
from helpers_onnx import Net, lr_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from snpe_srgan.calibration.synthetic import leaf_radii, synthetic_crops
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import session, with_outputs
from snpe_srgan.quantization.graph import analytic
from snpe_srgan.quantization.graph.analytic import Moments
from snpe_srgan.quantization.graph.qdq import kernel_scales
from snpe_srgan.quantization.graph.wires import Wires, rescaled, with_convolutions
from snpe_srgan.quantization.kernels.weights import quantize_weights
from snpe_srgan.quantization.steps.absorption import absorb, surplus
from snpe_srgan.quantization.steps.equalization import weight_factors


@pytest.fixture(scope="module")
def crops():
    return synthetic_crops(scale=4, count=8).arrays


def spectrum_slope(crops) -> float:
    """Exponent of the power spectrum of the luma, between 3 cycles a crop and 0.4 cycles a pixel."""
    side = crops[0].shape[1]
    window = np.hanning(side)[:, None] * np.hanning(side)
    luma = [crop[0] @ [0.299, 0.587, 0.114] for crop in crops]
    power = sum(np.abs(np.fft.fft2((y - y.mean()) * window)) ** 2 / (y.var() + 1e-4) for y in luma)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    band = (f > 3 / side) & (f < 0.4)
    return np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]


def test_synthetic_crops_look_like_photographs_to_their_spectrum(crops):
    assert -3.5 < spectrum_slope(crops) < -1.8  # 1/f in amplitude is -2 in power; lens and flat areas add to it


def test_synthetic_crops_are_lr_pictures_that_reach_black_and_white(crops):
    assert all(c.shape == (1, 48, 48, 3) and c.dtype == np.float32 for c in crops)
    every = np.stack(crops)
    assert every.min() == 0 and every.max() == 1
    assert np.mean(every < 0.02) > 0.001 and np.mean(every > 0.98) > 0.001
    assert max(c.std() for c in crops) > 2 * min(c.std() for c in crops)  # of all contrasts


def test_every_fourth_synthetic_crop_is_calm_near_white_near_black_and_between(crops):
    calm = crops[3::4]
    assert max(c.std(axis=(1, 2)).max() for c in calm) < 0.1 < max(c.std(axis=(1, 2)).max() for c in crops)
    assert calm[0].mean() > 0.85 and calm[1].mean() < 0.15


def test_synthetic_crops_are_always_the_same_and_differ_by_seed(crops):
    again, other = (synthetic_crops(scale=4, count=2, seed=seed).arrays for seed in (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(crops, again, strict=False))
    assert not any(np.array_equal(a, b) for a, b in zip(crops, other, strict=False))


def test_synthetic_crops_have_any_size_and_scale():
    assert [c.shape for c in synthetic_crops(scale=2, count=1, size=11).arrays] == [(1, 11, 11, 3)]
    with pytest.raises(UsageError):
        synthetic_crops(scale=2, count=0)


def test_leaf_radii_follow_the_power_law(rng):
    radii = leaf_radii(rng, 200_000, 2.0, 64.0)
    assert radii.min() >= 2 and radii.max() <= 64
    share = np.mean(radii > 8)  # the integral of r^-3
    assert share == pytest.approx((8**-2 - 64**-2) / (2**-2 - 64**-2), rel=0.03)


GAUSSIAN = ndtri((np.arange(200_001) + 0.5) / 200_001)  # quantiles: samples without sampling error


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(0, 3), st.floats(-0.9, 1.3), st.floats(-3, 0), st.floats(0.1, 3))
def test_moments_behind_an_activation_are_those_of_samples(mean, std, slope, low, high):
    moments = Moments(np.array([mean]), np.array([std]))
    x = mean + std * GAUSSIAN
    for got, values in (
        (analytic.prelu_moments(moments, np.array([slope])), np.where(x > 0, x, slope * x)),
        (analytic.prelu_moments(moments, 0.0), np.maximum(x, 0)),
        (analytic.clip_moments(moments, low, high), np.clip(x, low, high)),
        (analytic.clip_moments(moments, -np.inf, high), np.minimum(x, high)),
    ):
        assert got.mean[0] == pytest.approx(values.mean(), abs=2e-3 * (1 + std))
        assert got.std[0] == pytest.approx(values.std(), abs=2e-3 * (1 + std))
        assert got.power[0] == pytest.approx(np.mean(values**2), abs=2e-2 * (1 + std**2))


PICTURE = np.random.default_rng(5).random((1, 40, 40, 3), dtype=np.float32)


def tensors(model, names, lr=PICTURE) -> dict[str, np.ndarray]:
    return dict(zip(names, session(with_outputs(model, names))(names, {"lr": lr}), strict=True))


def by_channel(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=(0, 2, 3), dtype=np.float64), x.std(axis=(0, 2, 3), dtype=np.float64)


def trained(graph, rng) -> dict[str, np.ndarray]:
    """Random weights whose batch norms remember what PICTURE really gives, one after the other, as after a training."""
    weights = random_weights(graph, rng)
    for layer in graph.layers:
        if layer.kind == "batch_norm":
            names = [f"{layer.name}/{x}" for x in ("gamma", "beta", "mean", "variance")]
            wanted = [weights[x] for x in names]
            ones = np.ones_like(wanted[0])
            weights.update(zip(names, [ones, 0 * ones, 0 * ones, ones - layer.attributes["epsilon"]], strict=True))
            mean, std = by_channel(tensors(to_onnx(graph, weights), [layer.inputs[0]])[layer.inputs[0]])
            weights.update(zip(names, [wanted[0], wanted[1], np.float32(mean), np.float32(std**2)], strict=True))
    return weights


@pytest.fixture(scope="module")
def small():
    """(graph, weights, ONNX model, Network, batch-norm statistics) of a small SRGAN."""
    graph = describe("srgan", {"blocks": 2, "width": 6}, scale=4)
    weights = trained(graph, np.random.default_rng(3))
    model = to_onnx(graph, weights)
    return graph, weights, model, Network(model), analytic.batch_norm_statistics(graph, weights)


def test_batch_norms_tell_what_the_folded_convolutions_give(small):
    _, _, model, _, known = small
    assert list(known) == ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "body"]
    for name, values in tensors(model, list(known)).items():
        mean, std = by_channel(values)
        np.testing.assert_allclose(known[name].mean, mean, atol=1e-3)
        np.testing.assert_allclose(known[name].std, std, rtol=5e-3)


def test_a_network_without_batch_norm_is_an_error():
    graph = describe("mobile", {"width": 4, "depth": 2}, scale=2)
    with pytest.raises(InputError, match="no batch norm"):
        analytic.batch_norm_statistics(graph, random_weights(graph, np.random.default_rng(0)))


def test_moments_follow_through_the_network(small):
    """From the picture's own mean and the batch norms alone, every tensor's mean comes out; deviations nearly."""
    _, _, model, network, known = small
    picture = Moments(PICTURE.mean((0, 1, 2), dtype=np.float64), PICTURE.std((0, 1, 2), dtype=np.float64))
    moments = analytic.expected_moments(network, known, picture=picture)
    seen = tensors(model, ["block1_prelu", "block1_add", "body_add", "up1", "up1_shuffle"])
    for name, values in seen.items():
        mean, std = by_channel(values)
        assert np.abs(moments[name].mean - mean).max() < 0.3 * std.max(), name
        assert np.all(np.abs(np.log(moments[name].std / std)) < np.log(3)), name
    mean, std = by_channel(seen["block1_prelu"])
    np.testing.assert_allclose(moments["block1_prelu"].mean, mean, atol=0.05)  # Gaussian: the central limit's work
    np.testing.assert_allclose(moments["block1_prelu"].std, std, rtol=0.05)


def test_a_convolutions_moments_are_those_of_correlated_samples(rng):
    net = Net(2)
    network = Network(net.model(net.conv(net.conv(net.start(), 3, 4), 4, 3), (8, 8), scale=1))
    conv = [n for n in network.nodes if n.kind == "Conv"][1]
    read = Moments(rng.normal(size=4), rng.uniform(0.5, 2, 4))
    y, x = np.indices((3, 3)).reshape(2, -1)
    near = analytic.FEATURE_CORRELATION ** np.hypot(y[:, None] - y, x[:, None] - x)
    noise = rng.standard_normal((100_000, 4, 9)) @ np.linalg.cholesky(near).T
    patches = read.mean[:, None] + read.std[:, None] * noise
    out = patches.reshape(-1, 36) @ conv.constants[1].reshape(3, 36).T + conv.constants[2]
    moments = analytic.conv_moments(conv, read)
    np.testing.assert_allclose(moments.mean, out.mean(0), atol=0.03)
    np.testing.assert_allclose(moments.std, out.std(0), rtol=0.02)


def test_moments_are_scaled_with_the_network(small):
    _, _, model, network, known = small
    wires = Wires(network)
    factors = weight_factors(network, wires)
    moved = analytic.scaled(known, wires, factors)
    for name, values in tensors(rescaled(model, network, wires, factors), list(known)).items():
        np.testing.assert_allclose(moved[name].mean, by_channel(values)[0], atol=2e-3 * np.abs(values).max())


def coarse(network, bits: int = 3) -> dict[str, np.ndarray]:
    encodings = analytic.gaussian_encodings(network, analytic.expected_moments(network, {}), bits=8)
    return kernel_scales(network, encodings, bits=bits)


def rounded(node, scale, bits: int = 3) -> np.ndarray:
    return quantize_weights(node.constants[1], scale, bits=bits) * scale.reshape(-1, 1, 1, 1)


def test_bias_correction_keeps_the_mean_of_whatever_has_that_mean(small):
    *_, network, known = small
    moments, scales = analytic.expected_moments(network, known), coarse(network)
    biases = analytic.analytic_bias_correction(network, moments, scales, weight_bits=3)
    for node in network.nodes:
        if node.kind == "Conv":
            mean = moments[node.inputs[0]].mean
            wanted = node.constants[1].sum((2, 3)) @ mean + node.constants[2]
            got = rounded(node, scales[node.name]).sum((2, 3)) @ mean + biases[node.name]
            np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_bias_correction_removes_the_mean_shift_of_real_tensors(small):
    """Coarse weights in the layers that read PReLU(batch norm): most of the shift they cause is gone, without data."""
    _, _, model, network, known = small
    scales = coarse(network)
    biases = analytic.analytic_bias_correction(
        network, analytic.expected_moments(network, known), scales, weight_bits=3
    )
    for name in ("block1_conv2", "block2_conv2"):
        node = network.makers[name]
        kernel = rounded(node, scales[name])
        mean, before, after = (
            by_channel(tensors(with_convolutions(model, {name: (kernel, b)} if b is not None else {}), [name])[name])[0]
            for b in (None, node.constants[2], biases[name])
        )
        assert np.abs(after - mean).mean() < 0.3 * np.abs(before - mean).mean()


def test_gaussian_encodings_hold_what_really_flows(small):
    _, _, model, network, known = small
    encodings = analytic.gaussian_encodings(network, analytic.expected_moments(network, known), bits=8)
    assert list(encodings) == network.integer_tensors
    inner = [x for x in encodings if x not in (network.input, network.output, "tail")]  # tail: as far as tanh tells
    for name, values in tensors(model, inner).items():
        e = encodings[name]
        inside = np.mean((values >= e.low - e.scale) & (values <= e.high + e.scale))
        assert inside > 0.99, name


def one_sided(kernel: int) -> tuple:
    """(model, network, moments): convolution -> PReLU -> convolution; channels 0 and 1 never change sign."""
    net = Net(4)
    first = net.conv(net.start(), 3, 4, 3, gain=0.2)
    second = net.conv(net.prelu(first, 4), 4, 3, kernel)
    model = net.model(second, (12, 12), scale=1)
    conv = next(n for n in Network(model).nodes if n.kind == "Conv")
    model = with_convolutions(model, {conv.name: (conv.constants[1], np.array([5.0, -5.0, 0.1, -0.1]))})
    mean, std = by_channel(tensors(model, [first], lr_batch((12, 12)))[first])
    return model, Network(model), {first: Moments(mean, std)}


def change(model, other) -> np.ndarray:
    lr = lr_batch((12, 12))
    return np.abs(session(model)(["sr"], {"lr": lr})[0] - session(other)(["sr"], {"lr": lr})[0])[0]


def test_surplus_is_what_a_one_sided_channel_has_beyond_three_deviations():
    moments = Moments(np.array([5.0, -5.0, 2.0, 0.0]), np.ones(4))
    taken, out = surplus(moments, np.array([0.1, 0.25, 0.3, 0.3]))
    np.testing.assert_allclose(taken, [2, -2, 0, 0])
    np.testing.assert_allclose(out, [2, -0.5, 0, 0])


def test_absorption_is_exact_where_nothing_is_padded():
    model, network, moments = one_sided(1)
    done = absorb(model, network, moments)
    assert list(done.absorbed.values()) == [2]
    assert change(model, done.model).max() < 1e-5
    (first,) = moments
    means = [by_channel(tensors(m, [first], lr_batch((12, 12)))[first])[0] for m in (model, done.model)]
    assert np.ptp(means[1]) < 0.5 * np.ptp(means[0])
    np.testing.assert_allclose(done.moments[first].mean, means[1], atol=1e-5)


def test_absorption_leaves_padded_readers_alone_unless_the_border_may_err():
    model, network, moments = one_sided(3)
    assert absorb(model, network, moments).absorbed == {}
    error = change(model, absorb(model, network, moments, border=True).model)
    assert error[1:-1, 1:-1].max() < 1e-5 < 1e-2 < error.max()


def test_absorption_finds_nothing_where_batch_norm_keeps_channels_about_zero(small):
    _, _, model, network, known = small
    near = {name: Moments(m.mean, 2 * np.abs(m.mean) + m.std) for name, m in known.items()}
    done = absorb(model, network, near, border=True)
    assert done.absorbed == {} and done.model == model
