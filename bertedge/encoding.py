"""Encoded texts, and warnings about texts and vocabularies that do not fit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import tokenizers

#: A vocabulary counts as cased if at least this share of its tokens has capital letters.
CASED_SHARE = 0.01
#: The most indices that a warning names.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """One encoded text or pair of texts.

    Attributes:
        input_ids: token ids, special tokens included, length S.
        token_type_ids: the segment of each token, length S.
        truncated: whether a part of the text was cut off.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    truncated: bool


def is_unknown(encoding: tokenizers.Encoding, unknown_id: int | None, silent_ids: Collection[int]) -> bool:
    """Whether a text, or one text of a pair, has words and none of them is in the vocabulary.

    Args:
        silent_ids: special tokens; they do not count as words, even if a text contains them.
    """
    ids = encoding.ids
    if unknown_id is None or unknown_id not in ids:
        return False
    words: dict[int, set[int]] = {}
    for token, sequence in zip(ids, encoding.sequence_ids, strict=True):
        if sequence is not None and token not in silent_ids:
            words.setdefault(sequence, set()).add(token)
    return {unknown_id} in words.values()


def about_cut(cut: int, count: int, max_length: int, side: str) -> str:
    """A sentence about texts that were truncated."""
    part = "end" if side == "right" else "beginning"
    return f"{cut} of {count} texts had more than {max_length} tokens; their {part} was cut off"


def about_unknown(indices: Sequence[int], count: int) -> str:
    """A sentence about those of ``count`` texts that have no known word."""
    if count == 1:
        return "the text has no word that the model knows, so the answer is meaningless"
    more = ", ..." if len(indices) > SHOWN else ""
    where = f"index {', '.join(map(str, indices[:SHOWN]))}{more}"
    texts = f"{len(indices)} of {count} texts ({where})"
    return f"{texts} have no word that the model knows; their answers are meaningless"


def about_capitals(vocabulary: Collection[str]) -> str | None:
    """A sentence about a cased vocabulary of a tokenizer that makes text lower case; None for other vocabularies."""
    ordinary = [token for token in vocabulary if not (token.startswith("[") and token.endswith("]"))]
    capitals = sum(token != token.lower() for token in ordinary)
    if capitals < max(CASED_SHARE * len(ordinary), 1):
        return None
    return (
        f"text is made lower case, but {capitals:,} of {len(ordinary):,} tokens have capital letters and are never "
        "used; if the model is cased, give --cased"
    )
