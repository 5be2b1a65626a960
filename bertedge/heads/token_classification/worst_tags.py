"""The texts whose spans differ most from those of the reference."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.cases import Answer, Case, Part, Passage, WorstList
from bertedge.heads.head import Arrays
from bertedge.heads.token_classification.spans import Span, TagSet
from bertedge.heads.token_classification.tag_metrics import NAME
from bertedge.heads.token_classification.tag_quantities import compared, spans_of
from bertedge.predictor import Batch
from bertedge.probabilities import answers, softmax
from bertedge.tokenizer import Tokenizer

TAGS = f"{NAME}.spans"
LISTS = {TAGS: "Texts with other spans"}


class WorstTags:
    """The texts with the most spans that only one of the two models finds; of equal ones, the farthest apart."""

    def __init__(self, tokenizer: Tokenizer, tags: TagSet) -> None:
        self._tokenizer, self._tags = tokenizer, tags
        self._texts = WorstList()

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        labels = batch.labels.get(NAME)
        chosen = compared(batch, labels)
        one, other = expected["logits"], got["logits"]
        ours, theirs = (spans_of(answers(logits), chosen, self._tags) for logits in (one, other))
        right = None if labels is None else spans_of(labels, chosen, self._tags)
        p, q = softmax(one), softmax(other)
        apart = np.where(chosen, np.abs(p - q).max(axis=2), 0).max(axis=1, initial=0)

        def case(row: int) -> Case:
            starts = _starts(chosen[row], int(batch.lengths[row]))
            known = right is not None and labels is not None and (labels[row] >= 0).any()
            expected_spans = right[row] if right is not None and known else set()
            words = self._words(batch, row, starts)
            places = np.flatnonzero(chosen[row])

            def listed(spans: set[Span], scores: NDArray[np.float32]) -> tuple[Answer, ...]:
                best = scores[row, places].max(axis=1)
                return tuple(
                    Answer(
                        text=_named(words, span),
                        share=float(best[span[0] : span[1]].mean()),
                        right=span in expected_spans,
                    )
                    for span in sorted(spans)
                )

            return Case(
                texts=(_passage(words, ours[row] ^ theirs[row]),),
                expected="; ".join(_named(words, span) for span in sorted(expected_spans)),
                note="" if expected_spans or not known else "The text has no spans.",
                reference=listed(ours[row], p),
                candidate=listed(theirs[row], q),
            )

        differing = np.array([len(ours[row] ^ theirs[row]) for row in range(len(ours))], dtype=np.float64)
        self._texts.add(np.where(differing > 0, differing + apart, 0), case)

    def found(self) -> dict[str, tuple[Case, ...]]:
        return {TAGS: self._texts.cases()}

    def _words(self, batch: Batch, row: int, starts: Sequence[int]) -> list[str]:
        """Each word with the space behind it: as it was written, if the batch has the text."""
        texts = [] if batch.texts is None else batch.texts[row]
        if len(texts) == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a text that is cut, as it was before
                offsets = self._tokenizer.encode(texts[0]).offsets
            if len(offsets) == batch.lengths[row]:
                ends = [*(offsets[start][0] for start in starts[1:-1]), offsets[starts[-1] - 1][1]]
                return [texts[0][offsets[start][0] : end] for start, end in zip(starts, ends, strict=False)]
        words = [self._tokenizer.decode(batch.input_ids[row, a:b].tolist()).strip() for a, b in pairwise(starts)]
        return [f"{word} " for word in words[:-1]] + words[-1:]


def _starts(chosen: NDArray[np.bool_], length: int) -> list[int]:
    """Where each word begins, and where the special token after the last one stands."""
    return [*np.flatnonzero(chosen).tolist(), length - 1]


def _named(words: Sequence[str], span: Span) -> str:
    first, stop, label = span
    return f"{label}: {''.join(words[first:stop]).strip()}"


def _passage(words: Sequence[str], marked: Iterable[Span]) -> Passage:
    """The text; the words of some spans are marked."""
    inside = {place for first, stop, _ in marked for place in range(first, stop)}
    parts: list[Part] = []
    for place, word in enumerate(words):
        own = word.rstrip()
        space = Part(text=word[len(own) :], mark=place in inside and place + 1 in inside)
        parts += [Part(text=own, mark=place in inside), space]
    return Passage(parts=_joined(part for part in parts if part.text))


def _joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The same text; parts that follow each other and are marked alike are one."""
    found: list[Part] = []
    for part in parts:
        if found and found[-1].mark == part.mark:
            found[-1] = Part(text=found[-1].text + part.text, mark=part.mark)
        else:
            found.append(part)
    return tuple(found)
