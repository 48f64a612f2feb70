"""The quantized graph and its statistics against ONNX Runtime's quantizer, finite differences and known pictures."""

from __future__ import annotations

import functools

import helpers_onnx as nets
import numpy as np
import pytest
from helpers_networks import random_weights, smooth_crops
from onnx import numpy_helper

from snpe_srgan.calibration.crops import Crops
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import free_size, session, with_outputs
from snpe_srgan.quantization.graph.encodings import Encoding, activation_encodings, spanning
from snpe_srgan.quantization.graph.qdq import kernel_scales, slope_grids, to_qdq
from snpe_srgan.quantization.kernels import affine
from snpe_srgan.quantization.observe.calibration import collect
from snpe_srgan.quantization.observe.gradient import PREFIX, SEED_INPUT, gradient_model
from snpe_srgan.quantization.recipe import parse_recipe
from snpe_srgan.quantization.steps.run import make_plan
from snpe_srgan.quantization.steps.search import refine

CROPS = smooth_crops()
BUILDERS = {"srgan": nets.srgan, "mobile": nets.mobile}


@pytest.fixture(params=BUILDERS)
def name(request):
    return request.param


@pytest.fixture
def network(name):
    return built(name)


@functools.cache
def built(name):
    return free_size(BUILDERS[name](seed=3))


@functools.cache
def planned(name, recipe="w8a8"):
    return plan(built(name), recipe)


def plan(model, recipe="w8a8", crops=CROPS):
    return make_plan(model, parse_recipe(recipe), scale=4, crops=Crops(tuple(crops), "test")).plan


def run(model, lr, **options):
    return session(model, **options)(["sr"], {"lr": lr})[0]


def psnr_to(model, other):
    error = np.mean([np.square(np.clip(run(model, c), -1, 1) - np.clip(run(other, c), -1, 1)).mean() for c in CROPS])
    return 10 * np.log10(4 / error)


