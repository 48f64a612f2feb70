"""Starts one of the SDK's tools and reports every failure as one plain error.

    ran = run_tool(sdk, commands.dlc_info(sdk.release, dlc="gan.dlc"))
    ran.output

An argument list, never a shell; its own process group, so that a time limit or Ctrl-C ends its children too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import MissingToolError, SnpeSrganError
from snpe_srgan.toolchains.snpe.commands import Command
from snpe_srgan.toolchains.snpe.messages import read_failure
from snpe_srgan.toolchains.snpe.sdk import Sdk

TIMEOUT = 1800.0  # seconds; a quantizer with many pictures on a slow machine
SIGNALS = {4: "illegal instruction", 6: "abort", 7: "bus error", 9: "killed", 11: "segmentation fault", 15: "ended"}
LOG_LIMIT = 1 << 20  # bytes of a tool's words that are kept: its end


@dataclass(frozen=True)
class Ran:
    """A tool that ended: what it said (both streams together, in order) and how long it took."""

    status: int
    output: str
    seconds: float


def run_tool(
    sdk: Sdk, command: Command, *, makes: Path | None = None, subject: object = None, timeout: float = TIMEOUT
) -> Ran:
    """Runs a command of the SDK on this machine; any failure is an error with its own last lines and what to do.

    Args:
        makes: a file that must be there, and not empty, afterwards: some tools fail and end with status 0.
        subject: what the error calls the place; the command itself by default.

    Raises:
        MissingToolError: the SDK has no such tool, it cannot be started, or no Python for it is there.
        SnpeSrganError: it failed, made no file, or did not end within `timeout` seconds.
    """
    ran = start([*sdk.start(command.tool), *command.arguments], environment=sdk.environment(), timeout=timeout)
    if ran.status != 0:
        raise failure(command.tool, ran.output, how=how_ended(ran.status), where=subject or command)
    if makes is not None and not (makes.is_file() and makes.stat().st_size):
        how = "said that all went well (status 0) but wrote no file"
        raise failure(command.tool, ran.output, how=how, where=subject or command)
    return ran


def start(
    arguments: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    timeout: float | None,
    cwd: Path | None = None,
) -> Ran:
    """One process from start to end; its streams go to a file, so that no amount of words can block it.

    Args:
        environment: the whole environment of the process; None hands on this one's.
        timeout: seconds; None waits for ever.
        cwd: the folder it starts in; None for this one's.

    Returns:
        A `Ran`, whatever the status. Of the output, the last megabyte is kept.

    Raises:
        MissingToolError: the program cannot be started.
        SnpeSrganError: it did not end in time; it and its children are killed.
    """
    begin = time.perf_counter()
    process: subprocess.Popen | None = None
    with tempfile.TemporaryFile() as log:
        try:
            with _signals_held():
                process = subprocess.Popen(
                    list(arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd,
                    env=environment, start_new_session=os.name == "posix",
                )  # fmt: skip
            process.wait(timeout=timeout)
        except OSError as error:
            raise MissingToolError(
                f"cannot start {Path(arguments[0]).name}: {error.strerror or error}", where=arguments[0],
                hint="is it a program for this machine, with the right to run (chmod +x)?",
            ) from error  # fmt: skip
        except subprocess.TimeoutExpired:
            _end(process)
            raise SnpeSrganError(
                f"{Path(arguments[0]).name} did not end within {timeout:g} s", where=" ".join(map(str, arguments[:6]))
            ) from None
        except BaseException:  # Ctrl-C among them: nothing may go on behind the user's back
            _end(process)
            raise
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - LOG_LIMIT))
        output = log.read().decode("utf-8", "replace")
    return Ran(process.returncode, output, time.perf_counter() - begin)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Signals that come meanwhile are handled at the end: one inside `Popen` would leave a tool that nobody knows."""
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread only
        yield
        return
    came: list[int] = []
    kept = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and callable(signal.getsignal(number)):
            kept[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _end(process: subprocess.Popen | None) -> None:
    if process is None:
        return
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def how_ended(status: int) -> str:
    """A failed status in words: the signal where one ended it, also as a shell tells it (128 + signal)."""
    number = -status if status < 0 else status - 128  # a shell adds 128 to a signal's number
    if number in SIGNALS:
        return f"crashed (signal {number}, {SIGNALS[number]})"
    return f"failed (exit status {status})"


def failure(tool: str, output: str, *, how: str, where: object, kind: type = SnpeSrganError) -> SnpeSrganError:
    """The error of a tool: how it ended and its own last lines, then what to do about them.

    Args:
        tool: its name, with which the message begins.
        output: all that it said.
        how: as of `how_ended`.
        where: the place that the error names.
        kind: the class of the error.

    Returns:
        The error, for the caller to raise.
    """
    said = read_failure(output)
    what = f"{tool} {how}" + (": " + "; ".join(said.lines) if said.lines else " and said nothing")
    return kind(what, where=where, hint=said.hint)
