"""Rows of JSON Lines, CSV and CoNLL files: a value for each column."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator

from bertedge.data.columns import LONGEST_ROW, Row, is_text_column
from bertedge.data.conll import conll_rows
from bertedge.data.text_files import TextFile
from bertedge.errors import CorpusError

BYTE_ORDER_MARK = "\ufeff"
#: Suffix -> possible delimiters.
DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
#: Suffixes of files with a word and its tag in each line.
TAGGED = (".conll", ".conllu", ".bio", ".iob", ".iob2")

Rows = Callable[[TextFile], Iterator[Row]]


def rows_of(file: TextFile) -> Rows | None:
    """The reader for a file's rows, by its suffix or, for JSON Lines, by its beginning; None for plain text."""
    return READERS.get(file.suffix) or (json_rows if begins_with_objects(file.beginning) else None)


def json_rows(file: TextFile) -> Iterator[Row]:
    """The objects of a file with a JSON object in each line.

    Raises:
        CorpusError: a line is not an object.
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
        yield Row(line=number, values=row)


def csv_rows(file: TextFile) -> Iterator[Row]:
    """The rows of comma or tab separated values; the first line names the columns, and is a row without values.

    Raises:
        CorpusError: a row cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    delimiter, names = header_of(file.beginning, file.suffix)
    rows = csv.reader(_lines(file), delimiter=delimiter)
    try:
        next(rows, None)
        none: dict[str, str | None] = dict.fromkeys(names)
        yield Row(line=1, values=none)
        begins = rows.line_num + 1
        for row in rows:
            first_of_equal_names = dict(reversed([*zip(names, row, strict=False)]))
            yield Row(line=begins, values=none | first_of_equal_names)
            begins = rows.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            f"{file.path}: line {rows.line_num}: {error}", "check the quotation marks in this row"
        ) from error


def tagged_rows(file: TextFile) -> Iterator[Row]:
    """The texts of a CoNLL file; see :func:`bertedge.data.conll.conll_rows`."""
    return conll_rows(file, _lines(file))


READERS: dict[str, Rows] = {
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    **dict.fromkeys(TAGGED, tagged_rows),
}


def header_of(beginning: str, suffix: str) -> tuple[str, list[str]]:
    """The delimiter and the columns of the first line. A delimiter that gives a text column is preferred."""
    line = beginning.split("\n", 1)[0].lstrip(BYTE_ORDER_MARK)
    headers = []
    for delimiter in DELIMITERS[suffix]:
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        headers.append((delimiter, names))
    return max(headers, key=lambda header: (any(map(is_text_column, header[1])), len(header[1])))


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


def begins_with_objects(beginning: str) -> bool:
    """Whether the first lines are JSON objects."""
    lines = [line for line in beginning.split("\n", 8)[:8] if line.strip()][:2]
    try:
        return bool(lines) and all(line.lstrip().startswith("{") and json.loads(line) for line in lines)
    except (ValueError, RecursionError):
        return False
