"""Graphs that leave out what a tile computes for nobody: what is kept has the whole graph's bits."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_onnx import Net, lr_batch, mobile, quantize, srgan

from snpe_srgan.onnx_graphs.model import fix_size
from snpe_srgan.onnx_graphs.narrow import CannotNarrow, Narrowing
from snpe_srgan.onnx_graphs.run import open_on_host
from snpe_srgan.runtimes.least_work import products

KEPT = [((0, 8), (0, 8)), ((0, 24), (10, 30)), ((39, 48), (0, 40)), ((13, 17), (22, 23)), ((0, 48), (0, 40))]


def run(model, lr):
    """As the graph is written: nothing is fused."""
    return open_on_host(model.SerializeToString(), threads=1, optimize=False).run(None, {"lr": lr})[0]


@pytest.mark.parametrize("make", [srgan, mobile])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("align", [4, 8])
def test_what_is_kept_is_the_same(make, bits, align):
    model = fix_size(quantize(make((48, 40), blocks=3), bits=bits), (48, 40))
    lr = lr_batch((48, 40))
    whole, narrowing = run(model, lr), Narrowing(model, align=align)
    for kept in KEPT:
        made = narrowing.cut(kept)
        rows, columns = (slice(4 * start, 4 * end) for start, end in kept)
        tile = np.full_like(whole, np.nan)
        part = run(made.model, lr)
        tile[:, slice(*(4 * x for x in made.rows)), slice(*(4 * x for x in made.columns))] = part
        np.testing.assert_array_equal(tile[:, rows, columns], whole[:, rows, columns])
        if kept != KEPT[-1]:
            assert part.size < whole.size and any(node.op_type == "Slice" for node in made.model.graph.node)
    assert not any(node.op_type == "Slice" for node in narrowing.cut(KEPT[-1]).model.graph.node)


def test_products_are_counted_for_what_is_computed():
    """At blocks of one pixel: those of each convolution's own output in the graph that was cut."""
    model = fix_size(quantize(srgan((64, 64), blocks=3)), (64, 64))
    narrowing = Narrowing(model)
    layers = narrowing.layers()
    assert [layer.margin for layer in layers] == sorted((layer.margin for layer in layers), reverse=True)
    assert layers[0].margin == 4 + 3 * 2 + 1 + 3 and layers[-1].margin == 1  # 9x9, three blocks, one more, the tail
    whole = products(layers, (64, 64), None)
    assert whole == sum(layer.macs for layer in layers) * 64 * 64
    assert products(layers, (64, 64), ((0, 64), (0, 64))) == whole
    assert products(layers, (64, 64), ((0, 8), (0, 8))) < whole / 5


def test_a_graph_of_which_not_all_is_known_is_refused():
    def strided(net):
        return net.conv(net.conv(net.start(), 3, 8, strides=[2, 2]), 8, 3)

    def attention(net):
        x = net.conv(net.start(), 3, 8)
        return net.conv(net.op("Mul", x, net.op("GlobalAveragePool", x)), 8, 3)

    def valid(net):
        return net.conv(net.start(), 3, 3, pads=[0, 0, 0, 0])

    for make in (strided, attention, valid):
        net = Net()
        with pytest.raises(CannotNarrow):
            Narrowing(net.model(make(net), (32, 32), scale=1))
    left = Narrowing(fix_size(srgan((64, 64)), (64, 64))).cut(((0, 8), (0, 8)))  # float: there is no grid to round to
    assert (left.rows, left.columns) == ((0, 64), (0, 64))
