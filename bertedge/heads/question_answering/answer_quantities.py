"""Quantities that compare the answers of a candidate with float's, and with the right ones.

A span is the places of its first and last token among the tokens of the context, counted from 0. ``NO_SPAN``
stands for "no answer", ``BROKEN`` for the answer of a model whose scores are not numbers, which is never right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Quantities
from bertedge.heads.question_answering.answer_spans import log_boundaries, span_scores
from bertedge.heads.question_answering.right_answers import right_spans
from bertedge.predictor import Batch
from bertedge.probabilities import Logits

Span = tuple[int, int]
NO_SPAN: Span = (-1, -1)
BROKEN: Span = (-2, -2)
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a model says about one question and its context.

    Attributes:
        boundaries: see :func:`bertedge.heads.question_answering.answer_spans.log_boundaries`.
    """

    boundaries: Logits

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """See :func:`bertedge.heads.question_answering.answer_spans.span_scores`."""
        return span_scores(np.exp(self.boundaries))

    @cached_property
    def best(self) -> Span:
        """The best span, the first of equal ones; ``BROKEN`` if a score is not a number."""
        if not np.isfinite(self.scores).all():
            return BROKEN
        first, more = divmod(int(self.scores.argmax()), self.scores.shape[1])
        return first, first + more

    @property
    def best_or_none(self) -> Span:
        """The best span; ``NO_SPAN`` if "no answer" has a higher score."""
        return NO_SPAN if np.exp(self.boundaries[0].sum()) > self.score(self.best) else self.best

    def score(self, span: Span) -> float:
        """The probability of a span, 0 for ``NO_SPAN`` and ``BROKEN``."""
        first, last = span
        return 0.0 if first < 0 else float(self.scores[first, last - first])


def contexts(batch: Batch) -> Iterator[tuple[int, range]]:
    """The rows of a batch that are pairs, each with the positions of its second text.

    If it is not known where second texts stand, all real tokens but the first one.
    """
    for row, length in enumerate(batch.lengths):
        start, stop = (1, int(length)) if batch.second is None else map(int, batch.second[row])
        if start < stop:
            yield row, range(start, stop)


def judgements(batch: Batch, *logits: Logits) -> Iterator[tuple[int, range, list[Judgement]]]:
    """The rows of a batch that are pairs, with their contexts, and what each model says.

    Args:
        logits: of each model, (B, S, 2).
    """
    for row, context in contexts(batch):
        yield row, context, [Judgement(log_boundaries(own[row], context)) for own in logits]


def fidelity(batch: Batch, expected: Logits, got: Logits) -> tuple[Quantities, Rows]:
    """Quantities of R pairs, (R,), and their rows in the batch.

    ``kl``: KL(float || candidate) of the first token of the answer plus that of the last one, in nats. ``equal`` and
    ``f1``: of the best spans, see :func:`overlap`. ``prob_diff``: the difference of the scores of float's best span.
    """
    rows, values = [], []
    for row, _, (one, other) in judgements(batch, expected, got):
        log_p, log_q = one.boundaries, other.boundaries
        rows.append(row)
        values.append(
            {
                "kl": np.maximum((np.exp(log_p) * (log_p - log_q)).sum(), 0.0),
                "equal": one.best == other.best,
                "f1": overlap(one.best, other.best),
                "prob_diff": abs(one.score(one.best) - other.score(one.best)),
            }
        )
    return _columns(values), np.array(rows, dtype=np.int64)


def accuracy(batch: Batch, expected: Logits, got: Logits, labels: NDArray[np.int64]) -> tuple[Quantities, Rows]:
    """Quantities of R pairs whose right answers are known, (R,), and their rows in the batch.

    ``unanswerable``: the right answer is "no answer". ``exact`` and ``f1`` of the candidate, ``reference_exact`` and
    ``reference_f1`` of float: of the best span and the most similar right answer. Those that end in ``_or_none`` are of
    models that may say "no answer".

    Args:
        labels: (B, S); see :func:`bertedge.heads.question_answering.right_answers.marked`.
    """
    rows, values = [], []
    for row, context, (one, other) in judgements(batch, expected, got):
        spans = right_spans(labels[row], context)
        if spans is None:
            continue
        right = spans or [NO_SPAN]
        own: dict[str, float] = {"unanswerable": not spans}
        for prefix, model in (("reference_", one), ("", other)):
            for suffix, answer in (("", model.best), ("_or_none", model.best_or_none)):
                own[f"{prefix}exact{suffix}"] = answer in right
                own[f"{prefix}f1{suffix}"] = max(overlap(answer, span) for span in right)
        rows.append(row)
        values.append(own)
    return _columns(values), np.array(rows, dtype=np.int64)


def overlap(one: Span, other: Span) -> float:
    """F1 of the tokens of two spans: twice the shared ones over the sum of both."""
    if min(*one, *other) < 0:
        return float(one == other)
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)
    return 2 * shared / (one[1] - one[0] + other[1] - other[0] + 2)


def _columns(values: list[dict[str, float]]) -> Quantities:
    return {name: np.array([own[name] for own in values]) for name in (values[0] if values else ())}
