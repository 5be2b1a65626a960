"""Pairs to padded, masked arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.data.batches import Layout, masked_batch, next_sentence_classes, without_one_sided_labels
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.pairs import IS_NEXT, IS_RANDOM, Pair, sentence_pairs
from bertedge.errors import CheckpointError
from bertedge.predictor import NO_LABEL, Batch
from bertedge.tokenizer import Tokenizer
from tests.templates import template

CLS, SEP, MASK, PAD = 1, 2, 3, 0
LAYOUT = Layout(template=template(CLS, SEP), mask_id=MASK, pad_id=PAD, vocab_size=90)

segments = st.lists(st.integers(5, 89), min_size=1, max_size=12)
labelled = st.builds(Pair, first=segments, second=segments, label=st.sampled_from([IS_NEXT, IS_RANDOM]))
alone = st.builds(Pair, first=segments, second=st.just([]), label=st.none())
some_pairs = st.lists(labelled | alone, min_size=1, max_size=6)


def make(pairs: list[Pair], seed: int = 0, always_mask: bool = False) -> Batch:
    return masked_batch(pairs, LAYOUT, np.random.default_rng(seed), always_mask=always_mask)


def laid_out(pair: Pair) -> list[int]:
    return [CLS, *pair.first, SEP, *([*pair.second, SEP] if pair.second else [])]


def restored(batch: Batch, row: int) -> list[int]:
    """A row with the labels put back where they were taken from, padding left out."""
    ids = batch.input_ids[row, : batch.lengths[row]].copy()
    filled = batch.labels["mlm"][row] != NO_LABEL
    ids[batch.masked_positions[row, filled]] = batch.labels["mlm"][row, filled]
    return ids.tolist()


@settings(max_examples=100)
@given(some_pairs, st.integers(0, 5))
def test_labels_are_the_original_pieces(pairs: list[Pair], seed: int) -> None:
    batch = make(pairs, seed)
    assert [restored(batch, row) for row in range(len(pairs))] == [laid_out(pair) for pair in pairs]


@settings(max_examples=100)
@given(some_pairs, st.integers(0, 5))
def test_specials_and_padding_are_never_masked(pairs: list[Pair], seed: int) -> None:
    batch = make(pairs, seed, always_mask=True)
    for row, pair in enumerate(pairs):
        original = np.array(laid_out(pair))
        positions = batch.masked_positions[row, batch.labels["mlm"][row] != NO_LABEL]
        assert len(positions) >= 1
        assert (positions < len(original)).all()
        assert not np.isin(original[positions], [CLS, SEP]).any()
        assert (batch.input_ids[row, positions] == MASK).all()
        assert (batch.input_ids[row, : len(original)] == MASK).sum() == len(positions)


@settings(max_examples=100)
@given(some_pairs)
def test_padding_and_segments(pairs: list[Pair]) -> None:
    batch = make(pairs)
    width = max(len(laid_out(pair)) for pair in pairs)
    assert batch.input_ids.shape == (len(pairs), width)
    for row, pair in enumerate(pairs):
        length, first = len(laid_out(pair)), len(pair.first) + 2
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (width - length)
        assert batch.token_type_ids[row].tolist() == [0] * first + [1] * (length - first) + [0] * (width - length)
        assert (batch.input_ids[row, length:] == PAD).all()


@settings(max_examples=50)
@given(some_pairs)
def test_rows_with_fewer_masks_are_filled_up(pairs: list[Pair]) -> None:
    batch = make(pairs)
    filling = batch.labels["mlm"] == NO_LABEL
    assert (batch.masked_positions[filling] == 0).all()
    assert (np.diff(filling.astype(int), axis=1) >= 0).all()
    assert (~filling).any(axis=0).all()


@settings(max_examples=50)
@given(some_pairs)
def test_where_the_second_text_stands(pairs: list[Pair]) -> None:
    batch = make(pairs, always_mask=True)
    assert batch.second is not None
    for row, (pair, (start, stop)) in enumerate(zip(pairs, batch.second, strict=True)):
        assert stop - start == len(pair.second)
        assert restored(batch, row)[start:stop] == pair.second
        assert batch.row(row).second.tolist() == [[start, stop]]


@settings(max_examples=50)
@given(some_pairs)
def test_next_sentence_labels(pairs: list[Pair]) -> None:
    expected = [NO_LABEL if pair.label is None else pair.label for pair in pairs]
    assert make(pairs).labels["nsp"].tolist() == expected


@settings(max_examples=30)
@given(some_pairs, st.integers(0, 9))
def test_a_seed_fixes_the_batch(pairs: list[Pair], seed: int) -> None:
    first, second = make(pairs, seed), make(pairs, seed)
    again = second.arrays()
    for name, array in first.arrays().items():
        assert array.dtype == np.int64
        np.testing.assert_array_equal(array, again[name])


def test_a_special_that_stands_in_the_text_is_not_masked(tokenizer: Tokenizer) -> None:
    layout = Layout.of(tokenizer, tokenizer.vocab_size)
    pieces = tokenizer.token_ids("[SEP] cat [CLS] [SEP]")
    batch = masked_batch([Pair(first=pieces, second=[], label=None)], layout, np.random.default_rng(0))
    assert batch.labels["mlm"].tolist() == [tokenizer.token_ids("cat")]


def test_a_text_of_nothing_but_specials_has_no_mask() -> None:
    batch = make([Pair(first=[SEP, CLS], second=[], label=None)])
    assert batch.masked_positions.shape == (1, 0)
    assert batch.input_ids.tolist() == [[CLS, SEP, CLS, SEP]]


def test_layout_of_a_tokenizer(tokenizer: Tokenizer) -> None:
    layout = Layout.of(tokenizer, 123)
    assert (layout.pad_id, layout.mask_id, layout.vocab_size) == (0, 4, 123)
    assert layout.template == template(2, 3)


def test_random_words_are_words_of_the_tokenizer(tokenizer: Tokenizer) -> None:
    """A model may have more ids than its tokenizer has tokens; no text has them, so no text is disturbed with them."""
    assert Layout.of(tokenizer, tokenizer.vocab_size + 20).vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize("max_length", [8, 24, 64])
def test_from_a_file_to_batches_that_fit(corpus_file: Path, tokenizer: Tokenizer, max_length: int) -> None:
    layout, rng = Layout.of(tokenizer, tokenizer.vocab_size), np.random.default_rng(0)
    corpus = tokenize_corpus(corpus_file, tokenizer)
    pairs = list(sentence_pairs(corpus, max_length=max_length, rng=rng))
    for start in range(0, len(pairs), 3):
        batch = masked_batch(pairs[start : start + 3], layout, rng)
        assert batch.input_ids.shape[1] <= max_length
        assert np.isin(batch.labels["nsp"], [IS_NEXT, IS_RANDOM, NO_LABEL]).all()


def test_a_layout_needs_all_specials(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tokenizer.special, "mask", "<none>")
    with pytest.raises(CheckpointError, match="the tokenizer has no <none>"):
        Layout.of(tokenizer, 10)


def test_a_generator_of_its_own_makes_a_pair_independent_of_its_batch(tokenizer: Tokenizer, corpus_file: Path) -> None:
    layout = Layout.of(tokenizer, tokenizer.vocab_size)
    corpus = tokenize_corpus(corpus_file, tokenizer)
    pairs = list(sentence_pairs(corpus, max_length=24, rng=np.random.default_rng(0)))[:3]
    together = masked_batch(pairs, layout, [np.random.default_rng(i) for i in range(3)])
    alone = masked_batch(pairs[2:], layout, [np.random.default_rng(2)])
    length = int(alone.lengths[0])
    np.testing.assert_array_equal(together.input_ids[2, :length], alone.input_ids[0, :length])


@pytest.mark.parametrize(
    ("labels", "left"), [([0, 1, None], [0, 1]), ([1, 1, None], []), ([0, 0, 0], []), ([None] * 3, [])]
)
def test_labels_of_one_kind_are_no_labels(tokenizer: Tokenizer, labels: list[int | None], left: list[int]) -> None:
    layout, rng = Layout.of(tokenizer, tokenizer.vocab_size), np.random.default_rng(0)
    pairs = [Pair(first=[7, 8, 9], second=[10, 11], label=label) for label in labels]
    batches = [masked_batch(pairs[:1], layout, rng), masked_batch(pairs[1:], layout, rng)]
    made = without_one_sided_labels(batches)
    assert next_sentence_classes(made) == left
    for before, after in zip(batches, made, strict=True):
        np.testing.assert_array_equal(before.input_ids, after.input_ids)
        if left:
            np.testing.assert_array_equal(before.labels["nsp"], after.labels["nsp"])
