"""What a forked process inherits of a loaded model, and must neither use nor tear down.

``fork`` copies the memory of a process, but only one of its threads. An onnxruntime session of several threads then
waits for threads that are not there: in a call, or when it is destroyed at exit. So a child process puts its parent's
sessions aside for good, and opens its own when it needs them (``gunicorn --preload``, ``multiprocessing``).
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar
from weakref import WeakSet

Key = TypeVar("Key")
Value = TypeVar("Value")

#: Whether the ``tokenizers`` library may use threads, which it reads at every call. Its threads are not in a child
#: either: with "true", which a user may have set, a child would wait for them for ever.
PARALLEL = "TOKENIZERS_PARALLELISM"
_log = logging.getLogger(__name__)
_all: WeakSet[PerProcess] = WeakSet()


class PerProcess(Generic[Key, Value]):
    """Things with threads of their own, opened on first use in each process.

    Args:
        open: opens the one of a key.
        before: is called in a forked process, before anything is opened there.
    """

    def __init__(self, open: Callable[[Key], Value], before: Callable[[], None] = lambda: None) -> None:
        self._open, self._before = open, before
        self._opened: dict[Key, Value] = {}
        self._lock = threading.Lock()
        self._forked = False
        _all.add(self)

    def __getitem__(self, key: Key) -> Value:
        try:
            return self._opened[key]
        except KeyError:
            pass
        with self._lock:
            if self._forked:
                _log.info("opening the model again in the forked process %d", os.getpid())
                self._before()
                self._forked = False
            if key not in self._opened:
                self._opened[key] = self._open(key)
            return self._opened[key]

    def __iter__(self) -> Iterator[Key]:
        """The keys that were opened in this process, in that order."""
        return iter(list(self._opened))

    def abandon(self) -> None:
        """Forget what the parent process opened, without destroying it: not now, and not at exit."""
        for value in self._opened.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
        self._opened, self._forked = {}, True
        self._lock = threading.Lock()  # a thread that is not there any more may have held the old one


def _in_child() -> None:
    if not _all:
        return
    for held in list(_all):
        held.abandon()
    os.environ[PARALLEL] = "false"


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_in_child)
