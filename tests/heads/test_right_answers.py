"""Right answers of a user's file, as characters of the context and as tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bertedge.errors import CorpusError
from bertedge.example import Example
from bertedge.heads.question_answering.right_answers import MOST_ANSWERS, given_answers, marked, right_spans
from bertedge.tokenizer import Tokenizer

QUESTION, CONTEXT = "where did the ship go?", "the ship left the port at dawn and the cat went to sleep"


def example(answers: Any = None, **others: Any) -> Example:
    values = others if answers is None else {"answers": answers, **others}
    return Example(text=QUESTION, pair=CONTEXT, values=values)


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["the port", "ship"], "answer_start": [14, 4]},
        {"text": ["the port", "ship"]},
        [{"text": "the port", "answer_start": 14}, {"text": "ship", "answer_start": 4}],
        ["the port", "ship"],
    ],
)
def test_forms_of_answers(answers: Any) -> None:
    assert given_answers(example(answers)) == [(14, 22), (4, 8)]


def test_one_answer_and_none() -> None:
    assert given_answers(example("the port")) == [(14, 22)]
    assert given_answers(example({"text": "ship", "answer_start": 4})) == [(4, 8)]
    for nothing in ({"text": [], "answer_start": []}, [], "", {"text": [""], "answer_start": [0]}):
        assert given_answers(example(nothing)) == []
    assert given_answers(example(["ship"], is_impossible=True)) == []
    for word in (True, "True", "true", 1, "1"):
        assert given_answers(example(is_impossible=word)) == []
    assert given_answers(example(is_impossible="False")) is None
    assert given_answers(example(is_impossible=False)) is None
    assert given_answers(Example(text=QUESTION, values={"answers": ["ship"]})) is None  # no context


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"text": ["ship"], "answer_start": [5]}, "'ship' is not at character 5"),
        ({"text": ["whale"]}, "'whale' is not in the context"),
        ({"text": ["ship"], "answer_start": [1, 2]}, "more texts than places"),
        ({"text": ["ship"], "answer_start": 4}, "more texts than places"),
        ([4], "not texts with places"),
        ({"text": ["ship"], "answer_start": ["4"]}, "not texts with places"),
        ([{"answer": "ship"}], "not texts with places"),
    ],
)
def test_answers_that_do_not_fit_are_refused(answers: Any, told: str) -> None:
    with pytest.raises(CorpusError, match=told) as refused:
        given_answers(example(answers))
    assert "answer_start" in refused.value.hint


def test_answers_become_tokens_of_the_context(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(QUESTION, CONTEXT)
    answers = given_answers(example(["the port", "ship", "port"]))
    assert answers is not None
    labels = marked(answers, encoding)
    assert labels is not None
    start = encoding.sequence_ids.index(1)
    context = range(start, start + encoding.sequence_ids.count(1))
    assert set(np.flatnonzero(labels < 0)) == set(range(len(labels))) - set(context)
    spans = right_spans(labels, context)
    assert spans is not None
    words = [CONTEXT[encoding.offsets[start + a][0] : encoding.offsets[start + b][1]] for a, b in spans]
    assert words == ["the port", "ship", "port"]


def test_no_answer_and_an_answer_that_is_not_known(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(QUESTION, CONTEXT)
    context = range(encoding.sequence_ids.index(1), len(encoding.input_ids) - 1)
    nothing = marked([], encoding)
    assert nothing is not None
    assert right_spans(nothing, context) == []
    assert right_spans(np.full_like(nothing, -1), context) is None


def test_an_answer_that_is_cut_off_is_not_known(tokenizer: Tokenizer) -> None:
    short = tokenizer.with_max_length(len(tokenizer.encode(QUESTION, CONTEXT).input_ids) - 3)
    with pytest.warns(UserWarning, match="cut off"):
        encoding = short.encode(QUESTION, CONTEXT)
    assert marked([(51, 56)], encoding) is None
    both = marked([(51, 56), (4, 8)], encoding)
    assert both is not None
    assert both.max() == 1


def test_as_many_answers_as_a_label_has_bits(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(QUESTION, CONTEXT)
    many = [(start, end) for start in range(12) for end in range(start + 1, 13)]
    labels = marked(many, encoding)
    assert labels is not None
    assert labels.max() < 2**MOST_ANSWERS


def test_an_answer_without_a_token_is_left_out(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(QUESTION, CONTEXT)
    context = range(encoding.sequence_ids.index(1), len(encoding.input_ids) - 1)
    assert CONTEXT[3] == " "
    assert marked([(3, 4)], encoding) is None
    labels = marked([(3, 4), (4, 8)], encoding)
    assert labels is not None
    assert right_spans(labels, context) == [(1, 1)]
