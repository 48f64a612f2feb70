"""`compress` from file to file: what it writes and measures, that later commands take it, what it concludes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from helpers_training import pictures

from snpe_srgan.artifacts.card import read_card, write_card
from snpe_srgan.artifacts.files import sha256
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.artifacts.run_files import Files
from snpe_srgan.compression import pricing
from snpe_srgan.compression.advice import advise
from snpe_srgan.compression.pictures import find_crops
from snpe_srgan.compression.request import Request
from snpe_srgan.compression.result import Row, Tried
from snpe_srgan.compression.tables import before_after
from snpe_srgan.compression.tuning import _require_lasting
from snpe_srgan.config import parse_config
from snpe_srgan.console import Output
from snpe_srgan.errors import ConfigError, InputError, UsageError
from snpe_srgan.metrics.evaluate import Evaluation, PictureScore
from snpe_srgan.metrics.protocol import Score
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.npz import load_npz, save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.pipeline.stages import make_stages
from snpe_srgan.report.results import read_scores
from snpe_srgan.report.run import compression_tables
from snpe_srgan.stages.compress import CompressOptions, _earlier, compress_model
from snpe_srgan.toolchains import qnn
from snpe_srgan.zoo.model_card import model_card

needs_qnn = pytest.mark.skipif(qnn.available() is not None, reason=str(qnn.available()))
SMALL = {"count": 4, "input_size": (16, 16), "runs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("compress")
    pictures(root / "photos", count=6, side=96)
    graph = describe("mobile", {"width": 16, "depth": 3})
    save_npz(root / "mobile.npz", graph, random_weights(graph, np.random.default_rng(0)))
    write_card(root / "mobile.npz", model_card(graph, kind="npz", training={"seed": 7}))
    return root


@pytest.fixture(scope="module")
def made(folder):
    options = CompressOptions(target="macs=0.5", calibration=[folder / "photos"], **SMALL)
    return compress_model(folder / "mobile.npz", folder / "out", options)


def test_the_target_is_met_and_the_card_tells_how(folder, made):
    full, small = (graph_cost(load_npz(path)[0]).macs_per_lr_pixel for path in (folder / "mobile.npz", made.network))
    assert small <= full / 2 and made.network.name == "mobile_macs50.npz"
    card = read_card(made.network)
    assert card.training == {"seed": 7} and card.macs_per_lr_pixel == small
    assert card.source["sha256"] == card.compression["source_sha256"] == sha256(folder / "mobile.npz")
    assert card.compression["target"] == "macs=0.5" and card.compression["strategy"] == made.strategy
    assert len(card.compression["rows"]) == len(made.rows) and any(row.kept < row.full for row in made.rows)


def test_the_report_holds_both_networks_figures(made):
    report = json.loads(made.report.read_text())
    assert report["measured"] == json.loads(json.dumps(to_plain(made.measured)))
    before, after = report["measured"]["before"], report["measured"]["after"]
    assert after["parameters"] < before["parameters"] and after["npz_bytes"] == made.network.stat().st_size
    assert set(before["host_seconds"]) == set(after["host_seconds"]) == set(made.measured.speedups)
    if qnn.available() is None:
        assert all(after[kind] < before[kind] for kind in ("dlc_bytes", "dlc_bytes_8bit")) and not made.measured.missing
        assert "estimate" in report["measured"]["estimate_label"]
    assert report["recommendation"] == list(made.recommendation)


def test_a_damaged_card_of_an_interrupted_compression_is_told(folder, tmp_path):
    request, source = Request.parse(target="macs=0.5", ssvd=None, prune=None), {"sha256": "1"}
    graph, weights = load_npz(folder / "mobile.npz")
    network = save_npz(tmp_path / "small.npz", graph, weights)
    for record in ({"tried": [{}], "rows": [], "strategy": "slim", "notes": []}, {"tried": []}):
        record |= {**request.record(), "source_sha256": "1"}
        write_card(network, replace(model_card(graph, kind="npz"), compression=record))
        with pytest.raises(InputError, match="damaged"):
            _earlier(network, request, source)


def test_every_later_command_takes_it(folder, made, tmp_path):
    photos = folder / "photos"
    assert snpe_srgan("run", made.network, photos / "0.png", "-o", tmp_path / "x4.png").code == 0
    scores = snpe_srgan("evaluate", made.network, photos, "--json")
    assert scores.code == 0 and scores.json["datasets"]
    words = ("quantize", made.network, "--calibration", photos, "--count", "2", "--onnx-only", "-o", tmp_path)
    assert snpe_srgan(*words).code == 0
    assert read_card(tmp_path / "mobile_macs50_w8a8.onnx").compression["target"] == "macs=0.5"
    assert snpe_srgan("inspect", made.network, "--json").code == 0


@pytest.mark.slow
def test_freezes_and_fine_tunes_and_goes_on_where_it_stopped(folder, made, tmp_path):
    assert snpe_srgan("freeze", made.network, "-o", tmp_path / "small.pb").code == 0
    config = tmp_path / "tune.yaml"
    config.write_text(
        f"""
