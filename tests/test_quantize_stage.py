"""`quantize` from file to file: what it writes, what it says, what it refuses; the .dlc on the Hexagon emulator."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from PIL import Image

from snpe_srgan.artifacts.card import read_card
from snpe_srgan.calibration.crops import calibration_crops
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model
from snpe_srgan.toolchains import qnn

needs_qnn = pytest.mark.skipif(qnn.available() is not None, reason=str(qnn.available()))


def save(path, size, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), np.uint8)
    Image.fromarray(np.kron(small, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny network of each kind and four pictures."""
    root = tmp_path_factory.mktemp("quantize")
    (root / "photos").mkdir()
    for i in range(4):
        save(root / "photos" / f"{i}.png", (64, 80), i)
    for name, options in (("mobile", {"width": 8, "depth": 3}), ("srgan", {"width": 8, "blocks": 1})):
        graph = describe(name, options)
        save_npz(root / f"{name}.npz", graph, random_weights(graph, np.random.default_rng(0)))
    return root


@needs_qnn
def test_diagnose_says_where_host_and_chip_part(folder, tmp_path):
    done = snpe_srgan(
        "quantize", folder / "mobile.npz", "--calibration", folder / "photos", "--count", 2, "--recipe", "w8a8-plain",
        "--input-size", "16x16", "--diagnose", "-o", tmp_path, "--json",
    )  # fmt: skip
    result = done.json
    found = json.loads((tmp_path / "mobile_w8a8-plain.divergence.json").read_text())
    assert result["divergence"]["disturbed"] == found["disturbed"] == 0
    assert [layer["name"] for layer in result["divergence"]["layers"]] == [layer["name"] for layer in found["layers"]]
    assert len(result["divergence_paths"]) == 3
    refused = snpe_srgan("quantize", folder / "mobile.npz", "--onnx-only", "--diagnose", "-o", tmp_path / "b")
    assert_error(refused, 2, "--onnx-only")


def test_4_bit_weights_stay_off_the_sums_that_would_shift_the_picture_on_the_chip(folder):
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.session import Source
    from snpe_srgan.quantization.steps import chip_sums
    from snpe_srgan.zoo.resolve import resolve

    source = Source(
        resolve(str(folder / "srgan.npz")), [folder / "photos"], lr=False, count=2, minutes=1, say=lambda text: None
    )
    plan = source.make(parse_recipe("w4a16-minmax")).plan
    wide = replace(plan, encodings={x: replace(e, scale=e.scale * 64) for x, e in plan.encodings.items()})
    before = chip_sums.picture_shifts(wide, source.crops.arrays)
    better, finer = chip_sums.without_shift(wide, source.crops.arrays)
    assert finer and all(better.weight_bits[name] == 8 for name in finer)
    assert sum(before[name] for name in before if better.weight_bits[name] == 4) <= chip_sums.LEFT
    after = chip_sums.picture_shifts(better, source.crops.arrays)
    assert all(after[name] < before[name] / 8 for name in finer)
    assert before[next(iter(finer))] == max(before[name] for name in before if wide.weight_bits[name] == 4)


@needs_qnn
@pytest.mark.parametrize(
    ("name", "recipe"), [("mobile", "w8a8"), ("srgan", "w8a8"), pytest.param("srgan", "w8a16", marks=pytest.mark.slow)]
)
def test_the_dlc_holds_the_network_and_the_emulator_agrees(folder, tmp_path, name, recipe):
    options = QuantizeOptions(
        recipe=recipe, calibration=[folder / "photos"], count=2, input_size=(16, 16), judge="emulator",
        evaluate=[folder / "photos"],
    )  # fmt: skip
    result = quantize_model(folder / f"{name}.npz", tmp_path, options)
    emulator = result.report.emulator
    assert all(check.passed for check in result.checks) and result.checks
    assert emulator.psnr_to_float > result.report.psnr_to_float - 3
    card = read_card(result.dlc)
    assert card.quantization["name"] == recipe and card.quantization["worst_layer"] == result.report.worst.name
    assert card.input.shape == (1, 16, 16, 3) and read_card(result.onnx).input.shape == (1, None, None, 3)
    assert result.report.datasets[0].pictures == 4
    encodings = json.loads(result.encodings_path.read_text())
    for entry in encodings["activation_encodings"].values():
        assert entry[0]["min"] == pytest.approx(entry[0]["offset"] * entry[0]["scale"])


