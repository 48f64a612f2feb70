"""The analysis of a quantized network: sensitivity, flow, ranges, plots; overrides; judging on the emulator."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import helpers_onnx
import numpy as np
import pytest

from snpe_srgan.errors import CheckFailed, InputError
from snpe_srgan.imaging.pictures import Picture, write_picture
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import free_size, runner, session, with_outputs
from snpe_srgan.quantization.graph.encodings import spanning
from snpe_srgan.quantization.graph.overrides import overrides_json, overrides_model
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import kernel_scales
from snpe_srgan.quantization.graph.wires import Wires, rescaled, with_convolutions
from snpe_srgan.quantization.judge.analysis import analyse, to_json, write_analysis
from snpe_srgan.quantization.judge.layer_losses import kernel_error, observe
from snpe_srgan.quantization.judge.on_emulator import (
    emulator_seconds,
    figure,
    judge_on_emulator,
    with_emulator,
)
from snpe_srgan.quantization.judge.plots import chosen_tensors, plot_recipes, write_plots
from snpe_srgan.quantization.judge.report import dataset_loss
from snpe_srgan.quantization.judge.sensitivity import sensitivities, small_crops
from snpe_srgan.quantization.kernels.affine import fake_quantize
from snpe_srgan.quantization.kernels.weights import quantize_weights
from snpe_srgan.runtimes.emulator import plan_soundly
from snpe_srgan.runtimes.session import Description, Tiling
from snpe_srgan.runtimes.strip import suspect_width
from snpe_srgan.toolchains import qnn

needs_qnn = pytest.mark.skipif(qnn.available() is not None, reason=str(qnn.available()))
NETWORKS = {"srgan": helpers_onnx.srgan, "mobile": helpers_onnx.mobile}


def crops_of(count: int = 2, size=(12, 16)) -> list[np.ndarray]:
    """Pictures of whole 8-bit levels."""
    rng = np.random.default_rng(5)
    return [(rng.integers(0, 256, (1, *size, 3)) / 255).astype(np.float32) for _ in range(count)]


def plan_of(kind: str, *, bits: int = 8, weight_bits: int = 8, model=None) -> Plan:
    """A plan of plain min-max ranges on `crops_of()`."""
    model = model or free_size(NETWORKS[kind]())
    network = Network(model)
    inner = [x for x in network.integer_tensors if x != network.input]
    run = session(with_outputs(model, inner))
    values = [run(inner, {network.input: crop}) for crop in crops_of()]
    spans = {x: (min(v[i].min() for v in values), max(v[i].max() for v in values)) for i, x in enumerate(inner)}
    spans[network.input] = (0.0, 1.0)
    encodings = {}
    for x in network.integer_tensors:
        group = [spans[y] for y in network.members(network.groups[x])]
        encodings[x] = spanning(min(low for low, _ in group), max(high for _, high in group), bits)
    slopes = {n.name: (np.float32(0.5 / (2**bits - 1)), 0) for n in network.nodes if n.kind == "PRelu"}
    return Plan(model, None, encodings, kernel_scales(network, encodings, bits=weight_bits), slopes, weight_bits)


def rounded_in_graph(plan: Plan, tensor: str):
    """The float model with one tensor on its grid, written as QuantizeLinear and DequantizeLinear: the reference."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(plan.model)
    e = plan.encodings[tensor]
    kind = np.uint8 if e.bits == 8 else np.uint16
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(e.scale), "s"), numpy_helper.from_array(kind(e.zero), "z")]
    )
    at = 0
    for i, node in enumerate(model.graph.node):
        at = i + 1 if tensor in node.output else at
        for k, x in enumerate(node.input):
            if x == tensor:
                node.input[k] = "rounded"
    pair = [
        helper.make_node("QuantizeLinear", [tensor, "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["rounded"]),
    ]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], *pair, *nodes[at:]])
    return model


@pytest.mark.parametrize("kind", NETWORKS)
def test_sensitivity_is_that_of_the_graph_with_this_one_tensor_rounded(kind):
    plan, crops = plan_of(kind), crops_of()
    exact = runner(plan.model)
    rows = {(s.name, s.kind): s for s in sensitivities(plan, crops)}
    tensors = [name for name, k in rows if k not in ("weights", "slopes", "input")]
    for tensor in tensors[:-1][::2]:
        run = runner(rounded_in_graph(plan, tensor))
        error = np.mean([np.square(np.clip(run(c), -1, 1) - np.clip(exact(c), -1, 1)).mean() for c in crops])
        assert rows[tensor, Network(plan.model).makers[tensor].kind].error == pytest.approx(error, rel=1e-3)
    assert rows["lr", "input"].error < 1e-12  # 8-bit pictures lie on its grid


