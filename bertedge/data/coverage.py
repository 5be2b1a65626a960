"""Measure which share of a text is read by a sample or by a walk over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import Pair, sentence_pairs

#: Only so many tokens at the beginning of a text are measured.
SAMPLE = 2**19

Draw = Callable[[TokenizedCorpus], Iterable[Pair]]


class _Places:
    """Used in place of a corpus's tokens: each token is its own index, so that pairs show which tokens they contain."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, span: slice) -> NDArray[np.int64]:
        return np.arange(*span.indices(self._count))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How many tokens of a text are in some pairs: different tokens, and tokens in total."""

    different: int
    drawn: int


def read_by(corpus: TokenizedCorpus, draw: Draw) -> Reading:
    """Count the tokens of a text that pairs contain.

    Args:
        draw: makes pairs from a corpus; it must read the same positions for any tokens.
    """
    places = replace(corpus, token_ids=cast(Any, _Places(len(corpus.token_ids))))
    read = [np.array([*pair.first, *pair.second], dtype=np.int64) for pair in draw(places)]
    every = np.concatenate([*read, np.zeros(0, dtype=np.int64)])
    return Reading(different=len(np.unique(every)), drawn=len(every))


def share_of_walk(corpus: TokenizedCorpus, *, max_length: int, seed: int) -> float:
    """The share of a text's tokens that one walk of :func:`bertedge.data.pairs.sentence_pairs` reads, 0 to 1.

    Of a long text, only the beginning is measured.
    """
    rng = np.random.default_rng(seed)
    parts = corpus.divided(SAMPLE)
    chosen = np.arange(parts.num_documents) if parts.chosen is None else parts.chosen
    sizes = np.diff(corpus.sentence_starts[parts.document_starts])[chosen]
    count = max(int(np.searchsorted(np.cumsum(sizes), SAMPLE)) + 1, 2)
    if corpus.num_documents == 1:  # one document gives single texts, several documents give pairs
        count = 1
    sample = replace(parts, chosen=chosen[:count])
    read = read_by(sample, lambda places: sentence_pairs(places, max_length=max_length, rng=rng))
    return read.different / max(int(sizes[:count].sum()), 1)
