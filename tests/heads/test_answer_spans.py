"""The best spans of a context, next to a search over all spans, one by one, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bertedge.heads.question_answering.answer_spans import (
    LONGEST_ANSWER,
    Window,
    best_answers,
    log_boundaries,
    span_scores,
)

CONTEXT = "Ada Lovelace lived in London. She died in 1852."


def of_words(text: str, *, before: int) -> Window:
    """One token for each word, behind ``before`` other tokens."""
    ends = np.cumsum([len(word) + 1 for word in text.split(" ")]) - 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    return Window(tokens=range(before, before + len(ends)), characters=np.stack([starts, ends], axis=1))


def logits_of(window: Window, rng: np.random.Generator, *, after: int = 1) -> np.ndarray:
    return rng.normal(0, 3, (window.tokens.stop + after, 2)).astype(np.float32)


def reference(window: Window, logits: np.ndarray, longest: int) -> dict[tuple[int, int], float]:
    """Characters -> score: softmax over the context and the first token, then every span in turn."""
    places = [0, *window.tokens]
    probabilities = np.exp(logits[places].astype(np.float64))
    probabilities /= probabilities.sum(axis=0)
    found: dict[tuple[int, int], float] = {}
    for i in range(len(window.tokens)):
        for j in range(i, min(i + longest, len(window.tokens))):
            characters = int(window.characters[i, 0]), int(window.characters[j, 1])
            score = probabilities[1 + i, 0] * probabilities[1 + j, 1]
            found[characters] = max(found.get(characters, 0.0), float(score))
    return found


@pytest.mark.parametrize("longest", [1, 3, LONGEST_ANSWER])
def test_answers_are_the_best_of_all_spans(longest: int) -> None:
    rng = np.random.default_rng(0)
    window = of_words(CONTEXT, before=5)
    logits = logits_of(window, rng)
    expected = sorted(reference(window, logits, longest).items(), key=lambda item: -item[1])[:4]
    answers = best_answers(CONTEXT, [(window, logits)], top=4, longest=longest)
    assert [(answer.start, answer.end) for answer in answers] == [characters for characters, _ in expected]
    assert [answer.score for answer in answers] == pytest.approx([score for _, score in expected], rel=1e-5)
    assert [answer.text for answer in answers] == [CONTEXT[one.start : one.end] for one in answers]


def test_neither_question_nor_special_tokens_are_answers() -> None:
    window = of_words(CONTEXT, before=4)
    logits = np.zeros((window.tokens.stop + 1, 2), dtype=np.float32)
    logits[[1, 2, 3, -1]] = 50  # the question, [SEP], and the last [SEP]
    logits[window.tokens[4]] = 5
    (answer,) = best_answers(CONTEXT, [(window, logits)], top=1)
    assert answer.text == "London."


def test_tokens_of_a_word_are_one_answer() -> None:
    text = "in Kataraman"
    window = Window(tokens=range(1, 5), characters=np.array([[0, 2], [3, 12], [3, 12], [3, 12]]))
    logits = np.random.default_rng(1).normal(0, 1, (6, 2)).astype(np.float32)
    expected = reference(window, logits, LONGEST_ANSWER)
    answers = best_answers(text, [(window, logits)], top=9)
    assert {(answer.start, answer.end) for answer in answers} == {(0, 2), (0, 12), (3, 12)}
    assert {(a.start, a.end): a.score for a in answers} == pytest.approx(expected, rel=1e-5)


def test_no_answer_is_judged_by_the_first_token() -> None:
    window = of_words(CONTEXT, before=3)
    logits = np.zeros((window.tokens.stop + 1, 2), dtype=np.float32)
    logits[0] = 9
    logits[window.tokens[4]] = 5
    without, allowed = (best_answers(CONTEXT, [(window, logits)], top=1, no_answer=flag)[0] for flag in (False, True))
    assert without.text == "London."
    assert without.score < 0.1  # the first token takes its share of the probabilities all the same
    assert (allowed.text, allowed.start, allowed.end) == ("", 0, 0)
    assert allowed.score == pytest.approx(float(np.exp(log_boundaries(logits, window.tokens)[0].sum())), rel=1e-5)


def test_windows_share_their_answers() -> None:
    words = CONTEXT.split(" ")
    whole = of_words(CONTEXT, before=2)
    one = Window(tokens=range(2, 7), characters=whole.characters[:5])
    other = Window(tokens=range(2, 2 + len(words) - 3), characters=whole.characters[3:])
    rng = np.random.default_rng(2)
    logits = [logits_of(window, rng) for window in (one, other)]
    expected = reference(one, logits[0], LONGEST_ANSWER)
    for characters, score in reference(other, logits[1], LONGEST_ANSWER).items():
        expected[characters] = max(score, expected.get(characters, 0.0))
    answers = best_answers(CONTEXT, list(zip((one, other), logits, strict=True)), top=1000)
    assert {(a.start, a.end): a.score for a in answers} == pytest.approx(expected, rel=1e-5)
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)
    nothing = [
        float(np.exp(log_boundaries(own, w.tokens)[0].sum())) for own, w in zip(logits, (one, other), strict=True)
    ]
    everything = best_answers(CONTEXT, list(zip((one, other), logits, strict=True)), top=1000, no_answer=True)
    assert next(a.score for a in everything if not a.text) == pytest.approx(min(nothing), rel=1e-5)


def test_spaces_at_the_ends_are_not_part_of_an_answer() -> None:
    window = Window(tokens=range(1, 4), characters=np.array([[0, 2], [2, 3], [3, 7]]))
    logits = np.zeros((5, 2), dtype=np.float32)
    logits[2:4, 0] = 4, 2  # a token that is a space begins the answer
    logits[3, 1] = 6
    (answer,) = best_answers("in  Rom ", [(window, logits)], top=1)
    assert (answer.text, answer.start, answer.end) == ("Rom", 4, 7)


@pytest.mark.parametrize("count", [0, 1])
def test_the_smallest_contexts(count: int) -> None:
    window = Window(tokens=range(2, 2 + count), characters=np.array([[0, 1]] * count).reshape(-1, 2))
    answers = best_answers("a", [(window, np.zeros((4, 2), dtype=np.float32))], top=5)
    assert [(answer.text, answer.score) for answer in answers] == [("a", pytest.approx(0.25))] * count


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_numbers_give_no_answer(value: float) -> None:
    window = of_words(CONTEXT, before=2)
    with np.errstate(invalid="ignore"):
        answers = best_answers(CONTEXT, [(window, np.full((20, 2), value, dtype=np.float32))], top=5)
        nothing = best_answers(CONTEXT, [(window, np.full((20, 2), value, dtype=np.float32))], top=1, no_answer=True)
    assert answers == []
    assert [(answer.text, answer.score) for answer in nothing] == [("", 0.0)]


def test_scores_of_spans_beyond_the_context_are_zero() -> None:
    boundaries = np.full((4, 2), 0.25, dtype=np.float32)
    expected: Any = [[0.0625, 0.0625], [0.0625, 0.0625], [0.0625, 0.0]]
    assert span_scores(boundaries, 2).tolist() == expected
    assert span_scores(boundaries[:1]).shape == (0, 0)
