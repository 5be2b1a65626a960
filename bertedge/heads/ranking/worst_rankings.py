"""The pairs of query and document whose scores differ most from float's."""

from __future__ import annotations

import numpy as np

from bertedge.heads.cases import Answer, Case, WorstList, passage, texts_of
from bertedge.heads.head import Arrays
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

PAIRS = "ranking.pairs"
#: A smaller difference of scores is only rounding.
SCORE_FLOOR = 1e-5


class WorstRankings:
    """One list of pairs."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pairs = WorstList(above=SCORE_FLOOR)

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        """The arrays are those of :meth:`bertedge.heads.Head.read`."""
        one, other, rows = expected["scores"], got["scores"], expected["rows"]
        right = batch.labels.get("ranking")

        def case(index: int) -> Case:
            row = int(rows[index])
            texts = texts_of(self._tokenizer, batch, row)
            known = right is not None and not np.isnan(right[row, 0])
            return Case(
                texts=tuple(passage(text, name) for text, name in zip(texts, ("Query", "Document"), strict=False)),
                expected=f"{right[row, 0]:.4g}" if right is not None and known else "",
                reference=(Answer(text="score", value=float(one[index])),),
                candidate=(Answer(text="score", value=float(other[index])),),
            )

        self._pairs.add(np.abs(one - other), case, rows)

    def found(self) -> dict[str, tuple[Case, ...]]:
        """By the names of the lists in :attr:`bertedge.heads.Head.lists`."""
        return {PAIRS: self._pairs.cases()}
