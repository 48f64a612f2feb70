"""PyTorch's weight files as plain arrays: `.pth` and `.pt` without running their pickle, `.safetensors`.

    arrays = read_weights("RealESRGAN.pth")       # {"params_ema/conv_first.weight": (64, 3, 3, 3) float32, ...}

A pickle is a program. This reader interprets the few instructions that saved tensors are made of, and nothing else: it
imports no name, calls no function, and knows three classes by name only (an ordered dict, a tensor, a storage). Any
other instruction or name is an error that says which. Tensors are copied out of the archive by their strides, after
every offset is held against the storage's length.

The formats: PyTorch's ZIP archive (1.6 and later: `data.pkl` beside `data/0`, `data/1`, ...) and the older one, five
pickles in a row before the storages. https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import json
import math
import os
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
MAX_BYTES = 4 << 30
MAX_PICKLE = 64 << 20
MAX_TENSORS, MAX_RANK, MAX_DEPTH = 100_000, 8, 16
DTYPES = {  # storage class, or safetensors' name -> numpy; bfloat16 is read as its upper half of a float32
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "<u1",
    "BFloat16Storage": "bfloat16",
    "F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1",
    "BOOL": "<u1", "BF16": "bfloat16",
}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C
ORDERED, TENSOR, PARAMETER = (
    ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")
)  # fmt: skip


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every tensor of a weight file, floats as float32; nested dicts are joined by "/".

    Raises:
        InputError: the file is not one, is damaged, or holds what is not plain tensors; nothing of it was run.
    """
    path = Path(path)
    with open_regular(path, limit=MAX_BYTES) as file:
        start = file.read(8)
        file.seek(0)
        try:
            if start[:4] == b"PK\x03\x04":
                found = _read_archive(file)
            elif path.suffix.lower() == ".safetensors":
                found = _read_safetensors(file)
            else:
                found = _read_legacy(file)
        except _Refused as error:
            raise InputError(f"this weight file is not read: {error}", where=path, hint=error.hint) from error
        except (ValueError, KeyError, IndexError, TypeError, struct.error, zipfile.BadZipFile, EOFError,
                AttributeError, OverflowError, RecursionError, NotImplementedError) as error:  # fmt: skip
            raise InputError("not a weight file of PyTorch, or a damaged one", where=path) from error
    if not found:
        raise InputError("the file holds no tensors", where=path, hint="save model.state_dict()")
    return found


class _Refused(Exception):
    hint = "save only the weights with PyTorch: torch.save(model.state_dict(), path)"


# ---- the three containers ----


