"""Many texts at once: the same answers, each core with work of its own, and bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.bundle import Bundle
from bertedge.engines.side_by_side import AHEAD, side_by_side
from bertedge.errors import UsageError
from bertedge.heads.embedding.vector_recipe import POOLINGS
from bertedge.predictor import Batch
from bertedge.runtime import BertRuntime, load
from tests.conftest import DOCUMENTS, KINDS

SENTENCES = [sentence for document in DOCUMENTS for sentence in document]
TEXTS = [*SENTENCES, *(" ".join(pair) for pair in product(SENTENCES[:3], SENTENCES[:3]))]


@given(st.lists(st.integers()), st.integers(1, 4))
def test_every_item_is_done_once(items: list[int], threads: int) -> None:
    done = list(side_by_side(lambda item: 2 * item, items, threads=threads))
    assert sorted(done) == sorted((item, 2 * item) for item in items)


def test_two_items_are_worked_on_at_the_same_time() -> None:
    meeting = threading.Barrier(2)
    results = side_by_side(lambda item: meeting.wait(timeout=10), [1, 2], threads=2)
    assert sorted(place for _, place in results) == [0, 1]


def test_what_is_not_taken_yet_is_bounded() -> None:
    started: list[int] = []
    results = side_by_side(started.append, range(100), threads=2)
    for taken in range(1, 101):
        next(results)
        assert len(started) <= taken + AHEAD * 2
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_is_raised_and_the_rest_is_left() -> None:
    started: list[int] = []

    def work(item: int) -> None:
        started.append(item)
        if item == 3:
            raise UsageError("three", "another number")

    with pytest.raises(UsageError, match="three"):
        list(side_by_side(work, range(100), threads=2))
    assert len(started) < 100
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


@pytest.fixture
def runtime(request: pytest.FixtureRequest, bundle_of: Callable[..., Bundle]) -> BertRuntime:
    return load(bundle_of(request.param).folder, engine="onnxruntime", threads=2)


@pytest.fixture
def used(runtime: BertRuntime, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The threads that the model ran on by itself."""
    names: set[str] = set()
    sessions = runtime.runner.executor._model
    alone = sessions.run_alone()
    monkeypatch.setattr(
        sessions,
        "run_alone",
        lambda: lambda feed, work: names.add(threading.current_thread().name) or alone(feed, work),
    )
    return names


@pytest.mark.parametrize("runtime", KINDS, indirect=True)
def test_many_texts_are_answered_like_each_by_itself(runtime: BertRuntime, used: set[str]) -> None:
    masked = [text.replace(text.split()[2], "[MASK]", 1) for text in TEXTS]
    assert runtime.fill_mask(masked) == [runtime.fill_mask(text) for text in masked]
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    assert runtime.next_sentence(pairs) == [runtime.next_sentence(*pair) for pair in pairs]
    for pooling in POOLINGS:
        alone = [runtime.encode(text, pooling=pooling) for text in TEXTS]
        together = runtime.encode(TEXTS, pooling=pooling)
        assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))
    assert threading.current_thread().name not in used
    assert len(used) >= 2


@pytest.mark.parametrize("runtime", ["static"], indirect=True)
def test_a_padded_batch_is_answered_like_its_rows(runtime: BertRuntime, used: set[str]) -> None:
    lengths = np.arange(3, 23)
    ids = np.where(np.arange(22) < lengths[:, None], 5 + np.arange(22), 0)
    nothing = np.full((20, 1), -1)
    batch = Batch(
        input_ids=ids,
        attention_mask=(ids > 0).astype(np.int64),
        token_type_ids=np.zeros_like(ids),
        masked_positions=np.ones_like(nothing),
        labels={"mlm": np.where(lengths[:, None] % 2, 7, nothing), "nsp": nothing[:, 0]},
        masked_counts=lengths % 2,
        hidden=True,
    )
    together = runtime.predict(batch)
    assert used
    for row in range(20):
        alone = runtime.predict(Batch.of({n: a[row : row + 1] for n, a in batch.arrays().items()}, hidden=True))
        assert np.array_equal(together.logits["nsp"][row], alone.logits["nsp"][0])
        assert np.array_equal(together.logits["mlm"][row], alone.logits["mlm"][0])
        assert np.array_equal(together.pooler_output[row], alone.pooler_output[0])
        assert np.array_equal(together.hidden_states[row, : lengths[row]], alone.hidden_states[0, : lengths[row]])
        assert not together.hidden_states[row, lengths[row] :].any()


@pytest.mark.parametrize("runtime", ["static"], indirect=True)
def test_few_texts_and_one_thread_stay_together(
    runtime: BertRuntime, used: set[str], bundle_of: Callable[..., Bundle]
) -> None:
    runtime.encode(SENTENCES[:3])
    assert not used
    assert np.array_equal(
        load(bundle_of("static").folder, engine="onnxruntime", threads=1).encode(TEXTS), runtime.encode(TEXTS)
    )
    assert used


@pytest.mark.parametrize("runtime", ["static"], indirect=True)
def test_a_text_does_not_hold_its_group(runtime: BertRuntime) -> None:
    states = runtime.encode(TEXTS, pooling="none")
    assert all(state.base is None for state in states)
