"""``fill_mask``: words for the ``[MASK]``s of a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bertedge.encoding import Encoding
from bertedge.errors import UsageError
from bertedge.heads.text_model import TextModel, row_of
from bertedge.predictor import Row
from bertedge.probabilities import softmax, top_indices
from bertedge.texts import texts_of


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One proposal for a ``[MASK]``: the token, its probability, its id."""

    token: str
    probability: float
    token_id: int


#: The proposals for every ``[MASK]`` of one text, best first.
Fills = list[list[Fill]]


class FillMask(TextModel):
    """The method of the masked-language-model head."""

    @overload  # a string is an iterable of strings too, but the first case
    def fill_mask(self, texts: str, *, top_k: int = 5) -> Fills: ...  # type: ignore[overload-overlap]
    @overload
    def fill_mask(self, texts: Iterable[str], *, top_k: int = 5) -> list[Fills]: ...
    def fill_mask(self, texts: str | Iterable[str], *, top_k: int = 5) -> Fills | list[Fills]:
        """The most probable tokens for every ``[MASK]``; ids that the tokenizer has no token for are left out.

        Args:
            texts: one text, or several: a list, an array, a column of a table, a generator.

        Returns:
            For one text, a list with ``top_k`` proposals for each ``[MASK]``; for several texts, a list of such lists.

        Raises:
            UsageError: a text has no ``[MASK]``, or one was cut off with the end of the text; or an item is not a text.
                The message gives its index.

        Warns:
            TruncationWarning: texts were too long.
            UnknownTextWarning: texts consist of unknown words.
        """
        self._require("mlm")
        if isinstance(texts, str):
            return self.fill_mask([texts], top_k=top_k)[0]
        if top_k < 1:
            raise UsageError(f"top_k is {top_k}, expected at least 1", "ask for one proposal or more")
        several = texts_of(texts, "fill_mask: expected a text or a list of texts")
        encodings = self.tokenizer.encode_many(several)
        rows = [self._masked_row(several, encoding, index) for index, encoding in enumerate(encodings)]
        return self.runner.run(rows, lambda result: self._fills(result["mlm"], top_k))

    def _masked_row(self, texts: Sequence[str], encoding: Encoding, index: int) -> Row:
        ids = np.asarray(encoding.input_ids, dtype=np.int64)
        positions = np.flatnonzero(ids == self.tokenizer.id_of("mask")).astype(np.int64)
        text, mask = texts[index], self.tokenizer.mask_token
        where = "" if len(texts) == 1 else f" (index {index})"
        if len(positions) != text.count(mask) and encoding.truncated:
            message = f"a {mask} is beyond the {len(ids)} tokens that the model reads{where}"
            raise UsageError(message, "shorten the text")
        if not len(positions):
            raise UsageError(f"no {mask} in {text[:60]!r}{where}", f"write {mask} where a word is to be filled in")
        return row_of(encoding, masked_positions=positions)

    @cached_property
    def _tokens(self) -> NDArray[np.int64] | None:
        """The ids that have a token, in ascending order; None if all ids of the model have one."""
        size = self.config.vocab_size
        known = self.tokenizer.ids
        return None if len(known) == size else known[known < size]

    def _shown(self, token_id: int) -> str:
        """A token as text. Only WordPiece shows in the token itself that it continues a word; bytes are unreadable."""
        token = self.tokenizer.token(token_id)
        if self.tokenizer.continuation_prefix or token_id in self.tokenizer.added:
            return token
        return self.tokenizer.decode([token_id]) or token

    def _fills(self, logits: NDArray[np.float32], top_k: int) -> Fills:
        probabilities = softmax(logits)
        known = self._tokens
        best = top_indices(probabilities if known is None else probabilities[:, known], top_k)
        best = best if known is None else known[best]
        return [
            [Fill(token=self._shown(int(i)), probability=float(row[i]), token_id=int(i)) for i in order]
            for row, order in zip(probabilities, best, strict=True)
        ]


def lines(fills: Fills) -> Iterator[str]:
    """The proposals for one text, a line each, with an empty line between masks."""
    for index, proposals in enumerate(fills):
        if index:
            yield ""
        for fill in proposals:
            yield f"{fill.probability:8.4f}  {fill.token}"
