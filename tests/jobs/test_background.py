"""Reading ahead and writing behind: order, limits, and errors of the other thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bertedge.jobs.background import WAITING, WritingBehind, reading_ahead


def test_items_come_in_order_and_an_error_after_them() -> None:
    def numbers() -> Iterator[int]:
        yield from range(10)
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"), reading_ahead(numbers(), threading.Event()) as items:
        for item in items:
            seen.append(item)  # noqa: PERF402 (an error ends the loop)
    assert seen == [*range(10)]


def test_no_more_is_read_than_is_taken() -> None:
    read = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    stopped = threading.Event()
    with reading_ahead(numbers(), stopped) as items:
        assert next(items) == 0
    assert stopped.is_set()
    assert len(read) <= WAITING + 3  # those that wait, the one that was taken, and the one that is to be put


def test_what_was_handed_over_is_written_in_order() -> None:
    written: list[int] = []
    writer = WritingBehind(written.append)
    for number in range(20):
        writer.put(number)
    writer.finish()
    assert written == [*range(20)]


def test_an_error_of_the_writer_is_raised_at_the_next_item() -> None:
    def broken(item: int) -> None:
        raise OSError("full")

    writer = WritingBehind(broken)
    with pytest.raises(OSError, match="full"):
        for number in range(100):
            writer.put(number)
    with pytest.raises(OSError, match="full"):
        writer.finish()
    writer.leave()


def test_leaving_writes_what_was_handed_over() -> None:
    written: list[int] = []
    writer = WritingBehind(written.append)
    writer.put(1)
    writer.leave()
    assert written == [1]
