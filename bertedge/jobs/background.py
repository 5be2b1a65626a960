"""Reading ahead and writing behind, each in a thread of its own, so that computing never waits for a disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Full, Queue
from typing import Any, TypeVar

Item = TypeVar("Item")

#: The last item of a writer.
_END = object()
#: Items that wait to be taken, or to be written.
WAITING = 2
#: Seconds after which a thread that waits looks whether it is to stop.
LOOK_S = 0.1
#: Seconds that a stopped thread gets to end. It may wait for a pipe whose reader sleeps.
LEAVE_S = 5.0


@contextmanager
def reading_ahead(items: Iterator[Item], stopped: threading.Event) -> Iterator[Iterator[Item]]:
    """Yield the same items, which a thread takes in advance. An exception of the iterator is raised in its place.

    Args:
        stopped: is set at the end of the block, and ends the thread.
    """
    queue: Queue[tuple[Item | None, BaseException | None]] = Queue(WAITING)

    def put(item: Item | None, error: BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                queue.put((item, error), timeout=LOOK_S)
                return True
            except Full:
                continue
        return False

    def read() -> None:
        try:
            if all(put(item, None) for item in items):
                put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    def taken() -> Iterator[Item]:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=read, name="bertedge-reader", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stopped.set()
        thread.join(LEAVE_S)


class WritingBehind:
    """Calls a function with items in a thread, one after the other.

    An exception of the function ends the thread, and is raised by the next call of :meth:`put` or by :meth:`finish`.
    """

    def __init__(self, write: Callable[[Any], None]) -> None:
        self._write, self._queue = write, Queue[Any](WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bertedge-writer", daemon=True)
        self._thread.start()

    def put(self, item: Any) -> None:
        """Hand over an item. Waits while too many are handed over."""
        while True:
            self._raise()
            try:
                return self._queue.put(item, timeout=LOOK_S)
            except Full:
                continue

    def finish(self) -> None:
        """Wait until everything is written."""
        self.put(_END)
        self._thread.join()
        self._raise()

    def leave(self) -> None:
        """The same after an error: no exception, and only a limited time."""
        end = time.monotonic() + LEAVE_S
        while self._thread.is_alive() and time.monotonic() < end:
            try:
                self._queue.put(_END, timeout=LOOK_S)
            except Full:
                continue
            self._thread.join(max(end - time.monotonic(), 0))

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            try:
                self._write(item)
            except BaseException as error:
                self._error = error
                return
