"""Turns of threads: a few work at a time, and each gets its turn in the order of asking."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """How many threads may work at once.

    Python runs one thread at a time. Where a hundred requests want to run, the system may let one of them wait for
    seconds while others pass it, and the thread that takes requests from the network rarely gets to run. A lock or a
    semaphore of Python does not help: a thread that asks late may be faster than one that waits.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._begun: deque[threading.Lock] = deque()
        self._new: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    def take(self, *, begun: bool = False) -> None:
        """Wait for a turn.

        Args:
            begun: come before those that have not begun, so that requests end before others begin.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            (self._begun if begun else self._new).append(gate)
        gate.acquire()

    def give(self) -> None:
        """End a turn; the next thread has it at once."""
        with self._lock:
            if waiting := self._begun or self._new:
                waiting.popleft().release()
            else:
                self._free += 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work for one turn."""
        self.take()
        try:
            yield
        finally:
            self.give()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Wait for something within a turn, which another thread has meanwhile."""
        self.give()
        try:
            yield
        finally:
            self.take(begun=True)
