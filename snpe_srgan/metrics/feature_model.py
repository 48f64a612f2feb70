"""A feature network as an ONNX graph, which needs no TensorFlow: a picture in, some layers' features out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.losses.feature_networks import FeatureDescription


@dataclass(frozen=True)
class Backbone:
    """A feature network with weights, the layers that are compared, and how it was fed when it was trained.

    Attributes:
        weights: layer -> kernel (HWIO) and bias.
        mean, scale: of the three channels, in their order there: (pixels in 0..255 - mean) / scale.
        bgr: the order of the channels is blue, green, red, as Caffe had it.
    """

    description: FeatureDescription
    weights: Mapping[str, Sequence[np.ndarray]]
    taps: tuple[str, ...]
    mean: Sequence[float]
    scale: Sequence[float] = (1.0, 1.0, 1.0)
    bgr: bool = True

    @property
    def channels(self) -> list[int]:
        """Of each of `taps`."""
        layers = {layer.name: layer for layer in self.description.layers}
        return [layers[tap].channels or sum(layers[x].channels for x in layers[tap].inputs) for tap in self.taps]


class Features:
    """Call it with a uint8 RGB picture (h, w, 3): the taps' features after their ReLU, each (channels, h', w')."""

    def __init__(self, backbone: Backbone):
        from snpe_srgan.onnx_graphs.run import open_on_host

        self._session = open_on_host(feature_model(backbone).SerializeToString())
        self._order = slice(None, None, -1 if backbone.bgr else 1)
        self._mean, self._scale = np.asarray(backbone.mean, np.float32), np.asarray(backbone.scale, np.float32)

    def __call__(self, picture: np.ndarray) -> list[np.ndarray]:
        x = (picture[..., self._order].astype(np.float32) - self._mean) / self._scale
        outputs = self._session.run(None, {"picture": np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
        return [output[0] for output in outputs]


def feature_model(backbone: Backbone):
    """`picture` (1, 3, h, w) of any size -> the layers named in `taps`; layers after the last of them are left out."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    layers = backbone.description.layers
    last = max(i for i, layer in enumerate(layers) if layer.name in backbone.taps)
    for layer in layers[: last + 1]:
        inputs, out = ["picture" if x == "input" else x for x in layer.inputs], layer.name
        if layer.kind == "concat":
            nodes.append(helper.make_node("Concat", inputs, [out], axis=1))
            continue
        sides, strides = [layer.size] * 2, [layer.stride] * 2
        if layer.kind == "max_pool":
            up = int(backbone.description.round_up or layer.padding == "SAME")
            nodes.append(helper.make_node("MaxPool", inputs, [out], ceil_mode=up, kernel_shape=sides, strides=strides))
            continue
        kernel, bias = backbone.weights[layer.name]
        padding = layer.padding
        pad = {"SAME": layer.size // 2, "VALID": 0}[padding] if isinstance(padding, str) else padding
        inputs += [constant(f"{out}/kernel", kernel.transpose(3, 2, 0, 1)), constant(f"{out}/bias", bias)]
        nodes.append(
            helper.make_node("Conv", inputs, [f"{out}/sum"], pads=[pad] * 4, kernel_shape=sides, strides=strides)
        )
        nodes.append(helper.make_node("Relu", [f"{out}/sum"], [out]))
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])
    outputs = [helper.make_tensor_value_info(tap, TensorProto.FLOAT, None) for tap in backbone.taps]
    graph = helper.make_graph(nodes, backbone.description.name, [picture], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
