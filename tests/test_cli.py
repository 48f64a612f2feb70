"""The command line through its real entry point: help, exit codes, streams, and what must never be imported."""

import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from snpe_srgan.cli.root import VERBS, cli


def snpe_srgan(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "snpe_srgan", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **kwargs,
    )


def test_help_lists_every_verb_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['snpe-srgan', '--help']\n"
        "import contextlib\n"
        "from snpe_srgan.cli.root import main\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "heavy = {'tensorflow', 'tensorlayer', 'numpy', 'onnx', 'onnxruntime', 'openvino', 'PIL', 'skimage', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert shown.endswith("[]\n")
    assert all(f"\n  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_its_options(verb):
    shown = CliRunner().invoke(cli, [verb, "-h"])
    assert shown.exit_code == 0 and "Usage:" in shown.output, shown.output


def test_choices_are_those_of_the_modules_that_a_verb_must_not_import():
    from snpe_srgan.metrics.perceptual import DISTANCES
    from snpe_srgan.onnx_graphs.boundary import CHANNELS, LAYOUTS, RANGES

    offered = {(verb, p.name): p.type.choices for verb in VERBS for p in cli.get_command(None, verb).params
               if isinstance(p.type, click.Choice)}  # fmt: skip
    assert tuple(offered["evaluate", "perceptual"]) == DISTANCES
    takers = {verb for verb, name in offered if name == "values"}
    assert takers >= {"run", "evaluate", "quantize", "convert", "benchmark", "inspect", "compare", "deploy", "plan"}
    for verb in takers:
        assert tuple(offered[verb, "values"]) == (*RANGES, "ours") and tuple(offered[verb, "takes"]) == tuple(RANGES)
        assert tuple(offered[verb, "layout"]) == LAYOUTS and tuple(offered[verb, "channels"]) == CHANNELS


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["trian"], 2, "did you mean 'train'"),
        (["train", "--confg", "x"], 2, "--config"),
        (["train", "-c", "missing.yaml"], 1, "missing.yaml"),
        (["evaluate", "missing.npz", "."], 1, "missing.npz"),
        (["run", "README.md", "."], 1, "no model"),
        (["pipeline", "-c", "pyproject.toml"], 2, "YAML"),
        (["inspect", "no-such-thing"], 1, "no-such-thing"),
    ],
)
def test_exit_codes_and_messages(arguments, code, says, request):
    done = snpe_srgan(*arguments, cwd=request.config.rootpath)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_json_errors_are_one_object():
    done = snpe_srgan("inspect", "no-such-thing", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["exit_code"] == 1


def test_traceback_only_on_request():
    assert "Traceback" in snpe_srgan("inspect", "no-such-thing", "-v").stderr


def test_version():
    assert snpe_srgan("--version").stdout.startswith("snpe-srgan, version ")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ImportError("libx.so.1: failed to map segment from shared object", name="x"), 1, "not enough memory"),
        (ImportError("libx.so.1: cannot allocate memory in static TLS block"), 1, "not enough memory"),
        (ImportError("libx.so.1: cannot open shared object file", name="x.y"), 3, "pip install x"),
        (ModuleNotFoundError("No module named 'x'", name="x"), 3, "No module named 'x'"),
        (ImportError("cannot import name 'f' from 'snpe_srgan.a'", name="snpe_srgan.a"), 1, "again with -v"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_one_plain_error(monkeypatch, error, code, words):
    from helpers_cli import assert_error
    from helpers_cli import snpe_srgan as here

    from snpe_srgan.cli import root

    def load(name):
        raise error

    monkeypatch.setattr(root.importlib, "import_module", load)
    assert_error(here("devices"), code, words)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space")
@pytest.mark.parametrize("megabytes", [130, 160, 190])
def test_little_memory_is_one_plain_error(tmp_path, megabytes):
    import resource

    from PIL import Image

    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    words = [sys.executable, "-m", "snpe_srgan", "run", "mobile", "a.png", "-o", "b.png"]
    limit = (megabytes * 1_000_000,) * 2
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )  # fmt: skip
    assert done.returncode in (0, 1), done
    if done.returncode:
        assert "memory" in done.stderr and "again with -v" not in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "b.png").exists()
