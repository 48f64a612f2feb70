"""Work in several processes, results in order: the same numbers, whatever the number of processes.

    for score in ordered(score_picture, files, jobs=4, prepare=open_model, arguments=(model,)): ...

Each process gets cores of its own, so that its libraries start as many threads as it has cores, and makes what
`prepare` gives once. With one job all of it happens in this process.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from snpe_srgan.errors import Remark, SnpeSrganError
from snpe_srgan.machine import share_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
Prepared = Any  # what `prepare` gives and `function` gets first

AHEAD = 4  # results a process that may wait for their turn: what is large must not pile up

_prepared: list[Prepared] = []  # of a child: what `prepare` gave


Call = tuple[Callable[[Prepared, Any], Any], Any]  # a function of a module, and its item
Answer = tuple[Any, list[Remark]]  # what it gave, and what it said


class Crew(Protocol):
    """Processes that take calls: those of `jobs`, or workers of a cluster (`cluster/crew.py`)."""

    @property
    def size(self) -> int:
        """How many calls are at work at once."""

    def at_work(
        self, prepare: Callable[..., Prepared], arguments: tuple[Any, ...]
    ) -> AbstractContextManager[Callable[[Call], Callable[[], Answer]]]:
        """What takes a call and gives what waits for its answer. The end of the block ends what is still at work."""


Jobs = int | Crew  # so many processes of this machine (1: this one), or others


@dataclass(frozen=True)
class Processes:
    """So many processes, and how each opens what it needs: `prepare` is a function of a module."""

    jobs: Jobs
    prepare: Callable[..., Prepared]
    arguments: tuple[Any, ...] = ()


def here(jobs: Jobs) -> bool:
    """Whether the work is done in this process."""
    return isinstance(jobs, int) and jobs < 2


def no_idle(jobs: Jobs, items: int) -> Jobs:
    """No more processes of this machine than there are items: each has then more of the cores."""
    return max(1, min(jobs, items)) if isinstance(jobs, int) else jobs


def nothing() -> None:
    """The default of `prepare`."""


def ordered(
    function: Callable[[Prepared, Item], Result],
    items: Iterable[Item],
    *,
    jobs: Jobs,
    prepare: Callable[..., Prepared] = nothing,
    arguments: tuple[Any, ...] = (),
    weight: Callable[[Item], float] | None = None,
) -> Generator[Result, None, None]:
    """`function(prepare(*arguments), item)` for each item, in order; remarks of other processes are said here.

    Args:
        function: a function of a module, as all of this travels to other processes.
        items: read as their turn comes; all at once with `weight`.
        jobs: processes; with 1 this one.
        weight: about how long an item takes, in any unit: the last few are begun in the order of their weight, so that
            all processes end at about the same time.

    Raises:
        SnpeSrganError: a process died; or what `function` raised, when its turn comes.
    """
    if isinstance(jobs, int) and jobs < 2:
        prepared = prepare(*arguments)
        for item in items:
            yield function(prepared, item)
        return
    crew = _Pool(jobs) if isinstance(jobs, int) else jobs
    turns = _turns(items, crew.size, weight)
    waiting: dict[int, Callable[[], Answer]] = {}
    with crew.at_work(prepare, arguments) as begin:
        for index in itertools.count():
            while index not in waiting or len(waiting) < AHEAD * crew.size:
                turn = next(turns, None)
                if turn is None:
                    break
                waiting[turn[0]] = begin((function, turn[1]))
            if index not in waiting:
                return
            result, remarks = waiting.pop(index)()
            for remark in remarks:
                warnings.warn(remark, stacklevel=2)
            yield result


def _turns(items: Iterable[Item], size: int, weight: Callable[[Item], float] | None) -> Iterator[tuple[int, Item]]:
    """(index, item) in the order in which they are begun."""
    if weight is None:
        return iter(enumerate(items))
    known = list(enumerate(items))
    last = max(0, len(known) - AHEAD * size)
    return iter(known[:last] + sorted(known[last:], key=lambda one: -weight(one[1])))


@dataclass(frozen=True)
class _Pool:
    """Processes of this machine, each with cores of its own."""

    size: int

    @contextlib.contextmanager
    def at_work(
        self, prepare: Callable[..., Prepared], arguments: tuple[Any, ...]
    ) -> Iterator[Callable[[Call], Callable[[], Answer]]]:
        context = multiprocessing.get_context("spawn")
        places = context.SimpleQueue()
        for index in range(self.size):
            places.put(cores_of(index, self.size))
        pool = ProcessPoolExecutor(
            self.size, mp_context=context, initializer=_begin, initargs=(places, self.size, prepare, arguments)
        )

        def begin(call: Call) -> Callable[[], Answer]:
            future = pool.submit(_one, *call)
            return lambda: _answer(future)

        try:
            yield begin
        except BaseException:  # what they still do is of no use
            for child in list((pool._processes or {}).values()):
                child.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cores_of(index: int, jobs: int) -> list[int]:
    """The cores of one process: a part of those this process has; none where the system cannot say."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores[index::jobs] or [cores[index % len(cores)]]


def _begin(places: Any, jobs: int, prepare: Callable[..., Prepared], arguments: tuple[Any, ...]) -> None:
    """A child's start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # standard output belongs to the command's result
    cores = places.get()
    if cores:
        os.sched_setaffinity(0, cores)
    share_memory(jobs)
    _prepared[:] = [prepare, arguments]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(function: Callable[[Prepared, Item], Result], item: Item) -> Answer:
    """In a child. `prepare` is called for the first item, so that what it raises is the item's error."""
    with remarks_of() as said:
        if len(_prepared) == 2:
            prepare, arguments = _prepared
            _prepared[:] = [prepare(*arguments)]
        result = function(_prepared[0], item)
    return result, said


@contextlib.contextmanager
def remarks_of() -> Iterator[list[Remark]]:
    """The remarks that are made inside, in a list that is filled at its end."""
    found: list[Remark] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", Remark)
        yield found
    found += [w.message for w in said if isinstance(w.message, Remark)]


def _answer(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise SnpeSrganError(
            "one of the processes died, most likely because memory ran out", hint="fewer --jobs"
        ) from error