def test_sensitivity_of_weights_is_that_of_the_model_with_this_one_kernel_rounded():
    plan, crops = plan_of("srgan", weight_bits=4), crops_of()
    exact = runner(plan.model)
    rows = {s.name: s for s in sensitivities(plan, crops) if s.kind == "weights"}
    convs = [n for n in Network(plan.model).nodes if n.kind == "Conv"]
    assert set(rows) == {n.name for n in convs}
    for node in convs[::3]:
        scale = plan.scales[node.name].reshape(-1, 1, 1, 1)
        kernel = quantize_weights(node.constants[1], plan.scales[node.name], bits=4) * scale
        run = runner(with_convolutions(plan.model, {node.name: (kernel, node.constants[2])}))
        error = np.mean([np.square(np.clip(run(c), -1, 1) - np.clip(exact(c), -1, 1)).mean() for c in crops])
        assert rows[node.name].error == pytest.approx(error, rel=1e-3)
        assert rows[node.name].psnr == pytest.approx(10 * np.log10(4 / error), abs=0.01)


def test_small_crops_span_flat_to_busy_and_are_cut_alike():
    rng = np.random.default_rng(0)
    sizes = ((1, 40), (0, 24), (0.1, 50))
    crops = [(0.5 + a * rng.standard_normal((1, s, 40, 3))).astype(np.float32) for a, s in sizes]
    lr = small_crops(crops, side=32, count=2)
    assert lr.shape == (2, 24, 32, 3) and lr[0].std() < lr[1].std()
    assert small_crops(crops[:1], side=32, count=2).shape == (1, 32, 32, 3)


