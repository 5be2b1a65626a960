"""Labelled texts of a user's file: plain text, JSON Lines, CSV or CoNLL, compressed or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bertedge.data.columns import ANSWERS, Columns, Row, asked_columns, find_columns
from bertedge.data.rows import BYTE_ORDER_MARK, Rows, rows_of
from bertedge.data.text_files import TextFile, open_text
from bertedge.errors import CorpusError, UsageError
from bertedge.example import Example, WordSpan
from bertedge.texts import SURROGATE

#: Answers that CSV files write as JSON in a cell.
LISTS = ("labels", "tags", "spans", "answers")


def read_examples(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[Example]:
    """The texts or pairs of texts of a file, with the answers that it gives, in memory that does not grow with it.

    A .txt file has a text in each line. .csv, .tsv and .jsonl files have a text or a pair in each row; columns are
    found by their usual names (:mod:`bertedge.data.columns`). CoNLL files have a word and its tag in each line. Rows
    without text are skipped.

    Args:
        columns: ``NAME`` of the column of the texts, twice for pairs; ``ROLE=NAME`` of others, such as ``label=topic``.

    Raises:
        CorpusError: the file cannot be read, or a row does not fit; the message gives its line.
        UsageError: the file has no column that ``columns`` names.
    """
    asked = asked_columns(columns or ())
    with open_text(path) as file:
        rows = rows_of(file)
        if rows is None and asked:
            raise UsageError(f"--column: {path} is plain text, without columns", "leave --column out")
        if rows is None:
            yield from _lines(file)
            return
        for row, found in _with_columns(path, rows(file), asked):
            if (example := _example(path, row, found)) is not None:
                yield example


def texts_of(file: TextFile, rows: Rows) -> Iterator[str]:
    """The texts of rows, for a corpus; of a pair, a line each.

    Raises:
        CorpusError: see :func:`read_examples`.
    """
    for row, columns in _with_columns(file.path, rows(file), {}):
        second = None if columns.pair is None else _text(file.path, row, columns.pair)
        texts = [text for text in (_first_text(file.path, row, columns), second) if text is not None]
        if texts:
            yield "\n".join(texts)


def has_rows(path: Path) -> bool:
    """Whether a file has a text in each row, instead of running text.

    Raises:
        CorpusError: it cannot be read.
    """
    with open_text(path) as file:
        return rows_of(file) is not None


def columns_in_words(path: Path, *, columns: Sequence[str] | None = None) -> str:
    """Which columns hold what, in words; raises as :func:`read_examples`."""
    with open_text(path) as file:
        rows = rows_of(file)
        row = None if rows is None else next(rows(file), None)
        return "a text in each line" if row is None else str(find_columns(path, row, asked_columns(columns or ())))


def _with_columns(path: Path, rows: Iterator[Row], asked: Mapping[str, str]) -> Iterator[tuple[Row, Columns]]:
    """Each row with its columns; rows of JSON Lines may have different ones."""
    found: dict[tuple[str, ...], Columns] = {}
    for row in rows:
        names = tuple(row.values)
        if names not in found:
            found[names] = find_columns(path, row, asked)
        yield row, found[names]


def _first_text(path: Path, row: Row, columns: Columns) -> str | None:
    """The text of a row; None if it is null.

    Raises:
        CorpusError: it is no text.
    """
    if columns.in_words:
        words = _words(path, row, columns)
        return None if words is None else " ".join(words)
    return _text(path, row, columns.text)


def _lines(file: TextFile) -> Iterator[Example]:
    """A text for each line; a line that is read in parts is put together."""
    text, begins = "", 1
    for part in file.parts():
        text += part.removeprefix(BYTE_ORDER_MARK) if begins == 1 else part
        if part.endswith("\n"):
            if text.strip():
                yield Example(text=text.strip(), line=begins)
            text, begins = "", begins + 1
    if text.strip():
        yield Example(text=text.strip(), line=begins)


def _example(path: Path, row: Row, columns: Columns) -> Example | None:
    """The example of a row; None if it has no text."""
    text = _first_text(path, row, columns)
    if text is None or not text.strip():
        return None
    spans = _spans(_words(path, row, columns) or []) if columns.in_words else None
    texts = {columns.text, columns.pair, *(set(ANSWERS) & columns.named)}
    others = (
        {} if row.roles else {name: _parsed("labels", row.values[name]) for name in row.values if name not in texts}
    )
    answers = others | {role: _parsed(role, row.values.get(name)) for role, name in columns.answers.items()}
    if isinstance(answers.get("tags"), str):
        answers["tags"] = answers["tags"].split() or None
    values = {role: value for role, value in answers.items() if value is not None and value != ""}
    tags = values.get("tags")
    if spans is not None and isinstance(tags, list) and len(tags) != len(spans):
        raise CorpusError(
            f"{path}: line {row.line} has {len(spans)} words and {len(tags)} tags", "give each word a tag"
        )
    second = None if columns.pair is None else _text(path, row, columns.pair)
    return Example(text=text, pair=second or None, values=values, words=spans, line=row.line)


def _text(path: Path, row: Row, name: str) -> str | None:
    value = row.values.get(name)
    if isinstance(value, str) and SURROGATE.search(value):
        raise CorpusError(
            f"{path}: {name!r} in line {row.line} is not Unicode: it holds half of a surrogate pair", "correct the row"
        )
    if value is None or isinstance(value, str):
        return value
    raise CorpusError(
        f"{path}: {name!r} in line {row.line} is a {type(value).__name__}, not a text",
        "make it a string, or null for a row without text",
    )


def _words(path: Path, row: Row, columns: Columns) -> list[str] | None:
    value = _parsed("tags", row.values.get(columns.text))
    if isinstance(value, str):
        return value.split()
    if value is None or (isinstance(value, list) and all(_is_word(word) for word in value)):
        return value
    raise CorpusError(
        f"{path}: {columns.text!r} in line {row.line} is not a list of words", "make it a list of strings"
    )


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and not SURROGATE.search(value)


def _spans(words: Sequence[str]) -> tuple[WordSpan, ...]:
    """Where each word stands in the words joined by spaces."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return tuple(spans)


def _parsed(role: str, value: Any) -> Any:
    """A value of a row; a list or an object that a cell holds as JSON is read."""
    if role in LISTS and isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value
