"""The numbers of compression: each kernel by its defining property, edits of networks by the function they keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snpe_srgan.compression.allocate import allocate
from snpe_srgan.compression.apply import Full
from snpe_srgan.compression.features import collect_moments
from snpe_srgan.compression.folding import folded_kernel, with_folded_tail
from snpe_srgan.compression.pruning import Reader, reconstructed, removal_order
from snpe_srgan.compression.search import compress_network
from snpe_srgan.compression.sensitivity import Judge
from snpe_srgan.compression.spatial_svd import data_pair, kernel_pair, most_ranks
from snpe_srgan.compression.structure import branches, channel_groups, select_channels, with_pair, without_branch
from snpe_srgan.compression.target import parse_target
from snpe_srgan.compression.units import Costs, Unit, find_units
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.graph import Layer
from snpe_srgan.models.npz import check_weights
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import fold_batch_norm, to_onnx
from snpe_srgan.onnx_graphs.run import runner

RANDOM = np.random.default_rng(4)


def random_weights(graph):
    return {
        key: (RANDOM.standard_normal(shape) * (0.6 / np.sqrt(np.prod(shape[:-1]) or 1))).astype(np.float32)
        for key, shape in graph.weight_shapes().items()
    }


@pytest.fixture(scope="module")
def small():
    """(graph, weights) of a 2-block SRGAN of 16 channels without batch norms."""
    graph = describe("srgan", {"blocks": 2, "width": 16, "batch_norm": False}, scale=4)
    return graph, random_weights(graph)


@pytest.fixture(scope="module")
def thin():
    """The same with 8 channels and x2, for what needs many networks."""
    graph = describe("srgan", {"blocks": 2, "width": 8, "batch_norm": False}, scale=2)
    return graph, random_weights(graph)


@pytest.fixture(scope="module")
def crops():
    return [RANDOM.random((1, 12, 12, 3), np.float32) for _ in range(3)]


def picture(graph, weights, lr):
    check_weights(graph, weights, where="test")
    return runner(to_onnx(graph, weights))(lr)


def moments_of(taps, rows=400):
    """Second moments of correlated random patches."""
    x = RANDOM.standard_normal((rows, taps)) @ RANDOM.standard_normal((taps, taps))
    return x, x.T @ x / rows


# --- spatial SVD


def pair_kernel(vertical: np.ndarray, horizontal: np.ndarray) -> np.ndarray:
    """The (h, w, m, n) kernel that a pair computes."""
    return np.einsum("hmk,wkn->hwmn", vertical[:, 0], horizontal[0])


def output_error(kernel: np.ndarray, other: np.ndarray, gram: np.ndarray) -> float:
    """Mean squared difference of two kernels' outputs, summed over outputs, for patches of these second moments."""
    difference = (np.asarray(kernel, np.float64) - other).reshape(len(gram), -1)
    return float(np.sum(difference * (gram @ difference)))


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (9, 9, 3, 8), (5, 3, 8, 2)])
def test_a_pair_of_full_rank_is_the_kernel(shape):
    kernel = RANDOM.standard_normal(shape)
    _, gram = moments_of(int(np.prod(shape[:3])))
    for pair in (kernel_pair(kernel, most_ranks(shape)), data_pair(kernel, gram, most_ranks(shape))):
        np.testing.assert_allclose(pair_kernel(*pair), kernel, atol=1e-6)


def test_a_pair_is_the_nearest_of_its_rank():
    kernel = RANDOM.standard_normal((3, 3, 4, 6))
    matrix = kernel.transpose(0, 2, 1, 3).reshape(12, 18)
    left = np.linalg.svd(matrix, compute_uv=False)[5:]  # Eckart and Young 1936
    error = np.sum((pair_kernel(*kernel_pair(kernel, 5)) - kernel) ** 2)
    assert error == pytest.approx(np.sum(left**2))


def test_a_pair_fitted_to_the_pictures_errs_less_on_them():
    kernel = RANDOM.standard_normal((3, 3, 6, 5))
    _, gram = moments_of(54)
    errors = [
        output_error(kernel, pair_kernel(*pair), gram) for pair in (kernel_pair(kernel, 4), data_pair(kernel, gram, 4))
    ]
    assert errors[1] < 0.8 * errors[0]


def test_a_pair_in_the_network_is_its_convolution(small, crops):
    graph, weights = small
    pair = kernel_pair(weights["up1/kernel"], most_ranks(weights["up1/kernel"].shape))
    other = with_pair(graph, weights, "up1", pair[0].shape[3], tuple(p.astype(np.float32) for p in pair))
    np.testing.assert_allclose(picture(*other, crops[0]), picture(graph, weights, crops[0]), atol=2e-5)


# --- channel pruning


