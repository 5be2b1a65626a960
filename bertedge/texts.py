"""Texts as callers give them: any iterable of strings, or of pairs of strings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from bertedge.errors import UsageError

Pair = tuple[str, str]
#: Half of a surrogate pair, which is not a character. Python decodes bytes that are not UTF-8 to such halves.
SURROGATE = re.compile("[\ud800-\udfff]")
#: A message shows at most this many characters of a wrong value.
SHOWN = 40
PAIRS_HINT = 'for instance [("One.", "Two.")]'


def texts_of(texts: Any, expected: str) -> list[str]:
    """The texts of a list, an array, a column of a table, a generator or any other iterable.

    Args:
        expected: the method and what it takes, for the message.

    Raises:
        UsageError: it is not iterable, or an item is not a text; the message gives the item's index.
    """
    items = _items(texts, expected)
    return [_text(item, index, len(items), "text") for index, item in enumerate(items)]


def pairs_of(pairs: Any, expected: str) -> list[Pair]:
    """The pairs of texts of any iterable; a pair is a tuple, a list or an array of two.

    Raises:
        UsageError: it is not iterable, or an item is not a pair of texts; the message gives the item's index.
    """
    items = _items(pairs, expected)
    for index, item in enumerate(items):
        if not isinstance(item, tuple | list | np.ndarray) or len(item) != 2:
            raise UsageError(f"{expected}; at index {index} is {described(item)}", PAIRS_HINT)
    return [_pair(item, index, len(items)) for index, item in enumerate(items)]


def texts_or_pairs(items: Iterable[Any]) -> list[str | Pair]:
    """Texts and pairs of texts, as plain strings.

    Raises:
        UsageError: an item is neither; the message gives its index.
    """
    listed = list(items)
    return [
        _pair(item, index, len(listed))
        if isinstance(item, tuple | list) and len(item) == 2
        else _text(item, index, len(listed), "text")
        for index, item in enumerate(listed)
    ]


def _items(items: Any, expected: str) -> list[Any]:
    if not isinstance(items, str | bytes | bytearray | dict):
        try:
            return list(items)
        except TypeError:
            pass
    raise UsageError(f"{expected}, got {described(items)}", "give strings; bytes are decoded with .decode('utf-8')")


def _pair(pair: Any, index: int, count: int) -> Pair:
    return _text(pair[0], index, count, "first text"), _text(pair[1], index, count, "second text")


def _text(text: Any, index: int, count: int, name: str) -> str:
    where = f"the {name}" if count == 1 else f"the {name} at index {index}"
    if not isinstance(text, str):
        hint = "decode it first, with .decode('utf-8')" if isinstance(text, bytes) else "leave it out, or give ''"
        raise UsageError(f"{where} is {described(text)}, expected a string", hint)
    if SURROGATE.search(text):
        raise UsageError(f"{where} is not Unicode: it holds half of a surrogate pair", "decode it as UTF-8")
    return str(text)


def described(value: Any) -> str:
    """A value that is not a text, in a few words."""
    if value is None:
        return "None"
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return f"{shown} ({type(value).__name__})"
