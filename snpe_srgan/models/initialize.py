"""First weights of a network, in numpy: the same seed gives the same arrays on every machine and TensorFlow version.

weights = initial_weights(graph, seed=1)      # {'layer/array': float32}

Each layer draws from a generator of its own, seeded by the run's seed and the layer's name, so a layer added
somewhere does not change what the others start from.
"""

from __future__ import annotations

import zlib

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import cubic_kernel
from snpe_srgan.models.graph import Graph, Layer

PRELU_SLOPE = 0.25  # He et al. 2015, section 2.1


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)); shape (h, w, in, out) or (in, out). Glorot and Bengio 2010."""
    area = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / (area * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def he(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with variance 2 / fan_in; shape (h, w, in, out) or (in, out). He et al. 2015, eq. 10."""
    return (rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[:-1]))).astype(np.float32)


def residual(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The identity plus half of `he`; shape (h, w, n, n). A plain network of such layers starts as one with shortcuts,
    which cost nothing when they are part of the kernel. Identity initialization: Zagoruyko and Komodakis, "DiracNets"
    (2017)."""
    kernel = 0.5 * he(rng, shape)
    kernel[shape[0] // 2, shape[1] // 2] += np.eye(*shape[2:], dtype=np.float32)
    return kernel


def icnr(rng: np.random.Generator, shape: tuple[int, ...], block: int) -> np.ndarray:
    """A kernel (h, w, in, block^2 * C) whose `block^2` groups are equal, so that the depth_to_space (TensorFlow's
    order) that follows starts as nearest-neighbour upsampling, without a checkerboard. Aitken et al. 2017.

    Args:
        shape: of the whole kernel, (h, w, in, out); `out` is a multiple of `block` squared.
        block: the factor of the depth_to_space.
    """
    *front, out = shape
    return np.tile(glorot(rng, (*front, out // block**2)), (1, 1, 1, block**2))


def pass_rgb(kernel: np.ndarray, *, groups: int = 1) -> np.ndarray:
    """A kernel (h, w, in, groups * C) whose first three channels of each group hand on the first three inputs.

    With such layers from end to end, and a residual body that starts as nothing, a fresh network without a global skip
    *is* (nearly) nearest-neighbour enlargement, which training then improves (models/srgan.py says what that gains and
    costs). A network of fewer than three channels is left as it is.
    """
    h, w, inputs, outputs = kernel.shape
    channels = outputs // groups
    if min(inputs, channels) < 3:
        return kernel
    kernel = kernel.copy()
    for group in range(groups):
        first = group * channels
        kernel[:, :, :, first : first + 3] = 0.0
        for c in range(3):
            kernel[h // 2, w // 2, c, first + c] = 1.0
    return kernel


TANH_GAIN = 2.6
"""tanh(2.6 x - 1.3) is within 0.14 of 2 x - 1 for x in [0, 1]."""


def rgb_tanh(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (h, w, in, 3) and bias of the last layer before a tanh: RGB in [0, 1] handed on as nearly [-1, 1]; what
    the other channels add starts small."""
    kernel = glorot(rng, shape)
    if shape[-2] < 3:
        return kernel, np.zeros(3, np.float32)
    passing = pass_rgb(kernel)
    kernel *= 0.1
    kernel[:, :, :3] = TANH_GAIN * passing[:, :, :3]
    return kernel, np.full(3, -TANH_GAIN / 2, np.float32)


def anchor(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (1, 1, 3, 3 * n) and bias (3 * n,) that repeat RGB n times and map [0, 1] to [-1, 1]."""
    repeats = shape[-1] // 3
    kernel = np.tile(2.0 * np.eye(3, dtype=np.float32), (1, repeats)).reshape(shape)
    return kernel, np.full(shape[-1], -1.0, np.float32)


def bicubic(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (5, 5, 3, 3 * n * n) and bias: MATLAB's bicubic enlargement by n, a phase after the other, for a
    depth_to_space by n. A sub-pixel lies within half a pixel of its pixel, so 5 taps hold it all."""
    block = round((shape[-1] / 3) ** 0.5)
    offsets = (np.arange(block) + 0.5) / block - 0.5  # of the sub-pixels from their pixel
    taps = cubic_kernel(offsets[:, None] - np.arange(-2, 3))  # (phase, tap)
    phases = np.einsum("au,bv->uvab", taps, taps).reshape(5, 5, 1, block**2, 1)
    kernel = phases * np.eye(3).reshape(3, 1, 3)
    return kernel.reshape(shape).astype(np.float32), np.zeros(shape[-1], np.float32)


def initial_weights(graph: Graph, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Every array of a fresh network, `layer/array` -> float32."""
    weights = {}
    for layer in graph.layers:
        rng = np.random.default_rng([seed, zlib.crc32(layer.name.encode())])
        for array, value in _layer_weights(graph, layer, rng).items():
            weights[f"{layer.name}/{array}"] = value
    return weights


def _layer_weights(graph: Graph, layer: Layer, rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = layer.weight_shapes(graph.in_channels(layer))
    if layer.kind in ("conv", "strided_conv"):
        return _conv_weights(graph, layer, shapes, rng)
    gamma = layer.attributes.get("gamma", 1.0)
    fill = {"alpha": PRELU_SLOPE, "gamma": gamma, "beta": 0.0, "mean": 0.0, "variance": 1.0}
    return {array: np.full(shape, fill[array], np.float32) for array, shape in shapes.items()}


def _conv_weights(graph: Graph, layer: Layer, shapes: dict[str, tuple[int, ...]], rng) -> dict[str, np.ndarray]:
    shape, kind = shapes["kernel"], layer.attributes["init"]
    bias = np.zeros(layer.channels, np.float32)
    if kind == "glorot":
        kernel = glorot(rng, shape)
    elif kind == "he":
        kernel = he(rng, shape)
    elif kind == "residual":
        kernel = residual(rng, shape)
    elif kind == "he_small":
        kernel = (0.1 * he(rng, shape)).astype(np.float32)
    elif kind == "zeros":
        kernel = np.zeros(shape, np.float32)
    elif kind == "icnr":
        kernel = icnr(rng, shape, _block_after(graph, layer))
    elif kind == "rgb":
        kernel = pass_rgb(glorot(rng, shape))
    elif kind == "icnr_rgb":
        block = _block_after(graph, layer)
        kernel = pass_rgb(icnr(rng, shape, block), groups=block**2)
    elif kind == "rgb_tanh":
        kernel, bias = rgb_tanh(rng, shape)
    elif kind == "anchor":
        kernel, bias = anchor(shape)
    elif kind == "bicubic":
        kernel, bias = bicubic(shape)
    else:
        raise InputError(f"unknown initialization '{kind}'", where=layer.name)
    return {"kernel": kernel, "bias": bias} if "bias" in shapes else {"kernel": kernel}


def _block_after(graph: Graph, layer: Layer) -> int:
    """The block of the depth_to_space that reads a layer."""
    for reader in graph.layers:
        if reader.kind == "depth_to_space" and layer.name in reader.inputs:
            return int(reader.attributes["block"])
    raise InputError("icnr needs a depth_to_space right after the convolution", where=layer.name)
