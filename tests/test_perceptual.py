"""The perceptual distance: a distance (on random weights), and one that sees what people see (on the real ones)."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from snpe_srgan.errors import InputError
from snpe_srgan.losses.feature_networks import squeezenet
from snpe_srgan.metrics.perceptual import TAPS, PerceptualDistance, layer_distance, load_perceptual


def random_weights(seed: int = 0):
    """Weights of SqueezeNet's shapes that keep the signal's size, and heads."""
    rng, channels, weights = np.random.default_rng(seed), {"input": 3}, {}
    for layer in squeezenet().layers:
        channels[layer.name] = layer.channels or sum(channels[x] for x in layer.inputs)
        if layer.kind == "conv":
            shape = (layer.size, layer.size, channels[layer.inputs[0]], layer.channels)
            weights[layer.name] = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape), np.zeros(layer.channels)
    return weights, [rng.random(channels[tap]) for tap in TAPS]


@pytest.fixture(scope="module")
def distance():
    return PerceptualDistance(*random_weights())


@pytest.fixture(scope="module")
def photo():
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[40:168, 150:278])


def noisy(photo, sigma: float):
    noise = np.random.default_rng(1).normal(0, sigma, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def blurred(photo, sigma: float):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(photo, (sigma, sigma, 0))


def test_equal_pictures_have_no_distance_and_order_does_not_matter(distance, photo):
    other = noisy(photo, 9)
    assert distance(photo, photo) == 0
    assert distance(photo, other) == pytest.approx(distance(other, photo), rel=1e-6)


@pytest.mark.parametrize("worse", [noisy, blurred])
def test_grows_with_the_damage(distance, photo, worse):
    values = [distance(photo, worse(photo, strength)) for strength in (0.5, 2, 8)]
    assert 0 < values[0] < values[1] < values[2]


def test_one_layer_is_the_papers_equation(rng):
    a, b, weights = rng.random((5, 3, 4)), rng.random((5, 3, 4)), rng.random(5)
    total = 0.0
    for y in range(3):
        for x in range(4):
            u, v = (f[:, y, x] / np.linalg.norm(f[:, y, x]) for f in (a, b))
            total += (weights * (u - v) ** 2).sum() / 12
    assert layer_distance(a, b, weights) == pytest.approx(total, rel=1e-6)


def test_pictures_that_do_not_fit_are_refused(distance, photo):
    for a, b in ((photo, photo[:-1]), (photo[:20], photo[:20]), (photo / 255, photo / 255)):
        with pytest.raises(InputError):
            distance(a, b)


def test_files_of_something_else_are_refused(tmp_path):
    np.savez(tmp_path / "heads.npz", lin0=np.zeros(3))
    for name in ("heads.npz", "absent.npz"):
        with pytest.raises(InputError, match="heads"):
            load_perceptual(tmp_path / "x.h5", tmp_path / name)


def test_needs_no_tensorflow():
    code = "import sys, snpe_srgan.metrics.perceptual; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.shared
def test_real_weights_mind_lost_detail_more_than_noise_of_the_same_psnr(shared_data, photo):
    from snpe_srgan.imaging.bicubic import downscale, upscale
    from snpe_srgan.metrics.psnr import psnr

    weights = shared_data / "weights"
    real = load_perceptual(weights / "squeezenet_v1.1_imagenet_notop.h5", weights / "lpips" / "squeeze_v0.1.npz")
    coarse = upscale(downscale(photo, 4), 4)
    grainy = noisy(photo, 255 / 10 ** (psnr(photo, coarse) / 20))
    assert real(photo, photo) == 0
    assert 0 < real(photo, noisy(photo, 3)) < real(photo, grainy) < real(photo, coarse) < 1
