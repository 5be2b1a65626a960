"""The share of a text that samples and walks read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import Pair, sentence_pairs

#: Tokens at the beginning of a text that are tried.
SAMPLE = 2**19

Draw = Callable[[TokenizedCorpus], Iterable[Pair]]


class _Places:
    """Takes the place of a corpus's tokens: each token is its own index, so that pairs show where they are from."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, span: slice) -> NDArray[np.int64]:
        return np.arange(*span.indices(self._count))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Tokens of a text that some pairs hold: how many different ones, and how many in total."""

    different: int
    drawn: int


def read_by(corpus: TokenizedCorpus, draw: Draw) -> Reading:
    """What pairs read of a text.

    Args:
        draw: makes pairs from a corpus; the places that it reads must not depend on the tokens.
    """
    places = replace(corpus, token_ids=cast(Any, _Places(len(corpus.token_ids))))
    read = [np.array([*pair.first, *pair.second], dtype=np.int64) for pair in draw(places)]
    every = np.concatenate([*read, np.zeros(0, dtype=np.int64)])
    return Reading(different=len(np.unique(every)), drawn=len(every))


def share_of_walk(corpus: TokenizedCorpus, *, max_length: int, seed: int) -> float:
    """The share of a text's tokens that one walk of :func:`bertedge.data.pairs.sentence_pairs` reads, 0 to 1.

    Of a long text, only the beginning is tried.
    """
    rng = np.random.default_rng(seed)
    parts = corpus.divided(SAMPLE)
    chosen = np.arange(parts.num_documents) if parts.chosen is None else parts.chosen
    sizes = np.diff(corpus.sentence_starts[parts.document_starts])[chosen]
    count = max(int(np.searchsorted(np.cumsum(sizes), SAMPLE)) + 1, 2)
    if corpus.num_documents == 1:  # a single document gives single texts, several give pairs
        count = 1
    sample = replace(parts, chosen=chosen[:count])
    read = read_by(sample, lambda places: sentence_pairs(places, max_length=max_length, rng=rng))
    return read.different / max(int(sizes[:count].sum()), 1)
