"""Quantities that compare the labels of tokens: a candidate's with float's, and both with the right ones.

Where a batch has labels, its first tokens of words are compared, as in fine-tuning. Spans are sequences of these words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Quantities
from bertedge.heads.token_classification.spans import Span, TagSet
from bertedge.predictor import NO_LABEL, Batch
from bertedge.probabilities import answers, log_softmax

Logits = NDArray[np.float32]
#: Label of the first token of a word whose right label is not known.
UNLABELLED = NO_LABEL - 1


def compared(batch: Batch, labels: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Which tokens are compared, (B, S).

    The first token of each word if there are labels; otherwise all tokens but the first and the last of each text,
    which are special tokens.
    """
    if labels is not None:
        return labels != NO_LABEL
    places, lengths = np.arange(batch.input_ids.shape[1]), batch.lengths[:, None]
    return (places > 0) & (places < lengths - 1)


def token_quantities(expected: Logits, got: Logits) -> Quantities:
    """``equal``, ``kl`` and ``prob_diff`` of tokens, from logits (N, labels)."""
    log_p, log_q = log_softmax(expected), log_softmax(got)
    best = expected.argmax(axis=1)
    change = np.exp(log_p[np.arange(len(best)), best]) - np.exp(log_q[np.arange(len(best)), best])
    return {
        "equal": best == answers(got),
        "kl": np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0),
        "prob_diff": np.abs(change),
    }


def hit_quantities(expected: Logits, got: Logits, labels: NDArray[np.int64]) -> Quantities:
    """``reference_hit`` and ``hit`` of labelled tokens, from logits (N, labels) and labels (N,)."""
    return {"reference_hit": expected.argmax(axis=1) == labels, "hit": answers(got) == labels}


def span_quantities(expected: Sequence[set[Span]], got: Sequence[set[Span]]) -> Quantities:
    """``expected``, ``found`` and ``shared``: the numbers of float's spans, the candidate's, and those of both."""
    pairs = list(zip(expected, got, strict=True))
    return {
        "expected": _counts(one for one, _ in pairs),
        "found": _counts(other for _, other in pairs),
        "shared": _counts(one & other for one, other in pairs),
    }


def right_span_quantities(
    expected: Sequence[set[Span]], got: Sequence[set[Span]], right: Sequence[set[Span]]
) -> Quantities:
    """The numbers of the right spans, and of those that the two models find, with and without the wrong ones."""
    every = list(zip(expected, got, right, strict=True))
    return {
        "right": _counts(right),
        "reference_found": _counts(expected),
        "reference_right": _counts(one & own for one, _, own in every),
        "found": _counts(got),
        "found_right": _counts(other & own for _, other, own in every),
    }


def spans_of(ids: NDArray[np.int64], chosen: NDArray[np.bool_], tags: TagSet) -> list[set[Span]]:
    """The spans of each row; their places count the tokens that are compared.

    Args:
        ids: an index into the labels for each token, (B, S); a negative one is outside of every span.
        chosen: see :func:`compared`.
    """
    return [{*tags.spans(row[own].tolist())} for row, own in zip(ids, chosen, strict=True)]


def _counts(sets: Iterable[set[Span]]) -> NDArray[np.int64]:
    return np.array([len(one) for one in sets], dtype=np.int64)
