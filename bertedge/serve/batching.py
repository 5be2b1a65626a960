"""Texts of many requests run together.

The methods of a loaded model call ``runner.run(rows, read)``. Here this puts the rows into a queue, from which one
thread takes as many as run well together. So every method of every head is batched, and none knows about it. Nothing
waits for a batch to fill up: while one runs, the next one gathers. A row's result does not depend on the other rows of
its batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Protocol, TypeVar

from bertedge.predictor import Row, RowOutputs
from bertedge.runtime.row_runner import RowRunner
from bertedge.serve.refusals import CLIENT_GONE, Refused, overloaded
from bertedge.serve.turns import Turns

T = TypeVar("T")
#: A masked position counts as this many tokens: its logits take much memory, and its head as long as a few tokens.
TOKENS_A_MASK = 16
#: A call gives at most this share of a batch before the other calls have given theirs.
SHARE = 4
#: Weight of the newest batch in the measured speed.
NEWEST = 0.1
#: The speed before anything was measured, in tokens a second.
FIRST_SPEED = 5000.0
#: Some rows' places in their call, with their outputs; or the error that ends the call.
Arrived = list[tuple[int, RowOutputs]] | BaseException


class Ticket:
    """One request in the queues.

    Attributes:
        tokens: how many were put into queues.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._ended: BaseException | None = None
        self._drop: Callable[[BaseException], None] = lambda error: None

    def end(self, error: BaseException) -> None:
        """Raise an error where the request waits, or when it would wait next. Its rows are not computed."""
        self._ended = error
        self._drop(error)

    def hold(self, drop: Callable[[BaseException], None]) -> None:
        """Say how to drop the rows that are in a queue now."""
        self._drop = drop
        if self._ended is not None:
            drop(self._ended)


class _Current(threading.local):
    """The request that a thread works on, and whose turns it takes."""

    ticket: Ticket | None = None
    turns: Turns | None = None


CURRENT = _Current()


class Watcher(Protocol):
    """Is told about each batch."""

    def __call__(self, rows: int, tokens: int, seconds: float) -> None: ...


