"""Deals a list of work to the workers of a Dask cluster, whatever becomes of them.

    for item, result in Dispatch(client, work, name="photos").run(items): ...

`work(items)` is called on a worker with a few items at a time, so many that a call takes a quarter of a second: what is
large goes one by one, and what is tiny does not cost a call of the scheduler each. Only a few calls a worker are under
way at once, so memory does not grow with the list. When a worker dies, the items of its call go to others, one by one;
an item that has been in hand when three workers died is put aside as `POISONED`.
"""

from __future__ import annotations

import collections
import itertools
import queue
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from snpe_srgan.errors import SnpeSrganError

if TYPE_CHECKING:
    from distributed import Client, Future

MOST_DEATHS = 3  # workers that an item may take with it
MOST_VANISHED = 20  # times that a result may be lost after it was made
CALL_SECONDS = 0.25
MOST_ITEMS = 100  # in one call
TICK = 1.0  # seconds between two looks at the cluster

Item = TypeVar("Item")
Result = TypeVar("Result")


class Poisoned:
    """In place of a result: workers died of this item."""


POISONED = Poisoned()


def timed(work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> tuple[float, Sequence[Result]]:
    """What a worker is asked to do: the seconds it took, and the results in the order of the items."""
    begun = time.perf_counter()
    results = work(items)
    return time.perf_counter() - begun, results


class Dispatch(Generic[Item, Result]):
    """One list of work on one cluster.

    Args:
        client: of the cluster; workers may come and go while it runs.
        work: called on workers; it can be pickled, and gives one result for each item, in order. It may be called
            again for an item whose result was lost. What it raises ends the run.
        name: of the work, on Dask's dashboard.
        tick: called about once a second, and after each call, with the number of workers.
    """

    def __init__(
        self,
        client: Client,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        name: str,
        tick: Callable[[int], None] | None = None,
    ):
        self._client, self._work, self._tick = client, work, tick
        self._group = f"{name}-{uuid.uuid4().hex[:8]}"
        self._numbers = itertools.count()
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._running: dict[Future, tuple[Item, ...]] = {}
        self._deaths: collections.Counter[Item] = collections.Counter()
        self._vanished: collections.Counter[Item] = collections.Counter()
        self._suspects: collections.deque[Item] = collections.deque()
        self._seconds_an_item: float | None = None
        self._looked, self._workers, self._slots = -TICK, 0, 1
        self.lost_workers = 0  # at the least: calls that ended with their worker

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result | Poisoned]]:
        """Each item with its result, once, in the order in which they come.

        Raises:
            SnpeSrganError: the scheduler is gone; or what `work` raised.
        """
        waiting = iter(items)
        try:
            self._fill(waiting)
            while self._running:
                try:
                    future = self._finished.get(timeout=TICK)
                except queue.Empty:
                    self._look()
                    continue
                if future in self._running:
                    yield from self._ended(future, self._running.pop(future))
                self._fill(waiting)
        finally:
            futures, self._running = list(self._running), {}
            if futures and self._client.status == "running":
                self._client.cancel(futures, force=True)

    def _look(self) -> None:
        """Asks about once a second how many workers there are."""
        now = time.monotonic()
        if now - self._looked >= TICK:
            self._looked = now
            if self._client.status != "running":
                raise self._scheduler_gone()
            threads = self._client.nthreads()
            self._workers, self._slots = len(threads), max(1, sum(threads.values()))
        if self._tick is not None:
            self._tick(self._workers)

    def _fill(self, waiting: Iterator[Item]) -> None:
        """Keeps two calls for each slot under way, so that no worker waits for this process."""
        self._look()
        while len(self._running) < 2 * self._slots + 2:
            if self._suspects:
                items: tuple[Item, ...] = (self._suspects.popleft(),)
            else:
                items = tuple(itertools.islice(waiting, self._size()))
            if not items:
                return
            # Keys of one group, so that the scheduler keeps calls back until a worker is free ("root tasks").
            key = (self._group, next(self._numbers))
            future = self._client.submit(timed, self._work, items, key=key, pure=False)
            self._running[future] = items
            future.add_done_callback(self._finished.put)

    def _size(self) -> int:
        if self._seconds_an_item is None:
            return 1
        return max(1, min(MOST_ITEMS, int(CALL_SECONDS / max(self._seconds_an_item, 1e-6))))

    def _ended(self, future: Future, items: tuple[Item, ...]) -> Iterator[tuple[Item, Result | Poisoned]]:
        from concurrent.futures import CancelledError

        from distributed.scheduler import KilledWorker

        try:
            seconds, results = future.result()
        except KilledWorker as error:
            yield from self._lost(items, deaths=error.allowed_failures + 1)
        except (CancelledError, OSError):  # it was done, and its worker died before it could tell
            self._retry_vanished(items)
        except SnpeSrganError:
            raise
        except Exception as error:
            raise SnpeSrganError(f"the work failed on a worker: {type(error).__name__}: {error}"[:300]) from error
        else:
            mean = seconds / len(items)
            self._seconds_an_item = mean if self._seconds_an_item is None else (self._seconds_an_item + mean) / 2
            yield from zip(items, results, strict=True)

    def _retry_vanished(self, items: tuple[Item, ...]) -> None:
        if self._client.status != "running":
            raise self._scheduler_gone()
        self.lost_workers += 1
        for item in items:
            self._vanished[item] += 1
            if self._vanished[item] > MOST_VANISHED:
                raise SnpeSrganError("results of this cluster are lost again and again: somebody cancels its work")
        self._suspects.extend(items)

    def _lost(self, items: tuple[Item, ...], *, deaths: int) -> Iterator[tuple[Item, Poisoned]]:
        """Of several items nobody knows which one it was: each is tried alone."""
        self.lost_workers += 1
        for item in items:
            self._deaths[item] += deaths if len(items) == 1 else 1
            if self._deaths[item] >= MOST_DEATHS:
                yield item, POISONED
            else:
                self._suspects.append(item)

    def _scheduler_gone(self) -> SnpeSrganError:
        scheduler = getattr(self._client.scheduler, "address", "") or "of this run"
        return SnpeSrganError(
            f"the Dask scheduler {scheduler} is gone", hint="start it and give the same command: the run goes on"
        )
