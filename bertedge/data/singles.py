"""Single texts of many lengths, like those that most encoders get: one line, or consecutive lines of a document."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import Pair

#: The shortest length that is drawn, in tokens; a single line may be shorter.
SHORTEST = 8


def single_texts(
    corpus: TokenizedCorpus, *, max_length: int, rng: np.random.Generator, lines: float | None = None
) -> Iterator[Pair]:
    """Walk once over the documents in random order and cut them into single texts that do not overlap.

    A text is one line, or a stretch of whole lines whose length is drawn log-uniformly from 8 tokens to ``max_length``,
    so that short and long texts are equally frequent. Only lines longer than ``max_length`` lose their end.

    Args:
        max_length: tokens of a text at most, special tokens included.
        lines: the share of the texts that are one line. Default: a half; all if the corpus has no blank lines, because
            each line of such a file is usually a separate text.

    Yields:
        Pairs without a second segment and without a label.
    """
    if lines is None:
        lines = 0.5 if corpus.num_documents > 1 else 1.0
    special = corpus.template.single.count
    room = max_length - special
    for document in rng.permutation(corpus.num_documents):
        sentences = corpus.document(int(document))
        position = sentences.start
        while position < sentences.stop:
            stop = position + 1
            if rng.random() >= lines:
                target = int(np.exp(rng.uniform(np.log(min(SHORTEST, max_length)), np.log(max_length)))) - special
                stop = whole_lines(corpus, position, sentences.stop, target)
            starts = corpus.sentence_starts
            tokens = corpus.token_ids[starts[position] : min(starts[stop], starts[position] + room)].tolist()
            position = stop
            if tokens:
                yield Pair(first=tokens, second=[], label=None)


def whole_lines(corpus: TokenizedCorpus, start: int, stop: int, tokens: int) -> int:
    """The end of the longest stretch of whole lines from ``start`` that fits; it has at least one line."""
    limit = int(corpus.sentence_starts[start]) + tokens
    end = int(np.searchsorted(corpus.sentence_starts, limit, side="right")) - 1
    return min(max(end, start + 1), stop)
