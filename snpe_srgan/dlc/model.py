"""What a .dlc holds, as plain dataclasses. Tensors are in the file's layout: images NHWC, convolution weights HWIO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError

# Qualcomm's type codes: (name, numpy dtype of the stored bytes). A 4-bit value takes a whole byte.
DTYPES = {
    0x0008: ("int8", "i1"),
    0x0016: ("int16", "<i2"),
    0x0032: ("int32", "<i4"),
    0x0064: ("int64", "<i8"),
    0x0108: ("uint8", "u1"),
    0x0116: ("uint16", "<u2"),
    0x0132: ("uint32", "<u4"),
    0x0164: ("uint64", "<u8"),
    0x0216: ("float16", "<f2"),
    0x0232: ("float32", "<f4"),
    0x0304: ("sfxp4", "i1"),
    0x0308: ("sfxp8", "i1"),
    0x0316: ("sfxp16", "<i2"),
    0x0332: ("sfxp32", "<i4"),
    0x0404: ("ufxp4", "u1"),
    0x0408: ("ufxp8", "u1"),
    0x0416: ("ufxp16", "<u2"),
    0x0432: ("ufxp32", "<u4"),
    0x0508: ("bool", "u1"),
    0x0608: ("string", "S1"),
}
ROLES = {0: "input", 1: "output", 2: "inout", 3: "native", 4: "static", 5: "null"}
STORED = {name: dtype for name, dtype in DTYPES.values()}


@dataclass(frozen=True)
class Encoding:
    """How stored integers mean reals: value = (q + offset) * scale; arrays of one, or one each along `axis`."""

    bits: int
    scale: np.ndarray
    offset: np.ndarray
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """One tensor. `role`: input, output, native (computed), static (stored); `dtype` as in `DTYPES`, or 'type 0x..'."""

    id: int
    name: str
    role: str
    dims: tuple[int, ...]
    dtype: str
    encoding: Encoding | None = None
    _bytes: memoryview | None = field(default=None, repr=False, compare=False)
    _where: object = field(default=None, repr=False, compare=False)

    @property
    def quantized(self) -> bool:
        """Whether it holds fixed-point integers with an encoding: plain integers, and integers without a scale, do not
        count.
        """
        return self.encoding is not None and "fxp" in self.dtype

    @property
    def nbytes(self) -> int:
        """Bytes stored in the file: 0 for a computed tensor."""
        return 0 if self._bytes is None else len(self._bytes)

    def data(self) -> np.ndarray:
        """The stored values, as integers where quantized; a read-only view of the file.

        Returns:
            An array of shape `dims` in the file's own order of axes.

        Raises:
            InputError: the tensor is computed, of an unknown dtype, or its bytes do not fit its shape.
        """
        if self._bytes is None:
            raise InputError(f"the .dlc stores no data for tensor '{self.name}'", where=self._where)
        if self.dtype not in STORED:
            raise InputError(f"tensor '{self.name}' is of an unknown kind: {self.dtype}", where=self._where)
        kind = np.dtype(STORED[self.dtype])
        if math.prod(self.dims) * kind.itemsize != len(self._bytes):
            raise InputError(
                f"the .dlc is damaged: tensor '{self.name}' of shape {self.dims} has {len(self._bytes)} bytes",
                where=self._where,
            )
        return np.frombuffer(self._bytes, kind).reshape(self.dims)


# Of an attribute: numbers, texts and small stored tensors (format 4), or tuples and dicts (format 3).
Value = int | float | str | tuple | dict | Tensor


@dataclass(frozen=True)
class Node:
    """One operator; `attributes` are numbers, strings, and small stored tensors (format 4) or tuples and dicts (3)."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value]


@dataclass(frozen=True)
class Graph:
    """Operators in executing order, and every tensor by name."""

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]

    def of_role(self, role: str) -> tuple[Tensor, ...]:
        """The tensors of a role (see `ROLES`), in the order of the file."""
        return tuple(t for t in self.tensors.values() if t.role == role)


@dataclass(frozen=True)
class Dlc:
    """A whole file. `version` is the format's (3, 4); `metadata` what the converter wrote about itself."""

    path: Path
    version: int
    bytes: int
    records: Mapping[str, int]
    metadata: Mapping[str, object]
    graphs: tuple[Graph, ...]
