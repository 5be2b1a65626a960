"""``answer``: the parts of contexts that answer questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

from bertedge.encoding import Encoding
from bertedge.errors import UsageError
from bertedge.heads.question_answering.answer_spans import LONGEST_ANSWER, Answer, best_answers, windows_of_context
from bertedge.heads.text_model import TextModel, row_of
from bertedge.probabilities import Logits
from bertedge.texts import Pair, texts_of
from bertedge.windows import windows_of

HEAD = "question_answering"
#: Tokens that are read at once, and tokens that a window of a longer context shares with the one before it. Models are
#: trained with such windows (Devlin et al. 2019), and the pipeline of ``transformers`` has the same defaults.
WINDOW, STRIDE = 384, 128
#: The answer of a context in which nothing can be found, since the model's scores are not numbers.
NOTHING_FOUND = Answer(text="", start=0, end=0, score=0.0)


class AnswerMethod(TextModel):
    """The method of the head that finds answers in contexts."""

    @overload  # a string is an iterable of strings too, but the first case
    def answer(  # type: ignore[overload-overlap]
        self,
        question: str,
        context: str,
        *,
        top: None = None,
        no_answer: bool = False,
        longest: int = LONGEST_ANSWER,
        stride: int = STRIDE,
        whole_words: bool = True,
    ) -> Answer: ...
    @overload
    def answer(  # type: ignore[overload-overlap]
        self,
        question: str,
        context: str,
        *,
        top: int,
        no_answer: bool = False,
        longest: int = LONGEST_ANSWER,
        stride: int = STRIDE,
        whole_words: bool = True,
    ) -> list[Answer]: ...
    @overload
    def answer(
        self,
        question: str | Iterable[str],
        context: str | Iterable[str],
        *,
        top: None = None,
        no_answer: bool = False,
        longest: int = LONGEST_ANSWER,
        stride: int = STRIDE,
        whole_words: bool = True,
    ) -> list[Answer]: ...
    @overload
    def answer(
        self,
        question: str | Iterable[str],
        context: str | Iterable[str],
        *,
        top: int,
        no_answer: bool = False,
        longest: int = LONGEST_ANSWER,
        stride: int = STRIDE,
        whole_words: bool = True,
    ) -> list[list[Answer]]: ...
    def answer(
        self,
        question: str | Iterable[str],
        context: str | Iterable[str],
        *,
        top: int | None = None,
        no_answer: bool = False,
        longest: int = LONGEST_ANSWER,
        stride: int = STRIDE,
        whole_words: bool = True,
    ) -> Answer | list[Answer] | list[list[Answer]]:
        """Find the answer to a question in a context, or those to several questions.

        A context that is too long for one window is read in several that overlap, each with the question in front.

        Args:
            question: one question, or several. One question may go with several contexts.
            context: the text that may hold the answer, or one for each question. One context may go with several
                questions.
            top: how many answers are given for each question, best first; default: only the best one.
            no_answer: whether the answer may be "no answer", with an empty text; for models that were trained with
                such questions.
            longest: tokens of an answer at most.
            stride: tokens that a window shares with the one before it, at most half of a window.
            whole_words: an answer that starts or ends inside a word takes all of it. Turn it off for languages that
                write no spaces between words.

        Returns:
            An answer for one question; a list for several; with ``top`` a list of answers for each question.

        Raises:
            CheckpointError: the model has no such head.
            UsageError: a question or a context is empty or not a text; there are more of one than of the other; or a
                question is too long.

        Warns:
            UnknownTextWarning: a question or a context has no known word.
        """
        self._require(HEAD)
        for name, number, least in (("top", top, 1), ("longest", longest, 1), ("stride", stride, 0)):
            if number is not None and number < least:
                raise UsageError(f"answer: {name} is {number}, expected at least {least}", "give a larger number")
        pairs = _pairs(question, context)
        windows = self._windows(pairs, stride)
        logits = iter(self._logits([window for own in windows for window in own]))
        best = [
            best_answers(
                text,
                [(part, next(logits)) for part in windows_of_context(own, whole_words=whole_words)],
                top=top or 1,
                longest=longest,
                no_answer=no_answer,
            )
            for (_, text), own in zip(pairs, windows, strict=True)
        ]
        one = isinstance(question, str) and isinstance(context, str)
        if top is None:
            first = [answers[0] if answers else NOTHING_FOUND for answers in best]
            return first[0] if one else first
        return best[0] if one else best

    def _windows(self, pairs: Sequence[Pair], stride: int) -> list[list[Encoding]]:
        """The windows of each context, each with its question in front."""
        length = min(WINDOW, self.tokenizer.max_length)
        stride = min(stride, length // 2)
        most = length - self.tokenizer.template.pair.count - stride - 1
        for index, ids in enumerate(self.tokenizer.token_ids_many([question for question, _ in pairs])):
            if len(ids) > most:
                at = _at(index, pairs)
                raise UsageError(f"the question{at} has {len(ids)} tokens, expected at most {most}", "shorten it")
        windows = windows_of(self.tokenizer, pairs, stride=stride, max_length=length)
        for index, own in enumerate(windows):
            if 1 not in own[0].sequence_ids:
                raise UsageError(f"the context{_at(index, pairs)} has no tokens", "give a context with words")
        return windows

    def _logits(self, encodings: Sequence[Encoding]) -> list[Logits]:
        """The logits (S, 2) of each window."""
        # a copy: a view would keep the outputs of the whole group in memory
        return self.runner.run([row_of(one, hidden=True) for one in encodings], lambda result: result[HEAD].copy())


def _pairs(question: str | Iterable[str], context: str | Iterable[str]) -> list[Pair]:
    """Questions with their contexts.

    Raises:
        UsageError: one of them is empty, or is not a text; or there are more of one than of the other.
    """
    listed = {"question": question, "context": context}
    texts = {
        name: texts_of([given] if isinstance(given, str) else given, f"answer: expected a {name} or a list of them")
        for name, given in listed.items()
    }
    counts = {len(own) for name, own in texts.items() if not isinstance(listed[name], str)} or {1}
    if len(counts) > 1:
        questions, others = len(texts["question"]), len(texts["context"])
        raise UsageError(f"answer: {questions} questions and {others} contexts", "give one context for each question")
    (count,) = counts
    for name, own in texts.items():
        for index, text in enumerate(own):
            if not text.strip():
                raise UsageError(f"answer: the {name}{_at(index, own)} is empty", f"leave the {name} out, or write it")
        texts[name] = own * count if isinstance(listed[name], str) else own
    return list(zip(texts["question"], texts["context"], strict=True))


def _at(index: int, items: Sequence[object]) -> str:
    """Which of several items it is, in words."""
    return f" at index {index}" if len(items) > 1 else ""
