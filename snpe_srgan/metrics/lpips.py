"""LPIPS' networks, from files that the user has: torchvision's backbones and the trained channel weights ("heads").

Zhang et al. 2018, version 0.1, as the package lpips: features of AlexNet, VGG16 or SqueezeNet 1.1 with torchvision's
ImageNet weights; the heads are small. Both are PyTorch files there (`alexnet-owt-7be5be79.pth` and lpips'
`weights/v0.1/alex.pth`, say); here they are `.npz` files of the same names and arrays. Where PyTorch is installed:

    python -c "import numpy, sys, torch; f = torch.load(sys.argv[1], map_location='cpu'); \\
        numpy.savez(sys.argv[2], **{k: v.numpy() for k, v in f.items()})" alex.pth alex.npz
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.artifacts.arrays import ArrayFile
from snpe_srgan.errors import InputError
from snpe_srgan.losses.feature_networks import FeatureDescription, FeatureLayer, squeezenet, vgg16
from snpe_srgan.metrics.feature_model import Backbone
from snpe_srgan.opener import open_regular

MAX_BYTES = 1 << 30  # VGG16's convolutions take 59 MB
# LPIPS' own scaling layer: (x - shift) / scale of RGB in [-1, 1].
MEAN = tuple(127.5 * (1 + shift) for shift in (-0.030, -0.088, -0.188))
SCALE = tuple(127.5 * scale for scale in (0.458, 0.448, 0.450))
SQUEEZENET_TAPS = ("conv1", *(f"fire{i}/concat" for i in (3, 5, 6, 7, 8, 9)))
VGG16_TAPS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")


def alexnet() -> FeatureDescription:
    """Krizhevsky 2014 ("one weird trick"), torchvision's."""
    layers, last = [], "input"
    shapes = [(64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)]
    for i, shape in enumerate(shapes, start=1):
        layers.append(FeatureLayer(f"conv{i}", "conv", (last,), *shape))
        last = f"conv{i}"
        if i < 3:
            layers.append(FeatureLayer(f"pool{i}", "max_pool", (last,), stride=2, padding="VALID"))
            last = f"pool{i}"
    return FeatureDescription("alexnet", tuple(layers), (0.0, 0.0, 0.0))


def _fire(name: str) -> str:
    """`fire4/squeeze1x1` -> `features.6.squeeze`: Sequential's numbers count ReLU and pooling as well."""
    fire, _, part = name.partition("/")
    number = int(fire.removeprefix("fire"))
    index = number + 1 + (number > 3) + (number > 5)
    return f"features.{index}.{part.replace('squeeze1x1', 'squeeze')}"


def _numbered(description: FeatureDescription, numbers: list[int]) -> dict[str, str]:
    convs = [layer.name for layer in description.layers if layer.kind == "conv"]
    return {name: f"features.{number}" for name, number in zip(convs, numbers, strict=True)}


@dataclass(frozen=True)
class Network:
    """One of LPIPS' three; `names` maps our layers to torchvision's."""

    title: str
    describe: Callable[[], FeatureDescription]
    taps: tuple[str, ...]
    channels: tuple[int, ...]  # of the taps, by which heads are recognized
    names: Callable[[FeatureDescription], dict[str, str]]


NETWORKS = {
    "alex": Network(
        "AlexNet", alexnet, tuple(f"conv{i}" for i in range(1, 6)), (64, 192, 384, 256, 256),
        lambda d: _numbered(d, [0, 3, 6, 8, 10]),
    ),
    "vgg": Network(
        "VGG16", vgg16, VGG16_TAPS, (64, 128, 256, 512, 512),
        lambda d: _numbered(d, [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]),
    ),
    "squeeze": Network(
        "SqueezeNet 1.1", squeezenet, SQUEEZENET_TAPS, (64, 128, 256, 384, 384, 512, 512),
        lambda d: {
            x.name: "features.0" if x.name == "conv1" else _fire(x.name) for x in d.layers if x.kind == "conv"
        },
    ),
}  # fmt: skip


def read_heads(path: str | os.PathLike) -> tuple[Network, list[np.ndarray]]:
    """The heads, each (channels,), and the network they are made for: `lin0`.. or lpips' own `lin0.model.1.weight`..

    Raises:
        InputError: the file holds something else.
    """
    arrays = _read(path, "read the heads")
    heads: list[np.ndarray] = []
    while (key := f"lin{len(heads)}") in arrays or f"{key}.model.1.weight" in arrays:
        head = arrays[key] if key in arrays else arrays[f"{key}.model.1.weight"]
        heads.append(np.asarray(head, np.float32).reshape(-1))
    shapes = tuple(len(head) for head in heads)
    for network in NETWORKS.values():
        if network.channels == shapes:
            if min(head.min() for head in heads) < 0:
                raise InputError("not the heads of LPIPS: none of theirs is below 0", where=path)
            return network, heads
    raise InputError(f"not the heads of LPIPS ({len(heads)} layers of {list(shapes)} channels)", where=path)


def read_torchvision(network: Network, path: str | os.PathLike) -> Backbone:
    """torchvision's weights from a `.npz` of its names: `features.0.weight` (out, in, h, w), `features.0.bias`, ...

    Raises:
        InputError: the file holds something else.
    """
    arrays, description = _read(path, "read the backbone"), network.describe()
    channels, weights = {"input": 3}, {}
    names = network.names(description)
    for layer in description.layers:
        channels[layer.name] = layer.channels or sum(channels[x] for x in layer.inputs)
        if layer.kind != "conv":
            continue
        kernel, bias = (arrays.get(f"{names[layer.name]}.{part}") for part in ("weight", "bias"))
        wanted = (layer.channels, channels[layer.inputs[0]], layer.size, layer.size)
        if kernel is None or bias is None or kernel.shape != wanted or bias.shape != wanted[:1]:
            raise InputError(
                f"not torchvision's {network.title}: {names[layer.name]} is missing or not of {wanted}", where=path
            )
        weights[layer.name] = np.asarray(kernel, np.float32).transpose(2, 3, 1, 0), np.asarray(bias, np.float32)
    return Backbone(description, weights, network.taps, MEAN, SCALE, bgr=False)


def _read(path: str | os.PathLike, doing: str) -> Mapping[str, np.ndarray]:
    hint = "PyTorch files are made .npz files first: python -m pydoc snpe_srgan.metrics.lpips"
    open_regular(path, limit=MAX_BYTES, doing=doing).close()
    try:
        with ArrayFile(path, limit=MAX_BYTES) as file:
            arrays = {key: file.read(key) for key in file.arrays}
    except InputError as error:
        raise InputError(error.what, where=path, hint=hint) from error
    for key, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"'{key}' holds what is no finite number", where=path, hint=hint)
    return arrays