class _Call:
    """The rows of one call of :meth:`BatchingRunner.run`.

    Attributes:
        places: of the rows that no batch has taken, the next one last. Rows of one length come together, since some
            engines run only these together.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.costs = [len(row.input_ids) + TOKENS_A_MASK * len(row.masked_positions) for row in rows]
        self.places = sorted(range(len(rows)), key=self.costs.__getitem__, reverse=True)
        self.waiting = sum(self.costs)
        self.arrived: SimpleQueue[Arrived] = SimpleQueue()


class RowQueue:
    """The rows that wait for a model. The calls take turns, so a large one does not hold up small ones.

    Args:
        batch_tokens: tokens of a batch, at most; a longer row is a batch of its own.
        most_tokens: tokens that wait, at most.
    """

    def __init__(self, *, batch_tokens: int, most_tokens: int) -> None:
        self.waiting, self.speed = 0, FIRST_SPEED
        self._batch_tokens, self._most = batch_tokens, most_tokens
        self._calls: deque[_Call] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._closed = False

    def put(self, call: _Call) -> None:
        """Add the rows of a call.

        Raises:
            Refused: too many tokens wait, or the call has more than may ever wait.
        """
        if call.waiting > self._most:
            told = f"the request has {call.waiting} tokens, expected at most {self._most}"
            raise Refused(413, f"{told}: send fewer texts at once")
        with self._changed:
            if self._closed:
                raise Refused(503, "the bundle was closed")
            if self.waiting + call.waiting > self._most:
                raise overloaded("too many texts wait", self.waiting / self.speed)
            self.waiting += call.waiting
            self._calls.append(call)
            self._changed.notify()

    def take(self) -> list[tuple[_Call, int]] | None:
        """The rows of the next batch: calls, and places in them. Waits until there is a row; None once closed."""
        with self._changed:
            while not self._calls:
                if self._closed:
                    return None
                self._changed.wait()
            batch: list[tuple[_Call, int]] = []
            left = self._batch_tokens
            while self._calls and left > 0:
                call = self._calls.popleft()
                left -= self._take_from(call, min(left, self._batch_tokens // SHARE), batch)
                if call.places:
                    self._calls.append(call)
            return batch

    def _take_from(self, call: _Call, share: int, batch: list[tuple[_Call, int]]) -> int:
        """Move rows of a call to a batch, at least one; returns their tokens."""
        taken = 0
        while call.places and (not taken or taken + call.costs[call.places[-1]] <= share):
            place = call.places.pop()
            taken += call.costs[place]
            batch.append((call, place))
        call.waiting -= taken
        self.waiting -= taken
        return taken

    def drop(self, call: _Call, error: BaseException) -> None:
        """Take the rows of a call out that no batch has taken, and end it."""
        with self._changed:
            if call in self._calls:
                self._calls.remove(call)
            self.waiting -= call.waiting
            call.waiting, call.places = 0, []
        call.arrived.put(error)

    def close(self) -> None:
        """Take nothing more; what is there is still computed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class BatchingRunner:
    """A :class:`bertedge.heads.text_model.Runner` for many threads, whose rows run together.

    Args:
        runner: runs the batches.
        watch: is told about each batch.
    """

    def __init__(self, runner: RowRunner, queue: RowQueue, watch: Watcher) -> None:
        self._runner, self._queue, self._watch = runner, queue, watch
        # a daemon, so that a program that forgets to close it can end
        self._thread = threading.Thread(target=self._work, name=f"batches of {runner.name}", daemon=True)
        self._thread.start()

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run texts; see :meth:`bertedge.engines.engine.Executor.run`. ``read`` is called in this thread.

        Raises:
            UsageError: an id, a segment or a position is out of range.
            Refused: too many texts wait, or the request has ended.
        """
        if not rows:
            return []
        for row in rows:
            self._runner.check(row)
        call, ticket, turns = _Call(rows), CURRENT.ticket or Ticket(), CURRENT.turns
        ticket.tokens += sum(len(row.input_ids) for row in rows)
        self._queue.put(call)
        ticket.hold(lambda error: self._queue.drop(call, error))
        results: dict[int, T] = {}
        try:
            while len(results) < len(rows):
                with nullcontext() if turns is None else turns.pause():
                    arrived = call.arrived.get()
                if isinstance(arrived, BaseException):
                    raise arrived
                results.update((place, read(outputs)) for place, outputs in arrived)
        except BaseException as error:
            self._queue.drop(call, error)
            raise
        finally:
            ticket.hold(lambda error: None)
        return [results[place] for place in range(len(rows))]

    def close(self) -> None:
        """Compute what is there, and end the thread. Calls that come later are refused."""
        self._queue.close()
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._queue.take()) is not None:
            start = time.perf_counter()
            self._compute(batch)
            seconds = time.perf_counter() - start
            tokens = sum(len(call.rows[place].input_ids) for call, place in batch)
            self._queue.speed += NEWEST * (tokens / max(seconds, 1e-6) - self._queue.speed)
            self._watch(len(batch), tokens, seconds)
            del batch  # its outputs, while this thread waits

    def _compute(self, batch: list[tuple[_Call, int]]) -> None:
        """Run a batch. If it fails, the calls run one by one, so that only the one with the error gets it."""
        places: dict[_Call, list[int]] = {}
        for call, place in batch:
            places.setdefault(call, []).append(place)
        try:
            outputs = iter(self._runner.executor.run([call.rows[place] for call, place in batch], _as_they_are))
        except Exception as error:
            if len(places) == 1:
                self._queue.drop(batch[0][0], error)
            else:
                for call, own in places.items():
                    self._compute([(call, place) for place in own])
            return
        arrived: dict[_Call, list[tuple[int, RowOutputs]]] = {call: [] for call in places}
        for (call, place), found in zip(batch, outputs, strict=True):
            arrived[call].append((place, found))
        for call, rows in arrived.items():
            call.arrived.put(rows)


def _as_they_are(outputs: RowOutputs) -> RowOutputs:
    """Outputs are read by the thread of their request, while the next batch runs."""
    return outputs


def client_gone() -> Refused:
    """The error that ends a request whose client has left."""
    return Refused(CLIENT_GONE, "the client has left")
