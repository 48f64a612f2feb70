"""The parent's side of a confined child: starts it, asks it, watches its time and memory, ends it.

with Child(where=path) as child:
    facts, arrays = child.call("snpe_srgan.runtimes.confined:open_here", {"path": path}, doing="open the model")
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan import errors
from snpe_srgan.confined import worker
from snpe_srgan.confined.messages import Message, receive, send
from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.machine import available_memory

SECONDS = 60.0  # of work that one call may take, unless the caller says otherwise
QUICK = 20.0  # seconds, likewise: what only reads arrays
STANDING = 3.0  # times as long by the clock: on a busy machine a minute of the clock may be seconds of work
REMARK_AFTER = 10.0  # seconds without an answer until the user is told what is being waited for
MEGABYTES = 2000  # that a child may take beside LARGER times the file
LARGER = 24  # a network of f bytes is parsed, copied, optimized and packed anew: several times f
RESERVED = 24 << 30  # address space that libraries reserve and never touch
LOOK = 0.05  # seconds between two looks at the child's memory


def megabytes_for(size: int) -> int:
    """What a child may take to read a network of so many bytes: enough for any honest one, no more than there is."""
    wanted = MEGABYTES + (LARGER * size >> 20)
    free = available_memory()
    return wanted if free is None else max(256, min(wanted, free >> 20))


def call_confined(function: str, path: str | os.PathLike, *, doing: str, **arguments: Any) -> Message:
    """One call of `function` in a child of its own, as `name(state, path=..., **arguments)`; at once inside a child.

    For what is quick with every honest file: it is ended after QUICK seconds of work.

    Args:
        function: `module:name`.
        path: the file that it reads; the memory allowed goes by its size.
        doing: what an error says could not be done.

    Returns:
        Plain data and arrays.

    Raises:
        SnpeSrganError: see `Child.call`.
    """
    if worker.inside():
        module, name = function.split(":")
        return getattr(importlib.import_module(module), name)({}, path=os.fspath(path), **arguments)
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        size = 0  # whoever opens it says what is wrong with it
    with Child(where=path, megabytes=megabytes_for(size)) as child:
        return child.call(function, {"path": os.fspath(path), **arguments}, doing=doing, seconds=QUICK)


class Child:
    """One child process, for one file; it ends with `close()`, with any failure, or with this process.

    Args:
        where: the file that is read: shown in errors.
        megabytes: resident memory that the child may take; None leaves it to the machine.
        say: told once what takes long, for the user.
    """

    def __init__(
        self, *, where: object, megabytes: int | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self.where, self.megabytes, self._say = where, megabytes, say
        package = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, worker.MARK: "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close())
        space = RESERVED + ((megabytes or 1 << 20) << 20)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", worker.__name__, str(os.getpid()), str(space)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise SnpeSrganError(f"cannot start a process for the file: {error.strerror}", where=where) from error
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def call(
        self,
        function: str,
        arguments: dict[str, Any],
        arrays: Sequence[np.ndarray] = (),
        *,
        doing: str,
        seconds: float | None = SECONDS,
    ) -> Message:
        """Has the child call a function; see `worker.answer`.

        Args:
            function: `module:name`.
            arguments: plain data, by name.
            arrays: handed over before the arguments.
            doing: what an error says could not be done, e.g. "open the model".
            seconds: of work until the child is ended, and STANDING times as many by the clock; None for as long as
                it takes.

        Returns:
            Plain data and arrays.

        Raises:
            SnpeSrganError: what the function raised of that family; `InputError` when the child crashed, took too long
                or too much memory, or failed in a way that nobody foresaw.
        """
        try:
            with contextlib.suppress(BrokenPipeError):  # a dead child is diagnosed below
                send(self._stdin, {"function": function, "arguments": arguments}, arrays)
            self._wait(doing, seconds)
            reply = receive(self._stdout)
        except BaseException:  # Ctrl-C and SIGTERM among them
            self.close()
            raise
        if reply is None:
            raise self._died(doing)
        message, found = reply
        if "result" in message:
            return message["result"], found
        log = self._last_words()
        self.close()
        if "error" in message:
            told = message["error"]
            kind = getattr(errors, told["kind"], InputError)
            raise kind(told["what"], where=told["where"], hint=told["hint"]) from _Log(log)
        if "memory" in message:
            raise self._too_much(doing)
        raise InputError(f"cannot {doing}: {message['unforeseen']}", where=self.where) from _Log(
            f"{log}\n{message['traceback']}"
        )

    def _wait(self, doing: str, seconds: float | None) -> None:
        """Returns when there is an answer, or the child has ended."""
        began, computed, told = time.monotonic(), self._computed(), False
        while not select.select([self._stdout], [], [], LOOK)[0]:
            waited = time.monotonic() - began
            if (
                seconds is not None
                and waited > seconds
                and (self._computed() - computed > seconds or waited > STANDING * seconds)
            ):
                raise InputError(f"cannot {doing}: it takes more than {seconds:g} s", where=self.where)
            if waited > REMARK_AFTER and not told and self._say is not None:
                self._say(f"still at it: to {doing} takes long ({self.where})")
                told = True
            if self.megabytes is not None and self.resident() > self.megabytes << 20:
                raise self._too_much(doing)

    def _too_much(self, doing: str) -> InputError:
        limit = "" if self.megabytes is None else f" than {self.megabytes} MB"
        return InputError(f"cannot {doing}: it takes more memory{limit}", where=self.where)

    def resident(self) -> int:
        """Bytes of memory that the child takes; 0 where the system does not say."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _computed(self) -> float:
        """Seconds that the child has computed, of all its threads; 0 where the system does not say."""
        try:
            words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return 0.0

    def _died(self, doing: str) -> InputError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code, log = self._process.returncode, self._last_words()
        self.close()
        how = "the process that did it ended"
        if code is not None and code < 0:
            how = f"the library that reads it crashed ({_signal_name(-code)})"
        if "bad_alloc" in log or "MemoryError" in log or "out of memory" in log.lower() or code == -signal.SIGKILL:
            how += ", most likely because memory ran out"
        error = InputError(f"cannot {doing}: {how}", where=self.where)
        error.__cause__ = _Log(log)
        return error

    def _last_words(self) -> str:
        """The end of what the child wrote on its standard error; shown with -v only."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4096))
        return self._log.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Ends the child; harmless when repeated."""
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        for stream in (self._stdin, self._stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.kill()


class _Log(Exception):
    """What the child wrote, as the cause of an error."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
