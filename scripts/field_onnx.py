"""Networks as old exporters wrote them, node by node, for `scripts/field_networks`: a module, not a script of its own.

`NETWORKS` maps a name to a maker: (folder) -> (file, what ONNX Runtime itself draws of the file).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from field_kinds import SIDE, Draw, Made
from onnx import TensorProto, helper, numpy_helper

from snpe_srgan.models.initialize import bicubic


def _kernel(scale: int, *, torch_order: bool) -> np.ndarray:
    """Bicubic enlargement as a convolution, (3 scale^2, 3, 5, 5), its channels in PyTorch's order or ONNX's (DCR)."""
    kernel, _ = bicubic((5, 5, 3, 3 * scale**2))
    if torch_order:
        kernel = kernel.reshape(5, 5, 3, scale**2, 3).swapaxes(-1, -2).reshape(5, 5, 3, -1)
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def _model(nodes: Sequence[Any], constants: dict[str, np.ndarray], *, opset: int, scale: int, free: bool = True,
           listed: bool = False, layout: str = "NCHW") -> onnx.ModelProto:  # fmt: skip
    high, wide = ("h", "w") if free else (SIDE, SIDE)
    out = ("H", "W") if free else (SIDE * scale, SIDE * scale)
    sides = ([1, 3, high, wide], [1, 3, *out]) if layout == "NCHW" else ([1, high, wide, 3], [1, *out, 3])
    given = [helper.make_tensor_value_info("data", TensorProto.FLOAT, sides[0])]
    if listed:  # before IR version 4 weights were inputs as well
        given += [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in constants.items()
        ]
    return helper.make_model(
        helper.make_graph(
            list(nodes), "net", given, [helper.make_tensor_value_info("prob", TensorProto.FLOAT, sides[1])],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if listed else 8, producer_name="pytorch",
    )  # fmt: skip


def _features(scale: int, rng: np.random.Generator, *, torch_order: bool) -> dict[str, np.ndarray]:
    """Sixteen features: the picture and noise of it, then the convolution that gives bicubic of the first three."""
    first = rng.normal(0, 0.05, (16, 3, 3, 3))
    last = rng.normal(0, 0.002, (3 * scale**2, 16, 5, 5))
    for c in range(3):
        first[c, :] = 0
        first[c, c, 1, 1] = 1
    last[:, :3] = _kernel(scale, torch_order=torch_order)
    return {
        "first": first.astype(np.float32), "first_bias": np.zeros(16, np.float32),
        "last": last.astype(np.float32), "last_bias": np.zeros(3 * scale**2, np.float32),
    }  # fmt: skip


def _conv(name: str, source: str, result: str, side: int) -> Any:
    pads = [side // 2] * 4
    return helper.make_node("Conv", [source, name, f"{name}_bias"], [result], kernel_shape=[side, side], pads=pads)


def _taken_apart(folder: Path) -> Made:
    """A pixel shuffle as PyTorch exported it before opset 11's DepthToSpace: reshape, transpose, reshape; one size."""
    constants = _features(4, np.random.default_rng(0), torch_order=True) | {
        "six": np.array([1, 3, 4, 4, SIDE, SIDE], np.int64), "four": np.array([1, 3, 4 * SIDE, 4 * SIDE], np.int64)
    }  # fmt: skip
    nodes = [
        _conv("first", "data", "a", 3), helper.make_node("Relu", ["a"], ["b"]), _conv("last", "b", "c", 5),
        helper.make_node("Reshape", ["c", "six"], ["d"]),
        helper.make_node("Transpose", ["d"], ["e"], perm=[0, 1, 4, 2, 5, 3]),
        helper.make_node("Reshape", ["e", "four"], ["prob"]),
    ]  # fmt: skip
    return _saved(folder, _model(nodes, constants, opset=9, scale=4, free=False))


def _upsampled(opset: int) -> Callable[[Path], Made]:
    """Nearest neighbour by the operator of its time, between convolutions: Upsample until 9, Resize in 10 and 11."""

    def make(folder: Path) -> Made:
        rng = np.random.default_rng(opset)
        smooth = rng.normal(0, 0.002, (3, 16, 3, 3))
        for c in range(3):
            smooth[c, :3] = 0
            smooth[c, c] = np.outer([1, 2, 1], [1, 2, 1]) / 16
        constants = _features(2, rng, torch_order=True)
        constants |= {"smooth": smooth.astype(np.float32), "smooth_bias": np.zeros(3, np.float32)}
        del constants["last"], constants["last_bias"]
        scales = np.array([1, 1, 2, 2], np.float32)
        if opset == 7:
            up = helper.make_node("Upsample", ["b"], ["c"], mode="nearest", scales=scales.tolist())
        else:
            constants["scales"] = scales
            read = ["b", "scales"] if opset < 11 else ["b", "roi", "scales"]
            more = {} if opset < 11 else {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            constants |= {} if opset < 11 else {"roi": np.zeros(0, np.float32)}
            up = helper.make_node("Upsample" if opset == 9 else "Resize", read, ["c"], mode="nearest", **more)
        nodes = [_conv("first", "data", "a", 3), helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.2), up,
                 _conv("smooth", "c", "prob", 3)]  # fmt: skip
        return _saved(folder, _model(nodes, constants, opset=opset, scale=2, listed=opset < 9))

    return make


