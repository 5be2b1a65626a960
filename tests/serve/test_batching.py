"""The queue of a model, with a real model: what runs together, what is refused, what is dropped."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

from bertedge.runtime import BertRuntime
from bertedge.serve.batching import CURRENT, BatchingRunner, RowQueue, Ticket, client_gone
from bertedge.serve.refusals import CLIENT_GONE, Refused
from tests.serve.held_engine import HeldEngine, held, until

WORDS = ["the", "cat", "sat", "on", "mat", "a", "ship", "left", "port", "at", "dawn"]


class Queued(NamedTuple):
    """A model whose rows wait in a queue, and run when its gate is open."""

    model: BertRuntime
    engine: HeldEngine
    queue: RowQueue
    runner: BatchingRunner
    watched: list[tuple[int, int]]

    def ask(self, text: str | list[str], ticket: Ticket | None = None) -> Any:
        CURRENT.ticket = ticket
        return self.model.encode(text)


@pytest.fixture
def queued(models: dict[str, BertRuntime]) -> Iterator[Queued]:
    """Batches of 64 tokens, and at most 400 that wait."""
    plain = models["words"]
    runner, engine = held(plain.runner)
    queue = RowQueue(batch_tokens=64, most_tokens=400)
    watched: list[tuple[int, int]] = []
    batching = BatchingRunner(runner, queue, lambda rows, tokens, seconds: watched.append((rows, tokens)))
    yield Queued(plain.with_runner(batching), engine, queue, batching, watched)
    engine.gate.set()
    batching.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def refusal(answer: Future[Any]) -> Refused:
    error = answer.exception(60)
    assert isinstance(error, Refused)
    return error


def test_answers_of_many_threads_are_those_of_one(queued: Queued, models: dict[str, BertRuntime]) -> None:
    """In any mix of lengths and of requests."""
    chance = random.Random(0)
    asked = [[" ".join(chance.choices(WORDS, k=chance.randint(1, 25))) for _ in range(2)] for _ in range(40)]
    expected = [models["words"].encode(texts) for texts in asked]
    queued.engine.gate.set()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(queued.ask, asked))
    for answer, own in zip(answers, expected, strict=True):
        assert np.array_equal(answer, own)
    assert len(queued.engine.batches) < 80
    assert sum(rows for rows, _ in queued.watched) == 80
    assert sum(tokens for _, tokens in queued.watched) == sum(map(len, queued.engine.ran))
    assert queued.queue.waiting == 0


def test_what_comes_during_a_batch_runs_together(queued: Queued, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(queued.ask, "the cat")
    queued.engine.came()
    others = [pool.submit(queued.ask, "a ship") for _ in range(4)]
    until(lambda: queued.queue.waiting == 4 * 4)
    queued.engine.gate.set()
    assert all(answer.result(60).shape == (32,) for answer in [first, *others])
    assert [len(batch) for batch in queued.engine.batches] == [1, 4]


def test_a_full_queue_refuses_and_recovers(queued: Queued, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(queued.ask, "the cat")
    queued.engine.came()
    waiting = [pool.submit(queued.ask, ["a ship"] * 50) for _ in range(2)]
    until(lambda: queued.queue.waiting == 400)
    error = refusal(pool.submit(queued.ask, "one more"))
    assert (error.status, error.message) == (429, "too many texts wait: ask again later")
    assert error.retry_after is not None
    assert error.retry_after >= 1
    assert queued.queue.waiting == 400
    queued.engine.gate.set()
    assert [len(answer.result(60)) for answer in [*waiting]] == [50, 50]
    assert first.result(60).shape == queued.ask("one more").shape


def test_a_call_that_never_fits_is_refused_for_good(queued: Queued) -> None:
    with pytest.raises(Refused, match="the request has 404 tokens, expected at most 400") as caught:
        queued.ask(["a ship"] * 101)
    assert (caught.value.status, caught.value.retry_after) == (413, None)


def test_rows_of_a_request_that_ended_are_not_computed(queued: Queued, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(queued.ask, "the cat")
    queued.engine.came()
    ticket = Ticket()
    gone = pool.submit(queued.ask, ["a ship", "at dawn"], ticket)
    until(lambda: queued.queue.waiting)
    ticket.end(client_gone())
    assert refusal(gone).status == CLIENT_GONE
    assert queued.queue.waiting == 0
    assert refusal(pool.submit(queued.ask, "and later", ticket)).status == CLIENT_GONE
    queued.engine.gate.set()
    first.result(60)
    queued.ask("the mat")
    assert len(queued.engine.ran) == 2


def test_an_error_reaches_only_its_own_request(queued: Queued, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(queued.ask, "the cat")
    queued.engine.came()
    (dawn,) = queued.model.tokenizer.bare.encode("dawn").ids
    queued.engine.broken = dawn
    texts = ["a ship", "dawn", "the mat"]
    answers = [pool.submit(queued.ask, text) for text in texts]
    until(lambda: queued.queue.waiting == 4 + 3 + 4)
    queued.engine.gate.set()
    assert isinstance(answers[1].exception(60), ValueError)
    for answer in (first, answers[0], answers[2]):
        assert answer.result(60).shape == (32,)
    assert queued.ask("the port").shape == (32,)


def test_a_large_call_does_not_hold_up_a_small_one(queued: Queued, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(queued.ask, "the cat")
    queued.engine.came()
    large = pool.submit(queued.ask, ["a ship"] * 60)
    until(lambda: queued.queue.waiting == 240)
    small = pool.submit(queued.ask, "on the mat")
    until(lambda: queued.queue.waiting == 245)
    queued.engine.gate.set()
    assert (len(large.result(60)), len(small.result(60)), len(first.result(60))) == (60, 32, 32)
    _, second, *_ = queued.engine.batches
    assert max(map(len, second)) == 5, "the small call is in the first batch that it can be in"


def test_a_queue_that_closes_computes_what_it_has(queued: Queued, pool: ThreadPoolExecutor) -> None:
    answer = pool.submit(queued.ask, ["a ship"] * 30)
    queued.engine.came()
    closing = pool.submit(queued.runner.close)
    until(lambda: queued.queue._closed)
    assert refusal(pool.submit(queued.ask, "too late")).status == 503
    queued.engine.gate.set()
    assert len(answer.result(60)) == 30
    closing.result(60)
