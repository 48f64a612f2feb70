"""PyTorch's weight files written without PyTorch, and its layers in plain numpy: an independent forward pass."""

from __future__ import annotations

import collections
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np


class _Storage:
    def __init__(self, key: str, array: np.ndarray):
        self.key, self.array = key, array


def _fakes() -> dict[str, types.ModuleType]:
    """Modules of PyTorch's names, so that pickle writes those names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("only to be named")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    return {"torch": torch, "torch._utils": utils}


class _Tensor:
    """Pickles as a tensor does: a call of `_rebuild_tensor_v2` on a persistent storage."""

    def __init__(self, key: str, array: np.ndarray, fakes):
        self.storage, self.shape, self.rebuild = _Storage(key, array), array.shape, fakes["torch._utils"]

    def __reduce__(self):
        strides = tuple(int(np.prod(self.shape[i + 1 :])) for i in range(len(self.shape)))
        empty = collections.OrderedDict()
        return self.rebuild._rebuild_tensor_v2, (self.storage, 0, self.shape, strides, False, empty)


def write_pth(path: Path, arrays: dict, *, root: str = "archive") -> Path:
    """A `.pth` as torch.save writes it: nested dicts of float32 arrays."""
    fakes, stored = _fakes(), {}

    def wrap(value):
        if isinstance(value, dict):
            return collections.OrderedDict((k, wrap(v)) for k, v in value.items())
        if isinstance(value, np.ndarray):
            stored[str(len(stored))] = np.ascontiguousarray(value, np.float32)
            return _Tensor(str(len(stored) - 1), stored[str(len(stored) - 1)], fakes)
        return value

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, _Storage):
                return ("storage", fakes["torch"].FloatStorage, value.key, "cpu", value.array.size)
            return None

    buffer, before = io.BytesIO(), {name: sys.modules.get(name) for name in fakes}
    sys.modules.update(fakes)
    try:
        Pickler(buffer, protocol=2).dump(wrap(arrays))
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.__setitem__(name, module)
    return write_archive(path, buffer.getvalue(), {key: a.tobytes() for key, a in stored.items()}, root=root)


def write_archive(path: Path, program: bytes, storages: dict[str, bytes], *, root: str = "archive") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", program)
        for key, data in storages.items():
            archive.writestr(f"{root}/data/{key}", data)
        archive.writestr(f"{root}/version", "3\n")
    return path


# ---- layers, NCHW float64 ----


def conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Zero padding that keeps the size."""
    h, w = kernel.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (h // 2, h // 2), (w // 2, w // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.float64), optimize=True)
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def prelu(x: np.ndarray, slope) -> np.ndarray:
    return np.where(x > 0, x, x * np.asarray(slope).reshape(1, -1, 1, 1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """torch.nn.PixelShuffle."""
    n, c, h, w = x.shape
    x = x.reshape(n, c // factor**2, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // factor**2, h * factor, w * factor)


def unshuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """torch.nn.PixelUnshuffle."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // factor, factor, w // factor, factor).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(n, c * factor**2, h // factor, w // factor)


def nearest(x: np.ndarray, factor: int) -> np.ndarray:
    return x.repeat(factor, 2).repeat(factor, 3)
