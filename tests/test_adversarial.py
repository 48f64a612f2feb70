"""The discriminator's options and the relativistic loss: against numpy, by their properties, in a training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_training import GAN, config, metrics

from snpe_srgan.config import parse_config
from snpe_srgan.errors import ConfigError
from snpe_srgan.training.rundir import relevant

RELATIVISTIC = {**GAN, "steps": 2, "loss": {**GAN["loss"], "adversarial": "relativistic"}}


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def test_relativistic_losses_are_esrgans_equations(tf, rng):
    from snpe_srgan.losses.adversarial import discriminator_loss, generator_relativistic, relative_logits

    real, fake = rng.normal(0, 2, (2, 6, 1)).astype(np.float32)
    d_real = 1 / (1 + np.exp(fake.mean() - real.astype(np.float64)))
    d_fake = 1 / (1 + np.exp(real.mean() - fake.astype(np.float64)))
    d_loss = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    g_loss = -np.log(1 - d_real).mean() - np.log(d_fake).mean()
    assert float(discriminator_loss(*relative_logits(real, fake))) == pytest.approx(d_loss, rel=1e-5)
    assert float(generator_relativistic(real, fake)) == pytest.approx(g_loss, rel=1e-5)


def test_relativistic_losses_look_at_differences_only(tf, rng):
    from snpe_srgan.losses.adversarial import discriminator_loss, generator_relativistic, relative_logits

    real, fake = rng.normal(0, 2, (2, 6, 1)).astype(np.float32)
    assert float(generator_relativistic(real + 5, fake + 5)) == pytest.approx(
        float(generator_relativistic(real, fake)), rel=1e-5
    )
    exchanged = discriminator_loss(*relative_logits(fake, real))
    assert float(generator_relativistic(real, fake)) == pytest.approx(float(exchanged), rel=1e-6)
    same = np.full((3, 1), 7.0, np.float32)
    assert float(generator_relativistic(same, same)) == pytest.approx(2 * np.log(2))
    assert np.isfinite(generator_relativistic(same * 1e4, -same * 1e4))


def test_self_attention_is_the_papers(tf, rng):
    """Against loops over places, on a map of odd height (where the pooled map is rounded up)."""
    from snpe_srgan.models.self_attention import SelfAttention

    layer = SelfAttention(seed=2, name="attention")
    layer.build((2, 5, 4, 16))
    layer.gamma.assign([0.7])
    x = rng.normal(size=(2, 5, 4, 16)).astype(np.float32)
    query, key, value, out = (v.numpy() for v in (layer.query, layer.key, layer.value, layer.out))
    assert (query.shape, value.shape) == ((16, 2), (16, 8))
    expected = x.astype(np.float64)
    for n in range(2):
        blocks = [x[n, i : i + 2, j : j + 2].reshape(-1, 16) for i in (0, 2, 4) for j in (0, 2)]
        keys, values = (np.stack([(block @ w).max(0) for block in blocks]) for w in (key, value))
        for i, j in np.ndindex(5, 4):
            weights = np.exp(keys @ (x[n, i, j] @ query))
            expected[n, i, j] += 0.7 * (weights / weights.sum()) @ values @ out
    np.testing.assert_allclose(layer.forward(tf.constant(x)), expected, atol=1e-4)


@pytest.mark.parametrize("attention", [1, 2, 3, 4])
def test_attention_starts_as_nothing_wherever_it_stands(tf, rng, attention):
    from snpe_srgan.models.discriminator import build_discriminator

    hr = rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    plain, attentive = (build_discriminator(16, width=4, dense=8, attention=a, seed=1) for a in (0, attention))
    np.testing.assert_array_equal(plain(hr, is_train=True), attentive(hr, is_train=True))
    added = {w.name for w in attentive.all_weights} - {w.name for w in plain.all_weights}
    assert len(attentive.all_weights) - len(plain.all_weights) == 5, added
    next(w for w in attentive.trainable_weights if "gamma" in w.name and w.shape == (1,)).assign([3.0])
    assert np.any(plain(hr, is_train=True).numpy() != attentive(hr, is_train=True).numpy())


def test_a_relativistic_training_with_attention_and_its_checkpoint(tf, tmp_path):
    from snpe_srgan.models.registry import describe
    from snpe_srgan.training.checkpoint import last_checkpoint
    from snpe_srgan.training.engine import Distribution
    from snpe_srgan.training.run import train
    from snpe_srgan.training.state import StageState

    c = config(tmp_path, stages=(RELATIVISTIC,))
    c = dataclasses.replace(c, discriminator=dataclasses.replace(c.discriminator, attention=3))
    run = train(c, tmp_path / "run").run_dir
    (line,) = [m for m in metrics(run) if m["kind"] == "train"]
    assert 0 < line["d_real"] < 1 and 0 < line["d_fake"] < 1 and line["adversarial"] > 0

    saved = last_checkpoint(run / "checkpoints", warn=pytest.fail).arrays
    state = StageState(
        describe(c.model.name, c.model.options), Distribution(), seed=9, beta1=0.9, metrics=saved["sums"].size, crop=16,
        discriminator=c.discriminator,
    )  # fmt: skip
    state.load(saved, where=run)
    attention = next(layer for layer in state.discriminator.all_layers if layer.name == "attention")
    assert 0 < abs(float(attention.gamma[0])) < 0.1
    assert all(np.array_equal(saved[k], a) for k, a in state.arrays().items())


def test_defaults_change_nothing_that_a_resume_compares(tmp_path):
    plain = relevant(config(tmp_path, stages=(GAN,)))
    assert "attention" not in plain["discriminator"] and "adversarial" not in plain["training"]["stages"][0]["loss"]
    other = relevant(config(tmp_path, stages=(RELATIVISTIC,)))
    assert other["training"]["stages"][0]["loss"]["adversarial"] == "relativistic"


@pytest.mark.parametrize("discriminator", [{"attention": 5}, {"attention": True}])
def test_a_place_that_is_none_is_refused(discriminator):
    with pytest.raises(ConfigError, match=r"discriminator\.attention"):
        parse_config({"discriminator": discriminator})


def test_shift_rolls_by_every_offset_and_by_the_step_alone(tf):
    from snpe_srgan.training.steps import shift

    pictures = tf.reshape(tf.range(2 * 8 * 8 * 3), [2, 8, 8, 3])
    seen = set()
    for number in range(120):
        step = tf.constant(number, tf.int64)
        moved = shift(step, 4)(pictures)
        np.testing.assert_array_equal(moved, shift(step, 4)(pictures))
        found = [
            (y, x) for y in range(8) for x in range(8) if np.array_equal(moved, np.roll(pictures, (y, x), (1, 2)))
        ]
        seen.update(found)
    assert seen == {(y, x) for y in range(4) for x in range(4)}
    assert shift(tf.constant(5, tf.int64), 0)(pictures) is pictures


def test_a_shifted_training_sees_other_pictures_and_an_unshifted_one_is_what_it_was(tf, tmp_path):
    from snpe_srgan.training.run import train

    losses = {}
    for width in (None, 0, 4):
        stage = {**GAN, "steps": 3, "loss": {**GAN["loss"], **({} if width is None else {"shift": width})}}
        folder = tmp_path / str(width)
        train(config(tmp_path, stages=[stage], log_every=1), folder)
        losses[width] = [row["adversarial"] for row in metrics(folder) if "adversarial" in row]
    assert losses[None] == losses[0] != losses[4]


def test_phase_energies_are_scipys_laplacian_by_place(tf, rng):
    from scipy import ndimage

    from snpe_srgan.losses.phases import phase_energies, phase_loss

    pictures = rng.uniform(-1, 1, (2, 24, 20, 3)).astype(np.float32)
    luma = pictures @ np.array([0.299, 0.587, 0.114], np.float32)
    mask = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    detail = np.stack([np.abs(ndimage.convolve(one, mask)) for one in luma])
    expected = [[detail[:, 4 + i : 20 : 4, 4 + j : 16 : 4].mean() for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(phase_energies(tf.constant(pictures), 4), expected, rtol=1e-5)
    plain = np.zeros((1, 24, 24, 3), np.float32)
    dotted, stripes = plain.copy(), plain.copy()
    dotted[:, 2::4, 1::4] += 0.5  # one place of the grid stands out
    stripes[:, :, ::2] += 0.5  # structure that all places share
    assert float(phase_loss(plain, plain, scale=4)) == 0
    assert np.ptp(phase_energies(tf.constant(dotted), 4)) > 1 and np.ptp(phase_energies(tf.constant(stripes), 4)) < 1e-6


def test_a_training_takes_the_phase_loss_and_logs_it(tf, tmp_path):
    from snpe_srgan.training.run import train

    stage = {"name": "pixel", "steps": 4, "loss": {"pixel_weight": 0.0, "phase_weight": 1.0}}
    train(config(tmp_path, stages=[stage], log_every=1), tmp_path / "run")
    rows = [row for row in metrics(tmp_path / "run") if "phase" in row]
    assert len(rows) == 4 and all(row["loss"] == pytest.approx(row["phase"], rel=1e-5) for row in rows)
