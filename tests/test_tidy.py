"""One way to say each thing: exporters' words for pixel shuffles, transposed convolutions, splits and layouts.

Every rewrite keeps the function; what is left is what quantization reads.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import smooth_crops
from onnx import TensorProto, helper, numpy_helper

from snpe_srgan.calibration.crops import Crops
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.graph import OnnxGraph
from snpe_srgan.onnx_graphs.model import fix_size, onnx_facts
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.onnx_graphs.shuffle_passes import fuse_shuffles
from snpe_srgan.onnx_graphs.tidy import tidy
from snpe_srgan.quantization.recipe import parse_recipe
from snpe_srgan.quantization.steps.run import make_plan
from snpe_srgan.toolchains import qnn


class Graph:
    """`lr` NHWC -> the operators that are added, on NCHW -> `sr`."""

    def __init__(self, seed=0):
        self.rng, self.nodes, self.constants, self.x = np.random.default_rng(seed), [], [], "lr"
        self.op("Transpose", perm=[0, 3, 1, 2])

    def const(self, value, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def op(self, kind, *reads, x=None, outputs=1, **own):
        names = [f"t{len(self.nodes)}_{i}" if outputs > 1 else f"t{len(self.nodes)}" for i in range(outputs)]
        first = [self.x if x is None else x] if x != "" else []
        self.nodes.append(helper.make_node(kind, [*first, *reads], names, **own))
        self.x = names[0]
        return names if outputs > 1 else names[0]

    def conv(self, into, out, side=3, x=None, **own):
        kernel = self.rng.normal(0, 1 / np.sqrt(into * side**2), (out, into, side, side))
        own = {"pads": [side // 2] * 4, **own}
        return self.op("Conv", self.const(kernel), self.const(self.rng.normal(0, 0.1, out)), x=x,
                       kernel_shape=[side, side], **own)  # fmt: skip

    def model(self, size=None, opset=17):
        self.op("Transpose", perm=[0, 2, 3, 1])
        self.nodes[-1].output[0] = "sr"
        ends = [(1, *(size or ("h", "w")), 3), (1, "H", "W", 3)]
        both = zip(("lr", "sr"), ends, strict=True)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in both]
        graph = helper.make_graph(self.nodes, "g", values[:1], values[1:], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def shuffle(g: Graph, channels: int, block: int, size, mode="CRD"):
    """PyTorch's old way to say a pixel shuffle."""
    left = channels // block**2
    first = [1, left, block, block, *size] if mode == "CRD" else [1, block, block, left, *size]
    g.op("Reshape", g.const(first, np.int64))
    g.op("Transpose", perm=[0, 1, 4, 2, 5, 3] if mode == "CRD" else [0, 3, 4, 1, 5, 2])
    g.op("Reshape", g.const([1, left, size[0] * block, size[1] * block], np.int64))


def old_shuffle(mode="CRD", size=(12, 16)):
    g = Graph()
    g.conv(3, 12)
    shuffle(g, 12, 2, size, mode)
    return g.model(size)


