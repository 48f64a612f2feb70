"""Networks whose features a perceptual loss compares: each a list of layers and a Keras weight file.

    network = load_feature_network("vgg19", ["block5_conv4"], weights=None)     # Keras downloads the weights
    features = network(pictures)                                                # (n, h, w, 3) in [-1, 1] -> [features]

The layers are applied with plain TensorFlow and constant weights: nothing of them can be trained by accident, and no
framework object has to survive `tf.function` or `tf.distribute`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import ConfigError, InputError, MissingToolError, did_you_mean

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class FeatureLayer:
    """One layer: conv (stride, padding; ReLU included where `relu`), max_pool, or concat of its inputs."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int = 0
    size: int = 3
    stride: int = 1
    padding: str = "SAME"


@dataclass(frozen=True)
class FeatureDescription:
    """A feature network without its weights. `mean` is what its training subtracted from BGR values in 0..255."""

    name: str
    layers: tuple[FeatureLayer, ...]
    mean: tuple[float, float, float]
    keras_download: bool


def _vgg19() -> FeatureDescription:
    """Simonyan and Zisserman 2014, configuration E, as tf.keras.applications.VGG19 names its layers."""
    layers, last = [], "input"
    for block, (convs, channels) in enumerate([(2, 64), (2, 128), (4, 256), (4, 512), (4, 512)], start=1):
        for i in range(1, convs + 1):
            layers.append(FeatureLayer(f"block{block}_conv{i}", "conv", (last,), channels))
            last = layers[-1].name
        layers.append(FeatureLayer(f"block{block}_pool", "max_pool", (last,), size=2, stride=2, padding="VALID"))
        last = layers[-1].name
    return FeatureDescription("vgg19", tuple(layers), (103.939, 116.779, 123.68), keras_download=True)


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
    return FeatureDescription("squeezenet", tuple(layers), (104.006, 116.669, 122.679), keras_download=False)


FEATURE_NETWORKS = {"vgg19": _vgg19, "squeezenet": squeezenet}


class FeatureNetwork:
    """Pictures (n, h, w, 3) in [-1, 1] -> the chosen layers' activations, after their ReLU."""

    def __init__(self, description: FeatureDescription, layers: Sequence[str], weights: Mapping[str, list[np.ndarray]]):
        self.name, self.wanted, self._mean = description.name, tuple(layers), description.mean
        names = [layer.name for layer in description.layers]
        last = max(names.index(name) for name in layers)
        self._layers = description.layers[: last + 1]  # nothing after the last wanted layer is computed
        self._weights = weights

    def __call__(self, pictures: tf.Tensor) -> list[tf.Tensor]:
        import tensorflow as tf

        bgr = tf.reverse((pictures + 1.0) * 127.5, axis=[-1]) - tf.constant(self._mean, tf.float32)
        values = {"input": bgr}
        for layer in self._layers:
            x = values[layer.inputs[0]]
            if layer.kind == "conv":
                kernel, bias = self._weights[layer.name]
                y = tf.nn.conv2d(x, tf.constant(kernel), layer.stride, layer.padding)
                values[layer.name] = tf.nn.relu(tf.nn.bias_add(y, tf.constant(bias)))
            elif layer.kind == "max_pool":
                values[layer.name] = tf.nn.max_pool2d(x, layer.size, layer.stride, layer.padding)
            else:
                values[layer.name] = tf.concat([values[name] for name in layer.inputs], axis=-1)
        return [values[name] for name in self.wanted]


def load_feature_network(name: str, layers: Sequence[str], *, weights: str | os.PathLike | None) -> FeatureNetwork:
    """A feature network with its ImageNet weights, from a Keras `.h5` file or Keras' own download.

    Raises:
        ConfigError: unknown network or layer. InputError: a file that is not that network's.
        MissingToolError: no file was named and the download is not possible.
    """
    if name not in FEATURE_NETWORKS:
        raise ConfigError(f"unknown feature network '{name}'", where="features.network",
                          hint=did_you_mean(name, FEATURE_NETWORKS))  # fmt: skip
    description = FEATURE_NETWORKS[name]()
    known = [layer.name for layer in description.layers]
    for layer in layers:
        if layer not in known:
            hint = did_you_mean(layer, known)
            raise ConfigError(f"{name} has no layer '{layer}'", where="features.layers", hint=hint)
    if not layers:
        raise ConfigError("no feature layer is named", where="features.layers")
    if weights is not None:
        arrays = read_h5(description, weights)
    elif description.keras_download:
        arrays = _download(description)
    else:
        raise MissingToolError(
            f"the weights of {name} have to be a local file", where="features.weights",
            hint=f"features.weights: path/to/{name}_..._notop.h5 (Keras layout)",
        )  # fmt: skip
    return FeatureNetwork(description, layers, arrays)


def _download(description: FeatureDescription) -> dict[str, list[np.ndarray]]:
    import tensorflow as tf

    try:
        model = tf.keras.applications.VGG19(weights="imagenet", include_top=False)
    except Exception as error:  # Keras raises a plain Exception for a failed download
        raise MissingToolError(
            f"the weights of {description.name} are not here and Keras cannot download them ({error})",
            where="features.weights",
            hint="connect to the internet once, or set features.weights: path/to/"
            "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ) from error
    convs = [layer.name for layer in description.layers if layer.kind == "conv"]
    return {name: model.get_layer(name).get_weights() for name in convs}


def read_h5(description: FeatureDescription, path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Kernel and bias of every convolution from a Keras weight file (a group a layer, `weight_names` in order)."""
    import h5py

    channels, arrays = {"input": 3}, {}
    try:
        with h5py.File(path, "r") as file:
            for layer in description.layers:
                channels[layer.name] = layer.channels or sum(channels[x] for x in layer.inputs)
                if layer.kind != "conv":
                    continue
                group = file[layer.name]
                names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"]]
                kernel, bias = (np.asarray(group[n], np.float32) for n in names)
                wanted = (layer.size, layer.size, channels[layer.inputs[0]], layer.channels)
                if kernel.shape != wanted or bias.shape != wanted[-1:]:
                    raise ValueError(f"{layer.name} has the shape {kernel.shape}, not {wanted}")
                arrays[layer.name] = [kernel, bias]
    except FileNotFoundError as error:
        raise os_error(error, path, "read the feature network's weights") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"not a Keras weight file of {description.name} ({error})", where=path,
            hint="the _notop.h5 file of tf.keras.applications, or unset features.weights to download it",
        ) from error  # fmt: skip
    return arrays
