"""Hold out a part of a text, to judge on it what was tuned on the remaining text."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from itertools import islice

import numpy as np

from bertedge.data.batches import Layout, Walk, drawn_batches
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.singles import single_texts
from bertedge.errors import CorpusError, ShortTextWarning
from bertedge.predictor import Batch

#: If there are fewer documents, every document is cut in two, so that both parts have next-sentence pairs.
FEW_DOCUMENTS = 8
SEED = 11


def hold_out(corpus: TokenizedCorpus, share: float) -> tuple[TokenizedCorpus, TokenizedCorpus]:
    """Split off about ``share`` of a text: whole documents, or the ends of all documents if there are few.

    Returns the remaining text, and the held-out part.

    The same text is always divided in the same way, and nothing is copied.

    Raises:
        CorpusError: the text is too short for two parts.
    """
    if corpus.num_documents >= FEW_DOCUMENTS:
        kept_back = max(2, round(share * corpus.num_documents))
        return corpus.split(kept_back, np.random.default_rng(SEED))
    documents = [corpus.document(index) for index in range(corpus.num_documents)]
    cuts = [d.stop - min(max(1, round(share * len(d))), len(d) - 1) for d in documents]
    bounds = np.array([edge for d, cut in zip(documents, cuts, strict=True) for edge in (d.start, cut)], dtype=np.int64)
    halves = replace(corpus, document_starts=np.append(bounds, documents[-1].stop))
    ends = [2 * index + 1 for index, d in enumerate(documents) if cuts[index] < d.stop]
    if not ends:
        raise CorpusError("the calibration text is too short to measure a loss on a part of it", "give a longer one")
    rest = np.arange(0, 2 * len(documents), 2, dtype=np.int64)
    return replace(halves, chosen=rest), replace(halves, chosen=np.array(ends, dtype=np.int64))


def warn_if_short(
    corpus: TokenizedCorpus, *, examples: int, max_length: int, seed: int, pairs: Walk | None, name: str
) -> None:
    """Warn if a text has fewer pairs, or single texts, than asked for.

    Warns:
        ShortTextWarning: :func:`drawn_sample` has to walk over it more than once.
    """
    walk, what = (pairs, "pairs") if pairs else (single_texts, "single texts")
    drawn = walk(corpus, max_length=max_length, rng=np.random.default_rng(seed))
    found = sum(1 for _ in islice(drawn, examples))
    if found < examples:
        words = f"{name}: has {found} {what}, so the requested {examples} are drawn from them several times"
        warnings.warn(f"{words}, with other masks", ShortTextWarning, stacklevel=2)


def drawn_sample(
    corpus: TokenizedCorpus,
    layout: Layout,
    *,
    examples: int,
    max_length: int,
    seed: int,
    pairs: Walk | None,
    batch_size: int = 16,
) -> list[Batch]:
    """``examples`` masked single texts; or ``examples`` pairs, and half as many single texts.

    A short text is read several times; each time it is cut and masked differently.

    Args:
        pairs: cuts the text into pairs; None for a model of single texts.
    """
    rng = np.random.default_rng(seed)
    batches: list[Batch] = []
    walks: list[tuple[Walk, int]] = [(pairs, examples)] if pairs else []
    walks.append((single_texts, math.ceil(examples / 2) if pairs else examples))
    for walk, missing in walks:
        while missing > 0:
            drawn = drawn_batches(
                corpus, layout, rng, count=missing, max_length=max_length, batch_size=batch_size, walk=walk
            )
            batches += drawn
            missing -= sum(len(batch.input_ids) for batch in drawn)
    return batches
