"""Spans of a candidate next to those of float, and next to the right ones."""

from __future__ import annotations

import numpy as np
import pytest

from bertedge.heads.question_answering.answer_quantities import (
    BROKEN,
    NO_SPAN,
    Judgement,
    accuracy,
    contexts,
    fidelity,
    overlap,
)
from bertedge.heads.question_answering.worst_answers import ANSWERS, WorstAnswers
from bertedge.predictor import NO_LABEL, Batch
from bertedge.tokenizer import Tokenizer

#: A question of two tokens and a context of six, with [CLS], and [SEP] after each.
SECOND, LENGTH = (4, 10), 11


def batch_of(*seconds: tuple[int, int], labels: np.ndarray | None = None, known: bool = True) -> Batch:
    ones = np.ones((len(seconds), LENGTH), dtype=np.int64)
    return Batch(
        input_ids=ones * np.arange(5, 5 + LENGTH),
        attention_mask=ones,
        token_type_ids=0 * ones,
        masked_positions=ones[:, :0],
        second=np.array(seconds) if known else None,
        labels={} if labels is None else {"question_answering": labels},
    )


def logits_for(*spans: tuple[int, int], sure: float = 8.0) -> np.ndarray:
    """Logits whose best span of the context is the given one; ``NO_SPAN`` raises the first token."""
    logits = np.random.default_rng(0).normal(0, 0.1, (len(spans), LENGTH, 2)).astype(np.float32)
    for row, (first, last) in zip(logits, spans, strict=True):
        start, end = (0, 0) if (first, last) == NO_SPAN else (SECOND[0] + first, SECOND[0] + last)
        row[start, 0] += sure
        row[end, 1] += sure
    return logits


def labels_for(*answers: list[tuple[int, int]] | None) -> np.ndarray:
    labels = np.full((len(answers), LENGTH), NO_LABEL)
    for row, own in zip(labels, answers, strict=True):
        if own is not None:
            row[slice(*SECOND)] = 0
            for bit, (first, last) in enumerate(own):
                row[SECOND[0] + first : SECOND[0] + last + 1] |= 1 << bit
    return labels


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((2, 3), (2, 3), 1.0),
        ((2, 3), (3, 3), 2 / 3),
        ((0, 3), (2, 5), 0.5),
        ((0, 1), (2, 3), 0.0),
        (NO_SPAN, (2, 3), 0.0),
        (NO_SPAN, NO_SPAN, 1.0),
    ],
)
def test_overlap(one: tuple[int, int], other: tuple[int, int], expected: float) -> None:
    assert overlap(one, other) == overlap(other, one) == pytest.approx(expected)


def test_fidelity_is_that_of_the_pairs() -> None:
    batch = batch_of(SECOND, (0, 0), SECOND)
    expected, got = logits_for((1, 2), (0, 0), (3, 4)), logits_for((1, 2), (5, 5), (4, 4))
    values, rows = fidelity(batch, expected, got)
    assert rows.tolist() == [0, 2]  # the other row is a single text
    assert values["equal"].tolist() == [True, False]
    assert values["f1"] == pytest.approx([1, 2 / 3])
    assert values["kl"][0] == pytest.approx(0, abs=1e-6)
    assert values["kl"][1] > 1
    context = expected[2, SECOND[0] : SECOND[1]]
    places = np.concatenate([expected[2, :1], context]).astype(np.float64)
    others = np.concatenate([got[2, :1], got[2, SECOND[0] : SECOND[1]]]).astype(np.float64)
    p, q = (np.exp(one) / np.exp(one).sum(axis=0) for one in (places, others))
    assert values["kl"][1] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-4)
    assert values["prob_diff"][1] == pytest.approx(abs(p[4, 0] * p[5, 1] - q[4, 0] * q[5, 1]), rel=1e-4)


def test_all_tokens_but_the_first_where_contexts_are_not_known() -> None:
    assert list(contexts(batch_of(SECOND, known=False))) == [(0, range(1, LENGTH))]
    assert list(contexts(batch_of(SECOND, (0, 0)))) == [(0, range(*SECOND))]


def test_accuracy_takes_the_most_similar_right_answer() -> None:
    labels = labels_for([(0, 0), (2, 4)], None, [])
    batch = batch_of(SECOND, SECOND, SECOND, labels=labels)
    expected, got = logits_for((2, 4), (0, 0), NO_SPAN), logits_for((2, 3), (0, 0), (1, 1))
    values, rows = accuracy(batch, expected, got, labels)
    assert rows.tolist() == [0, 2]  # no answer is known for the other one
    assert values["unanswerable"].tolist() == [False, True]
    assert values["reference_exact"].tolist() == [True, False]
    assert values["reference_exact_or_none"].tolist() == [True, True]
    assert values["exact_or_none"].tolist() == [False, False]
    assert values["reference_f1_or_none"].tolist() == [1, 1]
    assert values["f1"] == pytest.approx([0.8, 0])


def test_scores_that_are_no_numbers_are_never_right() -> None:
    broken = Judgement(np.full((4, 2), np.nan, dtype=np.float32))
    assert broken.best == broken.best_or_none == BROKEN
    nan, labels = np.full((2, LENGTH, 2), np.nan, dtype=np.float32), labels_for([], [(1, 2)])
    values, _ = accuracy(batch_of(SECOND, SECOND, labels=labels), logits_for(NO_SPAN, (1, 2)), nan, labels)
    for name in ("exact", "exact_or_none", "f1", "f1_or_none"):
        assert values[name].tolist() == [0, 0]
    values, _ = fidelity(batch_of(SECOND), logits_for((1, 2)), np.full((1, LENGTH, 2), np.nan, dtype=np.float32))
    assert values["equal"].tolist() == [False]
    assert values["f1"].tolist() == [0]


def test_worst_answers_are_those_that_float_is_sure_of(tokenizer: Tokenizer) -> None:
    labels = labels_for([(1, 2)], [(1, 2)], [(1, 2)])
    batch = batch_of(SECOND, SECOND, SECOND, labels=labels)
    expected = np.concatenate([logits_for((1, 2)), logits_for((1, 2), sure=3), logits_for((1, 2))])
    got = logits_for((1, 2), (3, 3), (4, 4))
    worst = WorstAnswers(tokenizer)
    worst.add(batch, {"logits": expected}, {"logits": got})
    sure, unsure = worst.found()[ANSWERS]
    ids = batch.input_ids[0, slice(*SECOND)].tolist()
    assert [part.text.strip() for part in sure.texts[1].parts if part.mark] == [tokenizer.decode(ids[1:3])]
    assert sure.expected == sure.reference[0].text == tokenizer.decode(ids[1:3])
    assert (sure.reference[0].right, sure.candidate[0].right) == (True, False)
    assert sure.candidate[0].text == tokenizer.decode(ids[4:5])
    assert unsure.candidate[0].text == tokenizer.decode(ids[3:4])
    assert sure.texts[0].name == "Question"
    for labels, told in ((labels_for([]), "(no answer)"), (labels_for(None), "")):
        worst = WorstAnswers(tokenizer)
        worst.add(batch_of(SECOND, labels=labels), {"logits": expected[:1]}, {"logits": logits_for((3, 3))})
        assert worst.found()[ANSWERS][0].expected == told
