"""Tensors of different widths and 4-bit weights: the graph, the .dlc, the emulator; and which places are chosen."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import onnx
import pytest
from helpers_onnx import lr_batch, mobile, run_cpu, srgan
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from snpe_srgan.dlc.reader import read
from snpe_srgan.dlc.to_onnx import rebuild
from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import session, with_outputs
from snpe_srgan.quantization.graph.encodings import Encoding, known_encoding, spanning
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import kernel_bits, kernel_scales, slope_grids
from snpe_srgan.quantization.kernels.affine import fake_quantize, symmetric_scale
from snpe_srgan.quantization.kernels.weights import channel_scales, gram_scales, quantize_weights
from snpe_srgan.quantization.steps import mixed
from snpe_srgan.quantization.steps.layerwise import Walk
from snpe_srgan.toolchains import qnn

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"no QNN: {qnn.available()}")
NETS = {"srgan": srgan, "mobile": mobile}


@lru_cache
def planned(name, bits=8, weight_bits=8) -> Plan:
    """Min-max grids of one random picture."""
    model, lr = NETS[name](), lr_batch(seed=9)
    network = Network(model)
    inner = [x for x in network.integer_tensors if x not in (network.input, network.output)]
    values = {network.input: lr} | dict(zip(inner, run_cpu(with_outputs(model, inner), lr, inner), strict=True))
    encodings = {}
    for group in dict.fromkeys(network.groups[x] for x in network.integer_tensors):
        members = [x for x in network.members(group) if x in values]
        low, high = min(values[x].min() for x in members), max(values[x].max() for x in members)
        grid = known_encoding(network, group, bits) or spanning(1.1 * low, 1.1 * high, bits)
        encodings.update(dict.fromkeys(network.members(group), grid))
    scales = kernel_scales(network, encodings, bits=weight_bits)
    return Plan(model, None, encodings, scales, slope_grids(network, None, bits=bits), weight_bits)


def widen(plan: Plan, *names: str) -> Plan:
    places = mixed.candidates(Network(plan.model))
    return mixed.regrid(plan, mixed.widened(plan, plan.encodings, [x for n in names for x in places[n]]))


def some_wide(name: str) -> Plan:
    """Every other place wide."""
    plan = planned(name)
    return widen(plan, *list(mixed.candidates(Network(plan.model)))[::2])


def fidelity(plan: Plan) -> float:
    lr = lr_batch()
    error = run_cpu(plan.quantized(), lr)[0] - run_cpu(planned("srgan").model, lr)[0]
    return -10 * float(np.log10(np.square(error).mean()))


# -- grids ------------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.floats(-50, 0), st.floats(0.01, 50))
def test_a_wider_grid_holds_every_point_of_the_narrow_one(low, high):
    narrow = spanning(low, high, 8)
    wide = narrow.at(16)
    points = (np.arange(256) - narrow.zero) * narrow.scale
    assert (wide.bits, 0 <= wide.zero < 65536) == (16, True)
    assert np.allclose(fake_quantize(points, wide.scale, wide.zero, bits=16), points, rtol=1e-5, atol=wide.scale / 4)


def test_a_narrower_grid_is_the_stored_one_or_the_same_range():
    own = Encoding(16, 2 / 65535, 32768)
    kept = spanning(-0.5, 0.7, 8)
    assert (own.at(8).low, own.at(8).high) == pytest.approx((-1, 1), abs=0.01)
    assert Encoding(16, 2 / 65535, 32768, kept).at(8) == kept and own.at(16) is own


# -- the graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_every_operator_has_one_width(name):
    """The HTP refuses a convolution that reads 8 bits and writes 16, and computes an addition of that kind in float."""
    model = some_wide(name).quantized()
    types = {t.name: t.data_type for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node}
    readers = {x: n for n in model.graph.node for x in n.input}
    seen = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "PRelu", "Add", "Tanh"):
            continue
        after = readers[node.output[0]]
        after = readers[after.output[0]] if after.op_type == "Relu" else after
        activations = [makers[x] for x in node.input if makers[x].input[0] in makers]
        assert {types[n.input[2]] for n in activations} == {types[after.input[2]]}
        seen.add(types[after.input[2]])
    assert seen == {TensorProto.UINT8, TensorProto.UINT16}


@pytest.mark.parametrize(("name", "fine"), [("srgan", [0, -1]), ("mobile", [0, -2, -1])])
def test_four_bits_are_not_for_convolutions_that_see_the_picture(name, fine):
    bits = list(kernel_bits(Network(NETS[name]()), 4).values())
    assert [bits[i] for i in fine] == [8] * len(fine) and bits.count(8) == len(fine)


def test_each_conversion_is_written_once():
    model = some_wide("srgan").quantized()
    makers = {n.output[0]: n for n in model.graph.node}
    pairs = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] in makers]
    converts = [(n.input[0], n.input[1]) for n in pairs if makers[n.input[0]].op_type == "DequantizeLinear"]
    assert converts and len(converts) == len(set(converts))


def test_wide_places_cost_no_quality_and_all_of_them_are_w8a16():
    everywhere = widen(planned("srgan"), *mixed.candidates(Network(planned("srgan").model)))
    assert {e.bits for x, e in everywhere.encodings.items() if x not in ("lr", "transpose_1")} == {16}
    assert fidelity(planned("srgan")) < fidelity(some_wide("srgan")) + 0.5 < fidelity(everywhere)
    assert fidelity(everywhere) > fidelity(planned("srgan", 16)) - 1


def test_scales_for_what_a_layer_computes_beat_scales_for_its_weights(rng):
    """Inputs that are alike make some directions of the weights matter more than others."""
    weights, mix = rng.normal(0, 1, (16, 24)), rng.normal(0, 1, (24, 24)) * np.exp(rng.normal(0, 2, 24))
    gram = mix.T @ mix

    def error(scale):
        rest = quantize_weights(weights, scale, bits=4) * scale[:, None] - weights
        return ((rest @ gram) * rest).sum(axis=1)

    ours, plain = error(gram_scales(weights, gram, bits=4)), symmetric_scale(np.abs(weights).max(1), 4)
    assert (ours <= error(plain) * (1 + 1e-6)).all()
    assert ours.sum() < 0.9 * error(channel_scales(weights, bits=4)).sum()


def test_four_bit_weights_are_packed():
    eight, four = planned("srgan", 16).quantized(), planned("srgan", 16, 4).quantized()
    kernels = [t for t in four.graph.initializer if t.name.endswith("kernel_quantized")]
    assert {t.data_type for t in kernels} == {TensorProto.INT4}
    assert sum(len(t.raw_data) for t in kernels) == sum(
        (len(t.raw_data) + 1) // 2 for t in eight.graph.initializer if t.name.endswith("kernel_quantized")
    )


def test_the_layer_by_layer_pass_converts_as_the_graph_does():
    plan, lr = some_wide("srgan"), lr_batch()
    for node in (walk := Walk(plan, [lr])):
        last = node.output
    wanted = session(plan.quantized(), integer_kernels=False)(["sr"], {"lr": lr})[0]
    assert np.abs(walk.integer[last][0] - wanted).mean() < 0.4 / 127  # ties fall to either side


# -- the file and the emulator ----------------------------------------------------------------------------------------


def fine_ends() -> Plan:
    """4-bit weights, but for the first and the last convolution."""
    plan = planned("srgan", 16, 4)
    bits = kernel_bits(Network(plan.model), 4)
    return replace(plan, scales=kernel_scales(Network(plan.model), plan.encodings, bits=bits), weight_bits=bits)


PLANS = {
    "mixed-srgan": lambda: some_wide("srgan"),
    "mixed-mobile": lambda: some_wide("mobile"),
    "w4a16": lambda: planned("srgan", 16, 4),
    "w4a8": lambda: planned("srgan", 8, 4),
    "w4a16-fine-ends": fine_ends,
}


@needs_wheel
@pytest.mark.parametrize("kind", PLANS)
def test_the_dlc_rebuilt_gives_the_same_bits_on_the_emulator(kind, tmp_path):
    plan, lr = PLANS[kind](), lr_batch()
    model = plan.quantized()
    onnx.save(model, tmp_path / "q.onnx")
    qnn.write_dlc(tmp_path / "q.onnx", tmp_path / "q.dlc")
    dlc = read(tmp_path / "q.dlc")
    assert not any("float" in t.dtype for n in dlc.graphs[0].nodes if n.type in ("Conv2d", "Prelu", "Eltwise_Binary")
                   for t in map(dlc.graphs[0].tensors.get, n.outputs))  # fmt: skip
    rebuilt = rebuild(dlc)
    kinds = {t.data_type for t in rebuilt.graph.initializer}
    assert (TensorProto.INT4 in kinds) == kind.startswith("w4")
    outputs = []
    for graph in (model, rebuilt):
        with qnn.EmulatorSession(graph.SerializeToString(), soc_model=57) as emulator:
            outputs.append(emulator.run(lr))
    assert np.array_equal(*outputs)
    assert np.abs(outputs[0] - run_cpu(model, lr)[0]).mean() <= 4 / 255


@needs_wheel
def test_weights_that_do_not_fit_their_four_bits_are_refused(tmp_path):
    onnx.save(planned("srgan", 16, 4).quantized(), tmp_path / "q.onnx")
    qnn.write_dlc(tmp_path / "q.onnx", tmp_path / "q.dlc")
    data = (tmp_path / "q.dlc").read_bytes()
    kernel = next(
        t for t in read(tmp_path / "q.dlc").graphs[0].tensors.values() if t.quantized and t.encoding.bits == 4
    )
    stored = kernel.data().tobytes()
    (tmp_path / "x.dlc").write_bytes(data.replace(stored, b"\x55" * len(stored)))
    with pytest.raises(InputError, match="4 bits"):
        rebuild(read(tmp_path / "x.dlc"))


# -- the choice -------------------------------------------------------------------------------------------------------


def wide_places(plan: Plan, encodings) -> set[str]:
    places = mixed.candidates(Network(plan.model))
    return {name for name, tensors in places.items() if all(encodings[x].bits == 16 for x in tensors)}


def chosen(gains, costs, budget, together=0.0, first=None, **options):
    """`choose` with sums over the wide places as score and cost; `together` is gained by all of `gains`."""
    plan = planned("srgan")

    def score(encodings):
        wide = wide_places(plan, encodings)
        return 30 + sum(gains.get(x, 0.0) for x in wide) + together * (set(gains) <= wide)

    def cost(encodings):
        return 100 + sum(costs.get(x, 1.0) for x in wide_places(plan, encodings))

    shares = {mixed.candidates(Network(plan.model))[first][0]: 1.0} if first else {}
    encodings, choices = mixed.choose(plan, score, cost=cost, budget=budget, shares=shares, **options)
    assert score(encodings) - 30 == pytest.approx(sum(c.gain for c in choices))
    assert cost(encodings) - 100 == pytest.approx(sum(c.cost for c in choices))
    assert cost(encodings) <= budget * 100
    return [c.name for c in choices]


FIRST, SECOND, THIRD, *_ = mixed.candidates(Network(srgan()))


def test_largest_share_first_and_never_over_the_budget():
    gains, costs = {FIRST: 1.0, SECOND: 0.9, THIRD: 0.5}, {FIRST: 8.0, SECOND: 2.0, THIRD: 2.0}
    assert chosen(gains, costs, 1.2) == [FIRST, SECOND, THIRD]
    assert chosen(gains, costs, 1.2, first=THIRD) == [THIRD, FIRST, SECOND]
    assert chosen(gains, costs, 1.05) == [SECOND, THIRD]
    assert chosen(gains, costs, 1.01) == []


def test_what_costs_must_gain_and_what_saves_makes_room():
    assert chosen({FIRST: 0.05, SECOND: 2.0, THIRD: 0.01}, {SECOND: 9.0, THIRD: -9.0}, 1.0) == [THIRD, SECOND]


def test_a_place_that_gains_only_beside_a_later_one_is_found():
    assert chosen({FIRST: 0.0, SECOND: 0.2}, {}, 1.1, together=3.0) == [SECOND, FIRST]


def test_only_the_places_of_the_largest_shares_are_tried():
    assert chosen({FIRST: 1.0, THIRD: 0.5}, {}, 1.1, first=THIRD, tries=1) == [THIRD]


def test_places_are_a_convolution_and_what_follows_it():
    network = Network(srgan(blocks=1))
    places = {name: [network.makers[x].kind for x in tensors] for name, tensors in mixed.candidates(network).items()}
    assert list(places.values()) == [["Conv", "PRelu"], ["Conv", "PRelu"], ["Conv", "Add"], ["Conv", "Add"],
                                     ["Conv", "PRelu"], ["Conv", "PRelu"], ["Conv", "Tanh"]]  # fmt: skip


def test_branches_that_meet_are_one_place():
    network = Network(mobile(blocks=1))
    assert [len(tensors) for tensors in mixed.candidates(network).values()] == [1, 1, 3]


def test_arithmetic_cost_grows_with_every_wide_place():
    plan = planned("srgan")
    network = Network(plan.model)
    names = list(mixed.candidates(network))
    costs = [mixed.arithmetic_cost(network, widen(plan, *names[:n]).encodings) for n in range(len(names) + 1)]
    assert costs == sorted(set(costs))
    assert costs[-1] == pytest.approx(mixed.arithmetic_cost(network, planned("srgan", 16).encodings))
