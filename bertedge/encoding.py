"""Encoded texts, and warnings about texts and vocabularies that do not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import tokenizers

#: A vocabulary counts as cased if at least this share of its tokens has capital letters.
CASED_SHARE = 0.01
#: The most indices that a warning names.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """One encoded text or pair of texts, or one window of it.

    Attributes:
        input_ids: token ids, special tokens included, length S.
        token_type_ids: the segment of each token, length S.
        truncated: whether a part of the text was cut off.
        source: what the ``tokenizers`` library says about the tokens. Only what is asked of it becomes Python lists,
            so that texts whose offsets nothing reads are encoded as fast as before.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    truncated: bool
    source: tokenizers.Encoding = field(repr=False, compare=False)

    @classmethod
    def of(cls, source: tokenizers.Encoding, *, truncated: bool | None = None) -> Encoding:
        """The encoding of one text.

        Args:
            truncated: default: whether the library cut something off.
        """
        cut = bool(source.overflowing) if truncated is None else truncated
        return cls(input_ids=source.ids, token_type_ids=source.type_ids, truncated=cut, source=source)

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """The first character of each token, and the one after its last, in its own text; (0, 0) for special tokens."""
        return self.source.offsets

    @cached_property
    def word_ids(self) -> list[int | None]:
        """The word of each token, counted in its own text as the tokenizer splits it; None for special tokens."""
        return self.source.word_ids

    @cached_property
    def sequence_ids(self) -> list[int | None]:
        """0 for tokens of the text, 1 for those of the second text of a pair, None for special tokens."""
        return self.source.sequence_ids


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


def continuing(backend: tokenizers.Tokenizer, vocabulary: Mapping[str, int], added: Collection[int]) -> list[int]:
    """The ids of the tokens that continue the word before them; see :meth:`bertedge.tokenizer.Tokenizer.continuation`.

    Args:
        added: ids of added tokens, which are words of their own.
    """
    prefix, decoder = getattr(backend.model, "continuing_subword_prefix", None), backend.decoder
    if prefix or decoder is None:
        return [index for token, index in vocabulary.items() if prefix and token.startswith(prefix)]
    ordinary = ((token, index) for token, index in vocabulary.items() if index not in added)
    return [index for token, index in ordinary if not decoder.decode(["a", token])[1:].startswith(" ")]


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
