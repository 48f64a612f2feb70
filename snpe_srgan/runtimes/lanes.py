"""Tiles side by side on an engine that uses one core: each lane is a graph prepared for one size, ready for the next.

    lanes = Lanes(open_graph, most=2)
    sr = lanes.run(lr)                                # from any thread; waits for a free lane
    for sr in lanes.run_all(tiles): ...               # as many at once as there are lanes, in order
    for sr in lanes.run_all(tiles, kinds): ...        # by graphs of several kinds for one size
"""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import numpy as np

Shape = tuple[int, ...]
Kind = TypeVar("Kind", bound=Hashable)  # what else tells graphs for one shape apart


class Graph(Protocol):
    """A graph prepared for one size, most likely in a process of its own."""

    def run(self, array: np.ndarray) -> np.ndarray:
        """One inference: an array of the shape that the graph was prepared for -> its result."""

    def close(self) -> None:
        """Ends the graph; harmless when repeated, and from another thread while `run` is at work."""


class Lanes(Generic[Kind]):
    """Graphs that are kept open, each for one shape of arrays.

    Args:
        open_graph: prepares the graph for arrays of a shape, of a kind.
        most: lanes; no more graphs than that are open at once.
    """

    def __init__(self, open_graph: Callable[[Shape, Kind | None], Graph], *, most: int):
        self._open, self.most = open_graph, max(1, most)
        self._free = threading.Semaphore(self.most)
        self._lock = threading.Lock()
        self._idle: list[tuple[tuple[Shape, Kind | None], Graph]] = []  # the longest unused first
        self._busy: set[Graph] = set()

    def run(self, array: np.ndarray, kind: Kind | None = None) -> np.ndarray:
        """One array through a graph of its shape. A graph that fails is given up: its process has ended."""
        return self._run(array, kind, set())

    def _run(self, array: np.ndarray, kind: Kind | None, running: set[Graph]) -> np.ndarray:
        """`run`; the graph is in `running` meanwhile, and whoever takes it out has ended it."""
        with self._free:
            graph = self._take(array.shape, kind)
            running.add(graph)
            try:
                result = graph.run(array)
            except BaseException:
                with self._lock:
                    self._busy.discard(graph)
                running.discard(graph)
                graph.close()
                raise
            with self._lock:
                self._busy.discard(graph)
                if graph in running:
                    running.remove(graph)
                    self._idle.append(((array.shape, kind), graph))
            return result

    def run_all(
        self, arrays: Iterable[np.ndarray], kinds: Iterable[Kind | None] = itertools.repeat(None)
    ) -> Iterator[np.ndarray]:
        """Results in order; arrays are taken a few ahead of them.

        Args:
            arrays: they may differ in shape; each result is what `Graph.run` gives.
            kinds: of the graph for each of them.
        """
        if self.most == 1:
            yield from map(self.run, arrays, kinds)
            return
        pool = ThreadPoolExecutor(self.most)
        waiting: collections.deque[Future[np.ndarray]] = collections.deque()
        running: set[Graph] = set()  # of this call: others may share the lanes
        try:
            for array, kind in zip(arrays, kinds, strict=False):
                waiting.append(pool.submit(self._run, array, kind, running))
                if len(waiting) > self.most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            with self._lock:  # after an error or an interruption: what still runs is of no use
                useless = list(running)
                running.clear()
            for graph in useless:
                graph.close()
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Ends all graphs; harmless when repeated. The next array opens one again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, graph in idle:
            graph.close()

    def _take(self, shape: Shape, kind: Kind | None) -> Graph:
        """A graph of this shape and kind: an idle one, or a new one in the place of the one that is longest idle."""
        old = None
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index][0] == (shape, kind):
                    graph = self._idle.pop(index)[1]
                    self._busy.add(graph)
                    return graph
            if len(self._idle) + len(self._busy) >= self.most and self._idle:
                old = self._idle.pop(0)[1]
        if old is not None:
            old.close()
        graph = self._open(shape, kind)
        with self._lock:
            self._busy.add(graph)
        return graph
