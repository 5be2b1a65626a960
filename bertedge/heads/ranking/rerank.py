"""``rerank``: documents in the order of their relevance to a query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bertedge.errors import UsageError
from bertedge.heads.ranking.rank_settings import RankSettings
from bertedge.heads.text_model import TextModel, row_of
from bertedge.predictor import RowOutputs
from bertedge.texts import Pair, pairs_of, texts_of
from bertedge.tokenizer import Tokenizer

HEAD = "ranking"


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A document and its score.

    Attributes:
        index: its place among the documents that were given, from 0.
        score: larger is more relevant; from 0 to 1 if the model applies a sigmoid.
    """

    index: int
    score: float
    text: str


class Rerank(TextModel):
    """The method of the ranking head."""

    def rerank(self, query: str, documents: Iterable[str], *, top: int | None = None) -> list[Ranked]:
        """Order documents by their relevance to a query, the most relevant first.

        Args:
            documents: a list, an array, a column of a table, a generator. Documents with equal scores keep their order.
            top: return only so many; default: all.

        Raises:
            CheckpointError: the model has no such head.
            UsageError: the query or a document is not a text, or ``top`` is below 1.

        Warns:
            TruncationWarning: pairs of query and document were too long.
            UnknownTextWarning: texts consist of unknown words.
        """
        self._require(HEAD)
        if top is not None and (type(top) is not int or top < 1):
            raise UsageError(f"top is {top!r}, expected a whole number of at least 1", "leave it out to get all")
        if not isinstance(query, str):
            raise UsageError("rerank: expected a text as the query", 'for instance rerank("red planet", documents)')
        texts = texts_of(documents, "rerank: expected a list of documents")
        scores = self.relevance([(query, text) for text in texts])
        order = np.argsort(-np.asarray(scores), kind="stable")[:top]
        return [Ranked(index=int(index), score=scores[index], text=texts[index]) for index in order]

    def relevance(self, pairs: Iterable[Pair], *, raw_scores: bool = False) -> list[float]:
        """The score of each pair of a query and a document; larger is more relevant.

        Args:
            pairs: a list, an array of two columns, ``zip(queries, documents)``, a generator.
            raw_scores: give the model's output itself, without its sigmoid or other function.

        Raises:
            CheckpointError: the model has no such head.
            UsageError: an item is not a pair of texts; the message gives its index.

        Warns:
            TruncationWarning: pairs were too long.
            UnknownTextWarning: texts consist of unknown words.
        """
        self._require(HEAD)
        settings: RankSettings = self.head_settings.ranking
        encodings = self._ranking_tokenizer.encode_many(pairs_of(pairs, "relevance: expected a list of pairs"))

        def read(result: RowOutputs) -> float:
            logits = result[HEAD]
            return float(logits[0] if raw_scores else settings.scores(logits))

        return self.runner.run([row_of(encoding) for encoding in encodings], read)

    @cached_property
    def _ranking_tokenizer(self) -> Tokenizer:
        """The tokenizer with the maximum length of a pair."""
        length = self.head_settings.ranking.max_length
        if length is None or length >= self.tokenizer.max_length:
            return self.tokenizer
        return self.tokenizer.with_max_length(length)
