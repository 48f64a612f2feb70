"""The ZIP around a .dlc: finds its records and gives their bytes.

The entries are stored with CRC 0 and an impossible date, so Python's `zipfile` refuses to read them; and it builds an
object for each of as many entries as a file claims. This reader takes what a .dlc needs (stored or deflated entries,
64-bit sizes). Nothing a file says about itself is trusted: each offset and size is checked against the bytes there are.

Source: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 16, 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import InputError
from snpe_srgan.opener import read_regular

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64_PLACE = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")
STORED, DEFLATED = 0, 8
FILLED_IN_64 = 0xFFFFFFFF  # a 32-bit field whose value stands in the 64-bit extra field
MAX_FILE = 768 << 20  # bytes: held in memory whole, and far more than a phone runs
MAX_ENTRIES = 4096
MAX_INFLATED = 1 << 28  # bytes of all packed records together: real files pack none


@dataclass(frozen=True)
class Entry:
    """One record: where its local header is, and how its bytes are packed."""

    offset: int
    size: int
    method: int


class Container:
    """The records of one .dlc file, by name; the whole file is held in memory once."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._data = read_regular(path, limit=MAX_FILE, doing="read the .dlc")
        self.total = len(self._data)
        self._inflatable = MAX_INFLATED
        try:
            self._entries = self._directory()
        except struct.error:
            raise self._broken("its list of records is cut short") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all records, sorted."""
        return tuple(sorted(self._entries))

    def size(self, name: str) -> int:
        """The bytes that a record takes in the file."""
        return self._entries[name].size

    def read(self, name: str, limit: int | None = None) -> memoryview:
        """One record's bytes, at most `limit`, without a copy when the entry is stored (the usual case).

        Args:
            limit: in bytes; None for all. A packed record counts against what all of them may unpack to
                (`MAX_INFLATED`).

        Raises:
            InputError: there is no such record, or it is damaged.
        """
        if name not in self._entries:
            raise InputError(f"the .dlc has no record '{name}'", where=self.path)
        entry = self._entries[name]
        if entry.offset + LOCAL.size > self.total or not self._data.startswith(b"PK\x03\x04", entry.offset):
            raise self._broken(f"record '{name}' is not where it should be")
        head = LOCAL.unpack_from(self._data, entry.offset)
        start = entry.offset + LOCAL.size + head[9] + head[10]
        if start + entry.size > self.total:
            raise self._broken(f"record '{name}' reaches beyond the end of the file")
        data = memoryview(self._data)[start : start + entry.size]
        if entry.method == STORED:
            return data[:limit]
        if entry.method != DEFLATED:
            raise InputError(f"record '{name}' is packed in a way no .dlc uses", where=self.path)
        return memoryview(self._inflate(name, data, limit))

    def _inflate(self, name: str, data: memoryview, limit: int | None) -> bytes:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        allowed = self._inflatable if limit is None else min(limit, self._inflatable)
        try:
            plain = unpacker.decompress(data, max(allowed, 1))  # 0 would mean without end
        except zlib.error as error:
            raise self._broken(f"record '{name}' cannot be unpacked") from error
        self._inflatable -= len(plain)
        if not unpacker.eof and limit is None:
            raise self._broken(f"record '{name}' cannot be unpacked")
        return plain

    def _directory(self) -> dict[str, Entry]:
        """The central directory; the first entry of a name wins."""
        at, count = self._end()
        if count > MAX_ENTRIES:
            raise InputError(f"not a .dlc file: it claims {count} records", where=self.path)
        entries: dict[str, Entry] = {}
        for _ in range(count):
            head = CENTRAL.unpack_from(self._data, at)
            if head[0] != b"PK\x01\x02":
                raise self._broken("its list of records is not where it should be")
            name_end = at + CENTRAL.size + head[10]
            name = self._data[at + CENTRAL.size : name_end].decode("utf-8", "replace")
            extra = self._data[name_end : name_end + head[11]]
            entries.setdefault(name, self._entry(head, extra))
            at = name_end + head[11] + head[12]
        return entries

    def _entry(self, head: tuple, extra: bytes) -> Entry:
        """Sizes and offset, from the 64-bit extra field (id 1) where the 32-bit ones say so."""
        packed, plain, offset = head[8], head[9], head[16]
        if FILLED_IN_64 in (packed, plain, offset):
            at = 0
            while at + 4 <= len(extra):
                kind, length = struct.unpack_from("<2H", extra, at)
                if kind == 1:
                    numbers = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
                    plain, packed, offset = (
                        next(numbers, value) if value == FILLED_IN_64 else value for value in (plain, packed, offset)
                    )
                    break
                at += 4 + length
        return Entry(offset, packed, head[4])

    def _end(self) -> tuple[int, int]:
        """(position of the central directory, number of its entries)."""
        found = self._data.rfind(b"PK\x05\x06", max(0, self.total - END.size - 0xFFFF))
        if found < 0:
            raise InputError("not a .dlc file, or a truncated one", where=self.path)
        end = END.unpack_from(self._data, found)
        count, at = end[4], end[6]
        place = found - END64_PLACE.size
        if place >= 0 and self._data.startswith(b"PK\x06\x07", place):
            end64_at = END64_PLACE.unpack_from(self._data, place)[2]
            if end64_at + END64.size <= self.total and self._data.startswith(b"PK\x06\x06", end64_at):
                end64 = END64.unpack_from(self._data, end64_at)
                count, at = end64[7], end64[9]
        if at > self.total:
            raise self._broken("its list of records lies beyond its end")
        return at, count

    def _broken(self, why: str) -> InputError:
        return InputError(f"the .dlc is damaged: {why}", where=self.path)
