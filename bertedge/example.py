"""One labelled text of a user's file, before it is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The first and the last character of a word, the latter not included.
WordSpan = tuple[int, int]
#: Key of :attr:`Example.values`: the number of a pair whose two texts are examples of their own.
PAIR = "pair"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row of a file: a text or a pair of texts, and the answers that the file gives.

    Attributes:
        pair: the second text of a pair, such as the context of a question; None for a single text.
        values: column -> value; answers are also under ``label``, ``labels``, ``score``, ``tags``, ``spans`` and
            ``answers``, whatever their column is called.
        words: where each word of ``text`` stands, if the file lists words; None if it holds plain text.
        line: the line of the file, from 1; None for an example that is from no file.
    """

    text: str
    pair: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[WordSpan, ...] | None = None
    line: int | None = None
