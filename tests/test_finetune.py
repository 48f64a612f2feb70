"""Fine-tuning: TensorFlow computes what the QDQ graph computes, and training brings it nearer to the float network."""

from __future__ import annotations

import helpers_onnx as nets
import numpy as np
import pytest
from helpers_networks import random_weights, zoo

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import free_size, session
from snpe_srgan.quantization.graph.encodings import activation_encodings
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import kernel_scales, slope_grids
from snpe_srgan.quantization.observe.calibration import collect
from snpe_srgan.quantization.steps import finetune as finetune_module
from snpe_srgan.quantization.steps.finetune import finetune

LEVEL = 2 / 255


def planned(model, weight_bits=8, bits=8) -> Plan:
    network = Network(model)
    statistics = collect(model, [nets.lr_batch(seed=i) for i in range(2)], scale=4)
    encodings = activation_encodings(network, statistics, bits=bits, estimator="mse")
    return Plan(
        model=model,
        statistics=statistics,
        encodings=encodings,
        scales=kernel_scales(network, encodings, bits=weight_bits),
        slopes=slope_grids(network, statistics, bits=bits),
        weight_bits=weight_bits,
    )


def drawn(model, lr):
    return session(model, integer_kernels=False)(["sr"], {"lr": lr})[0]


def error(plan, model, lr):
    return float(np.square(drawn(plan.quantized(), lr) - drawn(model, lr)).mean())


def same_levels(a, b):
    """But for a few values that fell on the other side of a rounding boundary somewhere inside."""
    away = np.abs(a - b) / LEVEL
    return (away > 0.1).mean() < 0.005 and away.max() < 5


def gated(seed):
    """Gates, a mean over the picture, constant factors, an enlargement."""
    graph = zoo()
    return to_onnx(graph, random_weights(graph, np.random.default_rng(seed)))


@pytest.mark.parametrize("build", [nets.srgan, nets.mobile, gated])
def test_tensorflow_computes_what_the_qdq_graph_computes(build):
    from snpe_srgan.quantization.steps.tf_network import FakeQuantized, FloatNetwork

    model, lr = free_size(build(seed=3)), nets.lr_batch(seed=9)
    assert np.abs(FloatNetwork(model)(lr).numpy() - drawn(model, lr)).max() < 1e-5
    plan = planned(model)
    student = FakeQuantized(plan)
    assert same_levels(student(lr).numpy(), drawn(plan.quantized(), lr))
    random = np.random.default_rng(0)
    for variable in student.variables:  # as training would leave them
        variable.assign_add(random.normal(0, 1, variable.shape))
    assert same_levels(student(lr).numpy(), drawn(student.plan().quantized(), lr))


def test_fine_tuning_comes_nearer_to_the_float_network(monkeypatch):
    monkeypatch.setattr(finetune_module, "POOL", 32)
    model = free_size(nets.srgan(seed=3, blocks=0, width=4))
    plan = planned(model, weight_bits=4)
    tuned = finetune(
        plan,
        reference_model=model,
        pictures=[np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8) for i in range(2)],
        steps=80,
        crop=32,
        learning_rate=0.05,
    )
    lr = nets.lr_batch(seed=9)
    assert error(tuned, model, lr) < 0.8 * error(plan, model, lr)


def test_numbers_that_are_not_finite_end_with_the_step(monkeypatch):
    model = free_size(nets.mobile(seed=3, blocks=1, width=4))
    monkeypatch.setattr(finetune_module, "POOL", 4)
    black = [np.zeros((32, 32, 3), np.uint8)]
    with pytest.raises(SnpeSrganError, match="step 1"):
        finetune(planned(model), reference_model=model, pictures=black, minutes=1, crop=32, learning_rate=np.nan)
