"""The arrays of a PyTorch file, taken out one by one, and ours, filled from them.

    weights = Weights(State(arrays))
    weights.conv("head", "conv_first")         # OIHW to HWIO

PyTorch's networks give pictures in [0, 1] and ours in [-1, 1], which the last convolution takes in exactly; a PyTorch
pixel shuffle orders channels (colour, row, column), ours (row, column, colour), which is a permutation of the
convolution before it.
"""

from __future__ import annotations

import math
import re

import numpy as np

from snpe_srgan.errors import InputError


class State:
    """The arrays of a file, which architectures take out one by one."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    @property
    def names(self) -> list[str]:
        """Names of the arrays that nobody has taken out yet, in the file's order."""
        return list(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array that is still there; () for a name that is not."""
        return self._arrays[name].shape if name in self._arrays else ()

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """One array, in float64; `InputError` when it is missing or of another shape."""
        if name not in self._arrays:
            raise InputError(f"the array '{name[:80]}' is missing")
        array = self._arrays.pop(name)
        if shape is not None and array.shape != shape:
            raise InputError(f"the array '{name[:80]}' is {array.shape}, not {shape}")
        return array.astype(np.float64)

    def drop(self, pattern: str) -> None:
        """Leaves out what has no part in the picture."""
        for name in [n for n in self._arrays if re.fullmatch(pattern, n)]:
            del self._arrays[name]


class Weights:
    """Our arrays, filled from PyTorch's layouts."""

    def __init__(self, state: State):
        self.state = state
        self.arrays: dict[str, np.ndarray] = {}

    def conv(
        self,
        ours: str,
        theirs: str,
        *,
        norm: str | None = None,
        shuffle: int = 1,
        picture: bool = False,
        inputs: int | None = None,
        unshuffle: int = 1,
    ) -> None:
        """A convolution: OIHW to HWIO, and a bias of 0 where there is none.

        Args:
            norm: the batch norm behind it, folded in (epsilon 1e-5, PyTorch's default).
            shuffle: a pixel shuffle by this follows.
            picture: it gives the picture, in [0, 1] there and in [-1, 1] here.
            inputs: the channels that it reads; with fewer in the kernel it is grouped, and gets zeros between groups.
            unshuffle: it reads a pixel unshuffle by this.

        Raises:
            InputError: an array is missing or of another shape.
        """
        kernel = self.state.take(f"{theirs}.weight")
        if kernel.ndim != 4:
            raise InputError(f"'{theirs[:80]}' is no convolution")
        kernel, outputs = _whole(kernel, inputs or kernel.shape[1], theirs), len(kernel)
        if unshuffle > 1:  # (colour, row, column) there, (row, column, colour) here
            kernel = kernel[:, np.arange(kernel.shape[1]).reshape(-1, unshuffle**2).T.reshape(-1)]
        bias = self.state.take(f"{theirs}.bias", (outputs,)) if f"{theirs}.bias" in self.state else np.zeros(outputs)
        if norm is not None:
            mean, variance = (self.state.take(f"{norm}.running_{x}", (outputs,)) for x in ("mean", "var"))
            factor = self.state.take(f"{norm}.weight", (outputs,)) / np.sqrt(np.maximum(variance, 0) + 1e-5)
            kernel = kernel * factor.reshape(-1, 1, 1, 1)
            bias = (bias - mean) * factor + self.state.take(f"{norm}.bias", (outputs,))
        self.put(ours, kernel, bias, shuffle=shuffle, picture=picture)

    def put(self, ours: str, kernel: np.ndarray, bias: np.ndarray, *, shuffle: int = 1, picture: bool = False) -> None:
        """As `conv`, of arrays.

        Args:
            ours: the convolution's name in our network.
            kernel: (out, in, h, w).
            bias: (out,).
            shuffle: a pixel shuffle by this follows.
            picture: it gives the picture, in [0, 1] there and in [-1, 1] here.
        """
        if picture:
            kernel, bias = 2 * kernel, 2 * bias - 1
        if shuffle > 1:
            order = np.arange(len(kernel)).reshape(-1, shuffle**2).T.reshape(-1)
            kernel, bias = kernel[order], bias[order]
        self.arrays[f"{ours}/kernel"] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32)
        self.arrays[f"{ours}/bias"] = bias.astype(np.float32)

    def double(self, ours: str) -> None:
        """A convolution whose result is added to a picture that the anchor brings from [0, 1] to [-1, 1]."""
        for array in ("kernel", "bias"):
            self.arrays[f"{ours}/{array}"] *= np.float32(2)

    def prelu(self, ours: str, theirs: str, channels: int) -> None:
        """PReLU's slopes, one for all channels or one each.

        Args:
            ours, theirs: the layer's name in our network and in the file, without `.weight`.
            channels: that it reads.

        Raises:
            InputError: the slopes are missing, or of another number.
        """
        slope = self.state.take(f"{theirs}.weight")
        if slope.size not in (1, channels):
            raise InputError(f"'{theirs[:80]}' has {slope.size} slopes for {channels} channels")
        self.arrays[f"{ours}/alpha"] = np.full(channels, slope.reshape(-1), np.float32)


def _whole(kernel: np.ndarray, inputs: int, name: str) -> np.ndarray:
    """A grouped kernel (out, in / groups, h, w) as (out, in, h, w)."""
    outputs, own = kernel.shape[:2]
    if own == inputs:
        return kernel
    groups = inputs // own
    if own * groups != inputs or outputs % groups:
        raise InputError(f"'{name[:80]}' reads {own} channels, not {inputs}")
    whole = np.zeros((outputs, inputs, *kernel.shape[2:]))
    for i in range(outputs):
        first = i // (outputs // groups) * own
        whole[i, first : first + own] = kernel[i]
    return whole


def scale_of(channels: int) -> int:
    """The scale of a network whose last convolution gives 3 * scale^2 channels.

    Raises:
        InputError: there is no such scale.
    """
    scale = math.isqrt(channels // 3)
    if 3 * scale**2 != channels or scale < 1:
        raise InputError(f"a last convolution of {channels} channels makes no RGB picture")
    return scale
