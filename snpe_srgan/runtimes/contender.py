"""One entry of `benchmark`: a model on an engine, opened and warmed up in a process of its own (`bench_worker`)."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from snpe_srgan import errors
from snpe_srgan.zoo.resolve import ModelFile

ENGINES = {  # name on the command line -> (package, engine, precision, kinds of file)
    "tensorflow": ("tensorflow", "tensorflow", "f32", ("pb",)),
    "openvino": ("openvino", "openvino", "f32", ("npz", "pb", "onnx", "dlc")),
    "openvino-bf16": ("openvino", "openvino", "bf16", ("npz", "pb", "onnx", "dlc")),
    "onnxruntime": ("onnxruntime", "onnxruntime", "f32", ("npz", "onnx", "dlc")),
    "litert": ("ai_edge_litert", "litert", "f32", ("tflite",)),
}


@dataclass(frozen=True)
class Timing:
    """One model on one engine: seconds an inference, in the order they were taken.

    `speedup` is over the baseline of the same run (None without one); `tiles` above 1 means that the model's fixed
    input is smaller than the picture; `load_seconds` ends with the first picture.
    """

    engine: str
    version: str
    seconds: tuple[float, ...]
    median: float
    p90: float
    minimum: float
    load_seconds: float
    peak_bytes: int | None
    tiles: int
    speedup: float | None = None


class Contender:
    """A model on an engine in its own process, opened and warmed up."""

    def __init__(self, file: ModelFile, name: str, *, size: tuple[int, int], threads: int, warmup: int):
        self.file, self.name = file, name
        self.seconds: list[float] = []
        _, engine, precision, _ = ENGINES[name]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "snpe_srgan.runtimes.bench_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(),
        )
        request = {
            "said": asdict(file.said), "engine": engine, "precision": precision, "size": size, "threads": threads,
            "warmup": warmup,
        }  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None  # they are pipes
        self._requests, self._replies = self._process.stdin, self._process.stdout
        try:
            self.opened = self._ask({"do": "open", "model": str(file.path.resolve()), **request})
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Times one inference and keeps its seconds."""
        self.seconds.append(self._ask({"do": "run"})["seconds"])

    def timing(self) -> Timing:
        """The figures over all runs so far, at least one, with the process's peak memory in bytes."""
        ordered = sorted(self.seconds)
        return Timing(
            engine=self.name,
            version=self.opened["version"],
            seconds=tuple(self.seconds),
            median=statistics.median(ordered),
            p90=ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
            minimum=ordered[0],
            load_seconds=self.opened["load_seconds"],
            peak_bytes=self._ask({"do": "end"})["peak_bytes"],
            tiles=self.opened["tiles"],
        )

    def _ask(self, request: dict) -> dict:
        with contextlib.suppress(OSError):  # a dead child is diagnosed below
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        line = self._replies.readline()
        where = f"{self.file.path} on {self.name}"
        if not line:
            self._log.seek(0)
            said = [text for text in self._log.read().decode("utf-8", "replace").splitlines() if text.strip()]
            raise errors.SnpeSrganError(
                f"the benchmark's process ended: {said[-1][:200] if said else 'most likely, memory ran out'}",
                where=where,
            )
        reply = json.loads(line)
        if "error" in reply:
            error = reply["error"]
            kind = getattr(errors, error["kind"], errors.SnpeSrganError)
            raise kind(error["what"], where=error["where"] or where, hint=error["hint"])
        return reply

    def close(self) -> None:
        """Ends the process; harmless when repeated."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for close in (self._requests.close, self._replies.close, self._log.close):
            with contextlib.suppress(OSError):
                close()


def _environment() -> dict[str, str]:
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}
