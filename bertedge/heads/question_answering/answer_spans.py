"""The best answers to a question, from the logits of their first and last tokens (Devlin et al. 2019, section 4.2).

P(start = i) and P(end = j) are softmaxes over the tokens of the context and the first token of the input, such as
``[CLS]``. A span from token i to token j has the score P(start = i) P(end = j). The first token stands for "no answer"
(section 4.3). A long context is read in windows that overlap; each has a softmax of its own, as in the pipeline for
question answering that ``transformers`` had up to version 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.encoding import Encoding
from bertedge.probabilities import Logits, log_softmax

#: The longest answer, in tokens; the default of the pipeline in ``transformers``.
LONGEST_ANSWER = 15
#: Characters in a text: the first one, and the one after the last.
Characters = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A part of a context that answers a question.

    Attributes:
        text: the answer as the context writes it; empty for "no answer".
        start: its first character in the context, from 0.
        end: the character after its last one.
        score: its probability, 0 to 1.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The part of a context that is read at once, behind the question.

    Attributes:
        tokens: the positions of its N tokens among the S tokens of the input.
        characters: the characters of the context that an answer takes if it starts or ends with a token, (N, 2).
    """

    tokens: range
    characters: NDArray[np.int64]


def log_boundaries(logits: Logits, context: range) -> Logits:
    """Log probabilities of the first token (row 0) and of the context's N tokens to start and to end the answer.

    Args:
        logits: of all S positions, (S, 2).

    Returns:
        (1 + N, 2)
    """
    return log_softmax(np.concatenate([logits[:1], logits[context.start : context.stop]]).T).T


def span_scores(boundaries: NDArray[np.float32], longest: int = LONGEST_ANSWER) -> NDArray[np.float32]:
    """Scores of all spans of the context: [n, k] is that of the k + 1 tokens from token n on, 0 beyond the context.

    Args:
        boundaries: probabilities as in :func:`log_boundaries`, (1 + N, 2).
        longest: tokens of a span at most.

    Returns:
        (N, min(longest, N))
    """
    starts, ends = boundaries[1:].T
    width = min(longest, len(starts))
    if not width:
        return np.zeros((0, 0), dtype=np.float32)
    padded = np.concatenate([ends, np.zeros(width - 1, dtype=ends.dtype)])
    return starts[:, None] * np.lib.stride_tricks.sliding_window_view(padded, width)


def windows_of_context(encodings: Sequence[Encoding], *, whole_words: bool) -> list[Window]:
    """Where the windows of one pair of question and context hold the context.

    Args:
        encodings: from :func:`bertedge.windows.windows_of`.
        whole_words: an answer that starts or ends inside a word takes all of it. A word that one window cuts is whole
            in another one.
    """
    words: dict[int, Characters] = {}
    for encoding, tokens in zip(encodings, parts := [_second_text(one) for one in encodings], strict=True):
        for position in tokens if whole_words else ():
            word, (start, end) = encoding.word_ids[position], encoding.offsets[position]
            if word is not None:
                first, last = words.get(word, (start, end))
                words[word] = min(start, first), max(end, last)
    return [
        Window(tokens=tokens, characters=np.array(list(_characters(one, tokens, words)), dtype=np.int64).reshape(-1, 2))
        for one, tokens in zip(encodings, parts, strict=True)
    ]


def best_answers(
    context: str,
    windows: Iterable[tuple[Window, Logits]],
    *,
    top: int,
    longest: int = LONGEST_ANSWER,
    no_answer: bool = False,
) -> list[Answer]:
    """The best answers, best first: at most ``top``, fewer if the context has fewer spans.

    Spans of tokens that give the same characters, in one window or in several, are one answer with the largest of their
    scores.

    Args:
        windows: of the context, each with the logits (S, 2) of its S positions.
        longest: tokens of an answer at most.
        no_answer: whether "no answer", with an empty text, is one of the answers. Its score is its smallest probability
            in any window.
    """
    found: dict[Characters, float] = {}
    nothing = 1.0
    for window, logits in windows:
        boundaries = np.exp(log_boundaries(logits, window.tokens))
        nothing = min(nothing, float(np.nan_to_num(boundaries[0].prod())))  # of scores that are not numbers: 0
        for characters, score in _of_window(window, span_scores(boundaries, longest), top):
            start, end = _stripped(context, characters)
            if start < end:
                found[start, end] = max(score, found.get((start, end), 0.0))
    answers = [Answer(text=context[start:end], start=start, end=end, score=one) for (start, end), one in found.items()]
    if no_answer:
        answers.append(Answer(text="", start=0, end=0, score=nothing))
    return sorted(answers, key=lambda answer: -answer.score)[:top]


def _second_text(encoding: Encoding) -> range:
    """The positions of the tokens of the second text, which stand together."""
    sequences = encoding.sequence_ids
    count = sequences.count(1)
    start = sequences.index(1) if count else 0
    return range(start, start + count)


def _characters(encoding: Encoding, tokens: range, words: dict[int, Characters]) -> Iterator[Characters]:
    """The characters of the word of each token, or of the token itself where its word is not known."""
    for position in tokens:
        word = encoding.word_ids[position]
        yield encoding.offsets[position] if word is None or word not in words else words[word]


def _of_window(window: Window, scores: NDArray[np.float32], top: int) -> Iterator[tuple[Characters, float]]:
    """The best answers of one window, and their scores: (N, L) are those of spans of tokens."""
    seen: set[Characters] = set()
    for best in np.argsort(-scores, axis=None, kind="stable"):
        token, more = divmod(int(best), scores.shape[1])
        if len(seen) == top or not scores[token, more] > 0:
            break
        characters = int(window.characters[token, 0]), int(window.characters[token + more, 1])
        if characters not in seen:
            seen.add(characters)
            yield characters, float(scores[token, more])


def _stripped(text: str, characters: Characters) -> Characters:
    """A part of a text without the spaces at its ends, which some tokenizers count to the tokens beside them."""
    start, end = characters
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
