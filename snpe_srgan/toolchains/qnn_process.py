"""The parent side of `qnn_worker`: starts it, talks to it, and reports every failure as one plain error."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.confined.messages import receive, send
from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.toolchains import qnn_worker

NOISE = re.compile(
    r"LIBNATIVE|GraphHtpSettings option|[Ff]ile mapped weights|EPContext encryption|HTP power config"
    r"|was inserted using the NHWC format|CPU EP, but fallback|GetCapability\(\) for QNN|^\s*$"
)
PREFIX = re.compile(r"\x1b\[[0-9;]*m|^\S+ \S+ \[[A-Z]:onnxruntime:[^\]]*\]\s*|^\[ONNXRuntimeError\] : \d+ : \w+ : ")
LOG_TAIL = 64 * 1024

_started = itertools.count(os.getpid())  # two parents at once begin on different CPUs, more often than not


def next_cpu() -> list[str]:
    """The CPU for the next child, round robin over those this process may use: the child's argument (see `pin`).

    Nothing where the system has no such thing (macOS, Windows).
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cpus = sorted(os.sched_getaffinity(0))
    return [str(cpus[next(_started) % len(cpus)])]


def meaningful_lines(log: str) -> list[str]:
    """The log's lines without terminal colours, time stamps, known harmless noise and repetitions, in order."""
    lines = (PREFIX.sub("", PREFIX.sub("", line)).strip() for line in log.splitlines())
    return list(dict.fromkeys(line for line in lines if not NOISE.search(line)))


class Worker:
    """One child process and its scratch folder; both end with `close()`, an error, or Ctrl-C.

    Args:
        subject: what is being worked on (a path): shown in errors.
        timeout: seconds one answer may take; None waits for ever.
        command: for tests; the argument list that starts the child.
    """

    def __init__(self, *, subject: object = None, timeout: float | None = None, command: list[str] | None = None):
        self.subject, self.timeout = subject, timeout
        self._scratch = Scratch()
        self.folder = Path(self._scratch.name)
        package = str(Path(__file__).resolve().parents[2])
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
        self._log = (self.folder / "log.txt").open("wb+")
        self._answers: queue.Queue = queue.Queue()
        try:
            self._process = subprocess.Popen(
                command or [sys.executable, "-m", qnn_worker.__name__, *next_cpu()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=self.folder,  # the libraries drop files where they stand
                env=environment,
            )
        except OSError as error:
            self._log.close()
            self._scratch.cleanup()
            raise SnpeSrganError(f"cannot start the QNN worker process: {error}") from error
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            while (message := receive(self._stdout)) is not None:
                self._answers.put(message)
        except (OSError, ValueError):
            pass  # the pipe broke: the same as its end
        self._answers.put(None)

    def ask(self, request: dict, arrays=()) -> tuple[dict, list[np.ndarray]]:
        """Sends a request and waits for its answer; every failure ends the child and raises SnpeSrganError.

        Args:
            request: plain data; its `do` says what is asked (see `qnn_worker.main`).
            arrays: in the order of the graph's inputs, of their shapes and dtypes.

        Returns:
            (plain data, arrays in the order of the graph's outputs).
        """
        try:
            with contextlib.suppress(BrokenPipeError, OSError):  # a dead child is diagnosed below
                send(self._stdin, request, arrays)
            answer = self._answers.get(timeout=self.timeout)
        except queue.Empty:
            raise self._failed(f"gave no answer within {self.timeout:g} s") from None
        except BaseException:  # Ctrl-C among them
            self.close()
            raise
        if answer is None:
            raise self._failed(self._cause_of_death())
        message, results = answer
        if not message.pop("ok"):
            raise self._failed("failed", f"{message['error']}", message["kind"])
        return message, results

    def open(self, model: str | Path, options: dict[str, str], *, strict: bool = True) -> dict:
        """Has the child prepare a model; its inputs and outputs.

        Args:
            options: of the QNN execution provider, and of the session where a name begins with `ep.`.
            strict: an operator that the HTP refuses is an error; otherwise it is left to the CPU.

        Returns:
            `inputs` and `outputs`, each a list of [name, shape, ONNX type as 'tensor(float)'].

        Raises:
            InputError: the file is no ONNX model, or has an operator that the converter does not know.
            SnpeSrganError: the HTP refuses the graph, or the child crashed or took too long. The worker is closed then.
        """
        request = {"do": "open", "model": str(Path(model).resolve()), "options": options, "strict": strict}
        return self.ask(request)[0]

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "stopped answering"
        if code == -9:
            return "was killed (signal 9), most likely because memory ran out"
        return f"crashed (signal {-code})" if code < 0 else f"ended early (exit code {code})"

    def _failed(self, how: str, error: str = "", kind: str = "") -> SnpeSrganError:
        self._stop()
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL))
        log = self._log.read().decode("utf-8", "replace")
        self.close()
        said = "; ".join(meaningful_lines(log)[-3:] + meaningful_lines(error))
        hint = None
        if "INVALID_CONFIG" in said:
            hint = "choose another chip: this build of the Hexagon tools does not know the one asked for"
        elif "COMMON_ERROR_MEM_ALLOC" in said:
            hint = (
                "a smaller input size; or, for a float network, float16 as a chip computes: --chip 57 "
                "(the HTP lacks some operators in float32)"
            )
        elif "memory ran out" in how or "bad_alloc" in said or kind == "MemoryError":
            hint = "take a smaller input size: smaller tiles need less memory"
        elif "CPU EP, but fallback" in error:
            said = said or "some of its operators cannot run on the HTP"
            hint = "only operators that the HTP has can be used: compare with the exported networks"
        if "Unsupported nodes" in said and (kinds := dict.fromkeys(re.findall(r"type: (\w+)", said))):
            what = f"Qualcomm's converter has no operator {', '.join(kinds)}"
            return InputError(
                what, where=self.subject,
                hint="run, evaluate and quantize --onnx-only take the network; for a .dlc say it with other operators",
            )  # fmt: skip
        message = f"the QNN worker {how}" + (f": {said[:600]}" if said else "")
        return (InputError if kind == "InvalidProtobuf" else SnpeSrganError)(message, where=self.subject, hint=hint)

    def _stop(self):
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)

    def close(self) -> None:
        """Ends the child and removes its scratch folder; harmless when repeated."""
        self._stop()
        self._reader.join(timeout=10)
        for stream in (self._stdin, self._stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()
        self._scratch.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.kill()
