"""What this program and its children say to each other, over pipes: plain data and arrays.

A message is a 12-byte head (length of the JSON, length of the arrays), the JSON, and the arrays' bytes. Used by
`confined/worker.py` and by `toolchains/qnn_worker.py`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

HEAD = struct.Struct("<IQ")
MAX_JSON = 1 << 26  # bytes

Message = tuple[dict[str, Any], list[np.ndarray]]


def send(stream: IO[bytes], message: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Writes one message; the arrays' dtypes and shapes travel in the JSON.

    Args:
        message: plain data for JSON; the key `arrays` is taken.
        arrays: of any dtype without Python objects; `receive` gives them back in this order, read-only.
    """
    arrays = [np.asarray(a, order="C") for a in arrays]
    head = json.dumps({**message, "arrays": [[a.dtype.str, list(a.shape)] for a in arrays]}).encode()
    stream.write(HEAD.pack(len(head), sum(a.nbytes for a in arrays)))
    stream.write(head)
    for a in arrays:
        stream.write(a.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Reads one message; None when the other side has gone."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, size = HEAD.unpack(head)
    if length > MAX_JSON:
        return None
    text, data = stream.read(length), stream.read(size)
    if len(data) < size:
        return None
    message, arrays, at = json.loads(text), [], 0
    for name, shape in message.pop("arrays"):
        dtype = np.dtype(name)
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(data, dtype, count, at).reshape(shape))
        at += count * dtype.itemsize
    return message, arrays
