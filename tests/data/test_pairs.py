"""Next-sentence pairs: whole walks over made-up corpora whose pieces tell where they come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import IS_NEXT, IS_RANDOM, Pair, sentence_pairs
from tests.templates import template

#: The tokens of document d are d * STEP, d * STEP + 1, ..., so a token shows its document and position.
STEP = 100_000


def corpus_of(documents: list[list[int]]) -> TokenizedCorpus:
    """A corpus of documents given as the lengths of their sentences."""
    lengths = [length for document in documents for length in document]
    pieces = [STEP * number + np.arange(sum(document)) for number, document in enumerate(documents)]
    return TokenizedCorpus(
        template=template(),
        token_ids=np.concatenate(pieces).astype(np.int32),
        sentence_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        document_starts=np.concatenate([[0], np.cumsum([len(document) for document in documents])]).astype(np.int64),
    )


def walk(corpus: TokenizedCorpus, max_length: int, seed: int = 0) -> list[Pair]:
    return list(sentence_pairs(corpus, max_length=max_length, rng=np.random.default_rng(seed)))


def is_stretch(pieces: list[int]) -> bool:
    """Whether these pieces stand one after another in one document."""
    return pieces == list(range(pieces[0], pieces[0] + len(pieces)))


documents = st.lists(st.integers(1, 30), min_size=1, max_size=8)
corpora = st.lists(documents, min_size=2, max_size=5).map(corpus_of)
lengths = st.integers(5, 50)
seeds = st.integers(0, 9)


@settings(max_examples=100)
@given(corpora, lengths, seeds)
def test_a_pair_fits_and_is_made_of_two_stretches(corpus: TokenizedCorpus, max_length: int, seed: int) -> None:
    for pair in walk(corpus, max_length, seed):
        assert pair.first
        assert pair.second
        assert len(pair.first) + len(pair.second) + 3 <= max_length
        assert is_stretch(pair.first)
        assert is_stretch(pair.second)


@settings(max_examples=100)
@given(corpora, lengths, seeds)
def test_labels_tell_the_truth(corpus: TokenizedCorpus, max_length: int, seed: int) -> None:
    for pair in walk(corpus, max_length, seed):
        same = pair.first[0] // STEP == pair.second[0] // STEP
        assert pair.label in ((IS_NEXT,) if same else (IS_RANDOM, None))
        if same:  # it follows, with a gap where the ends were cut off
            assert pair.second[0] > pair.first[-1]


@settings(max_examples=60)
@given(corpora, seeds)
def test_next_is_next_to_the_piece_where_nothing_is_cut(corpus: TokenizedCorpus, seed: int) -> None:
    for pair in walk(corpus, 10**4, seed):
        if pair.label == IS_NEXT:
            assert pair.second[0] == pair.first[-1] + 1


@settings(max_examples=60)
@given(corpora, seeds)
def test_every_sentence_is_read(corpus: TokenizedCorpus, seed: int) -> None:
    read: set[int] = set()
    for pair in walk(corpus, 10**4, seed):
        read |= {*pair.first, *(pair.second if pair.label == IS_NEXT else [])}
    assert read == set(corpus.token_ids.tolist())


@settings(max_examples=40)
@given(corpora, lengths, seeds)
def test_a_seed_fixes_the_walk(corpus: TokenizedCorpus, max_length: int, seed: int) -> None:
    assert walk(corpus, max_length, seed) == walk(corpus, max_length, seed)


def test_another_seed_is_another_walk() -> None:
    corpus = corpus_of([[5] * 20] * 4)
    assert walk(corpus, 40, seed=0) != walk(corpus, 40, seed=1)


@pytest.mark.parametrize("seed", range(3))
def test_half_of_the_pairs_are_random(seed: int) -> None:
    labels = [pair.label for pair in walk(corpus_of([[3] * 600] * 4), 40, seed)]
    assert len(labels) > 200
    assert np.mean([label for label in labels if label is not None]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("sentences", [2, 3, 6])
def test_half_of_the_labels_are_random_however_short_the_documents(share: float, sentences: int) -> None:
    """Documents of a few sentences among documents of one, which have no next sentence."""
    longer = round(share * 400)
    corpus = corpus_of([[3] * sentences] * longer + [[3]] * (400 - longer))
    pairs = [pair for seed in range(round(4 / share)) for pair in walk(corpus, 40, seed)]
    labels = [pair.label for pair in pairs if pair.label is not None]
    assert len(labels) > 300
    assert np.mean(labels) == pytest.approx(0.5, abs=0.07)
    assert {pair.first[0] // STEP for pair in pairs if pair.label is not None} <= set(range(longer))


def test_random_stretches_come_from_all_other_documents() -> None:
    pairs = walk(corpus_of([[3] * 300] * 4), 40)
    routes = {(pair.first[0] // STEP, pair.second[0] // STEP) for pair in pairs if pair.label == IS_RANDOM}
    assert routes == {(a, b) for a in range(4) for b in range(4) if a != b}


@settings(max_examples=60)
@given(documents, lengths, seeds)
def test_a_single_document_has_no_labels(document: list[int], max_length: int, seed: int) -> None:
    pairs = walk(corpus_of([document]), max_length, seed)
    assert pairs
    for pair in pairs:
        assert (pair.second, pair.label) == ([], None)
        assert 1 <= len(pair.first) <= max_length - 2
        assert is_stretch(pair.first)


def test_one_sentence() -> None:
    assert walk(corpus_of([[4]]), 16) == [Pair(first=[0, 1, 2, 3], second=[], label=None)]
    (pair,) = walk(corpus_of([[9]]), 8)
    assert is_stretch(pair.first)
    assert (len(pair.first), pair.second, pair.label) == (6, [], None)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(8, 40), seeds)
def test_every_token_of_a_single_document_is_read(document: list[int], max_length: int, seed: int) -> None:
    """What is cut off at the end of a stretch begins the next one."""
    pairs = walk(corpus_of([document]), max_length, seed)
    assert {token for pair in pairs for token in pair.first} == set(range(sum(document)))


def test_documents_of_one_sentence_have_no_labels() -> None:
    """Nothing follows, so every second segment is random: a label would teach "always random"."""
    pairs = walk(corpus_of([[4]] * 5), 32)
    assert [pair.label for pair in pairs] == [None] * 5
    assert all(pair.second for pair in pairs)


def test_why_a_corpus_has_no_next_sentences() -> None:
    assert corpus_of([[4, 4]]).why_no_pairs == "is a single document"
    assert corpus_of([[4]] * 5).why_no_pairs == "has one sentence in every document"
    mixed = corpus_of([[4], [4, 4], [4]])
    assert mixed.why_no_pairs == "has one sentence in every document but one"
    assert corpus_of([[4], [4, 4], [4], [4, 4]]).why_no_pairs is None
    assert list(mixed.longer_documents) == [1]
    assert replace(mixed, chosen=np.array([0, 2])).why_no_pairs == "has one sentence in every document"


def test_random_segments_do_not_give_themselves_away() -> None:
    """Where "next" comes from longer documents, so does "random": the document does not tell the answer."""
    corpus = corpus_of([[3]] * 50 + [[3] * 4] * 5 + [[3]] * 50)
    pairs = [pair for seed in range(20) for pair in walk(corpus, 40, seed)]
    seconds = {label: {p.second[0] // STEP for p in pairs if p.label == label} for label in (IS_NEXT, IS_RANDOM, None)}
    assert seconds[IS_NEXT] == seconds[IS_RANDOM] == set(range(50, 55))
    assert len(seconds[None]) > 90
    assert all(p.first[0] // STEP != p.second[0] // STEP for p in pairs if p.label != IS_NEXT)


def test_a_sentence_longer_than_the_room_leaves_room_for_the_other() -> None:
    for pair in walk(corpus_of([[100, 100]] * 2), 23):
        assert (len(pair.first), len(pair.second)) == (10, 10)
