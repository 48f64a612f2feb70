"""`.npz` files: plain named arrays (never pickled objects) and, as JSON text, the layers to rebuild the network."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import atomic_write, os_error
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Graph, graph_from_json

ARCHITECTURE = "__architecture__"
MAX_BYTES = 2 << 30  # a generator is megabytes; a file that unpacks to more is not one


def save_npz(
    path: str | os.PathLike, graph: Graph, weights: Mapping[str, np.ndarray], *, overwrite: bool = False
) -> Path:
    """Writes a generator; `weights` must be exactly the arrays of `graph` (`layer/array`)."""
    check_weights(graph, weights, where=path)
    arrays = {name: np.asarray(weights[name], np.float32) for name in graph.weight_shapes()}
    with atomic_write(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{ARCHITECTURE: np.array(graph.to_json())}, **arrays)
    return Path(path)


def load_npz(path: str | os.PathLike) -> tuple[Graph, dict[str, np.ndarray]]:
    """Reads a generator; `InputError` for anything that is not a whole, finite, consistent one."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InputError("the file unpacks to more than 2 GB: not a generator", where=path)
        with np.load(path, allow_pickle=False) as archive:
            if ARCHITECTURE not in archive:
                raise InputError(
                    "the .npz holds no architecture: not written by snpe-srgan",
                    where=path,
                    hint="snpe-srgan import FILE  (for TensorLayer's and other foreign weights)",
                )
            graph = graph_from_json(str(archive[ARCHITECTURE]), where=path)
            weights = {name: archive[name] for name in archive.files if name != ARCHITECTURE}
    except OSError as error:
        raise os_error(error, path, "read the file") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError) as error:
        raise InputError(f"not a readable .npz file ({error})", where=path) from error
    check_weights(graph, weights, where=path)
    return graph, weights


def check_weights(graph: Graph, weights: Mapping[str, np.ndarray], *, where: object) -> None:
    """Raises unless the arrays are those of the graph: same names, same shapes, finite numbers."""
    wanted = graph.weight_shapes()
    missing, extra = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    if missing or extra:
        raise InputError(
            f"the weights do not fit the network: {len(missing)} missing, {len(extra)} unknown"
            f" (first: {(missing + extra)[0]})",
            where=where,
        )
    for name, shape in wanted.items():
        array = np.asarray(weights[name])
        if array.shape != tuple(shape) or array.dtype.kind != "f":
            raise InputError(f"{name} is {array.dtype}{list(array.shape)}, not float{list(shape)}", where=where)
        if not np.isfinite(array).all():
            raise InputError(f"{name} holds NaN or infinity", where=where)
