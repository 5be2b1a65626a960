"""Pieces of work on several threads at once.

A model split over cores has them wait for each other at every operator. With many calls to make it is faster that each
core makes one of its own: onnxruntime lets go of Python's lock while it computes, and a session with one thread
computes on the thread that called it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Pieces handed out for each thread: one that it works on, one that lies ready.
AHEAD = 2


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int
) -> Iterator[tuple[Item, Result]]:
    """Do ``work`` on every item; items and results come as they are ready, started in the order of the items.

    No more than ``AHEAD * threads`` results lie around at any time, however many items there are. An exception of
    ``work`` is raised here once the pieces that were handed out are done.
    """
    with ThreadPoolExecutor(threads) as pool:
        handed_out: dict[Future[Result], Item] = {}
        for item in items:
            if len(handed_out) == AHEAD * threads:
                yield from _ready(handed_out)
            handed_out[pool.submit(work, item)] = item
        while handed_out:
            yield from _ready(handed_out)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Iterator[Result]:
    """Do ``work`` on several items at a time; results come in the order of the items.

    No more than ``threads`` results are held at any time. An exception of ``work`` is raised where its result would
    come.
    """
    with ThreadPoolExecutor(threads) as pool:
        handed_out: deque[Future[Result]] = deque()
        for item in items:
            if len(handed_out) == threads:
                yield handed_out.popleft().result()
            handed_out.append(pool.submit(work, item))
        while handed_out:
            yield handed_out.popleft().result()


def _ready(handed_out: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    """Take out what is done, and wait for something that is."""
    done, _ = wait(handed_out, return_when=FIRST_COMPLETED)
    for future in done:
        yield handed_out.pop(future), future.result()
