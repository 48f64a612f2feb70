"""The child: calls functions of this package by name and answers with their results. Started by `process.Child`.

    python -m snpe_srgan.confined.worker PARENT BYTES

A request names a function `module:name` and its arguments; it is called as `name(state, *arrays, **arguments)`, where
`state` is a dict that lives as long as the child, and returns (plain data, arrays). A message is a 12-byte head (length
of the JSON, length of the arrays), the JSON, and the arrays' bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

HEAD = struct.Struct("<IQ")
MAX_JSON = 1 << 26
MARK = "SNPE_SRGAN_CONFINED"  # set in the environment of a child
PR_SET_PDEATHSIG = 1

Message = tuple[dict[str, Any], list[np.ndarray]]


def inside() -> bool:
    """Whether this process is such a child."""
    return MARK in os.environ


def send(stream: BinaryIO, message: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Writes one message; the arrays' dtypes and shapes travel in the JSON."""
    arrays = [np.asarray(a, order="C") for a in arrays]
    head = json.dumps({**message, "arrays": [[a.dtype.str, list(a.shape)] for a in arrays]}).encode()
    stream.write(HEAD.pack(len(head), sum(a.nbytes for a in arrays)))
    stream.write(head)
    for a in arrays:
        stream.write(a.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
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


def limit(parent: int, memory: int) -> None:
    """No child outlives its parent, fills the address space or leaves a core file."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def answer(state: dict[str, Any], message: dict[str, Any], arrays: list[np.ndarray]) -> Message:
    """Calls one function; whatever it raises is part of the answer."""
    from snpe_srgan.errors import SnpeSrganError

    module, name = message["function"].split(":")
    try:
        result, found = getattr(importlib.import_module(module), name)(state, *arrays, **message["arguments"])
    except SnpeSrganError as error:
        kind = type(error).__name__
        return {"error": {"kind": kind, "what": error.what, "where": error.where, "hint": error.hint}}, []
    except MemoryError:
        return {"memory": True}, []
    except Exception as error:
        import traceback

        return {"unforeseen": f"{type(error).__name__}: {error}"[:300], "traceback": traceback.format_exc()}, []
    return {"result": result}, found


def main() -> None:
    limit(int(sys.argv[1]), int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it ends this process
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the replies
    state: dict[str, Any] = {}
    with contextlib.suppress(BrokenPipeError):
        while (request := receive(sys.stdin.buffer)) is not None:
            send(replies, *answer(state, *request))


if __name__ == "__main__":
    main()
