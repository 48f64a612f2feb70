"""Precision belongs to the training step, and there to convolutions and matrix products alone.

`SNPE_SRGAN_BF16` stands in for what the CPU says: TensorFlow computes bfloat16 everywhere, if slowly.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers_networks import random_weights
from helpers_training import GAN, PIXEL, config, hed_file, metrics, same_weights

from snpe_srgan.errors import ConfigError

tf = pytest.importorskip("tensorflow")

PRODUCTS = {
    "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul", "BatchMatMul", "BatchMatMulV2",
}  # fmt: skip
WITHOUT_ARITHMETIC = {"Cast", "Shape", "ShapeN", "Reshape", "StridedSlice", "Identity", "IdentityN", "Const", "Fill"}
EPILOGUE = {"BiasAdd"}  # of a convolution, part of its kernel
# Between two convolutions of the discriminator; what batch norm sums up is float32 all the same.
NORMED = {"FusedBatchNormV3", "FusedBatchNormGradV3", "LeakyRelu", "LeakyReluGrad"}
BETWEEN = EPILOGUE | {"Relu", "ReluGrad", "ConcatV2", "ConcatOffset", "Slice"}  # two convolutions: rounds nothing
BATCH, CROP = 2, 16
SRGAN, MOBILE = ("srgan", {"blocks": 1, "width": 4}), ("mobile", {"width": 4, "depth": 4})


def make(
    rng, tmp_path, *, multiply_in, distribution=None, loss, attention=0, taps=(), expand=0, teacher=None, network=SRGAN
):
    """A step of a small network with every part that a loss can ask for, and the state that it changes."""
    from snpe_srgan.config import DiscriminatorConfig, FeatureConfig, LossConfig, StageConfig
    from snpe_srgan.losses.feature_networks import load_feature_network
    from snpe_srgan.models.registry import describe
    from snpe_srgan.training.engine import Distribution
    from snpe_srgan.training.state import StageState
    from snpe_srgan.training.steps import make_step, metric_names

    distribution = distribution or Distribution()
    features = None
    if loss.get("feature_weight"):
        weights = hed_file(tmp_path / "hed.h5", rng)
        features = load_feature_network("hed_vgg16", ["block2_conv2"], weights=weights)
        loss = {**loss, "features": FeatureConfig(network="hed_vgg16", layers=["block2_conv2"])}
    stage = StageConfig(loss=LossConfig(**loss))
    discriminator = DiscriminatorConfig(width=4, dense=8, attention=attention)
    state = StageState(
        describe(*network), distribution, seed=0, beta1=0.9, crop=CROP, expand=expand,
        metrics=len(metric_names(stage)), taps=taps,
        discriminator=discriminator if stage.loss.adversarial_weight else None,
    )  # fmt: skip
    step = make_step(
        state, stage, distribution, gradient_clip=1.0, features=features, teacher=teacher, multiply_in=multiply_in
    )
    return step, state


def batch(rng, pictures: int = 2):
    lr = rng.integers(0, 256, (BATCH, CROP // 4, CROP // 4, 3), dtype=np.uint8)
    hr = [rng.integers(0, 256, (BATCH, CROP, CROP, 3), dtype=np.uint8) for _ in range(pictures - 1)]
    vector = tf.constant([1e-3, 0.9, 0.999, 0.9])
    return (tuple(tf.constant(x) for x in (lr, *hr)), vector, tf.constant(0, tf.int64))


def operations(function, arguments) -> list[tf.Operation]:
    """All of a traced function, those of the functions that it calls included."""
    graphs, seen = [function.get_concrete_function(*arguments).graph], []
    while graphs:
        graph = graphs.pop()
        for operation in graph.get_operations():
            seen.append(operation)
            for attribute in operation.node_def.attr.values():
                called = graph._get_function(attribute.func.name) if attribute.func.name else None
                if called is not None and getattr(called, "graph", None) is not None:
                    graphs.append(called.graph)
    return seen


def in_bfloat16(operation) -> bool:
    return any(tensor.dtype == tf.bfloat16 for tensor in (*operation.inputs, *operation.outputs))


def float32_products(found) -> list[tf.Operation]:
    """Not the complex ones, which the Fourier transform's gradient has."""
    return [o for o in found if o.type in PRODUCTS and o.outputs[0].dtype == tf.float32]


