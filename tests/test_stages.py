"""freeze, convert and inspect as typed: tiny networks, all the way from .npz to .dlc, and what refuses to go it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights, run_onnx

from snpe_srgan.artifacts.card import read_card, write_card
from snpe_srgan.errors import CheckFailed
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.cost import onnx_cost
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.stages import convert as stages
from snpe_srgan.toolchains import qnn, qnn_wheel
from snpe_srgan.zoo.model_card import model_card

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"no QNN: {qnn.available()}")
TINY = {"srgan": {"blocks": 1, "width": 4}, "mobile": {"width": 8, "depth": 3}}


@pytest.fixture
def npz(request, tmp_path, rng):
    network = getattr(request, "param", "mobile")
    graph = describe(network, TINY[network])
    path = save_npz(tmp_path / "net.npz", graph, random_weights(graph, rng))
    write_card(path, model_card(graph, kind="npz", training={"data": "noise"}))
    return path


@pytest.mark.parametrize("network", TINY)
def test_the_onnx_graph_costs_what_the_layers_say(rng, network):
    graph = describe(network, TINY[network])
    model = to_onnx(graph, random_weights(graph, rng))
    by_layers, by_operators = graph_cost(graph), onnx_cost(model)
    assert by_operators.parameters == by_layers.deployed_parameters
    assert by_operators.macs_per_lr_pixel == by_layers.macs_per_lr_pixel
    assert onnx_facts(model).overlap == by_layers.receptive_radius


@needs_wheel
@pytest.mark.parametrize("npz", TINY, indirect=True)
def test_npz_to_pb_to_onnx_and_dlc(npz, tmp_path):
    frozen = snpe_srgan("freeze", npz, "--json")
    assert frozen.code == 0, frozen
    assert frozen.json["card"]["checks"][0]["value"] <= 1e-4
    converted = snpe_srgan("convert", npz.with_suffix(".pb"), "-o", tmp_path / "out", "--input-size", "16x12", "--json")
    assert converted.code == 0, converted
    against_pb, against_onnx, on_emulator = converted.json["convert"]["checks"]
    assert against_pb["value"] <= 1e-4 and (against_onnx["value"] or 99) >= 80 and on_emulator["value"] < 1
    for kind in ("onnx", "dlc"):
        path = tmp_path / "out" / f"net.{kind}"
        card, report = read_card(path), snpe_srgan("inspect", path, "--json").json
        assert card.training == {"data": "noise"} and card.scale == report["scale"] == 4
        assert card.parameters == report["parameters"] and card.receptive_radius == report["receptive_radius"]
    assert card.input.shape == (1, 16, 12, 3) and card.output.shape == (1, 64, 48, 3)


@needs_wheel
def test_the_graph_in_a_dlc_comes_out_again(rng, tmp_path):
    graph = describe("mobile", TINY["mobile"])
    model = to_onnx(graph, random_weights(graph, rng))
    onnx.save(model, tmp_path / "net.onnx")
    assert snpe_srgan("convert", tmp_path / "net.onnx", "--input-size", "9x11").code == 0
    assert snpe_srgan("inspect", tmp_path / "net.dlc", "--to-onnx", tmp_path / "again.onnx").code == 0
    lr = rng.random((1, 9, 11, 3), np.float32)
    np.testing.assert_allclose(run_onnx(str(tmp_path / "again.onnx"), lr), run_onnx(model, lr), atol=1e-5)


@pytest.mark.parametrize("kind", ["npz", "pb"])
def test_inspect_lists_every_layer(npz, kind):
    if kind == "pb":
        snpe_srgan("freeze", npz)
    shown = snpe_srgan("inspect", npz.with_suffix(f".{kind}"), "--layers")
    assert shown.code == 0 and "lr 1x?x?x3 float32" in shown.out and "PSNR" not in shown.out
    assert all(word in shown.out for word in ("mobile x4", "conv1", "parameters"))


def test_without_the_wheel_only_onnx(npz, monkeypatch):
    monkeypatch.setattr(qnn_wheel, "available", lambda: "onnxruntime-qnn is not installed")
    assert_error(snpe_srgan("convert", npz), 3, "onnxruntime-qnn", "pip install")
    assert not npz.with_suffix(".onnx").exists()
    done = snpe_srgan("convert", npz, "--onnx-only")
    assert done.code == 0 and npz.with_suffix(".onnx").exists() and not npz.with_suffix(".dlc").exists()


@needs_wheel
def test_a_dlc_that_computes_another_picture_is_not_kept(rng, tmp_path, monkeypatch):
    graph = describe("mobile", TINY["mobile"])
    onnx.save(to_onnx(graph, random_weights(graph, rng)), tmp_path / "net.onnx")
    other = to_onnx(graph, random_weights(graph, rng))
    monkeypatch.setattr("snpe_srgan.dlc.to_onnx.rebuild", lambda dlc: other)
    with pytest.raises(CheckFailed, match="dB"):
        stages.convert_model(tmp_path / "net.onnx", tmp_path, input_size=(8, 8))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx"]


def test_what_is_there_is_kept(npz):
    npz.with_suffix(".pb").write_bytes(b"mine")
    assert_error(snpe_srgan("freeze", npz), 1, "exists already", "--overwrite")
    assert npz.with_suffix(".pb").read_bytes() == b"mine"


def test_what_cannot_be_converted_says_why(tmp_path):
    (tmp_path / "net.dlc").write_bytes(b"")
    assert_error(snpe_srgan("convert", tmp_path / "net.dlc"), 1, "converted already", "--to-onnx")
    (tmp_path / "net.npz").write_bytes(b"no zip")
    assert_error(snpe_srgan("convert", tmp_path / "net.npz", "--onnx-only"), 1, ".npz")
    (tmp_path / "net.pb").write_bytes(b"no graph")
    assert_error(snpe_srgan("inspect", tmp_path / "net.pb"), 1, "GraphDef")
    assert_error(snpe_srgan("inspect", tmp_path / "net.npz", "--to-onnx", tmp_path / "a.onnx"), 2, ".dlc")
    assert_error(snpe_srgan("freeze", tmp_path / "absent.npz"), 1, "no such model")


def test_a_foreign_graph_with_a_choice_asks_for_names():
    from tensorflow.core.framework import graph_pb2

    from snpe_srgan.errors import InputError
    from snpe_srgan.onnx_graphs.from_tensorflow import find_ports

    graph = graph_pb2.GraphDef()
    for name, op, inputs in (("a", "Placeholder", ()), ("b", "Placeholder", ()), ("y", "AddV2", ("a", "b"))):
        graph.node.add(name=name, op=op, input=inputs)
    with pytest.raises(InputError, match="--input-name"):
        find_ports(graph)
    assert find_ports(graph, input_name="b:0") == ("b", "y")
    with pytest.raises(InputError, match="no node 'x'"):
        find_ports(graph, input_name="x")
