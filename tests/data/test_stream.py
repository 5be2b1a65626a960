"""The stream of pairs goes on from any place as if it had never stopped."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.data.pairs import Pair
from bertedge.data.stream import PairStream, Place
from tests.data.test_pairs import STEP, corpus_of

documents = st.lists(st.integers(1, 12), min_size=1, max_size=6)
corpora = st.lists(documents, min_size=1, max_size=6).map(corpus_of)


def taken(stream: PairStream, count: int) -> list[tuple[Pair, float]]:
    return [(pair, float(rng.random())) for pair, rng in stream.take(count)]


@settings(max_examples=80)
@given(corpora, st.integers(1, 5), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 3))
def test_a_stream_goes_on_from_any_place(corpus, window: int, counts: list[int], seed: int) -> None:  # type: ignore[no-untyped-def]
    whole = PairStream(corpus, max_length=16, seed=seed, window=window)
    cut = PairStream(corpus, max_length=16, seed=seed, window=window)
    for count in counts:
        expected = taken(whole, count)
        cut = PairStream(corpus, max_length=16, seed=seed, window=window, place=cut.place)
        assert taken(cut, count) == expected
        assert cut.epochs == whole.epochs


@settings(max_examples=60)
@given(corpora, st.integers(1, 5))
def test_epochs_only_grow(corpus, window: int) -> None:  # type: ignore[no-untyped-def]
    stream = PairStream(corpus, max_length=16, seed=0, window=window)
    seen = [stream.epochs]
    for _ in range(30):
        stream.take(2)
        seen.append(stream.epochs)
    assert seen[0] == 0
    assert all(np.diff(seen) >= 0)
    assert seen[-1] >= stream.place.epoch


def test_an_epoch_reads_every_document_once() -> None:
    corpus = corpus_of([[3] * 4] * 7)
    stream = PairStream(corpus, max_length=100, seed=0, window=3)
    firsts: Counter[int] = Counter()
    while stream.epochs < 1:
        ((pair, _),) = stream.take(1)
        firsts[pair.first[0] // STEP] += 1
    assert set(firsts) == set(range(7))


def test_epochs_and_seeds_differ() -> None:
    corpus = corpus_of([[3] * 5] * 5)
    one, other = PairStream(corpus, max_length=24, seed=0), PairStream(corpus, max_length=24, seed=1)
    first_epoch = [pair for pair, _ in one.take(8)]
    assert first_epoch != [pair for pair, _ in other.take(8)]
    second = PairStream(corpus, max_length=24, seed=0, place=Place(epoch=1))
    assert first_epoch != [pair for pair, _ in second.take(8)]


def test_masks_are_drawn_anew_in_every_epoch() -> None:
    stream = PairStream(corpus_of([[4]]), max_length=16, seed=0)
    draws = [float(rng.random()) for _, rng in stream.take(10)]
    assert stream.epochs == pytest.approx(10)
    assert len(set(draws)) == 10
