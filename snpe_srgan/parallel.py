"""Work in several processes, results in order: the same numbers, whatever the number of processes.

    for score in ordered(score_picture, files, jobs=4, prepare=open_model, arguments=(model,)): ...

Each process gets cores of its own, so that its libraries start as many threads as it has cores, and makes what
`prepare` gives once. With one job all of it happens in this process.
"""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from snpe_srgan.errors import Remark, SnpeSrganError
from snpe_srgan.machine import share_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
Prepared = Any  # what `prepare` gives and `function` gets first

AHEAD = 2  # results a process that may wait for their turn: what is large must not pile up

_prepared: list[Prepared] = []  # of a child: what `prepare` gave


@dataclass(frozen=True)
class Processes:
    """So many processes, and how each opens what it needs: `prepare` is a function of a module."""

    jobs: int
    prepare: Callable[..., Prepared]
    arguments: tuple[Any, ...] = ()


def nothing() -> None:
    """The default of `prepare`."""


def ordered(
    function: Callable[[Prepared, Item], Result],
    items: Iterable[Item],
    *,
    jobs: int,
    prepare: Callable[..., Prepared] = nothing,
    arguments: tuple[Any, ...] = (),
) -> Generator[Result, None, None]:
    """`function(prepare(*arguments), item)` for each item, in order; remarks of other processes are said here.

    Args:
        function: a function of a module, as all of this travels to other processes.
        items: read as their turn comes.
        jobs: processes; with 1 this one.

    Raises:
        SnpeSrganError: a process died; or what `function` raised, when its turn comes.
    """
    if jobs < 2:
        prepared = prepare(*arguments)
        for item in items:
            yield function(prepared, item)
        return
    context = multiprocessing.get_context("spawn")
    places = context.SimpleQueue()
    for index in range(jobs):
        places.put(_cores(index, jobs))
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin, initargs=(places, jobs, prepare, arguments)
    )
    waiting: collections.deque[Future[tuple[Result, list[Remark]]]] = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(_one, function, item))
            if len(waiting) >= AHEAD * jobs:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()
        children = list((pool._processes or {}).values()) if waiting else []  # what they still do is of no use
        for child in children:
            child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _cores(index: int, jobs: int) -> list[int]:
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


def _one(function: Callable[[Prepared, Item], Result], item: Item) -> tuple[Result, list[Remark]]:
    """In a child. `prepare` is called for the first item, so that what it raises is the item's error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", Remark)
        if len(_prepared) == 2:
            prepare, arguments = _prepared
            _prepared[:] = [prepare(*arguments)]
        result = function(_prepared[0], item)
    return result, [w.message for w in said if isinstance(w.message, Remark)]


def _result(future: Future[tuple[Result, list[Remark]]]) -> Result:
    try:
        result, remarks = future.result()
    except BrokenProcessPool as error:
        raise SnpeSrganError(
            "one of the processes died, most likely because memory ran out", hint="fewer --jobs"
        ) from error
    for remark in remarks:
        warnings.warn(remark, stacklevel=2)
    return result
