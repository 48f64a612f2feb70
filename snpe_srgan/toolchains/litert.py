"""LiteRT's compiler for Qualcomm's NPUs: a .tflite in, one with compiled code for each chip out, and the AI pack.

    made = compile_models("generator.tflite", {target: "generator_SM8650.tflite"})

The compiler is ai-edge-litert's, the libraries are those of the onnxruntime-qnn wheel. All of it runs in a child
process (`litert_worker`), which keeps its noise and its crashes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import MissingToolError, SnpeSrganError
from snpe_srgan.tflite import schema
from snpe_srgan.toolchains import litert_worker, qnn_wheel
from snpe_srgan.toolchains.litert_targets import Target

TIMEOUT = 1800.0  # seconds for all chips together


@dataclass(frozen=True)
class Compiled:
    """One chip's file: how many of the network's operators became NPU code, in how many pieces."""

    target: Target
    path: Path
    offloaded: int
    operators: int
    partitions: int


@dataclass(frozen=True)
class Compilation:
    """`failed`: chip name -> why the compiler made nothing for it. `libraries`: the package they came from."""

    made: tuple[Compiled, ...]
    failed: Mapping[str, str]
    pack: tuple[str, ...]
    libraries: str


@dataclass(frozen=True)
class AiPack:
    """Where the Google Play AI pack goes, what it is called, and what the model is called in it."""

    folder: Path
    name: str
    model_name: str


def require() -> None:
    """Raises MissingToolError, with the command, unless LiteRT's compiler and Qualcomm's libraries are here."""
    schema.require("the NPU compiler")
    import importlib.util

    if importlib.util.find_spec("ai_edge_litert.aot") is None:
        raise MissingToolError(
            f"ai-edge-litert {schema.version()} has no NPU compiler for this system", hint="Linux x86-64 has one"
        )
    if importlib.util.find_spec(litert_worker.SDK) is None:
        qnn_wheel.require()


def compile_models(
    model: str | Path,
    outputs: Mapping[Target, Path],
    *,
    pack: AiPack | None = None,
    timeout: float = TIMEOUT,
    say: Callable[[str], None] = lambda text: None,
) -> Compilation:
    """Compiles a .tflite for each chip.

    Args:
        outputs: chip -> the file to write.
        pack: the AI pack to write as well.
        timeout: seconds, for all of it.
        say: gets a line for each chip.

    Raises:
        SnpeSrganError: the compiler crashed, or took longer than `timeout`. A chip that it refuses is in `failed`.
    """
    require()
    request: dict = {
        "model": str(Path(model).resolve()),
        "chips": [{"name": t.name, "out": str(Path(out).resolve())} for t, out in outputs.items()],
    }
    if pack is not None:
        request["pack"] = {"folder": str(pack.folder.resolve()), "name": pack.name, "model_name": pack.model_name}
    made, failed = [], {}
    done: dict = {}
    for reply in _replies(request, timeout, model):
        if "chip" not in reply:
            done = reply
            continue
        target = next(t for t in outputs if t.name == reply["chip"])
        if "error" in reply:
            failed[target.name] = reply["error"]
            say(f"{target}: {reply['error']}")
            continue
        counts = (reply["offloaded"], reply["operators"], reply["partitions"])
        made.append(Compiled(target, Path(outputs[target]), *counts))
        say(f"{target}: {counts[0]} of {counts[1]} operators compiled for its NPU")
    return Compilation(tuple(made), failed, tuple(done.get("packed", ())), done["libraries"])


def _replies(request: dict, timeout: float, subject: object):
    """The child's lines, as they come; SnpeSrganError unless the last one says that all was done."""
    package = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", litert_worker.__name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(timeout, give_up)
        timer.start()
        done = False
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.close()
            for line in process.stdout:
                reply = json.loads(line)
                done = done or bool(reply.get("done"))
                yield reply
            code = process.wait()
        finally:
            timer.cancel()
            _end(process)
            process.stdout.close()
        if not done:
            log.seek(0)
            lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
            how = f"gave no answer within {timeout:g} s" if late.is_set() else f"ended early (exit code {code})"
            said = f": {'; '.join(lines[-2:])[:400]}" if lines else ""
            raise SnpeSrganError(f"LiteRT's NPU compiler {how}{said}", where=subject)


def _end(process: subprocess.Popen) -> None:
    """Ends the child and the compiler that it started."""
    import signal

    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
