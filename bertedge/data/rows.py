"""Rows of JSON Lines and CSV: each text in the column ``text`` is a document."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from bertedge.data.text_files import TextFile
from bertedge.errors import CorpusError

COLUMN, BYTE_ORDER_MARK = "text", "\ufeff"
#: The most characters of a row.
LONGEST_ROW = 2**24
#: Suffix -> possible delimiters.
DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}

Rows = Callable[[TextFile], Iterator[str]]


def rows_of(file: TextFile) -> Rows | None:
    """The reader for a file's rows, by its suffix or, for JSON Lines, by its beginning; None for plain text."""
    return READERS.get(file.suffix) or (json_rows if _begins_with_objects(file.beginning) else None)


def json_rows(file: TextFile) -> Iterator[str]:
    """The texts of a file with a JSON object in each line.

    Raises:
        CorpusError: a line is not an object, or has no text under that name.
    """
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise CorpusError(
                f"{file.path}: line {number} is not a JSON object",
                "write JSON Lines, an object a line: jq -c '.[]' FILE > NEW.jsonl for a list, jq -c . for objects",
            )
        if (name := _named_text(row)) is None:
            raise _no_column(file, list(row), f"line {number}")
        if isinstance(row[name], str):
            yield row[name]
        elif row[name] is not None:
            raise CorpusError(
                f"{file.path}: {name!r} in line {number} is a {type(row[name]).__name__}, not a text",
                "make it a string, or null for a row without text",
            )


def csv_rows(file: TextFile) -> Iterator[str]:
    """The texts of comma or tab separated values; the first line names the columns.

    Raises:
        CorpusError: no column has that name, or a row cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    delimiter, names = _header(file)
    if COLUMN not in names:
        raise _no_column(file, names, "line 1")
    column = names.index(COLUMN)
    rows = csv.reader(_lines(file), delimiter=delimiter)
    try:
        for row in islice(rows, 1, None):
            if column < len(row):
                yield row[column]
    except csv.Error as error:
        raise CorpusError(
            f"{file.path}: line {rows.line_num}: {error}", "check the quotation marks in this row"
        ) from error


READERS: dict[str, Rows] = {
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
}


def _header(file: TextFile) -> tuple[str, list[str]]:
    """The delimiter and the columns of the first line. A delimiter that gives a text column is preferred."""
    line = file.beginning.split("\n", 1)[0].lstrip(BYTE_ORDER_MARK)
    headers = []
    for delimiter in DELIMITERS[file.suffix]:
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        headers.append((delimiter, [COLUMN if name.lower() == COLUMN else name for name in names]))
    return max(headers, key=lambda header: (COLUMN in header[1], len(header[1])))


def _named_text(row: dict[str, Any]) -> str | None:
    return next((name for name in row if name.strip().lower() == COLUMN), None)


def _no_column(file: TextFile, names: list[str], where: str) -> CorpusError:
    shown = ", ".join(repr(name[:40]) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return CorpusError(
        f"{file.path}: {where} has no column {COLUMN!r}; it has {shown or 'no column'}",
        f"name the column that holds the text {COLUMN!r}, or write that column to a .txt file",
    )


def _lines(file: TextFile) -> Iterator[str]:
    """Whole lines, with the line feed at their end."""
    line = ""
    for part in file.parts():
        line += part.removeprefix(BYTE_ORDER_MARK) if file.lines_read <= 1 else part
        if len(line) > LONGEST_ROW:
            raise CorpusError(
                f"{file.path}: the row{file.where()} has more than {LONGEST_ROW:,} characters",
                "divide it, or write the texts to a .txt file",
            )
        if line.endswith("\n"):
            yield line
            line = ""
    if line:
        yield line


def _begins_with_objects(beginning: str) -> bool:
    """Whether the first lines are JSON objects."""
    lines = [line for line in beginning.split("\n", 8)[:8] if line.strip()][:2]
    try:
        return bool(lines) and all(line.lstrip().startswith("{") and json.loads(line) for line in lines)
    except (ValueError, RecursionError):
        return False
