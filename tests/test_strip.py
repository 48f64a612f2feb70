"""The strip check finds the columns that Qualcomm's compiler gets wrong, and passes networks that quantize badly."""

import numpy as np
import pytest

from snpe_srgan.errors import CheckFailed
from snpe_srgan.models.initialize import initial_weights
from snpe_srgan.models.registry import describe
from snpe_srgan.runtimes.strip import check_strip, compare
from snpe_srgan.toolchains import qnn

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=str(qnn.available()))


def strip(rng, noise):
    host = rng.uniform(-1, 1, (1, 32, 128, 3))
    return host, host + noise * rng.choice([-1, 1], host.shape) / 127.5


def test_common_noise_passes(rng):
    host, emulated = strip(rng, noise=20)
    assert compare(emulated, host, scale=4).passed


def test_one_wrong_column_does_not(rng):
    host, emulated = strip(rng, noise=1)
    emulated[:, :, 8:12] = -1
    found = compare(emulated, host, scale=4)
    assert not found.passed and found.column == 2


def quantized(tmp_path, graph):
    import onnx

    from snpe_srgan.models.npz import save_npz
    from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model

    rng = np.random.default_rng(0)
    weights = {k: v + rng.normal(0, 0.05, v.shape) for k, v in initial_weights(graph, seed=0).items()}
    save_npz(tmp_path / "n.npz", graph, weights)
    quantize_model(tmp_path / "n.npz", tmp_path, QuantizeOptions(count=1, onnx_only=True))
    return onnx.load(tmp_path / "n_w8a8.onnx")


@needs_wheel
def test_a_shuffle_by_four_is_caught_at_the_widths_where_it_is_wrong(tmp_path):
    mobile = quantized(tmp_path, describe("mobile", {"width": 8, "depth": 2}, scale=4))
    for width in (20, 60, 64):
        check_strip(mobile, width=width, scale=4, soc=57, where="mobile")
    with pytest.raises(CheckFailed, match="wrong columns at width 63"):
        check_strip(mobile, width=63, scale=4, soc=57, where="mobile")


def test_a_graph_that_cannot_be_resized_is_judged_at_its_own_height():
    import onnx
    from onnx import TensorProto, helper

    from snpe_srgan.errors import InputError
    from snpe_srgan.runtimes.strip import _on_host

    lr, sr = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 12, 16, 3]) for name in ("lr", "sr"))
    size = helper.make_tensor("size", TensorProto.INT64, [4], [1, 12, 16, 3])
    graph = helper.make_graph([helper.make_node("Reshape", ["lr", "size"], ["sr"])], "held", [lr], [sr], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    assert _on_host(model, (8, 16), 1, "here") is None
    fixed, noise, given = _on_host(model, (12, 16), 1, "here")
    assert noise.shape == given.shape == (1, 12, 16, 3) and fixed.graph.node
    with pytest.raises(InputError, match="8x16"):
        _on_host(model, (8, 16), 1, "here", least=True)
