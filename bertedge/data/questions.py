"""Pairs of a short text and a longer one, like the questions and contexts of models that find answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import Pair
from bertedge.data.singles import whole_lines

#: Tokens of a question at most; it also leaves half of a pair to its context.
LONGEST_QUESTION = 24


def question_pairs(corpus: TokenizedCorpus, *, max_length: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Walk once over the documents in random order; a sentence stands in for a question, whole lines for its context.

    A context has as many lines of a document as fit, and no two overlap. Half of the questions are a sentence of their
    context, since a question repeats words of it; the others are from anywhere in the text.

    Args:
        max_length: tokens of a pair at most, special tokens included.

    Yields:
        Pairs without a label.
    """
    room = max_length - corpus.template.pair.count
    longest = min(LONGEST_QUESTION, room // 2)
    for document in rng.permutation(corpus.num_documents):
        sentences = corpus.document(int(document))
        position = sentences.start
        while position < sentences.stop:
            stop = whole_lines(corpus, position, sentences.stop, room - longest)
            other = corpus.document(int(rng.integers(corpus.num_documents)))
            asked = (position, stop) if rng.random() < 0.5 else (other.start, other.stop)
            line = int(rng.integers(*asked))
            question = _tokens(corpus, line, line + 1)[:longest]
            context = _tokens(corpus, position, stop)[: room - longest]
            position = stop
            if question and context:
                yield Pair(first=question, second=context, label=None)


def _tokens(corpus: TokenizedCorpus, start: int, stop: int) -> list[int]:
    """The tokens of some sentences."""
    return corpus.token_ids[corpus.sentence_starts[start] : corpus.sentence_starts[stop]].tolist()
