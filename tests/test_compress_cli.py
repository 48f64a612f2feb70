"""`compress` as typed: what it refuses, before any work; what it prints."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from helpers_training import pictures

from snpe_srgan.compression.measure import Figures, Measured
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.stages import compress as stage

TUNE = """
data: {{root: "{root}/data", train: ["{train}"], valid: ["{root}/photos"], crop: 16, batch_size: 2, valid_limit: 1}}
training: {{stages: [{{steps: 2, loss: {{distill: {{teacher: "{teacher}", weight: 0.5}}}}}}]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("compress")
    pictures(root / "photos", count=4, side=96)
    graph = describe("srgan", {"width": 16, "blocks": 2})
    save_npz(root / "srgan.npz", graph, random_weights(graph, np.random.default_rng(0)))
    (root / "network.dlc").write_bytes(b"PK")
    for name, train, teacher in (
        ("no_teacher", root / "photos", root / "nobody.npz"), ("no_pictures", root / "nowhere", "source"),
    ):  # fmt: skip
        (root / f"{name}.yaml").write_text(TUNE.format(root=root, train=train, teacher=teacher))
    return root


@pytest.fixture
def unmeasured(monkeypatch):
    """Measuring takes ten seconds, and test_compress_stage.py has it."""
    networks = [
        Figures(name, 1000 * n, 1000 * n, 4000 * n, None, None, {"openvino": 0.1 * n}, None, None)
        for name, n in (("before", 2), ("after", 1))
    ]
    size = (16, 16)
    measured = Measured(
        *networks, size, size, 1, 1, "a CPU", "openvino", {"openvino": 2.0}, 2.0, None, None, ("no tool",)
    )
    monkeypatch.setattr(stage, "measure", lambda *args, **words: measured)
    monkeypatch.setattr(stage.qnn, "available", lambda: "not wanted here")


MACS = ("--target", "macs=0.5")


@pytest.mark.parametrize(
    ("model", "words", "code", "says"),
    [
        ("srgan.npz", (), 2, ("what is to be left", "--target")),
        ("srgan.npz", ("--target", "half"), 2, ("half", "macs=0.5")),
        ("srgan.npz", ("--target", "mac=0.5"), 2, ("did you mean 'macs'",)),
        ("srgan.npz", ("--target", "macs=1.5"), 2, ("between 0 and 1",)),
        ("srgan.npz", ("--target", "macs=0.001"), 1, ()),
        ("srgan.npz", (*MACS, "--prune", "0.5"), 2, ("exclude",)),
        ("srgan.npz", ("--ssvd", "2"), 2, ("--ssvd", "range 0<x<=1")),
        ("srgan.npz", ("--ssvd", "0.5", "--strategy", "prune"), 2, ("leave out --strategy",)),
        ("srgan.npz", (*MACS, "--strategy", "prun"), 2, ("did you mean 'prune'",)),
        ("srgan.npz", (*MACS, "--calibration", "nowhere"), 1, ("no such picture",)),
        ("srgan.npz", (*MACS, "--calibration", "none"), 2, ("looks at pictures",)),
        ("srgan.npz", (*MACS, "--minutes", "3"), 2, ("--finetune",)),
        ("srgan.npz", (*MACS, "--finetune", "nothing.yaml"), 1, ("no such config", "nothing.yaml")),
        ("srgan.npz", (*MACS, "--finetune", "no_teacher.yaml"), 1, ("nobody.npz",)),
        ("srgan.npz", (*MACS, "--finetune", "no_pictures.yaml"), 1, ("nowhere",)),
        ("srgan.npz", ("--target", "latency=0.5", "--chip", "SM8350"), 2, ("no cost model", "SA8255P")),
        ("srgan.npz", (*MACS, "--chip", "SM8350"), 2, ("no cost model", "SA8255P")),
        ("srgan.npz", (*MACS, "--chip", "SM865"), 2, ("not known", "did you mean")),
        ("srgan.npz", ("--ssvd", "0.05", "--prune", "0.9"), 1, ("cannot be met", "after its first step")),
        ("srgan.npz", (*MACS, "--validation", "none"), 2, ("--validation FOLDER",)),
        ("network.dlc", MACS, 1, ("not a .dlc file",)),
        ("nobody.npz", MACS, 1, ("no such model",)),
        ("photos", MACS, 1, ("no generator.npz",)),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(folder, tmp_path, monkeypatch, model, words, code, says):
    from snpe_srgan.toolchains import qnn

    if "--chip" in words and qnn.available() is not None:
        pytest.skip(qnn.available())
    monkeypatch.chdir(folder)
    first = () if "--calibration" in words else ("--calibration", "photos")
    outcome = snpe_srgan("compress", model, *words, *first, "--count", "2", "-o", tmp_path / "out")
    assert_error(outcome, code, *says)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_search(folder):
    words = ("compress", folder / "srgan.npz", *MACS, "--calibration", folder / "photos", "--count", "2")
    outcome = snpe_srgan(*words, "-o", folder / "network.dlc" / "out")
    assert_error(outcome, 1, "a file stands where a folder is needed")
    assert "watching" not in outcome.err


def test_fine_tuning_never_removes_what_it_reads(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "generator.npz").write_bytes((folder / "srgan.npz").read_bytes())
    config = tmp_path / "tune.yaml"
    config.write_text(TUNE.format(root=tmp_path, train=folder / "photos", teacher="source"))
    words = ("compress", run, *MACS, "--calibration", folder / "photos", "--finetune", config, "--overwrite")
    assert_error(snpe_srgan(*words, "-o", tmp_path / "out", "--run-dir", run), 1, "would remove", "--run-dir")
    assert_error(snpe_srgan(*words, "-o", tmp_path / "out", "--run-dir", tmp_path / "out"), 2, "a folder of its own")
    assert (run / "generator.npz").is_file()


def test_it_prints_what_it_did_and_writes_once(folder, tmp_path, unmeasured):
    words = ("compress", folder / "srgan.npz", "--calibration", folder / "photos", "--count", "4", "--runs", "1",
             "--strategy", "prune", "--input-size", "16x16", "-o", tmp_path)  # fmt: skip
    done = snpe_srgan(*words, *MACS)
    assert done.code == 0, done.err
    for word in (
        "channel pruning",
        "before",
        "MACs per LR pixel",
        "host, openvino",
        "no tool",
        "srgan_macs50.npz",
        "saved",
    ):
        assert word in done.out, done.out
    assert_error(snpe_srgan(*words, *MACS), 1, "exists already", "--overwrite")
    again = snpe_srgan(*words, *MACS, "--overwrite", "--json")
    assert again.code == 0 and again.json["strategy"] == "prune" and again.json["measured"]["host_speedup"] > 0
    assert {"rows", "tried", "recommendation", "notes"} <= again.json.keys()


def test_shares_instead_of_a_target_name_the_file(folder, tmp_path, unmeasured):
    words = ("compress", folder / "srgan.npz", "--calibration", folder / "photos", "--count", "4", "--runs", "1")
    done = snpe_srgan(*words, "--ssvd", "0.8", "--prune", "0.7", "--input-size", "16x16", "-o", tmp_path, "--json")
    assert done.code == 0 and done.json["target"] == "ssvd=0.8, prune=0.7", done.err
    assert (tmp_path / "srgan_ssvd80_prune70.npz").is_file()


def test_list_names_the_strategies():
    done = snpe_srgan("compress", "--list")
    assert all(name in done.out for name in ("joint", "ssvd", "prune", "blocks", "ssvd-prune", "best"))
    assert snpe_srgan("compress", "--list", "--json").json["strategies"]["joint"]
