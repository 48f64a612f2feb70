"""`benchmark`: every engine in a process of its own, ratios within a run, estimates labelled as such."""

from __future__ import annotations

import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_onnx import mobile, quantize

from snpe_srgan.runtimes.benchmark import benchmark, with_baseline
from snpe_srgan.toolchains import qnn
from snpe_srgan.zoo.resolve import resolve


@pytest.fixture
def model(tmp_path):
    onnx.save(mobile((12, 16)), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_each_engine_is_timed_in_its_own_process(model):
    done = snpe_srgan("benchmark", model, "--input-size", "12x16", "--runs", 3, "--chip", "none", "--json")
    assert done.code == 0, done.err
    (found,) = done.json["models"]
    assert found["bytes"] == model.stat().st_size and [t["engine"] for t in found["timings"]] == [
        "openvino",
        "onnxruntime",
    ]
    for timing in found["timings"]:
        assert len(timing["seconds"]) == 3
        assert 0 < timing["minimum"] <= timing["median"] <= timing["p90"] == max(timing["seconds"])
        assert timing["peak_bytes"] > 20e6 and timing["tiles"] == 1 and timing["speedup"] is None


def test_a_fixed_input_smaller_than_the_picture_is_tiled_and_said(model):
    done = snpe_srgan(
        "benchmark", model, "--input-size", "20x20", "--runs", 1, "--engines", "onnxruntime", "--chip", "none"
    )
    assert done.code == 0 and "tiles" in done.out, done.err


def test_the_frozen_graph_beside_an_npz_is_the_baseline(tmp_path):
    for name in ("a.npz", "a.pb", "b.npz"):
        (tmp_path / name).touch()
    a, b, pb = (resolve(tmp_path / name) for name in ("a.npz", "b.npz", "a.pb"))
    assert with_baseline([b, a]) == [pb, b, a]
    assert with_baseline([pb, b]) == [pb, b] and with_baseline([b]) == [b]


@pytest.mark.skipif(qnn.available() is not None, reason=f"no cost model: {qnn.available()}")
def test_the_estimate_is_labelled_and_w8a16_is_remarked_on(model, tmp_path):
    onnx.save(quantize(mobile((12, 16)), 16), tmp_path / "w8a16.onnx")
    found = benchmark([resolve(tmp_path / "w8a16.onnx")], input_size=(12, 16), runs=1, engines=["onnxruntime"])
    estimate = found.models[0].estimate
    assert "estimate of Qualcomm's cost model for SA8255P" in estimate.label
    assert "published device times contradict it" in estimate.remark
    assert 0 < estimate.lower <= estimate.microseconds <= estimate.upper


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--engines", "openvin"], 2, ["did you mean 'openvino'"]),
        (["--engines", "tensorflow"], 2, ["none of these engines"]),
        (["--chip", "8 gen 9"], 2, ["8 gen 9"]),
        (["--input-size", "0x4"], 2, ["0x4"]),
    ],
)
def test_mistakes(model, arguments, code, words):
    done = snpe_srgan("benchmark", model, "--runs", 1, *arguments)
    assert done.code == code and all(w in done.err for w in words), done.err


def test_a_worker_that_fails_says_why(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    done = snpe_srgan("benchmark", tmp_path / "bad.onnx", "--runs", 1, "--chip", "none")
    assert_error(done, 1, "not an ONNX model")
