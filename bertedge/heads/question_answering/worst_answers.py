"""The questions on which a candidate's answer differs most from its reference's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.cases import Answer, Case, Part, Passage, WorstList, passage, texts_of
from bertedge.heads.head import Arrays
from bertedge.heads.question_answering.answer_quantities import Judgement, Span, judgements
from bertedge.heads.question_answering.right_answers import right_spans
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

HEAD = "question_answering"
ANSWERS = f"{HEAD}.answers"
#: The right answer of a question that its context does not answer.
NO_ANSWER = "(no answer)"
LISTS = {ANSWERS: "Questions with another answer"}


class WorstAnswers:
    """Questions with another answer, sorted by float's score of its own answer minus that of the candidate's."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._answers = WorstList()

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        pairs = list(judgements(batch, expected["logits"], got["logits"]))
        margins = [
            one.score(one.best) - one.score(other.best) if one.best != other.best and one.best[0] >= 0 else 0.0
            for _, _, (one, other) in pairs
        ]

        def case(index: int) -> Case:
            row, context, models = pairs[index]
            right = right_spans(batch.labels[HEAD][row], context) if HEAD in batch.labels else None
            question, *_ = texts_of(self._tokenizer, batch, row)
            return self._case(question, batch.input_ids[row, context.start : context.stop], models, right)

        self._answers.add(np.array(margins), case)

    def found(self) -> dict[str, tuple[Case, ...]]:
        return {ANSWERS: self._answers.cases()}

    def _case(self, question: str, ids: NDArray[np.int64], models: list[Judgement], right: list[Span] | None) -> Case:
        first, last = models[0].best
        parts = (
            Part(text=f"{self._text(ids, (0, first - 1))} "),
            Part(text=self._text(ids, models[0].best), mark=True),
            Part(text=f" {self._text(ids, (last + 1, len(ids) - 1))}"),
        )
        reference, candidate = (
            Answer(text=self._text(ids, one.best), share=one.score(one.best), right=one.best in (right or ()))
            for one in models
        )
        return Case(
            texts=(passage(question, "Question"), Passage(name="Context", parts=parts)),
            expected=NO_ANSWER if right == [] else " / ".join(self._text(ids, span) for span in right or ()),
            reference=(reference,),
            candidate=(candidate,),
        )

    def _text(self, ids: NDArray[np.int64], span: Span) -> str:
        first, last = span
        if last < first or last < 0:
            return ""
        return self._tokenizer.decode(ids[first : last + 1].tolist(), skip_special=False)
