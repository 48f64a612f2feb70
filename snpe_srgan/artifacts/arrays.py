"""Archives of plain arrays (`.npz`), from whoever: asked for names and shapes before a number is unpacked.

    with ArrayFile("generator.npz", limit=MAX_BYTES) as file:
        file.arrays["head/kernel"].shape        # from the record's head; nothing is unpacked yet
        kernel = file.read("head/kernel")

numpy's own reader believes what a record says of itself: a head of 100 bytes may ask for terabytes, and a damaged one
raises what happens to come up (TokenError, SyntaxError, OverflowError). Here each head is held against the size of its
record first. Pickled objects are never read. Format: NEP 1 (numpy/lib/format.py), inside a ZIP archive.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular

MAX_ENTRIES = 20_000
MAX_DIMENSIONS = 16
ROOM = 64 << 20  # bytes that any file may unpack to ...
MOST_TIMES = 100  # ... or so many times its own size: weights hardly shrink, a "zip bomb" does by a thousand
HEADS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayHead:
    """What a record says of its array: bytes are `shape`'s product times `dtype.itemsize`."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int


class ArrayFile:
    """The arrays of one archive, by name.

    Args:
        source: a path, or the archive's bytes.
        limit: bytes that all arrays together may take in memory.
        where: shown as the place of an error; the path when left out.

    Raises:
        InputError: it is no archive of plain arrays, or a damaged one.
    """

    def __init__(self, source: str | os.PathLike | bytes, *, limit: int, where: object = None):
        self.where = source if where is None and not isinstance(source, bytes) else where
        self._file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, limit=limit)
        try:
            with self._reading():
                self._archive = zipfile.ZipFile(self._file)
                self._entries = self._listed(limit)
                self.arrays: Mapping[str, ArrayHead] = MappingProxyType(
                    {name: self._head(name) for name in self._entries}
                )
        except BaseException:
            self._file.close()
            raise

    def _listed(self, limit: int) -> dict[str, zipfile.ZipInfo]:
        """Name (without `.npy`) -> entry."""
        size = self._file.seek(0, os.SEEK_END)
        entries = self._archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if len(entries) > MAX_ENTRIES:
            raise InputError(f"the archive lists {len(entries)} records: not a network", where=self.where)
        if unpacked > limit or unpacked > max(ROOM, MOST_TIMES * size):
            raise InputError(
                f"the archive unpacks to {unpacked / 1e6:.0f} MB from {size / 1e6:.1f} MB: not a network",
                where=self.where,
            )
        named: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename:
                raise InputError(f"the archive holds '{name[:80]}', which is no array", where=self.where)
            if name in named:
                raise InputError(f"the archive holds two arrays named '{name[:80]}'", where=self.where)
            named[name] = entry
        return named

    def _head(self, name: str) -> ArrayHead:
        entry = self._entries[name]
        with self._archive.open(entry) as record:
            version = np.lib.format.read_magic(record)
            if version not in HEADS:
                raise InputError(f"'{name[:80]}' is an array of an unknown format", where=self.where)
            shape, fortran, dtype = HEADS[version](record)
            offset = record.tell()
        if dtype.hasobject:
            raise InputError("the file holds pickled objects, which could run code when loaded", where=self.where)
        if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
            raise InputError(f"'{name[:80]}' has an impossible shape", where=self.where)
        if math.prod(shape) * dtype.itemsize != entry.file_size - offset:
            raise InputError(f"'{name[:80]}' is not as large as it says", where=self.where)
        return ArrayHead(tuple(int(length) for length in shape), dtype, fortran, offset)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def read(self, name: str) -> np.ndarray:
        """One array; `InputError` where it is missing or cannot be unpacked.

        Returns:
            A copy of the head's shape and dtype.
        """
        if name not in self.arrays:
            raise InputError(f"the archive holds no array '{name[:80]}'", where=self.where)
        head = self.arrays[name]
        with self._reading():
            data = self._archive.read(self._entries[name])
            flat = np.frombuffer(data, head.dtype, offset=head.offset).copy()
            return flat.reshape(head.shape, order="F" if head.fortran else "C")

    def read_text(self, name: str, *, limit: int = 1 << 24) -> str:
        """A text that was stored as an array of one string, of at most `limit` bytes in memory.

        Raises:
            InputError: it is missing, too long, no text, or cannot be unpacked.
        """
        head = self.arrays.get(name)
        if head is not None and (head.dtype.kind != "U" or head.shape != () or head.dtype.itemsize > limit):
            raise InputError(f"'{name[:80]}' is no text", where=self.where)
        with self._reading():
            return str(self.read(name))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """zipfile, its decompressors and numpy's parser raise a dozen kinds of error on hostile bytes."""
        try:
            yield
        except InputError:
            raise
        except MemoryError as error:
            raise InputError("the file needs more memory than is left", where=self.where) from error
        except Exception as error:
            reason = f"{error or type(error).__name__}"[:150]
            raise InputError(f"not a readable .npz file ({reason})", where=self.where) from error

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
