"""The masked words on which a candidate differs most from its reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.cases import Answer, Case, Part, Passage, WorstList
from bertedge.heads.head import Arrays
from bertedge.predictor import Batch
from bertedge.probabilities import log_softmax
from bertedge.tokenizer import Tokenizer

#: Guesses that are shown for each word.
GUESSES = 5
#: A smaller divergence, in nats, is only rounding.
MIN_KL = 1e-6
FLIPS, WORDS = "mlm.flips", "mlm.words"
LISTS = {FLIPS: "Another best word", WORDS: "Masked words whose probabilities are farthest apart"}


class WorstWords:
    """Two lists of words; each holds at most one word of a text.

    ``mlm.flips``: words whose best guess differs from float's, sorted by the margin: float's probability of its own
    best token minus that of the candidate's best. ``mlm.words``: sorted by KL(float || candidate).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._flips, self._words = WorstList(), WorstList(above=MIN_KL)

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        rows, columns = np.nonzero(batch.filled)
        log_p, log_q = log_softmax(expected["logits"]), log_softmax(got["logits"])
        kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
        best = np.take_along_axis(np.exp(log_p), log_q.argmax(axis=1)[:, None], axis=1)[:, 0]
        margin = np.exp(log_p.max(axis=1)) - best

        def word(index: int) -> Case:
            row, column = int(rows[index]), int(columns[index])
            hidden = self._tokenizer.token(int(batch.labels["mlm"][row, column]))
            ahead = (
                f"In float, its best word is ahead of the candidate's best word by {100 * margin[index]:.1f} points. "
                if margin[index] > 0
                else ""
            )
            return Case(
                texts=(self._around(batch, row, int(batch.masked_positions[row, column])),),
                expected=hidden,
                note=f"{ahead}KL {kl[index]:.3g} nats.",
                reference=self._guesses(log_p[index], hidden),
                candidate=self._guesses(log_q[index], hidden),
            )

        self._words.add(kl, word, rows)
        self._flips.add(margin, word, rows)

    def found(self) -> dict[str, tuple[Case, ...]]:
        return {FLIPS: self._flips.cases(), WORDS: self._words.cases()}

    def _around(self, batch: Batch, row: int, place: int) -> Passage:
        """The text around a masked position, without the special tokens at both ends."""
        template, end = self._tokenizer.template, int(batch.lengths[row])
        special = (template.pair if batch.token_type_ids[row].any() else template.single).special
        ids = batch.input_ids[row, len(special[0]) : end - len(special[-1])].tolist()
        place -= len(special[0])
        before, after = (self._tokenizer.decode(part, skip_special=False) for part in (ids[:place], ids[place + 1 :]))
        mask = Part(text=self._tokenizer.mask_token, mark=True)
        return Passage(parts=(Part(text=f"{before} "), mask, Part(text=f" {after}")))

    def _guesses(self, log_probabilities: NDArray[np.float32], hidden: str) -> tuple[Answer, ...]:
        best = np.argsort(-log_probabilities, kind="stable")[:GUESSES]
        tokens = [(self._tokenizer.token(int(i)), float(np.exp(log_probabilities[i]))) for i in best]
        return tuple(Answer(text=token, share=share, right=token == hidden) for token, share in tokens)
