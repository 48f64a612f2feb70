"""Losses against numpy, feature networks against Keras and against what they were trained on."""

import numpy as np
import pytest

from snpe_srgan.errors import ConfigError, InputError, MissingToolError, SnpeSrganError


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def test_pixel_losses(tf, rng):
    from snpe_srgan.losses.pixel import l1, mse

    a, b = rng.uniform(-1, 1, (2, 2, 5, 4, 3)).astype(np.float32)
    assert float(mse(a, b)) == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)
    assert float(l1(a, b)) == pytest.approx(np.mean(np.abs(a - b)), rel=1e-5)


def test_adversarial_losses_are_the_papers_equations(tf, rng):
    from snpe_srgan.losses.adversarial import discriminator_loss, generator_adversarial, perceptual

    real, fake = rng.normal(0, 2, (2, 6, 1)).astype(np.float32)
    d_real, d_fake = (1 / (1 + np.exp(-z.astype(np.float64))) for z in (real, fake))
    assert float(generator_adversarial(fake)) == pytest.approx(np.mean(-np.log(d_fake)), rel=1e-5)
    wanted = np.mean(-np.log(d_real)) + np.mean(-np.log(1 - d_fake))
    assert float(discriminator_loss(real, fake)) == pytest.approx(wanted, rel=1e-5)
    assert float(perceptual(tf.constant(2.0), tf.constant(3.0))) == pytest.approx(2.003)


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


def test_misspelt_layer_and_network(tf):
    from snpe_srgan.losses.feature_networks import load_feature_network

    with pytest.raises(ConfigError, match="did you mean 'block5_conv4'"):
        load_feature_network("vgg19", ["block5_con4"], weights=None)
    with pytest.raises(ConfigError, match="did you mean 'vgg19'"):
        load_feature_network("vgg1", ["x"], weights=None)


def test_no_download_names_both_ways(tf, monkeypatch):
    from snpe_srgan.losses.feature_networks import load_feature_network

    def offline(**kwargs):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(tf.keras.applications, "VGG19", offline)
    with pytest.raises(MissingToolError, match=r"(?s)connect to the internet.*features.weights"):
        load_feature_network("vgg19", ["block5_conv4"], weights=None)
    with pytest.raises(MissingToolError, match=r"features\.weights"):
        load_feature_network("squeezenet", ["fire3/concat"], weights=None)


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
