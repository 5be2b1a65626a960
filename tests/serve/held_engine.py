"""An engine that waits before each batch, so that a test chooses what else happens in the meantime."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from bertedge.predictor import Row, RowOutputs
from bertedge.runtime.row_runner import RowRunner

T = TypeVar("T")


class HeldEngine:
    """The executor of a real model, behind a gate.

    Attributes:
        gate: batches run while it is set.
        entered: is released once for each batch that has come to the gate.
        batches: the rows of each batch that ran, as lists of ids.
        broken: an id; a batch that holds it fails with an error that holds the word ``secretword``.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.batches: list[list[list[int]]] = []
        self.broken: int | None = None

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        self.entered.release()
        assert self.gate.wait(60)
        ids = [row.input_ids.tolist() for row in rows]
        self.batches.append(ids)
        if any(self.broken in row for row in ids):
            raise ValueError("secretword")
        return self._executor.run(rows, read)  # type: ignore[no-any-return]

    def came(self) -> None:
        """Wait until a batch has come to the gate."""
        assert self.entered.acquire(timeout=60)

    @property
    def ran(self) -> list[list[int]]:
        """All rows that ran."""
        return [row for batch in self.batches for row in batch]


def held(runner: Any) -> tuple[RowRunner, HeldEngine]:
    """A runner of the same model behind a gate."""
    engine = HeldEngine(runner.executor)
    return replace(runner, executor=engine), engine


def until(holds: Callable[[], Any]) -> None:
    """Wait for what has no event."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
