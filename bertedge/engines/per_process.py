"""Loaded models in forked processes (``gunicorn --preload``, ``multiprocessing``).

``fork`` copies the memory of a process, but only one of its threads. In the child, an onnxruntime session of several
threads waits for threads that do not exist: in a call, or when it is destroyed at exit. So a child process neither uses
nor destroys its parent's sessions, and opens its own when it needs them: :class:`PerProcess`. An object that can start
its threads again is told of the fork instead: :func:`survives_fork`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

Key = TypeVar("Key")
Value = TypeVar("Value")

#: Whether the ``tokenizers`` library may use threads; it reads this environment variable at every call. A child has
#: none of its parent's threads: with "true", which a user may have set, it would wait for them forever.
PARALLEL = "TOKENIZERS_PARALLELISM"
_log = logging.getLogger(__name__)


class AfterFork(Protocol):
    """An object that has threads.

    In a forked process, ``after_fork`` is called before anything else uses the object there.
    """

    def after_fork(self) -> None: ...


_all: WeakSet[AfterFork] = WeakSet()


def survives_fork(held: AfterFork) -> None:
    """Call the object's ``after_fork`` in forked processes, as long as it lives."""
    _all.add(held)


class PerProcess(Generic[Key, Value]):
    """Objects that have threads, such as sessions; each process opens its own on first use.

    Args:
        open: opens the object of a key.
        before: called in a forked process, before anything is opened there.
    """

    def __init__(self, open: Callable[[Key], Value], before: Callable[[], None] = lambda: None) -> None:
        self._open, self._before = open, before
        self._opened: dict[Key, Value] = {}
        self._lock = threading.Lock()
        self._forked = False
        survives_fork(self)

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
        """The keys that were opened in this process, in the order of opening."""
        return iter(list(self._opened))

    def after_fork(self) -> None:
        """Forget the objects of the parent process, and never destroy them."""
        for value in self._opened.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
        self._opened, self._forked = {}, True
        self._lock = threading.Lock()  # a thread that no longer exists may have held the old lock


def _in_child() -> None:
    if not _all:
        return
    for held in list(_all):
        held.after_fork()
    os.environ[PARALLEL] = "false"


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_in_child)
