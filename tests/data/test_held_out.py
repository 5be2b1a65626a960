"""A text parted in two, and samples drawn from a short one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout, Walk
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.held_out import drawn_sample, hold_out, warn_if_short
from bertedge.data.pairs import sentence_pairs
from bertedge.data.questions import question_pairs
from bertedge.errors import CorpusError, ShortTextWarning
from tests.templates import template


def corpus_of(*documents: int) -> TokenizedCorpus:
    """Documents with the given numbers of sentences. A sentence is one token; tokens are numbered."""
    return TokenizedCorpus(
        template=template(),
        token_ids=np.arange(sum(documents)),
        sentence_starts=np.arange(sum(documents) + 1),
        document_starts=np.cumsum([0, *documents]),
    )


def pieces_of(corpus: TokenizedCorpus) -> list[list[int]]:
    return [
        [token for sentence in corpus.document(index) for token in corpus.sentence(sentence)]
        for index in range(corpus.num_documents)
    ]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.floats(0.05, 0.5))
def test_the_parts_make_the_whole_and_share_nothing(documents: list[int], share: float) -> None:
    corpus = corpus_of(*documents)
    if len(documents) < 8 and max(documents) == 1:
        with pytest.raises(CorpusError, match="too short"):
            hold_out(corpus, share)
        return
    rest, held_out = (pieces_of(part) for part in hold_out(corpus, share))
    assert all(rest)
    assert all(held_out)
    assert sorted(token for document in rest + held_out for token in document) == list(range(sum(documents)))
    assert len(held_out) >= 1


def test_few_documents_are_cut_and_many_are_dealt_out() -> None:
    assert pieces_of(hold_out(corpus_of(4, 8), 0.25)[1]) == [[3], [10, 11]]
    rest, held_out = hold_out(corpus_of(*[5] * 20), 0.25)
    assert (rest.num_documents, held_out.num_documents) == (15, 5)
    assert pieces_of(held_out) == pieces_of(hold_out(corpus_of(*[5] * 20), 0.25)[1])


def test_a_short_text_is_walked_again_and_masked_afresh(checkpoint: Checkpoint, corpus_file: Path) -> None:
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    batches = drawn_sample(corpus, layout, examples=50, max_length=32, seed=0, pairs=sentence_pairs)
    second = [(batch.token_type_ids == 1).any(axis=1) for batch in batches]
    assert sum(int(rows.sum()) for rows in second) == 50
    assert sum(int((~rows).sum()) for rows in second) == 25
    rows = {row.tobytes() for batch in batches for row in batch.input_ids}
    assert len(rows) > 25


@pytest.mark.parametrize(
    ("pairs", "what"), [(sentence_pairs, "pairs"), (question_pairs, "pairs"), (None, "single texts")]
)
def test_a_text_that_is_too_short_is_told(
    checkpoint: Checkpoint, corpus_file: Path, pairs: Walk | None, what: str
) -> None:
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_short(corpus, examples=4, max_length=32, seed=0, pairs=pairs, name="few.txt")
    with pytest.warns(ShortTextWarning, match=rf"few.txt: has \d+ {what}, so the requested 10000 are"):
        warn_if_short(corpus, examples=10_000, max_length=32, seed=0, pairs=pairs, name="few.txt")
