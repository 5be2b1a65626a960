"""The worst disagreements of a head in a form that reports can draw: texts, and the answers of both models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import MaybeShare
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

#: Cases of a list.
KEEP = 5


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a text; ``mark`` highlights it."""

    text: str
    mark: bool = False


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text of a case. Of long texts the report shows what is around the marks.

    Attributes:
        parts: they make up the text, spaces included.
        name: such as "Question"; empty if the case has one text.
        from_end: of a long text without marks, the report shows the end instead of the start.
    """

    parts: tuple[Part, ...]
    name: str = ""
    from_end: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of a model.

    Attributes:
        text: the answer in words; the name of the quantity, such as "P(is next)", if the answer is a number.
        share: its probability, which is drawn as a bar; None for an answer without a probability.
        value: a number that is no share, such as a cosine or a score; None for an answer without one.
        right: whether it is the right answer.
    """

    text: str
    share: MaybeShare | None = None
    value: float | None = None
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """A text, or several, on which two models differ.

    Attributes:
        expected: the right answer; empty if it is unknown.
        note: sentences for the reader, such as how far the answers are apart.
        reference: float's answers, the best first.
        candidate: the candidate's.
    """

    texts: tuple[Passage, ...]
    expected: str = ""
    note: str = ""
    reference: tuple[Answer, ...]
    candidate: tuple[Answer, ...]


def passage(text: str, name: str = "", *, from_end: bool = False) -> Passage:
    """A text without marks."""
    return Passage(name=name, parts=(Part(text=text),), from_end=from_end)


def texts_of(tokenizer: Tokenizer, batch: Batch, row: int) -> tuple[str, ...]:
    """The one text or the two texts of a row of a batch, as they were written, or else made of its tokens."""
    if batch.texts is not None:
        return batch.texts[row]
    length = int(batch.lengths[row])
    ids, segments = batch.input_ids[row, :length], batch.token_type_ids[row, :length]
    if batch.second is not None:
        begin, end = batch.second[row]
    else:  # by the segments, if the family has any
        begin = int(np.argmax(segments == 1))
        end = length - len(tokenizer.template.pair.special[-1]) if segments.any() else begin
    parts = tokenizer.template.take_apart(ids.tolist(), int(begin), int(end))
    return tuple(tokenizer.decode(part, skip_special=False) for part in parts)


class Worst(Protocol):
    """Collects the texts on which a candidate differs most from its reference, batch by batch."""

    def add(self, batch: Batch, expected: dict[str, NDArray[Any]], got: dict[str, NDArray[Any]]) -> None:
        """Compare the results of :meth:`bertedge.heads.Head.read` for both models on one batch."""
        ...

    def found(self) -> dict[str, tuple[Case, ...]]:
        """The worst texts so far, worst first, by the names of the lists in :attr:`bertedge.heads.Head.lists`."""
        ...


class WorstList:
    """A list of the cases with the largest scores, the largest first.

    Args:
        above: cases with a larger score are listed; smaller differences are only rounding.
        count: the most cases.
    """

    def __init__(self, *, above: float = 0.0, count: int = KEEP) -> None:
        self._above, self._count = above, count
        self._found: list[tuple[float, Case]] = []

    def add(self, scores: NDArray, case: Callable[[int], Case], rows: NDArray[np.int64] | None = None) -> None:
        """Add the observations of a batch.

        Args:
            scores: how far the two models are apart, (N,). NaN sorts first, as the largest difference.
            case: makes the case of an observation from its index; called for those that are kept.
            rows: the text of each observation, (N,); at most one observation of a text is kept. None if each has its
                own.
        """
        scores = np.nan_to_num(scores, nan=np.inf)
        rows = np.arange(len(scores)) if rows is None else rows
        full = len(self._found) == self._count
        least = self._found[-1][0] if full else self._above
        seen: set[int] = set()
        for index in np.argsort(-scores, kind="stable"):
            if len(seen) == self._count or scores[index] <= least:
                break
            if rows[index] not in seen:
                seen.add(int(rows[index]))
                self._found.append((float(scores[index]), case(int(index))))
        self._found = sorted(self._found, key=lambda one: -one[0])[: self._count]

    def cases(self) -> tuple[Case, ...]:
        """The cases so far."""
        return tuple(case for _, case in self._found)