def old_unshuffle(size=(12, 16)):
    g = Graph()
    g.op("Reshape", g.const([1, 3, size[0] // 2, 2, size[1] // 2, 2], np.int64))
    g.op("Transpose", perm=[0, 1, 3, 5, 2, 4])
    g.op("Reshape", g.const([1, 12, size[0] // 2, size[1] // 2], np.int64))
    g.conv(12, 48)
    shuffle(g, 48, 4, (size[0] // 2, size[1] // 2))
    return g.model(size)


def unshuffle_in_steps(size=(12, 16), reader="Conv"):
    """As torch.onnx says it of pictures of free size: a side of 1, five dimensions, and a Squeeze behind."""
    g, (h, w) = Graph(), (size[0] // 2, size[1] // 2)
    g.op("Unsqueeze", g.const([3], np.int64))
    g.op("Reshape", g.const([1, 3, h, 2, 2 * w], np.int64))
    g.op("Reshape", g.const([1, 3, h, 2, w, 2], np.int64))
    g.op("Transpose", perm=[0, 1, 3, 5, 2, 4])
    g.op("Reshape", g.const([1, 12, 1, h, w], np.int64))
    g.op("Squeeze", g.const([2], np.int64))
    if reader != "Conv":
        g.op(reader)
    g.conv(12, 48)
    g.op("Reshape", g.const([1, 3, 4, 4, h, w], np.int64))
    g.op("Transpose", perm=[0, 1, 4, 2, 3, 5])  # in two turns
    g.op("Transpose", perm=[0, 1, 2, 3, 5, 4])
    g.op("Reshape", g.const([1, 3, 4 * h, 4 * w], np.int64))
    return g.model(size)


def transposed(kernel, stride, pad, extra=0):
    g = Graph()
    x = g.conv(3, 6)
    weights = g.rng.normal(0, 0.2, (6, 3, kernel, kernel))
    g.op("ConvTranspose", g.const(weights), g.const(g.rng.normal(0, 0.1, 3)), x=x, kernel_shape=[kernel] * 2,
         strides=[stride] * 2, pads=[pad] * 4, output_padding=[extra] * 2)  # fmt: skip
    return g.model()


def words(opset=17):
    """Sub, Div, Max, Min, Sum, Pow, Split and a batch norm in front of its convolution."""
    g = Graph()
    x = g.conv(3, 8)
    a, b = g.op("Split", g.const([3, 5], np.int64), x=x, outputs=2, axis=1)
    a = g.op("Sub", g.const(0.1), x=a)
    b = g.op("Div", g.const(1.7), x=b)
    b = g.op("Max", g.const(-0.2), x=b)
    b = g.op("Min", g.const(0.6), x=b)
    a = g.op("Pow", g.const(2.0), x=a)
    c = g.op("Concat", b, x=a, axis=1)
    c = g.op("Sub", c, x=g.const(0.5))
    norm = [g.const(v) for v in (g.rng.uniform(0.5, 2, 8), g.rng.normal(0, 0.2, 8), g.rng.normal(0, 0.2, 8),
                                 g.rng.uniform(0.5, 2, 8))]  # fmt: skip
    d = g.op("BatchNormalization", *norm, x=c)
    e = g.op("Sum", x, d, x=c)
    g.conv(8, 12, x=e)
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    return g.model(opset=opset)


def nhwc_inside():
    """tf2onnx leaves sums and activations between two changes of layout."""
    g = Graph()
    x = g.op("Transpose", x=g.conv(3, 8), perm=[0, 2, 3, 1])
    x = g.op("Add", g.const(g.rng.normal(0, 0.2, 8)), x=x)
    x = g.op("Relu", x=x)
    y = g.op("Transpose", x=g.conv(8, 8, x=g.op("Transpose", x=x, perm=[0, 3, 1, 2])), perm=[0, 2, 3, 1])
    x = g.op("Concat", y, x=x, axis=3)
    g.conv(16, 12, x=g.op("Transpose", x=x, perm=[0, 3, 1, 2]))
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    return g.model()


def computed_sizes():
    """A Resize to a size that the graph computes from the picture's, and a Cast."""
    g = Graph()
    x = g.x
    shape = g.op("Shape", x=x)
    size = g.op("Concat", g.op("Mul", g.const([2, 2], np.int64), x=g.op(
        "Slice", g.const([2], np.int64), g.const([4], np.int64), x=shape)), x=g.op(
        "Slice", g.const([0], np.int64), g.const([2], np.int64), x=shape), axis=0)  # fmt: skip
    up = g.op("Resize", "", "", size, x=x, mode="linear", coordinate_transformation_mode="half_pixel")
    y = g.op("DepthToSpace", x=g.conv(3, 12, x=x), blocksize=2, mode="CRD")
    g.op("Add", g.op("Cast", x=y, to=TensorProto.FLOAT), x=up)
    return g.model()


CASES = {
    "old shuffle": (old_shuffle(), {"DepthToSpace": 1}, True),
    "old shuffle dcr": (old_shuffle("DCR"), {"DepthToSpace": 1}, True),
    "old unshuffle": (old_unshuffle(), {"SpaceToDepth": 1, "DepthToSpace": 1}, True),
    "unshuffle in steps": (unshuffle_in_steps(), {"SpaceToDepth": 1, "DepthToSpace": 1, "Conv": 1}, True),
    "unshuffle for others": (unshuffle_in_steps(reader="Relu"), {"SpaceToDepth": 1, "Relu": 1, "Conv": 2}, True),
    "transposed 2": (transposed(2, 2, 0), {"Conv": 2, "DepthToSpace": 1}, True),
    "transposed 4": (transposed(4, 2, 1), {"Conv": 2, "DepthToSpace": 1}, True),
    "transposed 9": (transposed(9, 3, 4, 2), {"Conv": 2, "DepthToSpace": 1}, True),
    "transposed 3": (transposed(3, 1, 1), {"Conv": 2, "DepthToSpace": 0}, True),
    "words": (words(), {"Split": 0, "Sub": 0, "Div": 0, "Max": 0, "Min": 0, "Pow": 0, "BatchNormalization": 0}, True),
    "nhwc inside": (nhwc_inside(), {"Transpose": 2, "Conv": 3, "Concat": 1}, True),
    "computed sizes": (computed_sizes(), {"Shape": 0, "Cast": 0, "Resize": 1}, True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_exporters_say_becomes_plain_and_keeps_its_function(name):
    model, kinds, free = CASES[name]
    size = onnx_facts(model).input_size or (12, 16)
    made = tidy(model)
    onnx.checker.check_model(made)
    found = [node.op_type for node in made.graph.node]
    assert {kind: found.count(kind) for kind in kinds} == kinds, found
    assert onnx_facts(made).input_size is None if free else onnx_facts(made).input_size == size
    lr = np.random.default_rng(0).random((1, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(runner(fix_size(made, size))(lr), runner(model)(lr), atol=3e-5)
    assert set(Network(made).channels.values()) and not Network(made).left_alone


@pytest.mark.parametrize("name", CASES)
def test_what_became_plain_is_quantized(name):
    model = tidy(CASES[name][0])
    scale = onnx_facts(model).scale
    crops = Crops(tuple(smooth_crops(3, 24)), "drawn")
    made = make_plan(model, parse_recipe("w8a8-eq-bc"), scale=scale, crops=crops)
    assert psnr(model, made.plan.quantized(), crops.arrays) > 28


REFUSED = {"computed sizes": "Resize", "words": "Mul"}  # bilinear; a number for each channel


@pytest.mark.parametrize("name", CASES)
def test_what_became_plain_becomes_layers_of_ours(name):
    from snpe_srgan.onnx_graphs.from_layers import to_onnx
    from snpe_srgan.onnx_graphs.to_layers import to_layers

    model = CASES[name][0]
    if name in REFUSED:
        with pytest.raises(InputError, match=f"'{REFUSED[name]}'"):
            to_layers(tidy(model))
        return
    graph, weights = to_layers(tidy(model))
    size = onnx_facts(model).input_size or (12, 16)
    lr = np.random.default_rng(0).random((1, *size, 3)).astype(np.float32)
    np.testing.assert_allclose(runner(to_onnx(graph, weights))(lr), runner(model)(lr), atol=3e-5)


UNUSUAL = ("HardSwish", "HardSigmoid", "Gelu", "Elu", "Softplus", "Abs", "Neg", "Erf", "Exp", "Softsign", "Mish", "Sin")


@pytest.mark.parametrize("kind", UNUSUAL)
def test_functions_that_equalization_stops_at_are_quantized(kind):
    g = Graph()
    x = g.conv(3, 8)
    g.conv(8, 12, x=g.op(kind, x=x))
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    model = tidy(g.model(opset=20))
    crops = Crops(tuple(smooth_crops(3, 24)), "drawn")
    made = make_plan(model, parse_recipe("w8a8-eq-bc"), scale=2, crops=crops)
    assert psnr(model, made.plan.quantized(), crops.arrays) > 28
    assert Network(model).left_alone == ({"Sin": 1} if kind == "Sin" else {})


@pytest.mark.parametrize("kind", ["pool", "slice", "pad", "map", "reduce", "softmax", "average"])
def test_operators_of_places_are_quantized(kind):
    g = Graph()
    x = g.conv(3, 8)
    if kind == "pool":
        x = g.op("MaxPool", x=x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    elif kind == "average":
        x = g.op("AveragePool", x=x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], count_include_pad=1)
    elif kind == "slice":
        part = [g.const([n], np.int64) for n in (2, 8, 1)]
        x = g.op("Concat", g.conv(6, 2, x=g.op("Slice", *part, x=x)), x=g.op("Slice", *part, x=x), axis=1)
    elif kind == "pad":
        x = g.conv(8, 8, x=g.op("Pad", g.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64), x=x, mode="reflect"), pads=[0] * 4)
    elif kind == "map":
        x = g.op("Mul", g.op("Sigmoid", x=g.conv(8, 1, x=x)), x=x)
    elif kind == "reduce":
        x = g.op("Mul", g.op("ReduceMean", x=x, axes=[1], keepdims=1), x=x)
    else:
        x = g.op("Mul", g.op("Softmax", x=x, axis=1), x=x)
    g.conv(8, 12, x=x)
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    model = tidy(g.model())
    crops = Crops(tuple(smooth_crops(3, 24)), "drawn")
    made = make_plan(model, parse_recipe("w8a8-eq-bc"), scale=2, crops=crops)
    assert psnr(model, made.plan.quantized(), crops.arrays) > 26


@pytest.mark.parametrize("before", [[1, 1 << 20, 1 << 20, 1 << 20], [1, 0, 4, 4], [1, None, 4, 4], [1, 4, -1, 4]])
def test_sizes_that_a_file_only_claims_take_no_memory(before):
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"]), helper.make_node("Reshape", ["y", "s"], ["z"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 4, 4]) for name in "xz"]
    constants = [numpy_helper.from_array(np.array([1, 4, 4, 4]), "s")]
    graph = OnnxGraph(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], constants)))
    fuse_shuffles(graph, {name: list(before) for name in "xyz"})
    assert [node.op_type for node in graph.nodes] == ["Reshape", "Reshape"]


def test_a_size_that_stays_in_the_graph_stays_the_networks_own():
    g = Graph()
    x = g.conv(3, 12)
    flat = g.op("Reshape", g.const([1, 12, 12, 8], np.int64), x=x)  # mixes rows: no shuffle
    g.op("Reshape", g.const([1, 12, 8, 12], np.int64), x=g.op("Relu", x=flat))
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    made = tidy(g.model((8, 12)))
    assert onnx_facts(made).input_size == (8, 12)


def psnr(model, quantized, crops) -> float:
    """dB between what both draw, of the largest difference that the float one draws."""
    exact, rounded = (np.concatenate([runner(m)(c).ravel() for c in crops]) for m in (model, quantized))
    exact, rounded = np.clip(exact, -1, 1), np.clip(rounded, -1, 1)
    return decibel(float(np.mean(np.square(exact - rounded))) + 1e-12, peak=2.0)


def test_what_is_no_number_is_an_error_that_names_the_operator():
    g = Graph()
    g.conv(8, 12, x=g.op("Sqrt", x=g.conv(3, 8)))  # of negative numbers
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    with pytest.raises(InputError, match="'Sqrt' gives what is no number"):
        make_plan(tidy(g.model()), parse_recipe("w8a8-eq"), scale=2, crops=Crops(tuple(smooth_crops(1, 24)), "drawn"))


@pytest.mark.skipif(qnn.available() is not None, reason="onnxruntime-qnn is not installed")
def test_an_operator_that_qualcomm_has_not_is_named(tmp_path):
    g = Graph()
    g.conv(8, 12, x=g.op("Erf", x=g.conv(3, 8)))
    g.op("DepthToSpace", blocksize=2, mode="DCR")
    onnx.save(g.model(), tmp_path / "erf.onnx")
    words = ("convert", tmp_path / "erf.onnx", "-o", tmp_path / "out", "--input-size", "16x16")
    assert_error(snpe_srgan(*words), 1, "no operator Erf", "quantize --onnx-only")
    assert not (tmp_path / "out" / "erf.dlc").exists()
