"""Ctrl-C between steps, not inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interrupt:
    """Ctrl-C and SIGTERM as a flag, looked at between steps: the state that is saved is then a whole step's.

    A second Ctrl-C ends at once.
    """

    def __init__(self):
        self.requested = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[Interrupt]:
        """A context in which Ctrl-C and SIGTERM set `requested`; the old handlers come back behind it.

        In a thread other than the main one nothing is caught: signals do not reach it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self  # signals reach only the main thread; whoever trains elsewhere handles them
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number, frame) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
