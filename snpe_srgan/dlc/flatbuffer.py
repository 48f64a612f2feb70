"""Reads flatbuffers without their schema: a table is asked for its slots by number and expected type.

https://flatbuffers.dev/internals describes the format. Every read is checked against the buffer's end, and what
a caller may make from it is limited, so that a hostile buffer can neither crash, hang nor fill the memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from snpe_srgan.errors import InputError

READ = {kind: struct.Struct("<" + kind).unpack_from for kind in "?bBhHiIqQefd"}


class Buffer:
    """The bytes of one flatbuffer; `budget` is how many tables may be read from it."""

    def __init__(self, data: memoryview, *, where: object):
        self.data, self.where = data, where
        self._budget = min(len(data) // 12 + 64, 4_000_000)  # an honest table takes 16 bytes and more
        self._objects = 300_000  # layers, tensors, attributes: each takes up to a kilobyte of memory

    def spend(self, cost: int = 1) -> None:
        """Counts what is made from the buffer: parts may be shared, so their number is not bounded by its size.

        Raises:
            InputError: more is read than a buffer of this size can honestly hold.
        """
        self._budget -= cost
        if self._budget < 0:
            raise self.broken("it refers to its own parts too often")

    def keep(self) -> None:
        """Counts what outlives the reading.

        Raises:
            InputError: more than 300,000 layers, tensors and attributes.
        """
        self._objects -= 1
        if self._objects < 0:
            raise self.broken("it claims more layers and tensors than any network has")

    def text(self, at: int, length: int) -> str:
        """`length` bytes from position `at` as UTF-8 text; bytes that are none become U+FFFD."""
        self.spend(length // 16)
        return bytes(self.data[at : at + length]).decode("utf-8", "replace")

    def broken(self, why: str) -> InputError:
        """The error that the buffer is damaged, for the caller to raise."""
        return InputError(f"the .dlc is damaged: {why}", where=self.where)

    def number(self, kind: str, at: int):
        """A little-endian scalar at byte `at`; `InputError` where it does not lie inside the buffer.

        Args:
            kind: its letter in the `struct` module, a key of `READ`.
        """
        try:
            if at < 0:
                raise struct.error
            return READ[kind](self.data, at)[0]
        except struct.error:
            raise self.broken("a value lies outside its record") from None

    def root(self) -> Table:
        """The table that the first four bytes point to."""
        return Table(self, self.number("I", 0))


class Table:
    """One table. Each getter takes a slot number and gives its default when the slot is absent."""

    def __init__(self, buffer: Buffer, at: int):
        buffer.spend()
        self._buffer, self._at = buffer, at
        self._slots = at - buffer.number("i", at)
        self._count = (buffer.number("H", self._slots) - 4) // 2

    def keep(self) -> None:
        """Counts the table among what outlives the reading (see `Buffer.keep`)."""
        self._buffer.keep()

    def _field(self, slot: int) -> int | None:
        if slot >= self._count:
            return None
        offset = self._buffer.number("H", self._slots + 4 + 2 * slot)
        return self._at + offset if offset else None

    def number(self, slot: int, kind: str = "i", default=0):
        """A scalar; `kind` is its letter in the `struct` module.

        Args:
            kind: `i` is an int32, `I` a uint32, `q` an int64, `f` a float32, `B` a byte.
            default: what an absent slot gives.

        Raises:
            InputError: the slot points outside the buffer.
        """
        at = self._field(slot)
        return default if at is None else self._buffer.number(kind, at)

    def _target(self, slot: int) -> int | None:
        at = self._field(slot)
        return None if at is None else at + self._buffer.number("I", at)

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        """(position, length) of a vector, which is known to lie inside the buffer."""
        at = self._target(slot)
        if at is None:
            return 0, 0
        count = self._buffer.number("I", at)
        if at + 4 + count * width > len(self._buffer.data):
            raise self._buffer.broken("a list reaches beyond the end of its record")
        return at + 4, count

    def table(self, slot: int) -> Table | None:
        """The table that a slot points to; None when the slot is absent."""
        at = self._target(slot)
        return None if at is None else Table(self._buffer, at)

    def tables(self, slot: int) -> Iterator[Table]:
        """The tables of a slot's vector, read one by one as they are asked for; none when the slot is absent."""
        start, count = self._vector(slot, 4)
        for at in range(start, start + 4 * count, 4):
            yield Table(self._buffer, at + self._buffer.number("I", at))

    def text(self, slot: int) -> str:
        """A slot's string; empty when the slot is absent."""
        start, count = self._vector(slot, 1)
        return self._buffer.text(start, count)

    def texts(self, slot: int) -> tuple[str, ...]:
        """The strings of a slot's vector; empty when the slot is absent."""
        start, count = self._vector(slot, 4)
        found = []
        for at in range(start, start + 4 * count, 4):
            self._buffer.spend()
            text = at + self._buffer.number("I", at)
            length = self._buffer.number("I", text)
            if text + 4 + length > len(self._buffer.data):
                raise self._buffer.broken("a name reaches beyond the end of its record")
            found.append(self._buffer.text(text + 4, length))
        return tuple(found)

    def numbers(self, slot: int, dtype: str) -> tuple:
        """A vector of scalars as a tuple: counted, because a tuple takes more memory than the file did."""
        values = self.array(slot, dtype)
        self._buffer.spend(len(values) // 2)
        return tuple(values.tolist())

    def array(self, slot: int, dtype: str) -> np.ndarray:
        """A vector of scalars, as a view of the buffer.

        Args:
            dtype: numpy's, with its byte order ('<i4').

        Raises:
            InputError: it reaches beyond the end of the buffer.
        """
        kind = np.dtype(dtype)
        start, count = self._vector(slot, kind.itemsize)
        return np.frombuffer(self._buffer.data[start : start + count * kind.itemsize], kind)