data: {{root: {tmp_path / "data"}, train: ["{folder / "photos"}"], valid: ["{folder / "photos"}"], crop: 16,
        batch_size: 2, valid_limit: 1}}
training:
  stages: [{{steps: 4, loss: {{pixel: l1, distill: {{teacher: source, weight: 0.5}}}}}}]
"""
    )
    options = CompressOptions(target="macs=0.5", calibration=[folder / "photos"], finetune=config, **SMALL)
    result = compress_model(folder / "mobile.npz", tmp_path, options)
    card = read_card(result.network)
    assert card.training["seed"] == 7 and card.training["finetune"]["stages"][0]["steps"] == 4
    assert card.training["finetune"]["initial"] == result.untuned.name and card.compression["target"] == "macs=0.5"
    tuned, untuned = (load_npz(path)[1] for path in (result.network, result.untuned))
    assert any(not np.array_equal(tuned[key], untuned[key]) for key in tuned)
    result.report.unlink()  # as if it had been stopped while measuring
    with pytest.raises(InputError, match="not finished"):
        compress_model(folder / "mobile.npz", tmp_path, options)
    with pytest.raises(InputError, match="made otherwise"):
        compress_model(folder / "mobile.npz", tmp_path, replace(options, resume=True, strategy="prune"))
    again = compress_model(folder / "mobile.npz", tmp_path, replace(options, resume=True))
    assert again.rows == result.rows and sha256(again.network) == read_card(again.network).sha256


def test_without_the_wheel_it_says_what_is_missing(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    words = ("compress", folder / "mobile.npz", "--calibration", folder / "photos", "--count", "4", "--runs", "1")
    done = snpe_srgan(*words, "--target", "macs=0.5", "-o", tmp_path)
    assert done.code == 0 and "no .dlc bytes and no cost estimate" in done.out and "DSP" not in done.out
    assert_error(snpe_srgan(*words, "--target", "latency=0.5", "-o", tmp_path), 3, "onnxruntime-qnn")


@needs_qnn
def test_a_structure_is_priced_once_whatever_its_names(monkeypatch):
    asked, estimate = [], pricing.estimate
    monkeypatch.setattr(pricing, "estimate", lambda *args, **kw: asked.append(1) or estimate(*args, **kw))
    price, graph = pricing.Pricer(input_size=(16, 16), chip="SA8255P"), describe("mobile", {"width": 8, "depth": 2})
    rename = {layer.name: f"x_{layer.name}" for layer in graph.layers}
    layers = [replace(la, name=rename[la.name], inputs=tuple(rename[x] for x in la.inputs)) for la in graph.layers]
    assert price(graph) == price(replace(graph, layers=tuple(layers))) > 0 and len(asked) == 1
    assert pricing.structure(graph) != pricing.structure(describe("mobile", {"width": 16, "depth": 2}))


def test_calibration_and_validation_share_no_picture(folder):
    crops = find_crops([folder / "photos"], scale=4, count=8)
    assert len(crops.calibration.arrays) == 8 and len(crops.validation.arrays) == 2
    seen = [{a.tobytes() for a in part.arrays} for part in (crops.calibration, crops.validation)]
    assert not seen[0] & seen[1]
    drawn = find_crops(["synthetic"], scale=4, count=2)
    assert not np.array_equal(drawn.calibration.arrays[0], drawn.validation.arrays[0])
    with pytest.raises(InputError, match="cannot be divided"):
        find_crops([folder / "photos" / "0.png"], scale=4)
    other = find_crops([folder / "photos" / "0.png"], [folder / "photos" / "1.png"], scale=4, count=2)
    assert len(other.validation.arrays) == 1


def test_a_pipeline_deploys_the_compressed_network(tmp_path):
    def stages(config):
        return {stage.name: stage for stage in make_stages(parse_config(config), tmp_path, Output(quiet=True))}

    small = stages({"compress": {"target": "macs=0.25"}})
    assert list(small)[:4] == ["data", "train", "compress", "evaluate"]
    assert small["freeze"].inputs == (tmp_path / "generator_macs25.npz",) and not small["compress"].costly
    assert stages({"compress": {"finetune": {"stages": [{"steps": 9}]}}})["compress"].costly  # minutes of training
    assert "compress" not in stages({}) and stages({})["freeze"].inputs == (tmp_path / "generator.npz",)
    with pytest.raises(ConfigError, match=r"compress.finetune.stages\[0\].crop"):
        parse_config({"compress": {"finetune": {"stages": [{"crop": 97}]}}})
    with pytest.raises(UsageError, match="no target"):
        stages({"compress": {"target": "half"}})


def test_the_runs_report_puts_the_pictures_beside_the_costs(made, tmp_path):
    files = Files(tmp_path, "w8a8", "macs50")
    files.compression.write_text(made.report.read_text())
    for path, psnr in ((files.full_scores, 30.0), (files.float_scores, 29.5)):
        score = Score(psnr, 0.9)
        data = Evaluation(
            dataset="Set5", engine="onnxruntime", protocol="y", origin="", scale=4, mean=score, bicubic=score,
            pictures=(PictureScore("a", score, score, 1.0),),
        )  # fmt: skip
        path.write_text(json.dumps(to_plain({"datasets": [data]})))
    table, units = compression_tables(files, read_scores(files.float_scores))
    assert "macs=0.5" in table.heading and list(table.rows[0][1:4]) == ["30.00 / 0.9000", "29.50 / 0.9000", "-0.50 dB"]
    assert all(len(row) == len(table.header) for row in table.rows) and units.rows
    assert table.notes[-1] == made.recommendation[-1]


ROWS = (Row("head", "ssvd", 9, 3, 30.0, 100), Row("block1", "channels", 64, 64, None, 0))


def advice(made, rows=ROWS, strategy="ssvd", tried=(), **changes):
    before = replace(made.measured.before, macs_per_lr_pixel=1000, parameters=1000)
    after = replace(made.measured.after, macs_per_lr_pixel=500, parameters=400)
    return "\n".join(advise(replace(made.measured, before=before, after=after, **changes), strategy, rows, tried))


def test_macs_without_time_are_called_by_their_name(made):
    text = advice(made, host_speedup=1.05, dsp_speedup=1.02)
    assert "spatial SVD saved 50% of the MACs and 2% of the estimated DSP time: prefer --strategy prune" in text
    assert "the host's time follows the MACs poorly: 5%" in text
    good = advice(made, host_speedup=1.8, dsp_speedup=1.7)
    assert "1.80 times as fast" in good and "prefer" not in good
    assert "estimated" not in advice(made, host_speedup=1.8, dsp_speedup=None)


def test_a_faster_strategy_is_recommended_by_its_figures(made):
    def tried(name, latency, psnr=30.0, met=True):
        return Tried(name, 0.5, 0.5, latency, psnr, met, None)

    own = tried("ssvd", 0.9)
    words = {"host_speedup": 1.8, "dsp_speedup": 1.1}
    assert "--strategy blocks: 60%" in advice(made, tried=(own, tried("prune", 0.7), tried("blocks", 0.6)), **words)
    for other in (tried("blocks", 0.6, psnr=25.0), tried("blocks", 0.6, met=False), tried("blocks", None)):
        assert "--strategy blocks" not in advice(made, tried=(own, other), **words)


def test_the_table_has_no_row_for_what_was_not_measured(made):
    before, after = (
        replace(f, dlc_bytes=None, dlc_bytes_8bit=None, estimate=None, estimate_8bit=None)
        for f in (made.measured.before, made.measured.after)
    )
    _, rows, notes = before_after(replace(made.measured, before=before, after=after, estimate_label=None))
    assert not any("dlc" in row[0] or "DSP" in row[0] for row in rows) and not any("DSP" in note for note in notes)


@pytest.mark.parametrize(("layer", "lasts"), [("head_prelu", True), ("body_add", True), ("up1_prelu", True),
                                              ("block1_add", False), ("block2_conv1", False), ("body_bn", False),
                                              ("up2_prelu", False)])  # fmt: skip
def test_features_are_matched_on_layers_that_outlive_the_compression(layer, lasts):
    distill = {"teacher": "source", "feature_weight": 1.0, "features": [layer]}
    config = parse_config({"training": {"stages": [{"loss": {"distill": distill}}]}})
    graph = describe("srgan", {"blocks": 2, "width": 16})
    if lasts:
        return _require_lasting(config, graph)
    with pytest.raises(ConfigError, match=f"'{layer}' may not outlive"):
        _require_lasting(config, graph)
