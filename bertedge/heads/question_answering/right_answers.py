"""The right answers of questions in a user's file, as SQuAD writes them (Rajpurkar et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.encoding import Encoding
from bertedge.errors import CorpusError
from bertedge.example import Example
from bertedge.heads.question_answering.answer_spans import Characters
from bertedge.predictor import NO_LABEL

#: Right answers of a question that count; one bit of a label stands for each.
MOST_ANSWERS = 62
EXPECTED = 'write answers as {"text": ["Paris"], "answer_start": [27]}, with empty lists if there is no answer'


def given_answers(example: Example) -> list[Characters] | None:
    """The characters of each right answer in the context; empty if there is none, None if the file does not say.

    The column ``answers`` holds an object of two lists, ``text`` and ``answer_start``, or a list of such objects. An
    answer without ``answer_start`` is looked up in the context. A question with ``is_impossible`` has no answer.

    Raises:
        CorpusError: the answers have another form, or are not in the context.
    """
    values, context = example.values, example.pair
    impossible = str(values.get("is_impossible")).strip().lower() in ("true", "1")  # CSV files have words
    if context is None or "answers" not in values:
        return [] if context is not None and impossible else None
    return [] if impossible else [*_answers(values["answers"], context)]


def marked(answers: Sequence[Characters], encoding: Encoding) -> NDArray[np.int64] | None:
    """Bit i of a token of the context is set if it belongs to the i-th answer; ``NO_LABEL`` at all other tokens, (S,).

    None if none of the answers is whole in the tokens that the model reads. An answer without a token, such as a space,
    is left out.
    """
    labels = np.full(len(encoding.input_ids), NO_LABEL, dtype=np.int64)
    places = [index for index, text in enumerate(encoding.sequence_ids) if text == 1]
    labels[places] = 0
    if not answers:
        return labels
    spans = np.array([encoding.offsets[place] for place in places], dtype=np.int64).reshape(-1, 2)
    last = int(spans[:, 1].max(initial=0))
    first = int(spans[:, 0].min(initial=last))
    whole = [(start, end) for start, end in dict.fromkeys(answers) if first <= start and end <= last]
    touched = [(spans[:, 0] < end) & (spans[:, 1] > start) for start, end in whole]
    known = [own for own in touched if own.any()]
    for bit, own in enumerate(known[:MOST_ANSWERS]):
        labels[np.array(places)[own]] |= 1 << bit
    return labels if known else None


def right_spans(labels: NDArray[np.int64], context: range) -> list[tuple[int, int]] | None:
    """The first and last token of each right answer, counted in the context; see :func:`marked`.

    Empty if there is no answer, None if it is not known.

    Args:
        labels: of all S positions of one row.
    """
    own = labels[context.start : context.stop]
    if own.min(initial=NO_LABEL + 1) < 0:
        return None
    found = []
    for bit in range(int(own.max(initial=0)).bit_length()):
        places = np.flatnonzero(own >> bit & 1)
        found.append((int(places[0]), int(places[-1])))
    return found


def _answers(value: Any, context: str) -> Iterator[Characters]:
    for text, start in _listed(value):
        if not isinstance(text, str) or not (start is None or type(start) is int):
            raise CorpusError("the answers are not texts with places", EXPECTED)
        if not text:
            continue
        found = context.find(text) if start is None else start
        if found < 0 or context[found : found + len(text)] != text:
            where = "in the context" if start is None else f"at character {start} of the context"
            raise CorpusError(f"the answer {text[:40]!r} is not {where}", EXPECTED)
        yield found, found + len(text)


def _listed(value: Any) -> Iterator[tuple[Any, Any]]:
    """The texts and the places of answers in any of their forms."""
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start") or [None] * len(value["text"])
        if not isinstance(starts, list) or len(starts) != len(value["text"]):
            raise CorpusError("the answers have more texts than places, or fewer", EXPECTED)
        yield from zip(value["text"], starts, strict=True)
    elif isinstance(value, dict):
        yield value.get("text"), value.get("answer_start")
    elif isinstance(value, list):
        for one in value:
            yield from _listed(one) if isinstance(one, dict) else [(one, None)]
    else:
        yield value, None
