"""Single texts: whole lines, many lengths, every part of the corpus."""

from __future__ import annotations

import numpy as np
import pytest

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.singles import single_texts
from tests.templates import template


def corpus_of(*documents: list[int]) -> TokenizedCorpus:
    """Documents as lists of line lengths; the tokens count up."""
    lengths = [length for document in documents for length in document]
    return TokenizedCorpus(
        template=template(),
        token_ids=np.arange(sum(lengths), dtype=np.int32),
        sentence_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        document_starts=np.concatenate([[0], np.cumsum([len(document) for document in documents])]).astype(np.int64),
    )


def texts_of(corpus: TokenizedCorpus, max_length: int, lines: float | None = None, seed: int = 0) -> list[list[int]]:
    drawn = list(single_texts(corpus, max_length=max_length, rng=np.random.default_rng(seed), lines=lines))
    assert all(not text.second and text.label is None for text in drawn)
    return [text.first for text in drawn]


@pytest.mark.parametrize("lines", [0.0, 0.5, 1.0])
def test_every_token_is_in_one_text(lines: float) -> None:
    corpus = corpus_of([5, 7, 3, 9, 4], [6, 2], [8])
    texts = texts_of(corpus, 64, lines)
    assert sorted(token for text in texts for token in text) == list(range(len(corpus.token_ids)))


def test_texts_begin_and_end_with_lines() -> None:
    corpus = corpus_of([5, 7, 3, 9, 4, 11, 2, 6] * 4, [6, 2] * 5)
    edges = {int(edge) for edge in corpus.sentence_starts}
    for text in texts_of(corpus, 64, 0.0):
        assert {text[0], text[-1] + 1} <= edges


def test_a_line_that_is_too_long_loses_its_end() -> None:
    assert texts_of(corpus_of([50], [3]), 16) in ([[*range(14)], [50, 51, 52]], [[50, 51, 52], [*range(14)]])


def test_without_blank_lines_each_line_is_a_text() -> None:
    assert texts_of(corpus_of([4, 5, 6]), 512) == [[*range(4)], [*range(4, 9)], [*range(9, 15)]]


def test_lengths_reach_from_short_to_long() -> None:
    lengths = [len(text) + 2 for text in texts_of(corpus_of([4] * 4000, [4] * 4000), 256, 0.0)]
    assert max(lengths) <= 256
    for low, high in ((8, 16), (16, 32), (32, 64), (64, 128), (128, 256)):
        assert 0.1 < np.mean([low <= length < high for length in lengths]) < 0.35


def test_the_generator_decides() -> None:
    corpus = corpus_of([5, 7, 3, 9, 4] * 20, [6, 2] * 20)
    assert texts_of(corpus, 64, seed=1) == texts_of(corpus, 64, seed=1) != texts_of(corpus, 64, seed=2)
