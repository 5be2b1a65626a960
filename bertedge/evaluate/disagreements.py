"""The texts on which a candidate is farthest from its float reference, to be read by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import MaybeShare
from bertedge.evaluate.collector import TOP, log_softmax
from bertedge.predictor import NO_LABEL, Batch, Outputs
from bertedge.tokenizer import Tokenizer

#: Masked words of each list, and pairs, that are kept of each candidate.
KEEP_WORDS, KEEP_PAIRS = 5, 3
#: Nats, and a difference of probabilities, that are no disagreement but the order of additions.
MIN_KL, MIN_DIFFERENCE = 1e-6, 1e-5


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A piece of the vocabulary, and its probability."""

    piece: str
    probability: MaybeShare


@dataclass(frozen=True, kw_only=True)
class WordDisagreement:
    """One masked position.

    Attributes:
        before: the text in front of the mask; further masks in it are spelt as they are.
        after: the text behind it.
        hidden: the piece that the mask hides.
        kl: KL(float || candidate) in nats.
        margin: float's probability of its own best piece minus that of the candidate's best; 0 where they are the same.
        reference: float's five best pieces, best first.
        candidate: the candidate's.
    """

    before: str
    after: str
    hidden: str
    kl: float
    margin: float
    reference: tuple[Guess, ...]
    candidate: tuple[Guess, ...]


@dataclass(frozen=True, kw_only=True)
class PairDisagreement:
    """One pair of segments.

    Attributes:
        is_next: whether the second follows the first.
        reference: float's probability that it does.
        candidate: the candidate's.
    """

    first: str
    second: str
    is_next: bool
    reference: MaybeShare
    candidate: MaybeShare


@dataclass(frozen=True, kw_only=True)
class Disagreements:
    """The worst of each kind, the worst first; masked words at most one a text.

    Attributes:
        flips: another best word than float's, by how much float preferred its own.
        words: by divergence.
        pairs: by the difference of the probabilities.
    """

    flips: tuple[WordDisagreement, ...] = ()
    words: tuple[WordDisagreement, ...] = ()
    pairs: tuple[PairDisagreement, ...] = ()


class WorstCases:
    """Keeps the worst of one candidate while batches go by; their logits are dropped at once."""

    def __init__(self, tokenizer: Tokenizer, *, words: int = KEEP_WORDS, pairs: int = KEEP_PAIRS) -> None:
        self._tokenizer = tokenizer
        self._keep_words, self._keep_pairs = words, pairs
        self._flips: list[WordDisagreement] = []
        self._words: list[WordDisagreement] = []
        self._pairs: list[PairDisagreement] = []

    def add(self, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """See what a reference and the candidate said of a batch."""
        both = expected.logits.keys() & got.logits.keys()
        if "mlm" in both:
            self._add_words(batch, expected.logits["mlm"], got.logits["mlm"])
        if "nsp" in both:
            self._add_pairs(batch, expected.logits["nsp"], got.logits["nsp"])

    def found(self) -> Disagreements:
        """The worst so far."""
        return Disagreements(flips=tuple(self._flips), words=tuple(self._words), pairs=tuple(self._pairs))

    def _add_words(self, batch: Batch, expected: NDArray[np.float32], got: NDArray[np.float32]) -> None:
        rows, columns = np.nonzero(batch.filled)
        log_p, log_q = log_softmax(expected[rows, columns]), log_softmax(got[rows, columns])
        kl = np.nan_to_num((np.exp(log_p) * (log_p - log_q)).sum(axis=1), nan=np.inf)  # what is no number comes first
        best = np.take_along_axis(np.exp(log_p), log_q.argmax(axis=1)[:, None], axis=1)[:, 0]
        margin = np.exp(log_p.max(axis=1)) - best

        def word(index: int) -> WordDisagreement:
            row, place = int(rows[index]), int(batch.masked_positions[rows[index], columns[index]])
            ids, end = batch.input_ids[row], int(batch.lengths[row])
            return WordDisagreement(
                before=self._text(ids[1:place]),
                after=self._text(ids[place + 1 : end - 1]),
                hidden=self._tokenizer.token(int(batch.labels["mlm"][row, columns[index]])),
                kl=float(kl[index]),
                margin=float(margin[index]),
                reference=self._guesses(log_p[index]),
                candidate=self._guesses(log_q[index]),
            )

        count = self._keep_words
        self._words += [word(i) for i in _worst(kl, rows, count, above=MIN_KL)]
        self._flips += [word(i) for i in _worst(margin, rows, count, above=0.0)]
        self._words = sorted(self._words, key=lambda one: -one.kl)[:count]
        self._flips = sorted(self._flips, key=lambda one: -one.margin)[:count]

    def _add_pairs(self, batch: Batch, expected: NDArray[np.float32], got: NDArray[np.float32]) -> None:
        p, q = (np.exp(log_softmax(logits)[:, 0]) for logits in (expected, got))
        difference = np.where(batch.labels["nsp"] != NO_LABEL, _gap(p, q), 0.0)
        for row in np.argsort(-difference, kind="stable")[: self._keep_pairs]:
            if difference[row] < MIN_DIFFERENCE:
                break
            ids, end = batch.input_ids[row], int(batch.lengths[row])
            boundary = int(np.argmax(batch.token_type_ids[row] == 1))  # [CLS] first [SEP] second [SEP]
            self._pairs.append(
                PairDisagreement(
                    first=self._text(ids[1 : boundary - 1]),
                    second=self._text(ids[boundary : end - 1]),
                    is_next=bool(batch.labels["nsp"][row] == 0),
                    reference=float(p[row]),
                    candidate=float(q[row]),
                )
            )
        self._pairs = sorted(self._pairs, key=lambda pair: -_gap(pair.reference, pair.candidate))[: self._keep_pairs]

    def _text(self, ids: Sequence[int] | NDArray[np.int64]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special=False)

    def _guesses(self, log_probabilities: NDArray[np.float32]) -> tuple[Guess, ...]:
        best = np.argsort(-log_probabilities, kind="stable")[:TOP]
        return tuple(
            Guess(piece=self._tokenizer.token(int(i)), probability=float(np.exp(log_probabilities[i]))) for i in best
        )


def _gap(one: Any, other: Any) -> Any:
    """How far probabilities are apart; as far as can be, where one is no number."""
    return np.nan_to_num(np.abs(one - other), nan=1.0)


def _worst(scores: NDArray[np.float32], rows: NDArray[np.int64], count: int, *, above: float) -> list[int]:
    """Indices of the largest scores, at most one of each row."""
    found: dict[int, int] = {}
    for index in np.argsort(-scores, kind="stable"):
        if len(found) == count or scores[index] <= above:
            break
        found.setdefault(int(rows[index]), int(index))
    return list(found.values())
