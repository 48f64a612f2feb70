"""The parent side of `worker`: windows of a generation, made ahead in child processes.

pool = Pool(cache, config, side=64, seed=0)
pool.lr(step)[3]                     # the fourth window that step draws from: uint8 (h, w, 3)
pool.close()
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from snpe_srgan.config import DegradationConfig
from snpe_srgan.data.degradation.windows import Window, draw_windows
from snpe_srgan.data.stored import Cache
from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.machine import usable_threads


class Pool:
    """The degraded windows of a training: those of the current steps, and the next ones in the making.

    Args:
        side: LR pixels of a window.
        seed: the stage's.
    """

    def __init__(self, cache: Cache, config: DegradationConfig, *, side: int, seed: int):
        self.cache, self.config, self.side, self.seed = cache, config, side, seed
        self._made: dict[int, list[Future[np.ndarray]]] = {}
        self._closed = False
        self._executor: ThreadPoolExecutor | None = None
        self._workers: list[_Worker] = []
        self._own = threading.local()
        self._lock = threading.Lock()

    @functools.lru_cache(maxsize=4)  # noqa: B019 (a pool lives as long as its stage)
    def windows(self, generation: int) -> list[Window]:
        """What is degraded for the steps from generation * refresh on."""
        return draw_windows(
            self.cache.pictures, self.config, scale=self.cache.scale, side=self.side, seed=self.seed,
            first_step=generation * self.config.refresh,
        )  # fmt: skip

    def lr(self, step: int) -> list[np.ndarray]:
        """The windows' LR pictures that `step` draws from. Waits for those that are not ready, and has the next
        generation made meanwhile."""
        generation = step // self.config.refresh
        futures = self._start(generation)
        made = [future.result() for future in futures]
        self._start(generation + 1)
        for old in [key for key in self._made if key < generation]:
            del self._made[old]
        return made

    def close(self) -> None:
        """Ends the workers; what they had not made yet is dropped."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.close()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _start(self, generation: int) -> list[Future[np.ndarray]]:
        if generation not in self._made:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.config.workers or max(usable_threads() - 1, 1), "degradation")
            self._made[generation] = [self._executor.submit(self._make, w) for w in self.windows(generation)]
        return self._made[generation]

    def _make(self, window: Window) -> np.ndarray:
        """In a thread of its own with a child process of its own."""
        if not hasattr(self._own, "worker"):
            with self._lock:
                if self._closed:
                    raise SnpeSrganError("the degradation has been closed")
                self._own.worker = _Worker(self.cache.folder, self.config)
                self._workers.append(self._own.worker)
        return self._own.worker.make(window)


class _Worker:
    """One child process."""

    def __init__(self, folder: Path, config: DegradationConfig):
        from snpe_srgan.data.degradation import worker

        package = str(Path(__file__).resolve().parents[3])
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
        environment |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", worker.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._send({"cache": str(folder.resolve()), "preset": config.preset, "strength": config.strength})

    def make(self, window: Window) -> np.ndarray:
        self._send(dataclasses.asdict(window))
        size = window.height * window.width * 3
        stdout = self._process.stdout
        data = stdout.read(size) if stdout else b""
        if len(data) != size:
            raise SnpeSrganError(
                f"the process that degrades pictures ended (exit code {self._process.wait()})",
                hint="its message stands above; the same command with --resume goes on",
            )
        return np.frombuffer(data, np.uint8).reshape(window.height, window.width, 3)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()

    def _send(self, data: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the answer that does not come says so
            if self._process.stdin:
                self._process.stdin.write(json.dumps(data).encode() + b"\n")
                self._process.stdin.flush()
