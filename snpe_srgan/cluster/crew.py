"""A Dask cluster in the place of the processes of `--jobs`: `evaluate --cluster`, `quantize --cluster`.

    with crew_of("local:2") as crew:
        for score in ordered(score_picture, files, jobs=crew, prepare=open_model, arguments=(model,)): ...

What is prepared travels once, by Dask's plugin for workers, so that a worker that starts later has it too. A call whose
worker dies is made again; one that three workers died of is an error.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, Worker, WorkerPlugin, get_worker
from distributed.scheduler import KilledWorker

from snpe_srgan import __version__
from snpe_srgan.cluster.clusters import CONNECT_SECONDS, Wanted, connect, parse_cluster
from snpe_srgan.cluster.dispatch import MOST_DEATHS, TICK
from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.machine import share_memory
from snpe_srgan.parallel import Answer, Call, Prepared, cores_of, remarks_of

LATE = (TimeoutError, NotYet, asyncio.TimeoutError)  # three errors in Python 3.10, later one


@contextlib.contextmanager
def crew_of(text: str) -> Iterator[DaskCrew]:
    """The workers of what `--cluster` says; those that were started for it end with the block.

    Raises:
        UsageError: `text` is no cluster.
        SnpeSrganError: the scheduler does not answer, or has no workers.
    """
    wanted = parse_cluster(text)
    with connect(wanted) as client:
        if wanted.kind == "address":
            try:
                client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            except LATE as error:
                raise SnpeSrganError("the scheduler has no workers", where=text, hint="dask worker ADDRESS") from error
        yield DaskCrew(client, wanted)


@dataclass(frozen=True)
class DaskCrew:
    """See `parallel.Crew`."""

    client: Client
    wanted: Wanted

    @property
    def size(self) -> int:
        """Calls at once: Dask's threads, or, of jobs that wait for their turn in a batch system, those that will be."""
        if self.wanted.kind == "address":
            return max(1, sum(self.client.nthreads().values()))
        return max(1, self.wanted.workers) * (1 if self.wanted.kind == "local" else self.wanted.processes)

    @contextlib.contextmanager
    def at_work(
        self, prepare: Callable[..., Prepared], arguments: tuple[Any, ...]
    ) -> Iterator[Callable[[Call], Callable[[], Answer]]]:
        """See `parallel.Crew`."""
        toolbox = Toolbox(prepare, arguments, places=_places(self.client, self.wanted))
        self.client.register_plugin(toolbox)
        numbers, running = itertools.count(), set[Future]()

        def submit(call: Call) -> Future:
            future = self.client.submit(Use(toolbox.name), call, key=(toolbox.name, next(numbers)), pure=False)
            running.add(future)
            return future

        def begin(call: Call) -> Callable[[], Answer]:
            first = submit(call)
            return lambda: self._answer(call, first, submit, running)

        try:
            yield begin
        finally:
            if self.client.status == "running":
                self.client.cancel(list(running), force=True)
                self.client.unregister_worker_plugin(toolbox.name)

    def _answer(self, call: Call, future: Future, submit: Callable[[Call], Future], running: set[Future]) -> Answer:
        for _ in range(MOST_DEATHS):
            try:
                found = self._wait(future)
            except (KilledWorker, CancelledError, OSError):
                running.discard(future)
                if self.client.status != "running":
                    break
                future = submit(call)
            else:
                running.discard(future)
                if isinstance(found, Exception):
                    raise found
                return found
        running.discard(future)
        if self.client.status != "running":
            raise SnpeSrganError("the scheduler is gone", where=self.wanted.address or None)
        raise SnpeSrganError(
            f"{MOST_DEATHS} workers died of the same piece of work, most likely because memory ran out",
            hint="fewer workers a machine",
        )

    def _wait(self, future: Future) -> Answer | Exception:
        """Looks up now and then: a scheduler that is gone answers nothing."""
        while True:
            try:
                return future.result(timeout=TICK)
            except LATE:
                if self.client.status != "running":
                    raise CancelledError from None


def _places(client: Client, wanted: Wanted) -> dict[str | int, tuple[int, int]]:
    """A worker's name or address -> (index, count) among those of its machine: Dask numbers the ones started here."""
    if wanted.kind == "local":
        return {index: (index, wanted.workers) for index in range(wanted.workers)}
    machines = collections.defaultdict(list)
    for address in sorted(client.nthreads()):
        machines[address.rsplit(":", 1)[0]].append(address)
    return {address: (i, len(those)) for those in machines.values() for i, address in enumerate(those)}


class Toolbox(WorkerPlugin):
    """What a worker needs for its calls: prepared for the first of them, in the thread that makes them.

    Args:
        prepare, arguments: of `ordered`.
        places: see `_places`.
    """

    def __init__(
        self, prepare: Callable[..., Prepared], arguments: tuple[Any, ...], *,
        places: dict[str | int, tuple[int, int]],
    ):  # fmt: skip
        self.name = f"snpe-srgan-{uuid.uuid4().hex}"
        self._told = (prepare, arguments, places, os.getpid(), __version__)

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "_told": self._told}

    def setup(self, worker: Worker) -> None:
        """Called by Dask in each worker."""
        places = self._told[2]
        self._lock, self._prepared = threading.Lock(), list[Prepared]()
        self._address, self._place = worker.address, places.get(worker.name, places.get(worker.address, (0, 1)))

    def teardown(self, worker: Worker) -> None:
        """Called by Dask at the end of the work, in the loop that must not wait for a call."""
        self._prepared = []

    def use(self, call: Call) -> Answer:
        """One call, in the thread of a worker."""
        with self._lock, remarks_of() as said:
            if not self._prepared:
                self._begin()
                prepare, arguments = self._told[:2]
                self._prepared = [prepare(*arguments)]
            function, item = call
            result = function(self._prepared[0], item)
        return result, said

    def _begin(self) -> None:
        client, version = self._told[3:]
        if version != __version__:
            raise SnpeSrganError(
                f"this worker has snpe-srgan {__version__}, and the client {version}", where=self._address,
                hint="install the same version",
            )  # fmt: skip
        if os.getpid() == client:
            return
        os.dup2(2, 1)  # standard output belongs to the client's result
        index, count = self._place
        share_memory(count)
        if count > 1 and (cores := cores_of(index, count)):
            os.sched_setaffinity(0, cores)


@dataclass(frozen=True)
class Use:
    """A call with the toolbox of the worker on which it is made."""

    toolbox: str

    def __call__(self, call: Call) -> Answer | Exception:
        """In a worker: the answer, or what was raised; what Dask itself raises is then its own."""
        toolbox = get_worker().plugins.get(self.toolbox)
        if not isinstance(toolbox, Toolbox):
            return SnpeSrganError("the worker has not got its tools", where=get_worker().address)
        try:
            return toolbox.use(call)
        except Exception as error:
            return error
