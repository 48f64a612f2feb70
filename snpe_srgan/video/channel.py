"""A bounded queue between two threads that ends, or fails, on both sides."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The other side has given up: there is nobody to put anything for."""


class Channel(Generic[T]):
    """Holds at most `size` things; `put` and iteration wait for room and for things.

    `fail` raises its error at the reader, `stop` raises `Stopped` at the writer.
    """

    def __init__(self, size: int):
        self._size, self._things = size, deque[T]()
        self._change = threading.Condition()
        self._closed = self._stopped = False
        self._error: BaseException | None = None

    def put(self, thing: T) -> None:
        """Adds a thing for the reader, and waits for room where there is none.

        Raises:
            Stopped: the reader has given up.
        """
        with self._change:
            self._change.wait_for(lambda: len(self._things) < self._size or self._stopped)
            if self._stopped:
                raise Stopped
            self._things.append(thing)
            self._change.notify_all()

    def close(self) -> None:
        """Nothing more comes."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def fail(self, error: BaseException) -> None:
        """Nothing more comes, because of this; what was put before is still read first."""
        with self._change:
            self._error = error
        self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Around all that a writer's thread does: its end closes the channel, its error goes to the reader, and a
        reader who has stopped is no error."""
        try:
            yield
            self.close()
        except Stopped:
            pass
        except BaseException as error:
            self.fail(error)

    def stop(self) -> None:
        """Nobody reads any more."""
        with self._change:
            self._stopped = True
            self._things.clear()
            self._change.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._things or self._closed or self._stopped)
                if not self._things:
                    if self._error is not None:
                        raise self._error
                    return
                thing = self._things.popleft()
                self._change.notify_all()
            yield thing
