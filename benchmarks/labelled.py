"""Labelled texts that the benchmarks read from a folder: questions with an intent, and words with tags.

A folder holds ``train.csv`` and ``test.csv`` with the columns ``text,category`` (banking77), or ``train.conll`` and
``test.conll`` with a word and its BIO tag on every line and a blank line between texts (wnut17).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path


def read_intents(path: Path) -> list[tuple[str, str]]:
    """(text, category) of every row."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def read_words(path: Path) -> list[list[tuple[str, str]]]:
    """(word, tag) of every word, in a list for each text."""
    texts: list[list[tuple[str, str]]] = [[]]
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not line.strip():
            texts.append([])
            continue
        word, tag = line.split("\t")
        texts[-1].append((word, tag))
    return [text for text in texts if text]


def spans(tags: list[str]) -> Iterator[tuple[str, int, int]]:
    """(kind, first, end) of every entity. As in conlleval, an ``I-`` after another kind starts an entity."""
    kind, first = "", 0
    for index, tag in enumerate([*tags, "O"]):
        position, _, name = tag.partition("-")
        if kind and (position != "I" or name != kind):
            yield kind, first, index
            kind = ""
        if position != "O" and not kind:
            kind, first = name, index


def span_f1(expected: list[list[str]], found: list[list[str]]) -> float:
    """F1 of entities whose kind, start and end are all right."""
    right = there = given = 0
    for wanted, got in zip(expected, found, strict=True):
        a, b = set(spans(wanted)), set(spans(got))
        right, there, given = right + len(a & b), there + len(a), given + len(b)
    return 2 * right / max(there + given, 1)
