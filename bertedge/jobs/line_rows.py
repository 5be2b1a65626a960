"""Rows of text, JSON Lines and CSV. A row that cannot be read is reported, and does not end the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bertedge.data.columns import LONGEST_ROW
from bertedge.data.rows import BYTE_ORDER_MARK, DELIMITERS, TAGGED, begins_with_objects, header_of
from bertedge.errors import CorpusError, UsageError
from bertedge.jobs.byte_lines import ByteLines
from bertedge.jobs.row_tables import BadRow

#: A row and the line where it begins.
NumberedRow = tuple[int, dict[str, Any]]
Rows = Iterator[NumberedRow | BadRow]
#: The column of a file without columns.
TEXT = "text"
OVERLONG = f"has more than {LONGEST_ROW:,} bytes"
NOT_UTF8, NUL = "is not UTF-8", "holds NUL bytes"


def text_rows(lines: ByteLines) -> Rows:
    """Each line is a text, also an empty one."""
    for line in _not_too_long(lines):
        if isinstance(line, BadRow):
            yield line
            continue
        try:
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            yield BadRow(line=lines.number, reason=NOT_UTF8)
            continue
        yield BadRow(line=lines.number, reason=NUL) if "\0" in text else (lines.number, {TEXT: text})


def object_rows(lines: ByteLines) -> Rows:
    """Each line is a JSON object; blank lines are no rows."""
    for line in _not_too_long(lines):
        if isinstance(line, BadRow):
            yield line
        elif line.strip():
            row = _object(line)
            yield BadRow(line=lines.number, reason=row) if isinstance(row, str) else (lines.number, row)


def _not_too_long(lines: ByteLines) -> Iterator[bytes | BadRow]:
    """Lines, and a bad row for each that was too long."""
    overlong = 0
    for line in lines:
        yield line if lines.overlong == overlong else BadRow(line=lines.number, reason=OVERLONG)
        overlong = lines.overlong


def _object(line: bytes) -> dict[str, Any] | str:
    """A JSON object, or why it is none. NaN and infinity, which JSON lacks, are null."""
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=lambda name: None)
    except UnicodeDecodeError:
        return NOT_UTF8
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {str(error)[:100]}"
    return row if isinstance(row, dict) else "is not a JSON object"


def csv_rows_of(lines: ByteLines, names: list[str], delimiter: str) -> Rows:
    """The rows of comma or tab separated values, without the first line; blank lines are no rows.

    Quotation marks are read strictly. Otherwise a single one that is not closed would make one text of many rows.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    reader = csv.reader((line.decode("utf-8", "surrogateescape") for line in lines), delimiter=delimiter, strict=True)
    while True:
        begins, overlong = lines.number + 1, lines.overlong
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(line=begins, reason=str(error))
            continue
        if lines.overlong > overlong:
            yield BadRow(line=begins, reason=OVERLONG)
        elif values:
            reason = _flaw(values, len(names))
            yield BadRow(line=begins, reason=reason) if reason else (begins, _named(values, names))


def _named(values: list[str], names: list[str]) -> dict[str, Any]:
    missing = [None] * (len(names) - len(values))
    return dict(zip(names, [*values, *missing], strict=False))


def _flaw(values: list[str], columns: int) -> str | None:
    """Why a row cannot be used."""
    if any(values[columns:]):
        return f"has {len(values)} values, but the first line names {columns} columns; is a quotation mark missing?"
    whole = "".join(values)
    if "\0" in whole:
        return NUL
    return NOT_UTF8 if not whole.isascii() and any("\udc80" <= character <= "\udcff" for character in whole) else None


def rows_reader(suffix: str, beginning: bytes) -> tuple[Callable[[ByteLines], Rows], tuple[str, ...]]:
    """The reader of a file's rows, by its suffix or else by its beginning, and the columns that its first line names.

    Raises:
        UsageError: files of this format have no rows to answer.
        CorpusError: two columns have one name.
    """
    if suffix in TAGGED:
        raise UsageError(f"{suffix} files hold words and tags, not texts", "give JSON Lines, CSV or one text a line")
    text = beginning.decode("utf-8", errors="replace").removeprefix(BYTE_ORDER_MARK)
    if suffix in DELIMITERS:
        delimiter, names = header_of(text.replace("\r\n", "\n"), suffix)
        named = _require_different([name or f"column_{place}" for place, name in enumerate(names, start=1)])
        return lambda lines: csv_rows_of(lines, named, delimiter), tuple(named)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return object_rows, ()
    return (object_rows if suffix != ".txt" and _holds_objects(text) else text_rows), ()


def _holds_objects(beginning: str) -> bool:
    """Whether lines are JSON objects. A pipe may deliver the beginning of a line first."""
    whole_lines = beginning.rpartition("\n")[0]
    return begins_with_objects(whole_lines) if whole_lines.strip() else beginning.lstrip().startswith("{")


def _require_different(names: list[str]) -> list[str]:
    seen: Mapping[str, int] = {name: names.count(name) for name in names}
    for name, count in seen.items():
        if count > 1:
            raise CorpusError(f"the first line names {count} columns {name[:60]!r}", "give each column another name")
    return names