def _clipped(folder: Path) -> Made:
    """Opset 8: Clip by attributes, batch norm, a slope a channel, weights listed as inputs, DepthToSpace (DCR)."""
    rng = np.random.default_rng(8)
    constants = _features(4, rng, torch_order=False) | {
        "slope": rng.uniform(0, 0.3, (16, 1, 1)).astype(np.float32),
        **{name: np.full(16, value, np.float32) for name, value in
           (("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0))},
    }  # fmt: skip
    nodes = [
        _conv("first", "data", "a", 3),
        helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["n"], epsilon=1e-5),
        helper.make_node("PRelu", ["n", "slope"], ["b"]), _conv("last", "b", "c", 5),
        helper.make_node("DepthToSpace", ["c"], ["d"], blocksize=4),
        helper.make_node("Clip", ["d"], ["prob"], min=0.0, max=1.0),
    ]  # fmt: skip
    return _saved(folder, _model(nodes, constants, opset=8, scale=4, listed=True))


def _caffe(folder: Path) -> Made:
    """Subtracts a mean of its own and adds it back: Sub and Add with a number a channel; auto_pad."""
    mean = np.array([0.4488, 0.4371, 0.404], np.float32).reshape(1, 3, 1, 1)
    constants = _features(4, np.random.default_rng(3), torch_order=False) | {"mean": mean}
    nodes = [
        helper.make_node("Sub", ["data", "mean"], ["m"]),
        helper.make_node("Conv", ["m", "first", "first_bias"], ["a"], kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["s", "zero"], ["z"]),
        helper.make_node("Add", ["a", "z"], ["b"]), _conv("last", "b", "c", 5),
        helper.make_node("DepthToSpace", ["c"], ["d"], blocksize=4, mode="DCR"),
        helper.make_node("Add", ["d", "mean"], ["prob"]),
    ]  # fmt: skip
    constants["zero"] = np.full((), 0.01, np.float32)
    return _saved(folder, _model(nodes, constants, opset=13, scale=4))


def _large_scale(folder: Path) -> Made:
    """x8, NHWC, which nothing but its shape says."""
    constants = _features(8, np.random.default_rng(5), torch_order=False)
    nodes = [
        helper.make_node("Transpose", ["data"], ["x"], perm=[0, 3, 1, 2]), _conv("first", "x", "a", 3),
        helper.make_node("Relu", ["a"], ["b"]), _conv("last", "b", "c", 5),
        helper.make_node("DepthToSpace", ["c"], ["d"], blocksize=8, mode="DCR"),
        helper.make_node("Transpose", ["d"], ["prob"], perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    return _saved(folder, _model(nodes, constants, opset=17, scale=8, layout="NHWC"), layout="NHWC")


def _saved(folder: Path, model: onnx.ModelProto, *, layout: str = "NCHW") -> Made:
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx", _draw(folder / "net.onnx", layout)


def _draw(path: Path, layout: str) -> Draw:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def call(lr: np.ndarray) -> np.ndarray:
        x = lr if layout == "NHWC" else np.ascontiguousarray(lr.transpose(0, 3, 1, 2))
        y = session.run(None, {session.get_inputs()[0].name: x})[0]
        return y if layout == "NHWC" else y.transpose(0, 2, 3, 1)

    return call


NETWORKS: dict[str, Callable[[Path], Made]] = {
    "by hand | opset 7, Upsample": _upsampled(7),
    "by hand | opset 8, weights as inputs": _clipped,
    "by hand | opset 9, Upsample": _upsampled(9),
    "by hand | opset 9, shuffle taken apart": _taken_apart,
    "by hand | opset 10, Resize": _upsampled(10),
    "by hand | opset 11, Resize": _upsampled(11),
    "by hand | opset 13, mean of its own": _caffe,
    "by hand | opset 17, NHWC, x8": _large_scale,
}
