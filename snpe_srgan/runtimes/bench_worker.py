"""The child process of `benchmark`: one model on one engine, so that its memory is its own.

Reads JSON lines on standard input and answers each on what was its standard output: `open` (what is opened, and warmed
up), `run` (seconds of one inference), `end` (peak memory).

    python -m snpe_srgan.runtimes.bench_worker       # started by benchmark.Contender, not by hand
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np


def peak_bytes() -> int | None:
    """The most memory this process has held (resident), or None where the system does not tell."""
    try:
        with open("/proc/self/status") as file:  # of this program alone; ru_maxrss also counts what it was forked from
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Runner:
    """The opened model and its input; `once` is what is timed: the network, and tiles where its size is fixed."""

    def __init__(self, request: dict):
        from snpe_srgan.onnx_graphs.boundary import Said
        from snpe_srgan.runtimes.open import open_session
        from snpe_srgan.runtimes.upscale import upscale_array
        from snpe_srgan.zoo.resolve import RUNNABLE, resolve

        start = time.perf_counter()
        size = tuple(request["size"])
        self.session = open_session(
            resolve(request["model"], kinds=RUNNABLE, said=Said(**request["said"])),
            engine=request["engine"],
            threads=request["threads"],
            precision=request["precision"],
        )
        self.lr = np.random.default_rng(0).random((1, *size, 3), dtype=np.float32)
        plan = self.session.plan(*size, tile=None if self.session.input_size else size)
        self.tiles = plan.tiles
        if plan.run_size == size:
            self.once = lambda: self.session.run(self.lr)
        else:
            self.once = lambda: upscale_array(self.session, self.lr[0], plan)
        self.once()
        self.load_seconds = time.perf_counter() - start
        for _ in range(request["warmup"]):
            self.once()

    def answer(self) -> dict:
        """What was opened: engine and version, tiles a picture, the model's fixed (height, width) or None, and the
        seconds that opening took, with the first inference.
        """
        session = self.session
        fixed = None if session.input_size is None else list(session.input_size)
        return {
            "engine": session.description.engine,
            "version": session.description.version,
            "tiles": self.tiles,
            "input_size": fixed,
            "load_seconds": self.load_seconds,
        }

    def time(self) -> dict:
        """Wall-clock seconds of one picture, all tiles of it."""
        start = time.perf_counter()
        self.once()
        return {"seconds": time.perf_counter() - start}


def _requests() -> Iterator[dict]:
    """Reads ahead in a thread, so that this process ends at once when its parent does, even in mid-inference."""
    waiting: queue.Queue[dict] = queue.Queue()

    def pump() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        yield waiting.get()


def main() -> None:
    """Answers requests on standard input until the parent's end closes; an expected failure is an answer too.

    A request's `do` is `open` (with the model's path, engine, size, threads, precision and warm-up runs), `run` or
    anything else for the peak memory in bytes.
    """
    from snpe_srgan.confined.worker import MARK
    from snpe_srgan.errors import SnpeSrganError

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print must not mix with the replies
    os.environ[MARK] = "1"  # what is measured is this process: a model of others runs in it, not in a child of its own
    runner: Runner | None = None
    for request in _requests():
        try:
            if request["do"] == "open":
                runner = Runner(request)
                reply = runner.answer()
            elif request["do"] == "run" and runner is not None:
                reply = runner.time()
            else:
                reply = {"peak_bytes": peak_bytes()}
        except SnpeSrganError as error:
            kind = type(error).__name__
            reply = {"error": {"kind": kind, "what": error.what, "where": error.where, "hint": error.hint}}
        except MemoryError:
            reply = {"error": {"kind": "InputError", "what": "out of memory", "where": None, "hint": "a smaller size"}}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
