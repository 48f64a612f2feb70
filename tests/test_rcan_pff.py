"""RCAN and PFF: sizes by hand from the papers, what a fresh one is, what is said of the mean over the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_networks import TINY, random_weights, run_onnx

from snpe_srgan.config import load_config
from snpe_srgan.errors import ConfigError
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.initialize import initial_weights
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.zoo.model_card import model_card


def test_rcan_has_the_papers_size():
    """Equations 1 to 10: 15.6 M parameters; 917 G multiply-accumulates for 1280x720."""
    w, r = 64, 4
    conv = 9 * w * w + w
    block = 2 * conv + (w * r + r) + (r * w + w)
    parameters = (27 * w + w) + 10 * (20 * block + conv) + conv + 2 * (9 * w * 4 * w + 4 * w) + (27 * w + 3)
    cost = graph_cost(describe("rcan"))
    assert cost.parameters == parameters and round(parameters / 1e6, 1) == 15.6
    macs = 27 * w + (10 * 41 + 1) * 9 * w * w + (1 + 4) * 9 * w * 4 * w + 16 * 27 * w
    assert cost.macs_per_lr_pixel == macs and round(macs * 320 * 180 / 1e9) == 917


@pytest.mark.parametrize("name", ["rcan", "pff"])
def test_configs_name_what_there_is(name):
    config = load_config(Path(__file__).parent.parent / "configs" / f"{name}.yaml")
    assert describe(config.model.name, config.model.options) == describe(name)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_fresh_pff_is_nearest_neighbour_enlargement(scale, rng):
    graph = describe("pff", TINY["pff"], scale=scale)
    lr = rng.random((1, 5, 6, 3), np.float32)
    sr = run_onnx(to_onnx(graph, initial_weights(graph, seed=1)), lr)
    np.testing.assert_allclose(sr, np.repeat(np.repeat(lr, scale, 1), scale, 2) * 2 - 1, atol=1e-6)


def test_a_fresh_rcan_is_its_skips(rng):
    """However deep: what 200 fresh residual branches add up to is nothing."""
    graphs = [describe("rcan", {**TINY["rcan"], "blocks": blocks}) for blocks in (1, 3)]
    lr = rng.random((1, 5, 6, 3), np.float32)
    shallow, deep = (run_onnx(to_onnx(g, initial_weights(g, seed=1)), lr) for g in graphs)
    np.testing.assert_allclose(shallow, deep, atol=1e-6)


@pytest.mark.parametrize("name", ["rcan", "pff"])
@pytest.mark.parametrize("attention", [True, False])
def test_what_is_seen_and_said(name, attention, rng):
    graph = describe(name, {**TINY[name], "channel_attention": attention})
    facts = onnx_facts(to_onnx(graph, random_weights(graph, rng)))
    assert (facts.whole == "GlobalAveragePool", facts.because) == (attention, None)
    card = model_card(graph, kind="npz")
    assert bool(card.remarks) == attention and card.receptive_radius == facts.overlap


@pytest.mark.parametrize(
    "name, options",
    [("rcan", {"groups": 0}), ("rcan", {"reduction": 0}), ("pff", {"paths": 5}), ("pff", {"blocks": 0})],
)
def test_sizes_that_cannot_be(name, options):
    with pytest.raises(ConfigError):
        describe(name, options)