def test_flow_agrees_with_what_the_two_graphs_compute():
    plan, crops = plan_of("srgan"), crops_of()
    quantized = plan.quantized()
    (seen,) = observe(plan, crops, exact=plan.model, quantized=[quantized])
    name = list(seen)[len(seen) // 2]
    real = np.concatenate([session(with_outputs(plan.model, [name]))([name], {"lr": c})[0] for c in crops])
    run = session(with_outputs(quantized, [f"{name}_dequantized"]), integer_kernels=False)
    integer = np.concatenate([run([f"{name}_dequantized"], {"lr": c})[0] for c in crops])
    flow, e = seen[name], plan.encodings[name]
    axes = (0, 2, 3)
    assert np.allclose(flow.shift, (integer - real).mean(axis=axes), atol=1e-5)
    assert np.allclose(flow.spread, real.std(axis=axes), rtol=1e-3)
    assert flow.noise == pytest.approx(np.square(integer - real).mean(), rel=1e-3)
    alone = fake_quantize(real, e.scale, e.zero, bits=e.bits)
    assert flow.alone == pytest.approx(np.square(alone - real).mean(), rel=1e-3)
    assert np.array_equal(flow.low, real.min(axis=axes)) and np.array_equal(flow.high, real.max(axis=axes))


def test_kernel_error_is_the_output_error_of_independent_inputs(rng):
    difference, power = rng.standard_normal((4, 3, 1, 1)), np.array([0.5, 2.0, 1.0])
    x = rng.standard_normal((3, 200_000)) * np.sqrt(power)[:, None]
    measured = np.square(difference[..., 0, 0] @ x).mean(axis=1) @ np.arange(4)
    assert kernel_error(difference, power, np.arange(4)) == pytest.approx(measured, rel=0.02)


@pytest.fixture(scope="module")
def equalized():
    """A network, the same with its channels rescaled, and a plan for the latter with one bias wrong: analysed."""
    model = free_size(helpers_onnx.srgan())
    network = Network(model)
    wires = Wires(network)
    factors = np.exp(np.random.default_rng(1).normal(0, 1, wires.count))
    exact = rescaled(model, network, wires, factors)
    plan = plan_of("srgan", model=exact)
    first = next(n for n in Network(exact).nodes if n.kind == "Conv")
    spoiled = {first.name: (first.constants[1], first.constants[2] + 0.5)}
    plan = replace(plan, model=with_convolutions(exact, spoiled))
    return analyse(plan, crops_of(), reference=model, exact=exact), first.output


def test_analysis_compares_ranges_and_shifts_before_and_after(equalized, tmp_path):
    analysis, spoiled = equalized
    channels = {(c.name, c.kind): c for c in analysis.channels}
    first = channels[spoiled, "Conv"]
    ratio = first.high / first.low, first.high_before / first.low_before
    assert np.allclose(*ratio, rtol=1e-3) and not np.allclose(first.high, first.high_before, rtol=0.1)
    assert np.abs(first.shift - 0.5).max() < 0.4 < np.abs(first.shift - first.shift_before).min()
    assert first.relative_shift() > first.relative_shift(before=True)
    assert sum(x.share_measured for x in analysis.layers) == pytest.approx(1)
    assert analysis.worst.share_measured == max(x.share_measured for x in analysis.layers)
    assert {x.kind for x in analysis.layers} >= {"input", "Conv", "PRelu", "Add", "Tanh", "weights", "slopes"}
    write_analysis(tmp_path / "a.json", analysis)
    read = json.loads((tmp_path / "a.json").read_text())
    assert read == to_json(analysis) and len(read["channels"]) == len(analysis.channels)
    assert max(len(line) for line in (tmp_path / "a.json").read_text().splitlines()) < 3000


def test_summed_errors_are_near_the_whole_when_errors_are_small():
    analysis = analyse(plan_of("mobile", bits=16), crops_of(), reference=free_size(helpers_onnx.mobile()))
    assert analysis.picture_psnr == pytest.approx(analysis.picture_psnr_summed, abs=1.5)
    quick = analyse(plan_of("mobile"), crops_of(), reference=free_size(helpers_onnx.mobile()), measure=False)
    assert quick.picture_psnr is None and all(x.picture_psnr is None for x in quick.layers)


def test_plots_are_written_once_and_for_what_there_is(equalized, tmp_path):
    pytest.importorskip("matplotlib")
    analysis, _ = equalized
    paths = write_plots(analysis, tmp_path / "plots", title="tiny")
    assert [p.name for p in paths] == ["sqnr.png", "sensitivity.png", "ranges.png", "shift.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)
    with pytest.raises(InputError):
        write_plots(analysis, tmp_path / "plots", title="tiny")
    shown = chosen_tensors(analysis.channels, 4)
    assert [c.kind == "Add" for c in shown] == [True, True, False, False]
    plot_recipes({"w8a8": {"Set5": 0.3, "Set14": 12.0}, "w8a16": {"Set5": -0.01}}, tmp_path / "r.png", title="tiny")
    assert (tmp_path / "r.png").exists()


def check_overrides(data: dict, plan: Plan) -> None:
    """What the SDK's converters demand of the file, and that they would find our integers with it."""
    from onnx import numpy_helper

    graph = overrides_model(plan).graph
    tensors = {x for node in graph.node for x in node.output} | {graph.input[0].name}
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    assert data["version"] == "0.6.1"
    assert set(data["activation_encodings"]) <= tensors and set(data["param_encodings"]) <= set(constants)
    for name, entries in (*data["activation_encodings"].items(), *data["param_encodings"].items()):
        for e in entries:
            top = 2 ** e["bitwidth"] - 1
            assert set(e) == {"bitwidth", "dtype", "is_symmetric", "max", "min", "offset", "scale"}
            assert e["dtype"] == "int" and e["is_symmetric"] in ("True", "False") and isinstance(e["offset"], int)
            assert e["min"] == pytest.approx(e["offset"] * e["scale"]) and -top <= e["offset"] <= 0
            assert e["max"] == pytest.approx((top + e["offset"]) * e["scale"])
            assert e["is_symmetric"] == "False" or e["offset"] == -(2 ** (e["bitwidth"] - 1))
        assert len(entries) in (1, len(constants.get(name, [0])))


@pytest.mark.parametrize(("kind", "bits", "weight_bits"), [("srgan", 8, 8), ("mobile", 16, 4)])
def test_overrides_hold_for_the_converter_and_give_our_integers(kind, bits, weight_bits):
    from onnx import numpy_helper

    plan = plan_of(kind, bits=bits, weight_bits=weight_bits)
    data = overrides_json(plan)
    check_overrides(json.loads(json.dumps(data)), plan)
    assert set(data["activation_encodings"]) == set(plan.encodings)
    written = {t.name: numpy_helper.to_array(t) for t in plan.quantized().graph.initializer}
    graph = overrides_model(plan).graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    names = {n.output[0]: n.input for n in graph.node}
    for node in Network(plan.model).nodes:
        if node.kind in ("Conv", "PRelu"):
            entries = data["param_encodings"][names[node.output][1]]
            w = weights[names[node.output][1]].astype(np.float64)
            wide = (-1, *[1] * (w.ndim - 1))
            scale, offset = (np.array([e[key] for e in entries]).reshape(wide) for key in ("scale", "offset"))
            stored = np.clip(np.rint(w / scale) - offset, 0, 2 ** entries[0]["bitwidth"] - 1) + offset  # the converter
            part, zero = ("kernel", 0) if node.kind == "Conv" else ("alpha", int(offset.ravel()[0]))
            ours = written[f"{node.name}_{part}_quantized"].astype(np.int64) + zero
            assert np.array_equal(stored, ours)
            assert names[node.output][-1] not in data["param_encodings"] or node.kind == "PRelu"  # no bias


def test_slopes_that_share_an_array_but_not_a_grid_are_an_error():
    plan = plan_of("srgan")
    first, second = [n for n in plan.model.graph.node if n.op_type == "PRelu"][:2]
    second.input[1] = first.input[1]
    assert len(overrides_json(plan)["param_encodings"])
    plan.slopes[second.name] = (np.float32(1), 0)
    with pytest.raises(InputError, match="share"):
        overrides_json(plan)


@pytest.mark.parametrize("width", [8, 31, 63, 100])
def test_emulated_widths_are_never_those_that_are_compiled_wrongly(width):
    model = free_size(helpers_onnx.mobile())
    asked = []
    how = {"suspect": partial(suspect_width, model), "wrong": lambda width: asked.append(width) or True}
    plan = plan_soundly(Description(Path("here"), "emulator", radius=3), 20, width, **how)
    assert plan.run_size[0] == 20 and plan.run_size[1] % 4 == 0 and 6 < plan.run_size[1] <= width and not asked
    assert plan.tiling is Tiling.EXACT
    far = plan_soundly(Description(Path("here"), "emulator", radius=90), 20, width, **how)
    assert far.run_size[1] % 4 == 0 and bool(asked) == bool(width % 4) == (far.tiling is Tiling.NEAR)
    assert not suspect_width(free_size(helpers_onnx.srgan()), width)
    assert emulator_seconds(model, [(20, width)], overlap=3) > 0


def test_a_fixed_width_that_is_compiled_wrongly_is_refused():
    description = Description(Path("here"), "emulator", radius=3, input_size=(20, 63))
    with pytest.raises(CheckFailed, match="63"):
        plan_soundly(description, 20, 63, suspect=lambda width: True, wrong=lambda width: True)


def test_figure_shows_equal_pictures_as_grey():
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    shown = figure(rgb, rgb, rgb)
    assert shown.dtype == np.uint8 and (shown == 128).all(axis=2).sum() > 24 * 32


@needs_qnn
def test_emulator_and_simulation_stand_side_by_side(tmp_path):
    """Two data sets' worth of small pictures: the order is kept, the numbers agree with what the pictures say."""
    plan = plan_of("srgan")
    quantized, reference = plan.quantized(), plan.model
    for i, size in enumerate([(48, 80, 3), (64, 48, 3)]):
        coarse = np.random.default_rng(i).integers(0, 256, size, np.uint8)[::8, ::8]
        write_picture(tmp_path / f"{i}.png", Picture(coarse.repeat(8, axis=0).repeat(8, axis=1)))
    runs = [runner(model) for model in (reference, quantized)]
    loss = dataset_loss(*runs, tmp_path, scale=4, overlap=None)
    assert loss.lost_on_emulator is None
    said: list[str] = []
    (judged,) = with_emulator([loss], [tmp_path], quantized, scale=4, overlap=None, soc=57, say=said.append)
    assert "2 picture(s)" in said[0] and judged.quantized_psnr == loss.quantized_psnr
    assert judged.lost_on_emulator == pytest.approx(judged.lost, abs=0.5)
    emulator, shown = judge_on_emulator(reference, quantized, quantized, crops_of(), scale=4, overlap=None, soc=57)
    assert emulator.crops == 2 and 0 < emulator.equal <= 1 and shown.ndim == 3
    assert emulator.psnr_to_float == pytest.approx(emulator.simulation_psnr_to_float, abs=2)
