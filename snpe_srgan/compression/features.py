"""What each convolution reads on calibration pictures, as second moments: all that reconstruction needs to know.

moments = collect_moments(graph, weights, crops)
moments["block3_conv2"].gram       # (taps, taps), centred, taps in the kernel's order (h, w, in)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Graph
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.run import session, with_outputs

POSITIONS = 40_000  # patches of one layer, over all crops
ENTRIES = 1.2e8  # numbers in a layer's patches: one with many taps gets fewer
MARGIN = 2  # pixels at a crop's border, where padding stands in for the picture
QUIET = 0.1  # of the usual variance: a flat crop weighs no more than ten others


@dataclass(frozen=True, eq=False)
class Moments:
    """Of one convolution's patches.

    Attributes:
        gram: (taps, taps) centred second moments.
        mean: (taps,).
        energy: the variance of its output, summed over channels.
    """

    gram: np.ndarray
    mean: np.ndarray
    energy: float


def collect_moments(graph: Graph, weights: Mapping[str, np.ndarray], crops: Sequence[np.ndarray]) -> dict[str, Moments]:
    """Every convolution's moments over LR crops.

    Crops weigh by how little a layer's output varies on them: without that, the few dark flat ones on which such
    networks run into the hundreds would decide for all pictures.

    Args:
        graph: without batch norms.
        crops: (1, h, w, 3) float32 in [0, 1].

    Raises:
        InputError: a layer gives what float32 cannot hold.
    """
    convs = [layer for layer in graph.layers if layer.kind == "conv"]
    model = to_onnx(graph, weights)
    names = tensor_names(graph)
    outputs = [names[layer.name] for layer in convs]
    watch = session(with_outputs(model, outputs))
    with np.errstate(over="ignore", invalid="ignore"):
        varies = np.array([[y.var(axis=(2, 3)).sum() for y in watch(outputs, {"lr": crop})] for crop in crops])
    if not np.isfinite(varies).all():
        first = convs[int(np.argmin(np.isfinite(varies).all(axis=0)))].name
        raise InputError(
            f"what '{first}' gives is too large for float32 on the calibration pictures", where=graph.network
        )
    spread = varies / (varies + QUIET * np.median(varies, axis=0) + 1e-12) / np.maximum(varies, 1e-12)
    spread[:, ~spread.any(axis=0)] = 1.0  # a layer that gives one number on all crops

    inputs = list(dict.fromkeys(names[layer.inputs[0]] for layer in convs))
    watch = session(with_outputs(model, inputs))
    sums: dict[str, np.ndarray] = {}
    around: dict[str, np.ndarray] = {}  # near the mean: float32 loses the variance of what is nearly constant
    for i, crop in enumerate(crops):
        seen = dict(zip(inputs, watch(inputs, {"lr": crop}), strict=True))
        for j, layer in enumerate(convs):
            size = layer.attributes["kernel"]
            x = seen[names[layer.inputs[0]]]
            rows = patch_rows(x, size, grid_of(x.shape[2:], positions_for(size, x.shape[1], len(crops))))
            center = around.setdefault(layer.name, rows.mean(axis=0, dtype=np.float64).astype(np.float32))
            rows = np.concatenate([rows - center, np.ones((len(rows), 1), np.float32)], axis=1)
            part = (rows.T @ rows).astype(np.float64) * (spread[i, j] / len(rows))
            sums[layer.name] = sums.get(layer.name, 0.0) + part
    found = {}
    for j, layer in enumerate(convs):
        total = sums.pop(layer.name)
        mean = total[:-1, -1] / total[-1, -1]
        gram = total[:-1, :-1] / total[-1, -1] - mean[:, None] * mean[None, :]
        energy = float((varies[:, j] * spread[:, j]).sum() / spread[:, j].sum())
        found[layer.name] = Moments(gram, mean + around[layer.name], energy)
    return found


def tensor_names(graph: Graph) -> dict[str, str]:
    """Layer -> the name of its tensor inside the ONNX graph (channels first), see `onnx_graphs/from_layers.py`."""
    inside = {graph.layers[0].name: "lr_nchw"} | ({"sr": "sr_nchw"} if graph.output == "sr" else {})
    return {layer.name: inside.get(layer.name, layer.name) for layer in graph.layers}


def positions_for(size: Sequence[int], channels: int, crops: int) -> int:
    """How many patches to take from each crop, so that all fit into memory.

    Args:
        size: the kernel's height and width.
        channels: that it reads.
        crops: how many there are.
    """
    taps = size[0] * size[1] * channels
    return max(1, int(min(POSITIONS, ENTRIES / taps) / crops))


def grid_of(size: Sequence[int], most: int) -> tuple[slice, slice]:
    """Rows and columns of at most about `most` places, evenly spread, a margin left out."""
    margins = [min(MARGIN, (side - 1) // 2) for side in size]
    area = (size[0] - 2 * margins[0]) * (size[1] - 2 * margins[1])
    stride = max(1, int(np.ceil(np.sqrt(area / most))))
    rows, columns = (slice(m, side - m, stride) for m, side in zip(margins, size, strict=True))
    return rows, columns


def patch_rows(x: np.ndarray, size: Sequence[int], grid: tuple[slice, slice]) -> np.ndarray:
    """What a convolution of stride 1 and zero padding reads at some places.

    Args:
        x: (1, in, H, W) float32.
        size: the kernel's height and width.
        grid: rows and columns of the places, as of `grid_of`.

    Returns:
        (positions, h * w * in) float32, taps in the kernel's order (h, w, in).
    """
    h, w = size
    padded = np.pad(x[0], ((0, 0), ((h - 1) // 2, h // 2), ((w - 1) // 2, w // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(1, 2))[:, grid[0], grid[1]]
    return np.ascontiguousarray(windows.transpose(1, 2, 3, 4, 0)).reshape(-1, h * w * x.shape[1])
