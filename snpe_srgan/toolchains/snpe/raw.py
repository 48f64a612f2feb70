"""Raw files, input lists and result folders, as `snpe-net-run` and the quantizers read and write them.

    written = write_raws(arrays, folder)                # lr_0.raw, lr_1.raw, ..., and list.txt
    sr = read_result(folder / "output", 0, port)

A raw file is the bare numbers, NHWC, C order, float32; or, where `--raw uint8` asks for it, the network's own integers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.toolchains.snpe.messages import read_failure

LIST = "list.txt"
OUTPUT = "output"


@dataclass(frozen=True)
class Port:
    """An input or output of a .dlc; `scale` and `offset` where it stores integers: value = (q + offset) * scale."""

    name: str
    shape: tuple[int, ...]
    bits: int = 32
    scale: float | None = None
    offset: int = 0

    @property
    def elements(self) -> int:
        """Numbers in one raw file."""
        return int(np.prod(self.shape))


def to_raw(array: np.ndarray, port: Port, *, raw: str = "float32") -> bytes:
    """The bytes of one input, (1, h, w, c) float32 of the port's shape.

    Args:
        raw: `float32`: four bytes a value, little-endian. `uint8`: one, rounded to the port's grid and clipped to it.

    Raises:
        InputError: the array has another shape, or `uint8` is asked of a port that is not stored in 8 bits.
    """
    if array.shape != port.shape:
        raise InputError(f"'{port.name}' takes {port.shape}, not {array.shape}")
    if raw == "float32":
        return np.ascontiguousarray(array, "<f4").tobytes()
    scale, offset = _grid(port)
    return np.clip(np.rint(array / scale) - offset, 0, 255).astype(np.uint8).tobytes()


def from_raw(data: bytes, port: Port, *, raw: str = "float32", where: object = None) -> np.ndarray:
    """An output's values, float32 of the port's shape; `SnpeSrganError` when the file has another size.

    Args:
        raw: `float32` or `uint8`, as in `to_raw`; integers come back as the values that they stand for.
        where: the file, for the error.

    Raises:
        InputError: `uint8` is asked of a port that is not stored in 8 bits.
    """
    kind = np.dtype("<f4") if raw == "float32" else np.dtype("u1")
    if len(data) != port.elements * kind.itemsize:
        raise SnpeSrganError(
            f"the result holds {len(data):,} bytes, {port.elements * kind.itemsize:,} were expected for "
            f"{'x'.join(map(str, port.shape))} {raw}",
            where=where,
        )
    values = np.frombuffer(data, kind)
    if raw != "float32":
        scale, offset = _grid(port)
        values = (values.astype(np.float32) + offset) * np.float32(scale)
    return values.reshape(port.shape).astype(np.float32)


def _grid(port: Port) -> tuple[float, int]:
    if port.scale is None or port.bits != 8:
        raise InputError(
            f"'{port.name}' is not stored in 8 bits: its raw files are float32",
            where="--raw uint8",
            hint="--raw float32",
        )
    return port.scale, port.offset


def write_raws(
    arrays: Iterable[np.ndarray], folder: Path, port: Port, *, raw: str = "float32", prefix: str | None = None
) -> tuple[Path, list[Path]]:
    """One file an array, and the list that names them, as (list, files). `prefix` is the folder the tool sees.

    Args:
        arrays: each as in `to_raw`; taken one at a time.
        folder: made where it is missing.
        raw: `float32` or `uint8`.
        prefix: None for `folder` itself, as an absolute path.

    Raises:
        InputError: there is no array, one does not fit the port, or the prefix has a space in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, array in enumerate(arrays):
        files.append(folder / f"lr_{index}.raw")
        files[-1].write_bytes(to_raw(array, port, raw=raw))
    if not files:
        raise InputError("there is nothing to run")
    path = folder / LIST
    path.write_text(input_list(files, prefix=prefix or os.fspath(folder.resolve())), encoding="utf-8")
    return path, files


def input_list(files: Sequence[Path], *, prefix: str) -> str:
    """An input list of networks with one input: a line an inference. A quantizer wants no line of outputs.

    Args:
        files: only their names are used.
        prefix: the folder in which the tool finds them.

    Raises:
        InputError: the prefix has a space in it.
    """
    if any(c.isspace() for c in prefix):
        raise InputError(
            "the SDK's input lists cannot name a folder with a space in it",
            where=prefix,
            hint="another -o (or, for run, another TMPDIR)",
        )
    return "".join(f"{prefix}/{path.name}\n" for path in files)


def read_result(output: Path, index: int, port: Port, *, raw: str = "float32", said: str = "") -> np.ndarray:
    """The network's output of line `index`, from OUTPUT/Result_<index>/<tensor>.raw (":0" of TensorFlow stays).

    With several files the one of the output's name is taken; `said` (the tool's words) explains a missing one.

    Args:
        output: the folder that was the tool's `--output_dir`.
        index: line of the input list, from 0.
        raw: `float32` or `uint8`.

    Returns:
        float32 of the port's shape.

    Raises:
        SnpeSrganError: there is no result, none of the output's name, or one of another size.
    """
    folder = output / f"Result_{index}"
    files = sorted(p for p in folder.rglob("*.raw")) if folder.is_dir() else []
    if not files:
        lines = read_failure(said).lines
        raise SnpeSrganError(
            "snpe-net-run said that all went well (status 0) but wrote no result"
            + (": " + "; ".join(lines) if lines else ""),
            where=folder.name,
            hint=read_failure(said).hint,
        )
    names = {port.name, port.name.removesuffix(":0"), f"{port.name}:0", port.name.replace("/", "_")}
    fitting = [p for p in files if p.name.removesuffix(".raw").removesuffix("_native") in names]
    if len(files) > 1 and not fitting:
        raise SnpeSrganError(
            f"no file is named after the output '{port.name}'", where=", ".join(p.name for p in files[:6])
        )
    path = (fitting or files)[0]
    return from_raw(path.read_bytes(), port, raw=raw, where=f"{folder.name}/{path.name}")
