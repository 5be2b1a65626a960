"""Corpora, pairs, masks and batches."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.data.batches import Layout, batched, masked_batch
from bertedge.data.calibration import default_text, mixed_pairs
from bertedge.data.corpus import TokenizedCorpus, read_documents, tokenize_corpus
from bertedge.data.masking import mask_tokens
from bertedge.data.pairs import IS_NEXT, IS_RANDOM, Pair, sentence_pairs
from bertedge.errors import CorpusError
from bertedge.predictor import NO_LABEL
from bertedge.tokenizer import Tokenizer

LAYOUT = Layout(cls_id=1, sep_id=2, mask_id=3, pad_id=0, vocab_size=10_000)


def corpus_of(documents: list[list[int]]) -> TokenizedCorpus:
    """A corpus whose pieces tell their document: sentence lengths in, piece 100 * document + 10 + place out."""
    pieces = [[100 * (d + 1)] * length for d, lengths in enumerate(documents) for length in lengths]
    return TokenizedCorpus(
        piece_ids=np.concatenate([np.asarray(p, dtype=np.int32) for p in pieces]),
        sentence_starts=np.concatenate([[0], np.cumsum([len(p) for p in pieces])]),
        document_starts=np.concatenate([[0], np.cumsum([len(lengths) for lengths in documents])]),
    )


CORPORA = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=6).map(corpus_of)


def test_documents_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("\n\n  one \ntwo\n\n\n\nthree\n", encoding="utf-8")
    assert list(read_documents(path)) == [["one", "two"], ["three"]]


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_a_corpus_without_text(tmp_path: Path, content: bytes, tokenizer: Tokenizer) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(CorpusError, match="holds no text"):
        tokenize_corpus(tmp_path / "text", tokenizer)


def test_a_corpus_that_is_not_utf8(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "text").write_bytes(b"good line\nbad \xff\xfe line\n")
    with pytest.raises(CorpusError, match="not UTF-8"):
        tokenize_corpus(tmp_path / "text", tokenizer)
    with pytest.raises(CorpusError, match="cannot be read"):
        tokenize_corpus(tmp_path / "nothing", tokenizer)


def test_tokenized_corpus_holds_every_sentence(corpus_file: Path, tokenizer: Tokenizer) -> None:
    corpus = tokenize_corpus(corpus_file, tokenizer)
    sentences = [sentence for document in read_documents(corpus_file) for sentence in document]
    assert corpus.num_sentences == len(sentences)
    assert [corpus.sentence(i) for i in range(len(sentences))] == tokenizer.pieces_many(sentences)


@settings(deadline=None)
@given(CORPORA, st.integers(5, 64), st.integers(0, 3))
def test_pairs_fit_and_come_from_where_they_say(corpus: TokenizedCorpus, max_length: int, seed: int) -> None:
    pairs = list(sentence_pairs(corpus, max_length=max_length, rng=np.random.default_rng(seed)))
    assert pairs
    for pair in pairs:
        assert len(pair.first) > 0
        assert len(pair.first) + len(pair.second) + 3 <= max_length or not pair.second
        if corpus.num_documents == 1:
            assert (pair.second, pair.label) == ([], None)
            assert len(pair.first) + 2 <= max_length
        elif pair.second:
            assert (set(pair.first) == set(pair.second)) == (pair.label == IS_NEXT)
    again = list(sentence_pairs(corpus, max_length=max_length, rng=np.random.default_rng(seed)))
    assert again == pairs


def test_about_half_of_the_pairs_are_random() -> None:
    corpus = corpus_of([[5] * 400, [5] * 400])
    labels = [pair.label for pair in sentence_pairs(corpus, max_length=32, rng=np.random.default_rng(0))]
    assert 0.4 < np.mean([label == IS_RANDOM for label in labels]) < 0.65


def test_masking_follows_the_paper() -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(100, 20_100)
    maskable = np.ones(len(ids), dtype=bool)
    maskable[::2] = False
    changed, positions = mask_tokens(ids, maskable, mask_id=3, vocab_size=10**6, rng=rng)
    assert len(positions) == round(0.15 * maskable.sum())
    assert maskable[positions].all()
    assert np.array_equal(np.delete(changed, positions), np.delete(ids, positions))
    at = changed[positions]
    assert np.mean(at == 3) == pytest.approx(0.8, abs=0.03)
    assert np.mean(at == ids[positions]) == pytest.approx(0.1, abs=0.03)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_masking_hides_at_least_one_word(maskable: list[bool]) -> None:
    mask = np.array(maskable)
    ids = np.arange(len(mask)) + 10
    changed, positions = mask_tokens(ids, mask, mask_id=3, vocab_size=9, rng=np.random.default_rng(0), always_mask=True)
    assert (len(positions) >= 1) == mask.any()
    assert (changed[positions] == 3).all()


def test_batch_layout() -> None:
    pairs = [Pair(first=[11, 12, 13], second=[21], label=IS_NEXT), Pair(first=[31] * 20, second=[], label=None)]
    batch = masked_batch(pairs, LAYOUT, np.random.default_rng(0), always_mask=True)
    assert batch.lengths.tolist() == [7, 22]
    assert batch.token_type_ids[0].tolist() == [0] * 5 + [1] * 2 + [0] * 15
    assert batch.next_sentence_labels.tolist() == [IS_NEXT, NO_LABEL]
    filled = batch.masked_labels != NO_LABEL
    restored = batch.input_ids.copy()
    for row in range(2):
        restored[row, batch.masked_positions[row, filled[row]]] = batch.masked_labels[row, filled[row]]
    assert restored[0, :7].tolist() == [1, 11, 12, 13, 2, 21, 2]
    assert restored[1, 1:21].tolist() == [31] * 20


def test_batched_keeps_everything() -> None:
    pairs = [Pair(first=[i], second=[], label=None) for i in range(7)]
    assert [len(chunk) for chunk in batched(pairs, 3)] == [3, 3, 1]


def test_mixed_pairs_have_many_lengths(tokenizer: Tokenizer, corpus_file: Path) -> None:
    pairs = mixed_pairs(tokenize_corpus(corpus_file, tokenizer), 30, max_length=64, seed=0)
    lengths = {len(pair.first) + len(pair.second) for pair in pairs}
    assert len(pairs) == 30
    assert len(lengths) > 5
    assert max(lengths) <= 64


def test_calibration_text_is_what_its_manifest_says() -> None:
    path = default_text()
    documents = list(read_documents(path))
    (entry,) = json.loads((path.parent / "manifest.json").read_text())["files"]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["documents"] == len(documents)
    assert entry["sentences"] == sum(map(len, documents)) >= 300
