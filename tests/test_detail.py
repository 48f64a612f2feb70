"""--detail: the networks between a pixel network and its adversarial twin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from PIL import Image

from snpe_srgan.artifacts.card import write_card
from snpe_srgan.models.npz import load_npz, save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.zoo.detail import interpolated, twins
from snpe_srgan.zoo.model_card import model_card
from snpe_srgan.zoo.named import shipped_models


@pytest.fixture
def run_folder(tmp_path):
    """A run with a pixel and an adversarial stage, as `train` leaves it."""
    folder, graph = tmp_path / "run", describe("mobile", {"width": 4, "depth": 3})
    stages: list[dict] = []
    for number, (stage, losses) in enumerate((("first", ("pixel",)), ("eye", ("pixel", "adversarial")))):
        stages = [*stages, {"name": stage, "losses": dict.fromkeys(losses, 1.0)}]
        for name in (f"generator_{stage}.npz", "generator.npz"):
            folder.mkdir(exist_ok=True)
            save_npz(folder / name, graph, random_weights(graph, np.random.default_rng(number)), overwrite=True)
            write_card(folder / name, model_card(graph, kind="npz", training={"stages": stages}))
    return folder


def test_the_ends_are_the_twins_and_the_middle_is_their_mean(tmp_path):
    pixel, gan = (load_npz(shipped_models()[name])[1] for name in ("mobile", "mobile-gan"))
    for model in ("mobile", "mobile-gan"):  # either names the pair
        made = {d: load_npz(interpolated(model, d, tmp_path / f"{model}{d}").path)[1] for d in (0.0, 0.25, 1.0)}
        for name in pixel:
            np.testing.assert_array_equal(made[0.0][name], pixel[name])
            np.testing.assert_array_equal(made[1.0][name], gan[name])
            np.testing.assert_allclose(made[0.25][name], pixel[name] + 0.25 * (gan[name] - pixel[name]), atol=1e-6)


def test_the_card_names_both_and_how_far(tmp_path, run_folder):
    file = interpolated(run_folder, 0.375, tmp_path / "out")
    assert file.stem == "generator-detail37_5"
    facts = file.card.training["interpolation"]
    assert facts["detail"] == 0.375
    assert [facts[key]["artifact"] for key in ("pixel", "adversarial")] == ["generator_first.npz", "generator_eye.npz"]


def test_every_pair_that_ships_is_one_network(tmp_path):
    pairs = {pixel: gan for pixel, gan in twins().items() if pixel in shipped_models()}
    assert "mobile" in pairs
    for pixel in pairs:
        interpolated(pixel, 0.5, tmp_path / pixel)


def test_run_enlarges_by_it(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    pictures = {}
    for detail in (None, "0", "0.5", "1"):
        out = tmp_path / f"{detail}.png"
        chosen = () if detail is None else ("--detail", detail)
        result = snpe_srgan("run", "mobile", tmp_path / "a.png", "-o", out, *chosen, "--json")
        assert result.code == 0, result.err
        pictures[detail] = np.asarray(Image.open(out)).astype(int)
        if detail == "0.5":
            assert "50 % of the way from mobile to mobile-gan" in result.json["model"]
    np.testing.assert_array_equal(pictures[None], pictures["0"])
    assert 0 < np.abs(pictures["0.5"] - pictures["0"]).mean() < np.abs(pictures["1"] - pictures["0"]).mean()


def test_convert_names_its_files_after_it(tmp_path, run_folder):
    result = snpe_srgan("convert", run_folder, "--detail", "0.4", "--onnx-only", "-o", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    assert (tmp_path / "out" / "generator-detail40.onnx").is_file()


@pytest.mark.parametrize("verb", ["run", "evaluate"])
def test_what_has_no_twin_is_refused(tmp_path, verb, run_folder):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    more = tmp_path / "a.png" if verb == "run" else tmp_path
    for model, word in ((run_folder / "generator_first.npz", "adversarial"), (tmp_path / "none.npz", "no such")):
        assert_error(snpe_srgan(verb, model, more, "--detail", "0.5"), 1, word)
    assert snpe_srgan(verb, "mobile", more, "--detail", "1.5").code == 2


def test_different_networks_are_refused(run_folder, tmp_path):
    graph = describe("mobile", {"width": 8, "depth": 3})
    path = run_folder / "generator_eye.npz"
    save_npz(path, graph, random_weights(graph, np.random.default_rng(0)), overwrite=True)
    write_card(path, dataclasses.replace(model_card(graph, kind="npz")))
    assert_error(snpe_srgan("convert", run_folder, "--detail", "0.4", "-o", tmp_path / "out"), 1, "different networks")
