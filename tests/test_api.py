"""The public API: what docs/api.md shows runs as it stands, and importing the package loads next to nothing."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import snpe_srgan
from snpe_srgan.errors import InputError, UsageError

ROOT = Path(__file__).resolve().parents[1]
DOCS = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def photo(path, rng, size=(24, 20)):
    from PIL import Image

    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def test_the_example_in_the_docs_runs(tmp_path, rng, monkeypatch):
    photo(tmp_path / "photo.png", rng)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", DOCS, re.S)
    exec(compile(example, "docs/api.md", "exec"), {})
    assert snpe_srgan.read_picture("photo_x4.png").rgb.shape == (96, 80, 3)
    with pytest.raises(InputError):
        exec(compile(example, "docs/api.md", "exec"), {})  # nothing is overwritten unasked


def test_what_is_offered_is_documented_typed_and_there():
    import inspect

    stub = (ROOT / "snpe_srgan" / "__init__.pyi").read_text(encoding="utf-8")
    assert re.findall(r"import (\w+) as", stub) == snpe_srgan.__all__
    for name in snpe_srgan.__all__:
        assert f"`{name}(" in DOCS
        function = getattr(snpe_srgan, name)
        assert function.__module__ == "snpe_srgan.api" and function.__doc__
        (signature,) = re.findall(rf"`{name}\(([^)]*)\)", DOCS)
        assert [part.strip(" =") for part in signature.split(",")] == list(inspect.signature(function).parameters)
    assert set(snpe_srgan.__all__) <= set(dir(snpe_srgan))
    with pytest.raises(AttributeError, match="no attribute 'upscal'"):
        snpe_srgan.upscal  # noqa: B018


def test_the_import_loads_neither_numpy_nor_an_engine():
    script = "import snpe_srgan, sys; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = re.findall(r"'(\w+)'", done.stdout)
    assert not {"numpy", "tensorflow", "onnxruntime", "openvino", "PIL", "click", "pydantic"} & set(loaded)


def test_upscale_and_evaluate_need_no_tensorflow(tmp_path, rng):
    photo(tmp_path / "photo.png", rng, (48, 40))
    script = (
        "import snpe_srgan, sys\n"
        "with snpe_srgan.open_session('mobile') as session:\n"
        f"    found = snpe_srgan.evaluate(session, {str(tmp_path)!r})\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(found.scale, len(found.pictures), found.mean.psnr > 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "4 1 True", done.stderr


def test_what_fails_raises_one_of_the_families_errors(tmp_path):
    with pytest.raises(InputError):
        snpe_srgan.open_session(tmp_path / "none.npz")
    with pytest.raises(InputError):
        snpe_srgan.read_picture(tmp_path / "none.png")
    with pytest.raises(InputError):
        snpe_srgan.import_model(tmp_path / "none.pth", tmp_path / "out.npz")
    from snpe_srgan.config import load_config

    with pytest.raises(UsageError, match="overrides"):
        snpe_srgan.train(load_config(None), tmp_path / "run", overrides=["seed=1"])


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder of `snpe_srgan.train`: three steps of a small network."""
    from dataclasses import replace

    from helpers_training import PIXEL, config

    from snpe_srgan.config import ModelConfig

    root = tmp_path_factory.mktemp("api")
    wanted = config(root, stages=({**PIXEL, "steps": 3},))
    model = ModelConfig(name="mobile", options={"width": 16, "depth": 3})
    result = snpe_srgan.train(replace(wanted, model=model), root / "run")
    assert result.run_dir == root / "run" and result.generator.is_file() and result.stages[0].steps == 3
    return root / "run"


def test_a_trained_network_is_converted_and_quantized(run_dir, tmp_path):
    from snpe_srgan.stages.quantize import QuantizeOptions

    converted = snpe_srgan.convert(run_dir, tmp_path, onnx_only=True)
    assert converted.onnx is not None and converted.checks[0].passed and converted.dlc is None
    options = QuantizeOptions(recipe="w8a8-plain", calibration=[run_dir.parent / "photos"], count=2, onnx_only=True)
    quantized = snpe_srgan.quantize(converted.onnx, tmp_path, options)
    assert quantized.report.psnr_to_float > 20 and quantized.onnx.is_file()
    with snpe_srgan.open_session(quantized.onnx) as session:
        photo(tmp_path / "photo.png", np.random.default_rng(0))
        assert snpe_srgan.upscale(session, snpe_srgan.read_picture(tmp_path / "photo.png")).rgb.shape == (96, 80, 3)


def test_a_trained_network_is_compressed(run_dir, tmp_path):
    from snpe_srgan.stages.compress import CompressOptions

    options = CompressOptions(
        target="macs=0.7", strategy="prune", calibration=[run_dir.parent / "photos"], count=2, input_size=(16, 16),
        runs=1,
    )  # fmt: skip
    found = snpe_srgan.compress(run_dir, tmp_path, options)
    assert found.network.is_file()
    assert found.measured.after.macs_per_lr_pixel <= 0.7 * found.measured.before.macs_per_lr_pixel


def test_foreign_weights_are_imported(tmp_path, rng):
    from helpers_torch import write_pth
    from helpers_torch_networks import checkpoint

    source = write_pth(tmp_path / "net.pth", checkpoint("srvgg", rng)[0])
    card = snpe_srgan.import_model(source, tmp_path / "net.npz")
    assert card.network == "srvgg" and card.parameters > 0
    with snpe_srgan.open_session(tmp_path / "net.npz") as session:
        assert session.scale == card.scale