def tiny_teacher(rng, tmp_path):
    from snpe_srgan.models.npz import save_npz
    from snpe_srgan.models.registry import describe
    from snpe_srgan.training.networks import Teacher
    from snpe_srgan.zoo.resolve import resolve

    graph = describe("srgan", {"blocks": 1, "width": 4})
    weights = random_weights(graph, rng)
    save_npz(tmp_path / "teacher.npz", graph, weights)
    return Teacher(resolve(str(tmp_path / "teacher.npz")), "", graph, weights)


EVERYTHING = {"feature_weight": 0.1, "frequency_weight": 0.1, "luma_weight": 1.0, "adversarial_weight": 1e-3}


@pytest.mark.parametrize("adversarial", ["standard", "relativistic"])
def test_only_convolutions_and_products_are_in_bfloat16(rng, tmp_path, adversarial):
    from snpe_srgan.config import DistillConfig

    teacher = tiny_teacher(rng, tmp_path)
    name = teacher.graph.layers[2].name
    distill = DistillConfig(teacher="t", weight=0.5, feature_weight=0.5, features=[name])
    loss = {**EVERYTHING, "adversarial": adversarial, "distill": distill}
    step, state = make(
        rng, tmp_path, multiply_in="bfloat16", loss=loss, attention=2, taps=[name], expand=8, teacher=teacher
    )
    found = operations(step, batch(rng, pictures=3))
    low = [operation for operation in found if in_bfloat16(operation)]
    assert {operation.type for operation in low} <= PRODUCTS | WITHOUT_ARITHMETIC | EPILOGUE | NORMED
    assert all(o.get_attr("U") == tf.float32 for o in low if o.type.startswith("FusedBatchNorm"))
    multiplied = {operation.type for operation in low} & PRODUCTS - {"BatchMatMulV2"}  # which is in the gradient
    assert multiplied == {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul", "BatchMatMul"}
    # In float32 are only the products that merge an expanded kernel, which are weights and not pictures: forward, two
    # gradients, and once more for the averaged weights.
    high = float32_products(found)
    expanded = sum(layer.kind == "conv" and layer.attributes["trainable"] for layer in state.graph.layers)
    assert {operation.type for operation in high} == {"MatMul"} and len(high) == 4 * expanded


def test_activations_stay_in_bfloat16_between_convolutions_alone(rng, tmp_path):
    """conv - ReLU - conv - ReLU - conv - ReLU, and a last one that reads the first and the last ReLU's results."""
    step, state = make(rng, tmp_path, multiply_in="bfloat16", loss={"pixel": "l1"}, network=MOBILE)
    assert [v.shape.rank for v in state.generator.trainable_weights] == [4, 1] * 4  # each is trained once
    found = operations(step, batch(rng))
    low = [operation for operation in found if in_bfloat16(operation)]
    # The one sum: of the two gradients of the first ReLU, which is rounded for the next product anyway.
    assert {operation.type for operation in low} <= PRODUCTS | WITHOUT_ARITHMETIC | BETWEEN | {"AddN"}
    assert sum(operation.type == "AddN" for operation in low) == 1
    count = {kind: sum(o.type == kind for o in low) for kind in ("Relu", "BiasAdd")}
    assert count == {"Relu": 3, "BiasAdd": 4} and not any(o.type == "BiasAddGrad" for o in found)
    # Kernels, their gradients and what the network reads are cast as ever; of its activations the last ones alone.
    casts = [o.outputs[0] for o in found if o.type == "Cast" and in_bfloat16(o) and o.outputs[0].dtype == tf.float32]
    widened = [x.shape[3] for x in casts if x.shape.rank == 4 and x.shape[1:3] == [CROP // 4, CROP // 4]]
    assert [channels for channels in widened if channels != 3] == [3 * 4**2] * 2  # of conv4 and the anchor
    wide, _ = make(rng, tmp_path, multiply_in="float32", loss={"pixel": "l1"}, network=MOBILE)
    assert not any(in_bfloat16(operation) for operation in operations(wide, batch(rng)))


def test_what_stays_narrow():
    from snpe_srgan.models.bfloat16 import activated_by, kept_narrow
    from snpe_srgan.models.registry import describe

    graph = describe("mobile", {"depth": 4})
    relus = {f"relu{i}": f"conv{i}" for i in (1, 2, 3)}
    assert activated_by(graph, ()) == relus
    assert kept_narrow(graph, ()) == {*relus, *relus.values(), "skip"}
    # A loss looks at one: it is float32, and so is all that is joined with it.
    assert activated_by(graph, ["relu1"]) == relus
    assert kept_narrow(graph, ["relu1"]) == {"relu2", "conv2"}
    assert activated_by(graph, ["conv2"]) == {"relu1": "conv1", "relu3": "conv3"}
    srgan = describe("srgan", {"blocks": 1})  # PReLU, batch norm and additions round
    assert not activated_by(srgan, ()) and not kept_narrow(srgan, ())


@pytest.mark.parametrize("slope", [None, 0.0, 0.2])
@pytest.mark.parametrize(("strides", "padding"), [([1, 1, 1, 1], "SAME"), ([1, 2, 2, 1], "VALID")])
def test_a_convolution_with_its_bias_is_near_its_float32(rng, slope, strides, padding):
    from snpe_srgan.products import biased_conv2d

    x, kernel, bias, seen = (
        tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in ((2, 7, 6, 8), (3, 3, 8, 4), (4,), (4,))
    )

    # Values that bfloat16 holds: no sum near 0 has another sign then, which would be another derivative.
    x, kernel, bias = (tf.cast(tf.cast(value, tf.bfloat16), tf.float32) for value in (x, kernel, bias))

    def wanted(x, kernel, bias):
        y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides, padding), bias)
        return y if slope is None else tf.nn.leaky_relu(y, slope)

    def made(x, kernel, bias):
        return biased_conv2d(x, kernel, bias, strides, padding, slope=slope)

    def compute(function):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel, bias])
            y = tf.cast(function(x, kernel, bias), tf.float32)
            total = tf.reduce_sum(y * seen)
        return y, *tape.gradient(total, [x, kernel, bias])

    assert made(x, kernel, bias).dtype == tf.bfloat16
    for low, high in zip(compute(tf.function(made)), compute(wanted), strict=True):
        assert low.dtype == tf.float32
        assert float(tf.norm(low - high) / tf.norm(high)) < 0.02  # eight bits