def test_the_cost_of_a_removal_is_the_error_after_refitting():
    """The closed form against a least-squares solution of its own, one bundle after the other."""
    _, gram = moments_of(12)
    kernel, bundles = RANDOM.standard_normal((12, 3)), np.arange(12).reshape(4, 3)
    damped = np.linalg.cholesky(
        gram + 0.01 * np.trace(gram) / 12 * np.eye(12)
    ).T  # rows whose moments are the damped ones

    def error(kept):
        fitted = np.linalg.lstsq(damped[:, kept], damped @ kernel, rcond=None)[0]
        return np.sum((damped @ kernel - damped[:, kept] @ fitted) ** 2)

    order, left = [], [0, 1, 2, 3]
    while len(left) > 1:
        trial = {b: error(np.concatenate([bundles[c] for c in left if c != b])) for b in left}
        order.append(min(trial, key=trial.get))
        left.remove(order[-1])
    assert list(removal_order([Reader(gram, kernel, bundles)], keep=1)) == [*order, *left]


def test_channels_that_repeat_others_go_first_and_cost_nothing():
    x = RANDOM.standard_normal((500, 6))
    x[:, 4], x[:, 2] = x[:, 0] + x[:, 1], 3 * x[:, 5]
    gram, kernel = x.T @ x / 500, RANDOM.standard_normal((6, 4))
    order = removal_order([Reader(gram, kernel, np.arange(6)[:, None])], keep=1)
    assert set(order[:2]) & {0, 1, 4} and set(order[:2]) & {2, 5}
    kept = np.sort(order[2:])
    fitted = reconstructed(kernel, gram, kept)
    assert np.abs(x[:, kept] @ fitted - x @ kernel).max() < 0.1 * np.abs(x @ kernel).max()


def test_a_reader_that_shouts_does_not_decide_alone():
    """Energies put readers on one scale: the same layer a hundred times as loud counts as before."""
    _, gram = moments_of(8)
    one, two, bundles = RANDOM.standard_normal((8, 3)), RANDOM.standard_normal((8, 3)), np.arange(8)[:, None]
    quiet = [Reader(gram, one, bundles, 1.0), Reader(gram, two, bundles, 1.0)]
    loud = [Reader(gram, one, bundles, 1.0), Reader(gram, 100 * two, bundles, 1e4)]
    assert list(removal_order(quiet, keep=2)) == list(removal_order(loud, keep=2))


# --- edits


def test_channels_that_nothing_reads_can_go_unseen(small, crops):
    """Residual trunk, inner channels, pixel-shuffle bundles: with the readers' rows at 0 the picture stays."""
    graph, weights = small
    for group in channel_groups(graph):
        quiet, gone = dict(weights), [0, 3, group.size - 1]
        for conv in group.consumers:
            kernel = quiet[f"{conv}/kernel"].copy()
            kernel[:, :, group.channels[graph.layer(conv).inputs[0]][gone].reshape(-1)] = 0
            quiet[f"{conv}/kernel"] = kernel
        kept = [b for b in range(group.size) if b not in gone]
        narrow = select_channels(graph, quiet, group.keep(kept))
        np.testing.assert_allclose(picture(*narrow, crops[0]), picture(graph, quiet, crops[0]), atol=2e-5)


def test_groups_are_trunk_inner_channels_and_shuffles(small):
    groups = {group.name: group for group in channel_groups(small[0])}
    assert list(groups) == ["head", "block1_conv1", "block2_conv1", "up1", "up2"]
    assert groups["head"].producers == ("head", "block1_conv2", "block2_conv2", "body")
    assert groups["up1"].channels["up1"].shape == (16, 4)


def test_a_layer_that_nobody_reads_forms_no_group(small):
    graph = small[0]
    dead = Layer("dead", "conv", ("head_prelu",), 8, 1, graph.layer("head").attributes)
    other = replace(graph, layers=(*graph.layers[:3], dead, *graph.layers[3:]))
    assert [group.name for group in channel_groups(other)] == [group.name for group in channel_groups(graph)]


def test_a_branch_that_gives_nothing_can_go_unseen(small, crops):
    graph, weights = small
    assert list(branches(graph)) == ["block1_add", "block2_add"]
    quiet = {k: np.zeros_like(v) if k.startswith("block1_conv2") else v for k, v in weights.items()}
    np.testing.assert_allclose(
        picture(*without_branch(graph, quiet, "block1_add"), crops[0]), picture(graph, quiet, crops[0]), atol=1e-6
    )


def test_the_folded_tail_draws_the_same_picture(small, crops):
    graph, weights = small
    folded = with_folded_tail(graph, weights)
    assert folded[0].layer("tail").attributes["kernel"] == [5, 5] and folded[0].layer("tail").upscale == 2
    np.testing.assert_allclose(picture(*folded, crops[0]), picture(graph, weights, crops[0]), atol=1e-6)


