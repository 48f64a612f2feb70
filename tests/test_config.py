"""Configs: the same YAML out as in, errors that name the nearest key, and YAML from a stranger."""

import json
import os
import subprocess
import sys

import pytest
from helpers_cli import assert_error, snpe_srgan
from hypothesis import given
from hypothesis import strategies as st

from snpe_srgan.config import Config, dump_config, json_schema, load_config
from snpe_srgan.config.yaml_text import YamlError, read_yaml, write_yaml
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


# --- YAML without surprises

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["1e5", "010", "1:30", "on", "null", "", "~", "<<", "0x10", "1_000", ".5", "-", "2024-01-01", "true", ".inf", "="]
)


@given(st.recursive(plain | texts, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4)))
def test_yaml_reads_what_it_wrote(value):
    assert read_yaml(write_yaml({"value": value})) == {"value": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("2.5", 2.5), ("-7", -7), ("on", "on"), ("yes", "yes"), ("true", True), ("~", None), ("''", ""),
        ("010", "010"), ("1:30", "1:30"), ("0x10", "0x10"), ("1_000", "1_000"), ("2024-99-99", "2024-99-99"),
        (".inf", ".inf"), (".nan", ".nan"), ("'5'", "5"), ("!!str 5", "5"), ("|\n  5", "5"),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ],
)  # fmt: skip
def test_scalars_are_what_they_look_like(text, value):
    read = read_yaml(text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {crop: 96}\nseed: 1\ndata: {crop: 48}", "'data' stands twice in one section, in lines 1 and 3"),
        ("data: {crop: 96, crop: 48}", "'crop' stands twice"),
        (BOMB, "expand to more than"),
        (f"name: &n {'x' * 90_000}\ndata: {{train: [{', '.join(['*n'] * 50)}]}}", "expand to more than"),
        ("a: &a [*a]", "nested deeper"),
        ("a: &a {<<: *a}", "nested deeper"),
        ("x: " + "[" * 5000, "nested deeper"),
        ("x: " + "[" * 40 + "]" * 40, "nested deeper"),
        ("x: " + "9" * 400, "a number of 400 characters"),
        ("x: 1e999", "too large"),
        ("x: !!int 010", "the tag"),
        ("x: !!binary aGk=", "the tag"),
        ("x: !!python/name:os.system", "the tag"),
        ("? [a]\n: 1", "a key must be a word"),
        ("a:\n\tb: 1", "line 2"),
        ("a: \0", "U+0000"),
        ('a: "\\UFFFFFFFF"', ""),
        ("--- a\n--- b", "another document"),
        ("%YAML 9.9\n--- a", "version"),
        ("a: " + "b" * 200_000, "more than"),
    ],
)
def test_yaml_that_is_refused(text, says):
    with pytest.raises(YamlError) as error:
        read_yaml(text)
    assert says in str(error.value) and len(str(error.value)) < 300


# --- the command line


def show(tmp_path, content, *overrides):
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return snpe_srgan("config", "show", "-c", path, *(word for o in overrides for word in ("--set", o)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["the config is empty"]),
        (b"# nothing\n", ["the config is empty"]),
        (b"{}", ["the config is empty"]),
        ("name: x".encode("utf-16"), ["not UTF-8"]),
        (b"3", ["section of keys"]),
        (b"name: ../../x", ["name must be a name without"]),
        (b"training: {stages: [{name: ../../x}]}", ["training.stages[0].name must be a name"]),
        (b"name: " + b"x" * 300, ["name must have at most 100 bytes"]),
        (b'name: "a\\0b"', ["control characters"]),
        (b"data: {batch_size: 010}", ["data.batch_size must be a whole number, not '010'"]),
        (b"training: {log_every: 1:30}", ["training.log_every must be a whole number, not '1:30'"]),
        (b"seed: 9223372036854775808", ["seed must be below"]),
        (b"seed: " + b"x" * 50_000, ["whole number"]),
        (b"x" * 50_000 + b": 1", ["mapping values"]), (b"{%s: 1}" % (b"x" * 900), ["unknown key"]),
        (b"training: {stages: []}", ["stages must not be empty"]),
        (BOMB.encode(), ["expand to more than"]),
    ],
)
def test_config_from_a_stranger(tmp_path, content, words):
    done = show(tmp_path, content)
    assert done.code in (1, 2) and len(done.err) < 800
    assert_error(done, done.code, *words)


def test_byte_order_mark_is_left_out(tmp_path):
    assert show(tmp_path, b"\xef\xbb\xbfname: x").out.startswith("name: x\n")


@pytest.mark.parametrize(
    "override",
    ["seed=2024-99-99", "seed=[[[[", "seed=" + "9" * 400, "seed=" + "9" * 6000, "training.stages.\u00b2.steps=1",
     "training.stages.99999999999999999999.steps=1", "training.stages.-1.steps=1", "a=" + "x" * 50_000, "=", "seed",
     "seed=" + "{a: " * 3000, "name=!!python/name:os.system", "seed=.nan", "seed=*a", "seed.x=1", "model.name=[]"],
)  # fmt: skip
def test_overrides_from_a_stranger(tmp_path, override):
    done = show(tmp_path, "training: {stages: [{steps: 5}]}\nseed: 1", override)
    assert_error(done, 2)
    assert len(done.err) < 800


@pytest.mark.parametrize("options", ["depth: 9223372036854775808", "depth: 1000000", "width: -1", "x: 1", "width: 1.5"])
def test_options_of_a_network_are_bounded(tmp_path, options):
    from snpe_srgan.errors import SnpeSrganError
    from snpe_srgan.models.registry import describe

    with pytest.raises(SnpeSrganError):
        describe("mobile", load(tmp_path, f"model: {{name: mobile, options: {{{options}}}}}").model.options)
    with pytest.raises(ConfigError, match="million parameters"):
        describe("mobile", {"width": 4096, "depth": 100})


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are files on POSIX only")
def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused = {tmp_path / "pipe": "pipe", "/dev/zero": "device", tmp_path: "folder", "no.yaml": "No such"}
    for path, word in refused.items():
        assert_error(snpe_srgan("config", "show", "-c", path), 1, word)


def test_schema_allows_what_the_configs_say():
    schema = json.loads(snpe_srgan("config", "schema").out)
    assert schema == json_schema()
    assert set(schema["properties"]) == {f for f in Config.__dataclass_fields__}
    assert schema["$defs"]["DataConfig"]["properties"]["crop"]["minimum"] == 1
    assert schema["$defs"]["DataConfig"]["properties"]["root"]["description"].startswith("Where downloads")
    assert all(part["additionalProperties"] is False for part in (schema, *schema["$defs"].values()))


def test_show_prints_the_whole_config():
    assert snpe_srgan("config", "show", "--set", "data.crop=128", "--json").json["data"]["crop"] == 128


def test_pydantic_is_loaded_by_configs_only():
    code = (
        "import sys; sys.argv = ['snpe-srgan', '--help']\nfrom snpe_srgan.cli.root import main\n"
        "import snpe_srgan.cli.run, snpe_srgan.zoo.resolve, snpe_srgan.runtimes.open, snpe_srgan.runtimes.enlarge\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'pydantic', 'yaml', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