def test_every_replica_is_in_bfloat16(rng, tmp_path):
    """A strategy traces its replicas in threads of their own."""
    from snpe_srgan.training.engine import Distribution

    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    step, _ = make(
        rng, tmp_path, multiply_in="bfloat16", loss=EVERYTHING, distribution=Distribution(strategy=strategy, replicas=1)
    )
    found = operations(step, batch(rng))
    assert not float32_products(found)
    assert {o.type for o in found if in_bfloat16(o)} <= PRODUCTS | WITHOUT_ARITHMETIC | EPILOGUE | NORMED
    assert any(o.type == "Conv2DBackpropFilter" for o in found)


def test_a_float32_step_has_no_bfloat16(rng, tmp_path):
    step, _ = make(rng, tmp_path, multiply_in="float32", loss=EVERYTHING, attention=2)
    assert not any(in_bfloat16(operation) for operation in operations(step, batch(rng)))


def test_losses_are_float32(rng, tmp_path):
    """bfloat16 has 8 bits: a loss that is summed in it is off in the third digit."""
    from snpe_srgan.products import precision

    step, state = make(rng, tmp_path, multiply_in="bfloat16", loss={"pixel": "l1"})
    arguments = batch(rng)
    lr, hr = (x.numpy().astype(np.float32) for x in arguments[0])
    with precision("bfloat16"):
        sr = state.generator(tf.constant(lr / 255), is_train=True).numpy().astype(np.float64)
    step(*arguments)
    loss = state.take_sums()[0]
    assert loss == pytest.approx(np.abs(sr - (hr / 127.5 - 1)).mean(), rel=1e-5)
    assert state.sums.dtype == tf.float32 and all(v.dtype == tf.float32 for v in state.generator.all_weights)


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("kind", ["conv", "matrix", "matrices"])
def test_products_and_their_gradients_are_near_and_float32(rng, kind, transpose_b):
    from snpe_srgan.products import conv2d, matmul, precision

    shapes = {"conv": ((2, 6, 5, 8), (3, 3, 8, 4)), "matrix": ((5, 8), (8, 4)), "matrices": ((3, 5, 8), (3, 8, 4))}
    a, b = (tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes[kind])
    if kind == "conv" and transpose_b:
        pytest.skip("a convolution has no transposed form here")
    if transpose_b:
        b = tf.linalg.matrix_transpose(b)

    def compute(wanted):
        with precision(wanted), tf.GradientTape() as tape:
            tape.watch([a, b])
            y = conv2d(a, b, 2, "SAME") if kind == "conv" else matmul(a, b, transpose_b=transpose_b)
            total = tf.reduce_sum(y * y)
        return y, *tape.gradient(total, [a, b])

    for low, high in zip(compute("bfloat16"), compute("float32"), strict=True):
        assert low.dtype == tf.float32
        difference = float(tf.norm(low - high) / tf.norm(high))
        assert 1e-5 < difference < 0.02  # eight bits, and not the same


