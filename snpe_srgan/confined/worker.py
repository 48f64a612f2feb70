"""The child: calls functions of this package by name and answers with their results. Started by `process.Child`.

    python -m snpe_srgan.confined.worker PARENT BYTES

A request names a function `module:name` and its arguments; it is called as `name(state, *arrays, **arguments)`, where
`state` is a dict that lives as long as the child, and returns (plain data, arrays). See `messages.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
from typing import Any

import numpy as np

from snpe_srgan.confined.messages import Message, receive, send

MARK = "SNPE_SRGAN_CONFINED"  # set in the environment of a child
PR_SET_PDEATHSIG = 1


def inside() -> bool:
    """Whether this process is such a child."""
    return MARK in os.environ


def limit(parent: int, memory: int) -> None:
    """No child outlives its parent, fills the address space or leaves a core file.

    Args:
        parent: its process number; a child whose parent has gone ends at once (`SystemExit`).
        memory: bytes of address space; a smaller limit of the system's own stays.
    """
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
    """Calls one function; whatever it raises is part of the answer.

    Args:
        state: handed to the function; what it keeps there is there at the next call.
        message: `function` ('module:name') and `arguments` (its keyword arguments).
        arrays: its arguments by position, behind `state`.

    Returns:
        (message, arrays). The message holds one of: `result` (plain data; the arrays are the function's), `error` (an
        expected failure: `kind`, `what`, `where`, `hint`), `memory` (there was not enough), or `unforeseen` and
        `traceback` (anything else, as text).
    """
    from snpe_srgan.errors import SnpeSrganError, cannot_load

    module, name = message["function"].split(":")
    try:
        try:
            result, found = getattr(importlib.import_module(module), name)(state, *arrays, **message["arguments"])
        except ImportError as error:
            raise cannot_load(error) or error from error
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
    """Answers requests on standard input until it closes.

    The two arguments of the command are the parent's process number and the bytes of address space that the child may
    take.
    """
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
