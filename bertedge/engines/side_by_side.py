"""Work on several threads at once.

Cores that share one call of a model wait for each other at every operator. Where there are many calls, it is faster
if each core makes calls of its own: onnxruntime releases Python's lock while it computes, and a session with one thread
computes on the thread that called it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items per thread that are started or waiting: the current item, and the next one.
AHEAD = 2


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int
) -> Iterator[tuple[Item, Result]]:
    """Do ``work`` on every item. Items start in their order; pairs of item and result come as soon as they are ready.

    No more than ``AHEAD * threads`` results are held at any time. An exception of ``work`` is raised here, after all
    items that were started are done.
    """
    with ThreadPoolExecutor(threads) as pool:
        started: dict[Future[Result], Item] = {}
        for item in items:
            if len(started) == AHEAD * threads:
                yield from _ready(started)
            started[pool.submit(work, item)] = item
        while started:
            yield from _ready(started)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Iterator[Result]:
    """Do ``work`` on several items at a time; results come in the order of the items.

    No more than ``threads`` results are held at any time. An exception of ``work`` is raised in place of its result.
    """
    with ThreadPoolExecutor(threads) as pool:
        started: deque[Future[Result]] = deque()
        for item in items:
            if len(started) == threads:
                yield started.popleft().result()
            started.append(pool.submit(work, item))
        while started:
            yield started.popleft().result()


def _ready(started: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    """Wait until at least one item is done, and take out all that are."""
    done, _ = wait(started, return_when=FIRST_COMPLETED)
    for future in done:
        yield started.pop(future), future.result()
