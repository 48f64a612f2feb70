"""`doctor` and `devices`: they report, they never import what they report on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_sdk import make_sdk

from snpe_srgan.stages import doctor, gpu
from snpe_srgan.toolchains import socs
from snpe_srgan.toolchains.snpe.sdk import PYTHON_VARIABLE


def finding(name: str) -> doctor.Finding:
    return next(f for f in doctor.examine()[0] if f.name == name)


def test_doctor_imports_nothing_heavy():
    code = (
        "import sys; from snpe_srgan.stages.doctor import examine; examine();"
        "print([m for m in ('tensorflow', 'onnx', 'onnxruntime', 'openvino', 'PIL') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_missing_package_says_what_to_install_and_what_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    missing = finding("openvino")
    assert missing.ok is False and missing.install == "pip install openvino" and "run" in missing.unlocks


def test_what_is_missing_takes_its_abilities_along(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    abilities = {a.name: a for a in doctor.examine()[1]}
    assert not abilities["dlc"].ok and not abilities["emulator"].ok
    assert abilities["dlc"].missing == ("Hexagon tools",)


def test_one_engine_is_enough_to_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert next(a for a in doctor.examine()[1] if a.name == "run").ok
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not next(a for a in doctor.examine()[1] if a.name == "run").ok


def test_sdk_and_adb_are_found_where_they_are(monkeypatch, tmp_path):
    for variable in (*doctor.SDK_VARIABLES, PYTHON_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding("SNPE SDK").ok is False and finding("adb").ok is False
    sdk = make_sdk(tmp_path, "1.68.0.3932")
    monkeypatch.setenv("SNPE_ROOT", str(sdk))
    assert finding("SNPE SDK").found == "SNPE 1.68.0.3932" and str(sdk) in finding("SNPE_ROOT").found
    assert finding("SDK's Python").ok is False and "3.6" in finding("SDK's Python").found
    monkeypatch.setenv("SNPE_ROOT", str(tmp_path / "gone"))
    assert finding("SNPE SDK").ok is False and "no folder" in finding("SNPE_ROOT").found


def test_doctor_exits_0_and_3_with_require(monkeypatch):
    assert snpe_srgan("doctor").code == 0
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    done = snpe_srgan("doctor", "--require", "dlc", "--json")
    assert_error(done, 3, "dlc", "onnxruntime-qnn")
    assert {"name": "dlc", "ok": False, "missing": ["Hexagon tools"]} in done.json["abilities"]


def test_an_unknown_ability_is_answered_with_the_nearest():
    assert_error(snpe_srgan("doctor", "--require", "emulater"), 2, "did you mean 'emulator'")


LISTED = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   44\n"


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A loaded driver that lists one card."""
    (tmp_path / "0000:00:04.0").mkdir()
    (tmp_path / "0000:00:04.0" / "information").write_text(LISTED)
    monkeypatch.setattr(gpu, "DRIVER", tmp_path)


def test_no_card_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding("GPU").ok is None and "no NVIDIA card" in finding("GPU").found


@pytest.mark.parametrize(
    ("cuda", "ok", "says"), [(False, False, "without CUDA"), (True, None, "A100"), (None, None, "")]
)
def test_a_card_needs_a_build_with_cuda(monkeypatch, card, cuda, ok, says):
    monkeypatch.setattr(gpu, "built_with_cuda", lambda: cuda)
    found = finding("GPU")
    assert found.ok is ok and "NVIDIA A100-SXM4-40GB" in found.found and says in found.found
    assert cuda is not False or "[cuda]" in found.install


def test_the_note_on_the_build_is_tensorflows_own():
    import tensorflow as tf

    assert gpu.built_with_cuda() is tf.test.is_built_with_cuda()


ANSWERS = {
    "sees": (
        "print('{\"version\": \"2.21.0\", \"cuda\": true, \"gpus\": [[\"NVIDIA A100\", [8, 0]]]}')",
        True, "NVIDIA A100 (8.0)",
    ),
    "none": (
        "import sys; sys.stderr.write('2026-01-01 0:0:0.1: E a/cuda_diagnostics.cc:31] failed call to cuInit\\n');"
        "print('{\"version\": \"2.21.0\", \"cuda\": true, \"gpus\": []}')", False, "it says: failed call to cuInit",
    ),
    "breaks": ("raise ImportError('libcudart.so.12')", False, "libcudart.so.12"),
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_tensorflow_says_is_passed_on(monkeypatch, card, answer):
    child, ok, says = ANSWERS[answer]
    monkeypatch.setattr(gpu, "CHILD", child)
    findings = snpe_srgan("doctor", "--gpu", "--json").json["findings"]
    found = next(f for f in findings if f["name"] == "TensorFlow's GPUs")
    assert found["ok"] is ok and says in found["found"]


def test_tensorflow_itself_is_asked():
    import tensorflow as tf

    seen = gpu.ask_tensorflow()
    assert seen.version == tf.__version__ and len(seen.gpus) == len(tf.config.list_physical_devices("GPU"))


def test_float32_is_float32_and_memory_grows():
    from types import SimpleNamespace

    from snpe_srgan import quiet

    calls = []

    def set_memory_growth(gpu, on):
        calls.append((gpu, on))
        if gpu == "used":
            raise RuntimeError("Physical devices cannot be modified after being initialized")

    experimental = SimpleNamespace(
        enable_tensor_float_32_execution=lambda on: calls.append(("tf32", on)), set_memory_growth=set_memory_growth
    )
    config = SimpleNamespace(experimental=experimental, list_physical_devices=lambda kind: ["used", "free"])
    quiet._set_up(SimpleNamespace(config=config))
    assert calls == [("tf32", False), ("used", True), ("free", True)]
    tf = quiet.import_tensorflow()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_devices_lists_every_chip_and_finds_one():
    done = snpe_srgan("devices", "--json").json["chips"]
    assert {c["soc"]["id"] for c in done if c["soc"]} == {s.id for s in socs.SOCS}
    assert snpe_srgan("devices", "8 gen 3", "--json").json["chips"][0]["part"] == "SM8650"


@pytest.mark.parametrize("chip", ["8 gen 9", "0", ""])
def test_an_unknown_chip_is_a_usage_error(chip):
    assert snpe_srgan("devices", chip or "none").code == 2
