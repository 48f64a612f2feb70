"""Frequency and feature losses in a training: in its numbers, on its card, and absent where they are not asked for."""

import copy

import pytest
from helpers_training import PIXEL, config, hed_file, metrics

from snpe_srgan.artifacts.card import read_card
from snpe_srgan.artifacts.files import sha256
from snpe_srgan.errors import ConfigError
from snpe_srgan.training.rundir import check_resume, relevant


def with_loss(tmp_path, **loss):
    return config(tmp_path, stages=({**PIXEL, "steps": 2, "loss": {"pixel": "l1", **loss}},))


def test_a_training_with_frequency_and_features(tmp_path, rng):
    pytest.importorskip("tensorflow")
    from snpe_srgan.training.run import train

    file = hed_file(tmp_path / "hed.h5", rng)
    features = {
        "network": "hed_vgg16", "layers": ["block1_conv2", "block2_conv2"], "weights": str(file),
        "activation": "before", "distance": "normalized",
    }  # fmt: skip
    c = with_loss(tmp_path, frequency_weight=0.5, feature_weight=2.0, features=features)
    run = train(c, tmp_path / "run").run_dir
    line = next(m for m in metrics(run) if m["kind"] == "train")
    assert line["loss"] == pytest.approx(line["pixel"] + 0.5 * line["frequency"] + 2 * line["feature"], rel=1e-5)
    assert 0 < line["frequency"] < line["pixel"] and 0 < line["feature"] < 4
    card = read_card(run / "generator.npz").training["features"]["pixel"]
    assert card == {**features, "weights": "hed.h5", "sha256": sha256(file), "feature_weight": 2.0}


def test_runs_from_before_these_keys_resume(tmp_path):
    new = relevant(with_loss(tmp_path))
    assert "frequency_weight" not in new["training"]["stages"][0]["loss"]
    assert set(new["training"]["stages"][0]["loss"]["features"]) == {"network", "layers", "weights"}
    check_resume(copy.deepcopy(new), new, 0, 1, tmp_path)
    for loss in ({"frequency_weight": 0.1}, {"features": {"distance": "l1"}}, {"features": {"activation": "before"}}):
        with pytest.raises(ConfigError, match=next(iter(loss))):
            check_resume(copy.deepcopy(new), relevant(with_loss(tmp_path, **loss)), 0, 1, tmp_path)


@pytest.mark.parametrize("loss", [{"frequency_weight": -1}, {"features": {"distance": "cosine"}}])
def test_values_that_are_none_are_refused(tmp_path, loss):
    with pytest.raises(ConfigError, match=r"must not be negative|distance must be"):
        with_loss(tmp_path, **loss)