def test_nothing_else_in_the_process_changes(tmp_path, monkeypatch):
    """float32 before and after a bfloat16 training: the same weights, scores and frozen graph, bit for bit."""
    from snpe_srgan.models.freeze import freeze, run_graph_def
    from snpe_srgan.models.npz import load_npz
    from snpe_srgan.training.run import train

    monkeypatch.setenv("SNPE_SRGAN_BF16", "1")
    stages = (PIXEL, GAN)
    runs = [
        train(config(tmp_path, stages=stages, precision=wanted), tmp_path / name)
        for name, wanted in (("before", "float32"), ("low", "auto"), ("after", "float32"))
    ]
    assert [run.precision for run in runs] == ["float32", "bfloat16", "float32"]
    before, low, after = (run.generator for run in runs)
    assert same_weights(before, after) and not same_weights(before, low)
    assert runs[0].stages[-1].psnr == runs[2].stages[-1].psnr
    kept = [[m for m in metrics(run.run_dir) if m["kind"] == "train"] for run in runs]
    for old, new in zip(kept[0], kept[2], strict=True):
        assert old["loss"] == new["loss"]
    graph, weights = load_npz(low)
    graph_def = freeze(graph, weights)
    assert not any(node.attr[k].type == tf.bfloat16.as_datatype_enum for node in graph_def.node for k in node.attr)
    lr = np.random.default_rng(0).random((1, 9, 7, 3), np.float32)
    assert np.array_equal(run_graph_def(graph_def, lr), run_graph_def(freeze(graph, weights), lr))


@pytest.mark.parametrize(
    ("flags", "forced", "auto"),
    [
        ({"fpu", "avx512_bf16", "amx_tile"}, "", "bfloat16"),
        ({"fpu", "avx512f", "avx512_vnni"}, "", "float32"),
        (set(), "", "float32"),
        (set(), "1", "bfloat16"),
        ({"amx_bf16"}, "0", "float32"),
    ],
)
def test_what_auto_means(monkeypatch, flags, forced, auto):
    from snpe_srgan.training import engine

    monkeypatch.setattr(engine, "cpu", lambda: ("a CPU", flags))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setenv("SNPE_SRGAN_BF16", forced)
    assert engine.step_precision("auto") == auto and engine.step_precision("float32") == "float32"
    if auto == "bfloat16":
        assert engine.step_precision("bfloat16") == "bfloat16"
    else:
        with pytest.raises(ConfigError, match="no bfloat16 instructions"):
            engine.step_precision("bfloat16")


@pytest.mark.parametrize(("capability", "auto"), [((7, 5), "float32"), ((8, 0), "bfloat16"), (None, "float32")])
def test_what_auto_means_on_a_gpu(monkeypatch, capability, auto):
    from snpe_srgan.training import engine

    details = {"compute_capability": capability} if capability else {}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    monkeypatch.delenv("SNPE_SRGAN_BF16", raising=False)
    assert engine.step_precision("auto") == auto


def test_a_forced_value_that_is_none(monkeypatch):
    from snpe_srgan.training.engine import step_precision

    monkeypatch.setenv("SNPE_SRGAN_BF16", "yes")
    with pytest.raises(ConfigError, match="SNPE_SRGAN_BF16"):
        step_precision("auto")
