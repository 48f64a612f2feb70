"""`.npz` files: plain named arrays (never pickled objects) and, as JSON text, the layers to rebuild the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.arrays import ArrayFile
from snpe_srgan.artifacts.files import atomic_write
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Graph, graph_from_json

ARCHITECTURE = "__architecture__"
MAX_BYTES = 512 << 20  # a generator is megabytes; a file that unpacks to more is not one


def save_npz(
    path: str | os.PathLike, graph: Graph, weights: Mapping[str, np.ndarray], *, overwrite: bool = False
) -> Path:
    """Writes a generator; `weights` must be exactly the arrays of `graph` (`layer/array`).

    Args:
        weights: any float type; stored as float32.

    Raises:
        InputError: the weights do not fit or are not finite, or the file exists and `overwrite` is False.
    """
    check_weights(graph, weights, where=path)
    arrays = {name: np.asarray(weights[name], np.float32) for name in graph.weight_shapes()}
    with atomic_write(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **{ARCHITECTURE: np.array(graph.to_json())}, **arrays)
    return Path(path)


def load_npz(path: str | os.PathLike) -> tuple[Graph, dict[str, np.ndarray]]:
    """Reads a generator; `InputError` for anything that is not a whole, finite, consistent one.

    Returns:
        The network's description, and its weights: `layer/array` -> float array of the dtype that the file stores.
    """
    with ArrayFile(path, limit=MAX_BYTES) as file:
        if ARCHITECTURE not in file:
            raise InputError(
                "the .npz holds no architecture: not written by snpe-srgan",
                where=path,
                hint="snpe-srgan import FILE  (for TensorLayer's and other foreign weights)",
            )
        graph = graph_from_json(file.read_text(ARCHITECTURE), where=path)
        heads = {name: head for name, head in file.arrays.items() if name != ARCHITECTURE}
        _check_shapes(graph, {name: (head.dtype, head.shape) for name, head in heads.items()}, where=path)
        weights = {name: file.read(name) for name in heads}
    _check_finite(weights, where=path)
    return graph, weights


def check_weights(graph: Graph, weights: Mapping[str, np.ndarray], *, where: object) -> None:
    """Raises unless the arrays are those of the graph: same names, same shapes, finite numbers.

    Args:
        weights: `layer/array` -> an array of any float type.
        where: the file or network, for the error.

    Raises:
        InputError: arrays are missing or unknown, of another shape, no floats, NaN or infinite.
    """
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    _check_shapes(graph, {name: (array.dtype, array.shape) for name, array in arrays.items()}, where=where)
    _check_finite(arrays, where=where)


def _check_shapes(graph: Graph, found: Mapping[str, tuple[np.dtype, tuple[int, ...]]], *, where: object) -> None:
    wanted = graph.weight_shapes()
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise InputError(
            f"the weights do not fit the network: {len(missing)} missing, {len(extra)} unknown"
            f" (first: {(missing + extra)[0][:80]})",
            where=where,
        )
    for name, shape in wanted.items():
        dtype, own = found[name]
        if own != tuple(shape) or dtype.kind != "f":
            raise InputError(f"{name} is {dtype}{list(own)}, not float{list(shape)}", where=where)


def _check_finite(arrays: Mapping[str, np.ndarray], *, where: object) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{name} holds NaN or infinity", where=where)