@pytest.mark.parametrize(("size", "block"), [((3, 3), 2), ((9, 9), 4), ((1, 5), 3), ((4, 3), 2)])
def test_a_kernel_folds_for_any_size_and_block(size, block):
    """Against the definition: shuffle, then convolve, by loops over numpy arrays."""
    kernel, x = RANDOM.standard_normal((*size, 2, 3)), RANDOM.standard_normal((6, 7, block**2 * 2))
    shuffled = x.reshape(6, 7, block, block, 2).transpose(0, 2, 1, 3, 4).reshape(6 * block, 7 * block, 2)
    wanted = convolved(shuffled, kernel)
    packed = convolved(x, folded_kernel(kernel, block))
    found = packed.reshape(6, 7, block, block, 3).transpose(0, 2, 1, 3, 4).reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-10)


def convolved(x, kernel):
    h, w = kernel.shape[:2]
    padded = np.pad(x, (((h - 1) // 2, h // 2), ((w - 1) // 2, w // 2), (0, 0)))
    out = np.zeros((*x.shape[:2], kernel.shape[3]))
    for u in range(h):
        for v in range(w):
            out += padded[u : u + x.shape[0], v : v + x.shape[1]] @ kernel[u, v]
    return out


def test_mobile_has_nothing_to_fold():
    graph = describe("mobile", {}, scale=4)
    assert with_folded_tail(graph, None)[0] is graph


# --- plans


def test_costs_are_those_of_the_network_that_is_built(small, crops):
    graph, weights = small
    units = find_units(graph, multiple=4)
    full = Full(graph, weights, units, collect_moments(graph, weights, crops))
    for plan in (
        {"head": 8, "block1_add": 0, "block2_conv1": 4, "up1 (ssvd)": 16, "tail (ssvd)": 8},
        {"up2": 12, "up1": 8, "body (ssvd)": 8, "block2_conv2 (ssvd)": 12},
        {},
    ):
        built, cost = full.build(plan), graph_cost(full.build(plan).graph)
        check_weights(built.graph, built.weights, where="test")
        assert graph_cost(full.describe(plan)) == cost
        assert (cost.macs_per_lr_pixel, cost.parameters) == (Costs(graph).macs(plan), Costs(graph).parameters(plan))


def test_reconstruction_beats_cutting(small, crops):
    graph, weights = small
    units, judge = find_units(graph, multiple=4), Judge(graph, weights, crops)
    plan = {"block1_conv1": 8, "up1": 8, "up2": 8}
    fitted = Full(graph, weights, units, collect_moments(graph, weights, crops)).build(plan)
    cut = Full(graph, weights, units, None).build(plan)
    assert judge.error(fitted.graph, fitted.weights) < 0.7 * judge.error(cut.graph, cut.weights)


def test_allocation_takes_the_cheapest_errors_and_no_more_than_needed():
    units = [Unit(name, "channels", name, 4, (3, 2, 1)) for name in "ab"]
    errors = {"a": {3: 1.0, 2: 2.0, 1: 3.0}, "b": {3: 0.1, 2: 0.2, 1: 9.0}}

    def cost(plan):
        return plan.get("a", 4) + plan.get("b", 4)

    assert allocate(units, errors, cost, 6) == {"b": 2}
    assert allocate(units, errors, cost, 5) == {"b": 2, "a": 3}
    assert allocate(units, errors, cost, 1) is None


def test_a_block_left_out_takes_its_units_along():
    units = [Unit("x", "channels", "x", 4, (2,)), Unit("block", "block", "block", 1, (0,))]
    errors = {"x": {2: 0.1}, "block": {0: 0.3}}

    def cost(plan):
        return 0 if plan.get("block") == 0 else plan.get("x", 4)

    assert allocate(units, errors, cost, 0, inside={"x": "block"}) == {"block": 0}


# --- the search


def test_a_layer_that_gives_nothing_makes_no_number_infinite(thin, crops):
    graph, weights = thin
    silent = {
        **weights,
        "block1_conv2/kernel": weights["block1_conv2/kernel"] * 0,
        "head/kernel": weights["head/kernel"] * 0,
    }
    for dark in (crops, [crop * 0 for crop in crops]):
        moments = collect_moments(graph, silent, dark)
        assert all(np.isfinite(m.gram).all() and np.isfinite(m.energy) for m in moments.values())
    full = Full(graph, silent, find_units(graph, multiple=2), moments)
    built = full.build({unit.name: unit.levels[-1] for unit in full.units.values() if unit.kind != "block"})
    assert all(np.isfinite(value).all() for value in built.weights.values())


def test_a_network_that_runs_over_is_told_with_its_layer(thin, crops):
    loud = {key: value * np.float32(1e20) if key == "body/kernel" else value for key, value in thin[1].items()}
    with pytest.raises(InputError, match="'body' gives is too large"):
        collect_moments(thin[0], loud, crops)


@pytest.mark.parametrize("target", ["macs=0.6", "size=0.5"])
def test_a_target_is_met_by_the_network_that_is_given(thin, crops, target):
    found = compress_network(*thin, target=parse_target(target), crops=crops[:2], validation=crops[2:], multiple=2)
    cost, full = graph_cost(found.graph), graph_cost(thin[0])
    assert found.graph.network == "srgan" and found.rows
    ratios = {
        "macs": cost.macs_per_lr_pixel / full.macs_per_lr_pixel, "size": cost.parameters / full.parameters,
    }  # fmt: skip
    goal = parse_target(target)
    assert 0.5 * goal.ratio < ratios[goal.kind] <= goal.ratio
    assert max(t.psnr_to_full for t in found.tried if t.met) == next(
        t.psnr_to_full for t in found.tried if t.strategy == found.strategy
    )


def test_aimets_order_leaves_the_shares_asked_for(thin, crops):
    found = compress_network(*thin, ssvd=0.8, prune=0.7, crops=crops[:2], validation=crops[2:], multiple=2)
    assert found.strategy == "ssvd-prune" and found.tried[0].macs <= 0.56
    assert {row.kind for row in found.rows} == {"ssvd", "channels"}


def test_batch_norms_are_folded_on_the_way(crops):
    graph = describe("srgan", {"blocks": 2, "width": 8}, scale=2)
    weights = random_weights(graph)
    weights = {k: np.abs(v) + 0.5 if k.endswith(("variance", "gamma")) else v for k, v in weights.items()}
    found = compress_network(graph, weights, target=parse_target("macs=0.9"), strategy="prune", crops=crops[:2],
                             validation=crops[2:], multiple=2)  # fmt: skip
    assert all(layer.kind != "batch_norm" for layer in found.graph.layers)
    judge = Judge(*fold_batch_norm(graph, weights), crops)
    assert judge.error(found.graph, found.weights) < 0.05


def channels_of(graph):
    """A price that counts channels."""
    return float(sum(layer.channels * layer.upscale for layer in graph.layers))


@pytest.mark.parametrize("share", [0.7, 0.5])
def test_a_latency_target_asks_for_prices(thin, crops, share):
    """The search must bring the built network under it, and nothing inside a block that is left out saves any more."""
    found = compress_network(
        *thin, target=parse_target(f"latency={share}"), strategy="slim", crops=crops[:2], validation=crops[2:],
        multiple=2, price=channels_of,
    )  # fmt: skip
    assert found.tried[0].latency <= share
    inside = {
        x
        for add, chain in branches(thin[0]).items()
        for x in chain
        if (add, 0) in [(r.unit, r.kept) for r in found.rows]
    }
    assert not inside & {row.unit for row in found.rows}


def test_a_time_that_folding_meets_makes_nothing_smaller(thin, crops):
    """A price of multiplications in groups of 32 outputs, as a matrix unit has them."""

    def price(graph):
        sizes = ((la, np.prod(la.attributes["kernel"])) for la in graph.layers if la.kind == "conv")
        return float(sum(s * graph.in_channels(la) * -(-la.channels // 32) * la.upscale**2 for la, s in sizes))

    found = compress_network(
        *thin, target=parse_target("latency=0.7"), crops=crops[:2], validation=crops[2:], price=price
    )
    assert not found.rows and found.tried[0].latency <= 0.7 and "before the pixel shuffle" in found.notes[0]
    np.testing.assert_allclose(picture(found.graph, found.weights, crops[0]), picture(*thin, crops[0]), atol=1e-5)


@pytest.mark.parametrize("text", ["macs", "macs=1.5", "mac=0.5", "size=x", "=0.5"])
def test_a_target_is_a_kind_and_a_share(text):
    with pytest.raises(UsageError):
        parse_target(text)


def test_what_cannot_be_met_is_said_before_any_work(thin):
    with pytest.raises(InputError, match="cannot be met"):
        compress_network(*thin, target=parse_target("macs=0.01"), strategy="prune", crops=[], validation=[], multiple=8)
    with pytest.raises(InputError, match="after its first step"):
        compress_network(*thin, ssvd=0.01, prune=0.99, crops=[], validation=[], multiple=2)
    with pytest.raises(InputError, match="the narrowest network"):
        compress_network(*thin, target=parse_target("latency=0.01"), crops=[], validation=[], price=channels_of)
    with pytest.raises(InputError, match="thick enough"):
        find_units(describe("mobile", {}, scale=4), multiple=320)
