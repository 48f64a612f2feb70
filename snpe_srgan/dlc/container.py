"""The ZIP around a .dlc: finds its records and gives their bytes.

The entries are stored with CRC 0 and an impossible date, so `zipfile` lists them but refuses to read them. Nothing a
file says about itself is trusted: every offset and size is checked against the bytes that are really there.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import InputError

LOCAL_HEAD = struct.Struct("<4s5H3I2H")
MAX_FILE = 2 << 30  # bytes: a model of this size fits no phone
MAX_ENTRIES = 4096
MAX_INFLATED = 1 << 30


class Container:
    """The records of one .dlc file, by name; the whole file is held in memory once."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                if self.path.stat().st_size > MAX_FILE:
                    raise InputError("too large for a .dlc file", where=path)
                self._data = file.read(MAX_FILE + 1)
                file.seek(0)
                with zipfile.ZipFile(file) as archive:
                    entries = archive.infolist()
        except OSError as error:
            raise os_error(error, path, "read the .dlc") from error
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise InputError(f"not a .dlc file, or a truncated one: {error}", where=path) from error
        self.total = len(self._data)
        if len(entries) > MAX_ENTRIES:
            raise InputError(f"not a .dlc file: it has {len(entries)} records", where=path)
        self._entries = {entry.filename: entry for entry in reversed(entries)}  # the first of a name wins

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._entries))

    def size(self, name: str) -> int:
        """The bytes that a record takes in the file."""
        return self._entries[name].compress_size

    def read(self, name: str) -> memoryview:
        """One record's bytes, without a copy when the entry is stored (it always is)."""
        if name not in self._entries:
            raise InputError(f"the .dlc has no record '{name}'", where=self.path)
        entry = self._entries[name]
        start = entry.header_offset
        if not 0 <= start <= len(self._data) - LOCAL_HEAD.size:
            raise self._broken(name)
        head = LOCAL_HEAD.unpack_from(self._data, start)
        if head[0] != b"PK\x03\x04":
            raise self._broken(name)
        start += LOCAL_HEAD.size + head[9] + head[10]
        end = start + entry.compress_size
        if end > len(self._data):
            raise self._broken(name)
        data = memoryview(self._data)[start:end]
        if entry.compress_type == zipfile.ZIP_STORED:
            return data
        if entry.compress_type != zipfile.ZIP_DEFLATED:
            raise InputError(f"record '{name}' is packed in a way no .dlc uses", where=self.path)
        return memoryview(self._inflate(name, data))

    def _inflate(self, name: str, data: memoryview) -> bytes:
        unpacker = zlib.decompressobj(-15)
        try:
            plain = unpacker.decompress(data, MAX_INFLATED)
        except zlib.error as error:
            raise self._broken(name) from error
        if not unpacker.eof:
            raise self._broken(name)
        return plain

    def _broken(self, name: str) -> InputError:
        return InputError(f"the .dlc is damaged: record '{name}' is not where it should be", where=self.path)