def _read_archive(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        roots = [name[: -len("data.pkl")] for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _Refused("a ZIP archive that PyTorch did not write (it has no data.pkl)")
        root = roots[0]
        if f"{root}constants.pkl" in names or any(name.startswith(f"{root}code/") for name in names):
            raise _Refused("a TorchScript program, whose code is not run")
        if f"{root}byteorder" in names:
            order = archive.getinfo(f"{root}byteorder")
            if order.file_size > 16 or archive.read(order).strip() != b"little":
                raise _Refused("its numbers are big-endian")
        info = archive.getinfo(f"{root}data.pkl")
        if info.file_size > MAX_PICKLE:
            raise _Refused("its description is larger than any network's")
        program = archive.read(info)

        def storage(key: str, size: int) -> bytes:
            entry = archive.getinfo(f"{root}data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < size:
                raise ValueError("a storage that is cut short")
            return archive.read(entry)

        return _arrays(_Machine(program).run(), _cached(storage))


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    data = io.BytesIO(file.read(MAX_BYTES))
    if _Machine.next(data) != MAGIC:
        raise ValueError("not PyTorch's")
    _Machine.next(data), _Machine.next(data)  # the protocol; the sizes of C's types
    value, keys = _Machine.next(data), _Machine.next(data)
    refs = [tensor.storage for tensor in _tensors(value).values()]
    sizes = {ref.key: ref.count * ref.width for ref in refs}
    stored: dict[str, bytes] = {}
    for key in keys:
        (count,) = struct.unpack("<q", data.read(8))
        size = sizes.get(key)
        if size is None or count < 0:
            raise ValueError("a storage that nothing uses")
        stored[key] = data.read(size)
        if len(stored[key]) < size:
            raise ValueError("cut short")
    return _arrays(value, lambda key, size: stored[key])


def _read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_PICKLE:
        raise ValueError("its header is larger than any network's")
    header = json.loads(file.read(length))
    body = file.read(MAX_BYTES)
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        shape = tuple(entry["shape"])
        ref = _Storage(name, entry["dtype"], math.prod(shape))
        if not 0 <= first <= last <= len(body) or last - first != ref.count * ref.width:
            raise ValueError("offsets that do not fit")
        found[name] = _array(_Tensor(ref, 0, shape, _contiguous(shape)), partial(_part, body[first:last]))
    return found


def _part(data: bytes, key: str, size: int) -> bytes:
    return data


def _cached(storage: Callable[[str, int], bytes]) -> Callable[[str, int], bytes]:
    kept: dict[str, bytes] = {}

    def get(key: str, size: int) -> bytes:
        if key not in kept:
            kept[key] = storage(key, size)
        return kept[key]

    return get


# ---- tensors ----


@dataclass(frozen=True)
class _Storage:
    """Numbers in a row: `count` of the type `kind`."""

    key: str
    kind: str
    count: int

    @property
    def width(self) -> int:
        return 2 if DTYPES[self.kind] == "bfloat16" else np.dtype(DTYPES[self.kind]).itemsize


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _array(tensor: _Tensor, storage: Callable[[str, int], bytes]) -> np.ndarray:
    """The tensor as an array of its own; ValueError unless every number of it lies in the storage."""
    ref, shape, strides = tensor.storage, tensor.shape, tensor.strides
    numbers = (*shape, *strides, tensor.offset)
    if len(shape) != len(strides) or len(shape) > MAX_RANK or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("a tensor's shape cannot be")
    last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= ref.count:
        raise ValueError("a tensor that reaches past its storage")
    if math.prod(shape) > ref.count:
        raise ValueError("a tensor that repeats its storage")
    data = storage(ref.key, ref.count * ref.width)
    if DTYPES[ref.kind] == "bfloat16":
        flat = (np.frombuffer(data, "<u2", ref.count).astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(data, DTYPES[ref.kind], ref.count)
    view = np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], shape, tuple(s * flat.itemsize for s in strides), writeable=False
    )
    return np.array(view, np.float32 if flat.dtype.kind == "f" else flat.dtype)


def _tensors(value: Any) -> dict[str, _Tensor]:
    """The tensors in nested dicts; a pickle can say one dict a thousand times in each of sixteen, so visits count."""
    found: dict[str, _Tensor] = {}
    waiting, visits = [("", value, 0)], 0
    while waiting:
        name, part, depth = waiting.pop()
        visits += 1
        if visits > MAX_TENSORS or depth > MAX_DEPTH:
            raise ValueError("more than a network holds")
        if isinstance(part, _Tensor):
            found[name] = part
        elif isinstance(part, dict):
            inner = [(f"{name}/{key}" if name else str(key), value, depth + 1) for key, value in part.items()]
            waiting += inner[::-1]
    return found


def _arrays(value: Any, storage: Callable[[str, int], bytes]) -> dict[str, np.ndarray]:
    found, size = {}, 0
    for name, tensor in _tensors(value).items():
        size += math.prod(n for n in tensor.shape if type(n) is int) * 4
        if size > MAX_BYTES:  # a file can name one storage many times
            raise ValueError("more than a network holds")
        found[name] = _array(tensor, storage)
    return found


# ---- the pickle, interpreted ----


@dataclass(frozen=True)
class _Name:
    module: str
    name: str


def _dict(items: list[Any]) -> dict[Any, Any]:
    """Keys and values by turns. A key is a text or a number: the hash of tuples in tuples may take forever."""
    if any(type(key) not in (str, int) for key in items[::2]):
        raise ValueError("a key that no state dict has")
    return dict(zip(items[::2], items[1::2], strict=True))


_MARK = object()
_PUSH = {  # instructions that push their own argument
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT", "BINUNICODE", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "STRING", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NEW: Mapping[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}


class _Machine:
    """A stack machine for the instructions of saved tensors. Values are dicts, lists, tuples, numbers, texts,
    `_Tensor`, `_Storage` and `_Name`; no object of another kind can come into being."""

    def __init__(self, program: bytes | BinaryIO):
        self._program = io.BytesIO(program) if isinstance(program, bytes) else program
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    @classmethod
    def next(cls, data: BinaryIO) -> Any:
        """The value of the pickle that begins here; the stream then stands behind it."""
        return cls(data).run()

    def run(self) -> Any:
        for operation, argument, _ in pickletools.genops(self._program):
            name = operation.name
            if name == "STOP":
                (value,) = self._stack
                return value
            if name in _PUSH:
                self._stack.append(argument)
            elif name in _CONSTANT:
                self._stack.append(_CONSTANT[name])
            elif name in _NEW:
                self._stack.append(_NEW[name]())
            elif name in ("PROTO", "FRAME"):
                continue
            else:
                step = getattr(self, f"_{name.lower()}", None)
                if step is None:
                    raise _Refused(f"its pickle needs the instruction {name}, which weights do not need")
                step(argument)
        raise ValueError("no end")

    def _mark(self, argument) -> None:
        self._stack.append(_MARK)

    def _pop_mark(self) -> list[Any]:
        at = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _tuple(self, argument) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _short_tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise ValueError("an empty stack")
        del self._stack[-count:]
        self._stack.append(items)

    def _tuple1(self, argument) -> None:
        self._short_tuple(1)

    def _tuple2(self, argument) -> None:
        self._short_tuple(2)

    def _tuple3(self, argument) -> None:
        self._short_tuple(3)

    def _dict(self, argument) -> None:
        self._stack.append(_dict(self._pop_mark()))

    def _list(self, argument) -> None:
        self._stack.append(self._pop_mark())

    def _setitem(self, argument) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._own(dict).update(_dict([key, value]))

    def _setitems(self, argument) -> None:
        items = _dict(self._pop_mark())
        self._own(dict).update(items)

    def _append(self, argument) -> None:
        value = self._stack.pop()
        self._own(list).append(value)

    def _appends(self, argument) -> None:
        items = self._pop_mark()
        self._own(list).extend(items)

    def _own(self, kind: type) -> Any:
        value = self._stack[-1]
        if type(value) is not kind:
            raise ValueError(f"not a {kind.__name__}")
        return value

    def _memoize(self, argument) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _binput(self, argument) -> None:
        self._memo[argument] = self._stack[-1]

    _long_binput = _put = _binput

    def _binget(self, argument) -> None:
        self._stack.append(self._memo[argument])

    _long_binget = _get = _binget

    def _pop(self, argument) -> None:
        self._stack.pop()

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._known(module, name))

    def _stack_global(self, argument) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._known(module, name))

    def _known(self, module: Any, name: Any) -> _Name:
        if (module, name) in (ORDERED, TENSOR, PARAMETER) or (module in ("torch", "torch.storage") and name in DTYPES):
            return _Name(module, name)
        raise _Refused(f"its pickle names {str(module)[:40]}.{str(name)[:40]}, which is not a tensor")

    def _reduce(self, argument) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of no function")
        call = (function.module, function.name)
        if call == ORDERED:
            pairs = arguments[0] if arguments else []
            self._stack.append(_dict([part for key, value in pairs for part in (key, value)]))
        elif call == TENSOR:
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, _Storage):
                raise ValueError("a tensor of no storage")
            self._stack.append(_Tensor(storage, offset, tuple(shape), tuple(strides)))
        elif call == PARAMETER and isinstance(arguments[0], _Tensor):
            self._stack.append(arguments[0])
        else:
            raise _Refused(f"its pickle calls {function.name}")

    def _build(self, argument) -> None:
        state = self._stack.pop()
        if not isinstance(self._stack[-1], dict) or not isinstance(state, dict):
            raise _Refused("its pickle builds objects")  # a state dict's `_metadata` is all that may be set, and is not

    def _binpersid(self, argument) -> None:
        what = self._stack.pop()
        kind, storage, key, _, count = what[:5]
        if kind != "storage" or not isinstance(storage, _Name) or type(count) is not int or not isinstance(key, str):
            raise ValueError("not a storage")
        if not 0 <= count <= MAX_BYTES or (len(what) > 5 and what[5] is not None):
            raise ValueError("not a whole storage")
        self._stack.append(_Storage(key, storage.name, count))
