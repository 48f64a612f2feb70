"""Configs: the same YAML out as in, and errors that name the nearest key."""

import pytest

from snpe_srgan.config import Config, dump_config, load_config
from snpe_srgan.errors import ConfigError


def load(tmp_path, text, *overrides):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_round_trip(tmp_path):
    config = load(tmp_path, "model: {name: mobile, options: {width: 24}}\ntraining: {stages: [{steps: 5}]}")
    assert load(tmp_path, dump_config(config)) == config
    assert load(tmp_path, dump_config(Config())) == Config()


def test_overrides_reach_into_lists(tmp_path):
    text = "training: {stages: [{name: a, steps: 5}, {name: b, steps: 6}]}"
    config = load(tmp_path, text, "training.stages.1.steps=9", "data.crop=128", "data.train=[x, y]")
    assert [s.steps for s in config.training.stages] == [5, 9]
    assert config.data.crop == 128 and config.data.train == ["x", "y"]


def test_on_is_a_word(tmp_path):
    assert load(tmp_path, "run: {on: host}").run.on == "host"
    assert load(tmp_path, "run: {on: host}", "training.deterministic=true", "run.on=emulator").run.on == "emulator"


def test_exponent_without_point_is_a_number(tmp_path):
    config = load(tmp_path, "training: {stages: [{learning_rate: 2e-4}]}")
    assert config.training.stages[0].learning_rate == 2e-4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modell: {}", "did you mean 'model'"),
        ("data: {crops: 3}", "did you mean 'crop'"),
        ("training: {stages: [{loss: {pixel: l2}}]}", "did you mean 'l1'"),
        ("data: {crop: big}", "data.crop must be a whole number"),
        ("data: {crop: true}", "data.crop must be a whole number"),
        ("data: {crop: 97}", "multiple of the scale"),
        ("data: {train: sample}", "must be a list"),
        ("seed: !!python/object:os.system {}", "not valid YAML"),
        ("[1, 2]", "must be a section"),
        ("a: [", "not valid YAML"),
        ("training: {ema: .nan}", "must be a number, not '.nan'"),
        ("discriminator: {width: 0}", "discriminator.width must be at least 1"),
        ("discriminator: {dense: -1}", "discriminator.dense must be at least 1"),
        ("discriminator: {attention: 7}", "must be at most 4"),
        ("training: {expand: -1}", "training.expand must not be negative"),
        ("training: {beta1: 7}", "training.beta1 must be below 1"),
        ("training: {minutes: -3}", "training.minutes must not be negative"),
        ("training: {gradient_clip: -1}", "gradient_clip must not be negative"),
        ("training: {stages: [{schedule: {warmup: -3}}]}", "schedule.warmup must not be negative"),
        ("seed: -1", "seed must not be negative"),
        ("data: {valid_limit: -1}", "valid_limit must not be negative"),
    ],
)
def test_errors_say_what_and_where(tmp_path, text, says):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert says in str(error.value) and error.value.exit_code == 2 and len(error.value.lines()) <= 3


@pytest.mark.parametrize("override", ["x", "=1", "training.stages.7.steps=1", "seed.a=1"])
def test_bad_overrides(tmp_path, override):
    with pytest.raises(ConfigError):
        load(tmp_path, "seed: 1\ntraining: {stages: [{steps: 5}]}", override)


@pytest.mark.parametrize("text", ["3", "word", "[1]"])
def test_nothing_is_set_in_what_is_no_config(tmp_path, text):
    with pytest.raises(ConfigError, match="must be a section of keys"):
        load(tmp_path, text, "seed=3")