def initializers(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def quantize_static(model, tmp_path):
    """ONNX Runtime's own static quantization, min-max, per channel, from the same crops: the independent reference."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = list(CROPS)

        def get_next(self):
            return {"lr": self.left.pop()} if self.left else None

    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "q.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return onnx.load(tmp_path / "q.onnx")


def test_at_least_as_good_as_onnxruntimes_quantizer(name, network, tmp_path):
    assert psnr_to(network, planned(name).quantized()) >= psnr_to(network, quantize_static(network, tmp_path)) - 0.2


def test_sixteen_bits_lose_less_than_eight(name, network):
    assert psnr_to(network, planned(name, "w8a16").quantized()) > psnr_to(network, planned(name).quantized()) + 3


def test_minimum_and_maximum_are_those_of_a_plain_run(network):
    statistics = collect(network, CROPS, scale=4)
    names = [x for x in statistics if x != "lr"]
    runner = session(with_outputs(network, names))
    seen = [dict(zip(names, runner(names, {"lr": c}), strict=True)) for c in CROPS]
    for x in names:
        s = statistics[x]
        low, high = min(v[x].min() for v in seen), max(v[x].max() for v in seen)
        assert (s.low.min(), s.high.max()) == (low, high) and (s.edges[0], s.edges[-1]) == pytest.approx((low, high))
        assert s.counts.sum() == sum(v[x].size for v in seen)


def test_calibration_does_not_depend_on_the_run(network):
    one, two = (collect(network, CROPS[:2], scale=4) for _ in range(2))
    assert all(np.array_equal(one[x].weighted, two[x].weighted) for x in one)


def test_the_derivative_is_that_of_finite_differences(network):
    rng, lr = np.random.default_rng(0), nets.lr_batch((8, 8))  # no flat areas, where all kinks lie together
    seed = rng.choice(np.float32([-1, 1]), size=(1, 32, 32, 3))
    gradient = session(gradient_model(network, ["lr"]))([PREFIX + "lr"], {"lr": lr, SEED_INPUT: seed})[0]
    direction = rng.normal(0, 1, lr.shape).astype(np.float32)
    h = 1e-4
    difference = (run(network, lr + h * direction).astype(float) - run(network, lr - h * direction)) / (2 * h)
    # The tolerance is for the PReLUs' kinks: some lie inside the step.
    assert (gradient * direction).sum() == pytest.approx((seed * difference).sum(), rel=0.05, abs=0.1)


def test_bias_scale_is_input_scale_times_weight_scale(name, network):
    quantized = planned(name).quantized()
    values, made = initializers(quantized), {n.output[0]: n for n in quantized.graph.node}
    for node in quantized.graph.node:
        if node.op_type == "Conv":
            x, w, b = (values[made[name].input[1]] for name in node.input)
            assert np.array_equal(b, x * w)
            assert values[made[node.input[2]].input[0]].dtype == np.int32


def test_moved_values_keep_their_encoding(name, network):
    view, numbers = Network(network), planned(name).encodings
    for node in view.nodes:
        if node.kind in ("DepthToSpace", "Transpose", "Clip"):
            assert numbers[node.output] == numbers[node.inputs[0]]


def test_concatenated_values_share_one_encoding():
    net = nets.Net(0)
    start = net.start()
    x = net.op("Concat", net.conv(start, 3, 24), net.conv(start, 3, 24, gain=9.0), axis=1)
    model = free_size(net.model(net.op("Tanh", net.op("DepthToSpace", x, blocksize=4, mode="DCR")), (8, 8)))
    view, numbers = Network(model), plan(model).encodings
    concat = next(n for n in view.nodes if n.kind == "Concat")
    assert len({numbers[t] for t in (concat.output, *concat.inputs)}) == 1


def test_known_ranges_do_not_depend_on_the_pictures(network):
    dark = [c * 0.1 for c in CROPS]
    view = Network(network)
    for bits in (8, 16):
        a, b = (
            activation_encodings(view, collect(network, crops, scale=4), bits=bits, estimator="decibel")
            for crops in (CROPS[:2], dark[:2])
        )
        assert a["lr"] == b["lr"] == Encoding(bits, float(np.float32(1 / (2**bits - 1))), 0)
        assert a["sr"] == b["sr"] and a["sr"].low == pytest.approx(-1) and a["sr"].high >= 1


def test_relu_grids_start_at_zero_and_stand_in_the_convolutions_group():
    model = free_size(nets.mobile(seed=1))
    done = plan(model)
    view, quantized = Network(model), done.quantized()
    made = {n.output[0]: n for n in quantized.graph.node}
    relus = [n for n in quantized.graph.node if n.op_type == "Relu"]
    assert relus and all(made[n.input[0]].op_type == "Conv" for n in relus)
    assert len(view.fused) == len(relus)
    assert all(done.encodings[n.output[0]].zero == 0 for n in relus)


def fresh_mobile(last=0.02, seed=0):
    from snpe_srgan.models.registry import describe
    from snpe_srgan.onnx_graphs.from_layers import to_onnx

    graph = describe("mobile", {"width": 8, "depth": 3})
    weights = random_weights(graph, np.random.default_rng(seed))
    kernel = np.zeros((1, 1, 3, 48), np.float32)
    for i in range(48):
        kernel[0, 0, i % 3, i] = 2.0
    weights |= {"anchor/kernel": kernel, "anchor/bias": np.full(48, -1, np.float32)}
    for name in ("conv3/kernel", "conv3/bias"):
        weights[name] *= np.float32(last)
    return to_onnx(graph, weights)


def shift(model, quantized, lr):
    """Largest difference in 8-bit levels away from the border."""
    a, b = (sr_to_pixels(run(m, lr))[0, 16:-16, 16:-16].astype(int) for m in (model, quantized))
    return np.abs(a - b).max()


def test_flat_pictures_shift_by_one_level_at_most():
    model = fresh_mobile()
    quantized = plan(model).quantized()
    for level in (0, 1, 2, *range(5, 253, 9), 253, 254, 255):
        assert shift(model, quantized, np.full((1, 12, 12, 3), level / 255, np.float32)) <= 1, level


def test_saturated_and_noisy_pictures_do_not_wrap_around():
    model = fresh_mobile(last=0.3)
    quantized = plan(model).quantized()
    rng = np.random.default_rng(0)
    colours = np.array(list(np.ndindex(2, 2, 2)), np.float32)
    checks = [colours[rng.integers(0, 8, (1, 12, 12))], rng.integers(0, 2, (1, 12, 12, 1)).repeat(3, 3).astype("f4")]
    one = np.full((1, 12, 12, 3), 0.5, np.float32)
    one[0, 6, 6] = 1
    for lr in [*checks, one]:
        assert shift(model, quantized, lr) <= 24, "a wrapped value is off by 200"


def test_white_survives_a_calibration_without_white():
    model = fresh_mobile()
    dim = plan(model, crops=[c * 0.5 for c in CROPS]).quantized()
    assert shift(model, dim, np.ones((1, 12, 12, 3), np.float32)) <= 1


def test_search_climbs_and_never_gets_worse():
    start = {"a": spanning(-8, 8, 8), "b": spanning(-1, 1, 8)}
    calls = []

    def score(numbers):
        calls.append(numbers)
        return -abs(np.log2(numbers["a"].high / 1.0)) - abs(np.log2(numbers["b"].high))

    best = refine(start, [["a"], ["b"]], score, tries=12)
    assert best["a"].high == pytest.approx(1, rel=0.1) and best["b"] == start["b"] and len(calls) <= 12
    assert refine(start, [["a"], ["b"]], lambda numbers: 0.0) == start


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (9, 31)])
def test_any_size_runs(name, network, size):
    lr = np.zeros((1, *size, 3), np.float32)
    assert run(planned(name).quantized(), lr).shape == (1, size[0] * 4, size[1] * 4, 3)


def test_recipes_are_read_and_done_in_one_order():
    recipe = parse_recipe(" W8A16-bc-cle ")
    assert (recipe.weight_bits, recipe.activation_bits, recipe.steps) == (8, 16, ("cle", "bc"))
    assert parse_recipe("w8a8-plain").steps == () and parse_recipe("w8a8").has("adaround")
    assert parse_recipe("w8a8-percentile").estimator == "percentile" and recipe.estimator == "decibel"


@pytest.mark.parametrize(
    ("name", "answer"),
    [("w8a17", "w8a16"), ("w8a8-bcc", "bc"), ("w8a8-cle-eq", "cle and eq"), ("w8a8-bc-bc", "twice"), ("", "w8a8")],
)
def test_misspelt_and_contradictory_recipes_are_answered(name, answer):
    with pytest.raises(UsageError) as error:
        parse_recipe(name)
    assert answer in str(error.value)


def test_what_cannot_be_quantized_is_an_error(name, network):
    with pytest.raises(InputError, match="quantized already"):
        Network(planned(name).quantized())
    net = nets.Net(0)
    x = net.op("Sin", net.op("DepthToSpace", net.conv(net.start(), 3, 48), blocksize=4, mode="DCR"))
    assert Network(net.model(x, (8, 8))).left_alone == {"Sin": 1}  # it is left alone, and named
    net = nets.Net(0)
    flat = net.op("Reshape", net.conv(net.start(), 3, 48), net.const(np.array([1, 48, 64])))
    with pytest.raises(InputError, match="'Reshape' gives 3 dimensions"):
        _ = Network(net.model(net.op("Reshape", flat, net.const(np.array([1, 3, 32, 32]))), (8, 8))).channels


def test_slopes_are_integers_of_the_activations_type():
    model = free_size(nets.srgan(seed=2))
    view, statistics = Network(model), collect(model, CROPS[:1], scale=4)
    for bits, kind in ((8, np.uint8), (16, np.uint16)):
        numbers = activation_encodings(view, statistics, bits=bits, estimator="decibel")
        made = to_qdq(model, numbers, kernel_scales(view, numbers), slope_grids(view, statistics, bits=bits))
        stored = [v for k, v in initializers(made).items() if k.endswith("_alpha_quantized")]
        assert len(stored) == 5 and all(v.dtype == kind for v in stored)


def test_fake_quantize_is_onnxs_rounding(rng):
    import onnx
    from onnx import TensorProto, helper

    x = rng.normal(0, 2, 1000).astype(np.float32)
    scale, zero = affine.affine_range(-3, 4, 8)
    constants = [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(np.uint8(zero), "z")]
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1000]) for n in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants), ir_version=9,
                              opset_imports=[helper.make_opsetid("", 18)])  # fmt: skip
    onnx.checker.check_model(model)
    expected = session(model, integer_kernels=False)(["y"], {"x": x})[0]
    assert np.mean(expected != affine.fake_quantize(x, scale, zero, bits=8)) < 0.01  # ties of float32 division


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 0.75), (0.0, 6.0)])
@pytest.mark.parametrize("recipe", ["w8a8", "w8a16", "w8a8-plain"])
def test_a_clip_inside_is_done_by_the_ends_of_the_grid(bounds, recipe):
    """The chip is off by up to two steps for a Clip between two grids, and a grid that holds what is cut is coarse."""
    net = nets.Net(1)
    x = net.conv(net.start(), 3, 12, gain=3.0)
    for _ in range(2):
        x = net.op("Clip", x, *(net.const(np.float32(b)) for b in bounds))
        x = net.conv(x, 12, 12, gain=3.0)
    x = net.op("Add", net.conv(net.op("Relu", x), 12, 48, gain=0.2), net.conv("transpose_1", 3, 48, 1))
    x = net.op("Clip", x, net.const(np.float32(-1)), net.const(np.float32(1)))
    model = free_size(net.model(net.op("DepthToSpace", x, blocksize=4, mode="DCR"), (12, 16)))
    view, made = Network(model), plan(model, recipe)
    clips = [node for node in view.nodes if node.kind == "Clip"]
    for node in clips[:2]:
        grid = made.encodings[node.output]
        assert node.inputs[0] in view.fused and node.inputs[0] not in made.encodings
        assert bounds[0] - grid.scale <= grid.low and grid.high <= bounds[1] + grid.scale
    assert clips[2].inputs[0] not in view.fused  # of the picture: it lies on the picture's own grid
    quantized = made.quantized()
    assert "Clip" not in [node.op_type for node in quantized.graph.node]
    assert psnr_to(model, quantized) > (60 if recipe == "w8a16" else 30)
