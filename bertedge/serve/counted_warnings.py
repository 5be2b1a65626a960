"""Warnings about texts are counted, not printed: a server would print them for each request."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

Count = Callable[[type[Warning]], None]
_lock = threading.Lock()
_counting: list[tuple[Collection[type[Warning]], Count]] = []
_before: list[warnings.catch_warnings[Any]] = []


@contextmanager
def counted_warnings(kinds: Collection[type[Warning]], count: Count) -> Iterator[None]:
    """Call ``count`` for each warning of these kinds in any thread, and do not show them. Others stay as they are.

    Several servers of one process may do so at once: the first one changes Python's filters, the last one restores
    them.
    """
    own = (kinds, count)
    with _lock:
        if not _counting:
            _install(kinds)
        _counting.append(own)
    try:
        yield
    finally:
        with _lock:
            _counting.remove(own)
            if not _counting:
                _before.pop().__exit__(None, None, None)


def _install(kinds: Collection[type[Warning]]) -> None:
    before = warnings.catch_warnings()
    before.__enter__()
    _before.append(before)
    for kind in kinds:
        warnings.simplefilter("always", kind)
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        counts = [count for own, count in list(_counting) if category in own]
        for count in counts:
            count(category)
        if not counts:
            shown(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]
