"""The masked words on which a candidate differs most from its reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import MaybeShare
from bertedge.predictor import Batch
from bertedge.probabilities import log_softmax
from bertedge.tokenizer import Tokenizer

#: Masked words of each list, and guesses that are shown for each word.
KEEP_WORDS, GUESSES = 5, 5
#: A smaller divergence, in nats, is only rounding.
MIN_KL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A token of the vocabulary, and its probability."""

    piece: str
    probability: MaybeShare


@dataclass(frozen=True, kw_only=True)
class WordDisagreement:
    """One masked position.

    Attributes:
        before: the text in front of the mask, with other masks in it.
        after: the text behind it.
        hidden: the token under the mask.
        kl: KL(float || candidate) in nats.
        margin: float's probability of its own best token minus that of the candidate's best; 0 where they are equal.
        reference: float's five best tokens, best first.
        candidate: the candidate's.
    """

    before: str
    after: str
    hidden: str
    kl: float
    margin: float
    reference: tuple[Guess, ...]
    candidate: tuple[Guess, ...]


class WorstWords:
    """Two lists of words; each holds at most one word of a text.

    ``flips``: words whose best guess differs from float's, sorted by ``margin``. ``words``: sorted by ``kl``.
    """

    def __init__(self, tokenizer: Tokenizer, *, count: int = KEEP_WORDS) -> None:
        self._tokenizer, self._count = tokenizer, count
        self._flips: list[WordDisagreement] = []
        self._words: list[WordDisagreement] = []

    def add(self, batch: Batch, expected: NDArray[np.float32], got: NDArray[np.float32]) -> None:
        rows, columns = np.nonzero(batch.filled)
        log_p, log_q = log_softmax(expected[rows, columns]), log_softmax(got[rows, columns])
        kl = np.nan_to_num((np.exp(log_p) * (log_p - log_q)).sum(axis=1), nan=np.inf)  # NaN sorts first
        best = np.take_along_axis(np.exp(log_p), log_q.argmax(axis=1)[:, None], axis=1)[:, 0]
        margin = np.exp(log_p.max(axis=1)) - best

        def word(index: int) -> WordDisagreement:
            row, column = int(rows[index]), int(columns[index])
            before, after = self._around(batch, row, int(batch.masked_positions[row, column]))
            return WordDisagreement(
                before=before,
                after=after,
                hidden=self._tokenizer.token(int(batch.labels["mlm"][row, column])),
                kl=float(kl[index]),
                margin=float(margin[index]),
                reference=self._guesses(log_p[index]),
                candidate=self._guesses(log_q[index]),
            )

        self._words = self._merged(self._words, word, kl, rows, MIN_KL, lambda one: one.kl)
        self._flips = self._merged(self._flips, word, margin, rows, 0.0, lambda one: one.margin)

    def found(self) -> dict[str, tuple[WordDisagreement, ...]]:
        return {"flips": tuple(self._flips), "words": tuple(self._words)}

    def _merged(
        self,
        before: list[WordDisagreement],
        word: Callable[[int], WordDisagreement],
        scores: NDArray[np.float32],
        rows: NDArray[np.int64],
        above: float,
        score: Callable[[WordDisagreement], float],
    ) -> list[WordDisagreement]:
        """The words with the largest scores among those so far and those of a batch."""
        new = [word(index) for index in _largest(scores, rows, self._count, above=above)]
        return sorted(before + new, key=lambda one: -score(one))[: self._count]

    def _around(self, batch: Batch, row: int, place: int) -> tuple[str, str]:
        """The text before and after a position, without the special tokens at both ends."""
        template, end = self._tokenizer.template, int(batch.lengths[row])
        special = (template.pair if batch.token_type_ids[row].any() else template.single).special
        ids = batch.input_ids[row, len(special[0]) : end - len(special[-1])].tolist()
        place -= len(special[0])
        parts = (ids[:place], ids[place + 1 :])
        before, after = (self._tokenizer.decode(part, skip_special=False) for part in parts)
        return before, after

    def _guesses(self, log_probabilities: NDArray[np.float32]) -> tuple[Guess, ...]:
        best = np.argsort(-log_probabilities, kind="stable")[:GUESSES]
        return tuple(
            Guess(piece=self._tokenizer.token(int(i)), probability=float(np.exp(log_probabilities[i]))) for i in best
        )


def _largest(scores: NDArray[np.float32], rows: NDArray[np.int64], count: int, *, above: float) -> list[int]:
    """Indices of the largest scores, at most one of each row."""
    found: dict[int, int] = {}
    for index in np.argsort(-scores, kind="stable"):
        if len(found) == count or scores[index] <= above:
            break
        found.setdefault(int(rows[index]), int(index))
    return list(found.values())