def test_the_report_names_every_layer_and_the_shares_sum_to_one(folder, tmp_path):
    result = quantize_model(
        folder / "srgan.npz", tmp_path, QuantizeOptions(calibration=[folder / "photos"], count=2, onnx_only=True)
    )
    layers = result.report.layers
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    assert result.report.worst.share == max(layer.share for layer in layers)
    kernels = [layer.name for layer in layers if layer.kind == "weights"]
    assert len(kernels) == len([layer for layer in layers if layer.kind == "Conv"])
    alone = [layer for layer in layers if layer.sqnr_alone is not None]
    assert alone and all(layer.sqnr <= layer.sqnr_alone + 1 for layer in alone)
    assert result.dlc is None and json.loads(result.report_path.read_text())["recipe"] == "w8a8"


def test_command_writes_once_and_says_where(folder, tmp_path):
    words = ("quantize", folder / "mobile.npz", "--calibration", folder / "photos", "--count", "2", "--onnx-only")
    done = snpe_srgan(*words, "-o", tmp_path, "--json")
    assert done.code == 0 and done.json["recipe"] == "w8a8" and done.json["report"]["worst"]["name"]
    assert_error(snpe_srgan(*words, "-o", tmp_path), 1, "exists already", "--overwrite")
    again = snpe_srgan(*words, "-o", tmp_path, "--overwrite")
    assert again.code == 0 and "the layer that loses most" in again.out and "calibration:" in again.err


def test_list_names_the_recipes():
    assert "w8a16" in snpe_srgan("quantize", "--list").out


def test_without_the_wheel_nothing_starts(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    outcome = snpe_srgan("quantize", folder / "mobile.npz", "-o", tmp_path / "out")
    assert_error(outcome, 3, "onnxruntime-qnn")
    assert not (tmp_path / "out").exists()


def test_bad_recipe_and_missing_pictures_are_usage_and_input_errors(folder, tmp_path):
    words = ("quantize", folder / "mobile.npz", "-o", tmp_path, "--onnx-only")
    assert_error(snpe_srgan(*words, "--recipe", "w8a9"), 2, "w8a9", "w8a8")
    assert_error(snpe_srgan(*words, "--calibration", tmp_path / "nowhere"), 1, "no such picture or folder")
    (tmp_path / "empty").mkdir()
    assert_error(snpe_srgan(*words, "--calibration", tmp_path / "empty"), 1, "no picture")


def test_crops_are_bounded_and_always_the_same(folder):
    one, two = (calibration_crops([folder / "photos"], scale=4, count=9, size=16) for _ in range(2))
    assert len(one.arrays) == 9 and all(a.shape == (1, 16, 16, 3) and a.dtype == np.float32 for a in one.arrays)
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays, two.arrays, strict=True))
    assert calibration_crops([folder / "photos"], scale=4, count=2).arrays[0].shape == (1, 16, 20, 3)


def test_lr_pictures_are_taken_as_they_are(folder):
    assert calibration_crops([folder / "photos"], scale=4, count=1, lr=True, size=32).arrays[0].shape == (1, 32, 32, 3)


def test_one_picture_and_tiny_pictures_are_said(tmp_path):
    save(tmp_path / "a.png", (64, 64))
    save(tmp_path / "b.png", (20, 20))
    crops = calibration_crops([tmp_path], scale=4, count=4)
    assert any("left out" in note for note in crops.notes) and any("1 picture" in note for note in crops.notes)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="smaller than"):
        calibration_crops([tmp_path], scale=4)
    with pytest.raises(UsageError):
        calibration_crops([], scale=4)


def test_the_sample_set_is_the_default(folder):
    crops = calibration_crops(["sample"], scale=4, count=3)
    assert len(crops.arrays) == 3 and "sample" in crops.origin
