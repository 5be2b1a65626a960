"""Rows of text, JSON Lines and CSV: what comes back, what is bad, and where reading can go on."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import CorpusError
from bertedge.jobs import byte_lines
from bertedge.jobs.byte_lines import ByteLines
from bertedge.jobs.line_rows import rows_reader
from bertedge.jobs.row_tables import BadRow, Position

#: Any text without NUL; line breaks of all kinds are in it.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=12)


def read(suffix: str, content: bytes, start: Position | None = None) -> tuple[list[Any], list[Position]]:
    """The rows from a position on, and the position after each."""
    reader, header = rows_reader(suffix, content)
    found = ByteLines(io.BytesIO(content), checked=start is not None and start.checksum > 0)
    if start is not None and start.offset:
        found.skip_to(start)
    elif header:
        next(iter(found), None)
    rows, positions = [], []
    for row in reader(found):
        rows.append(row)
        positions.append(found.position)
    return rows, positions


def goes_on(suffix: str, content: bytes) -> list[Any]:
    """The rows of a file, after a check that reading can begin after each of them."""
    rows, positions = read(suffix, content)
    for index, position in enumerate(positions):
        assert read(suffix, content, position)[0] == rows[index + 1 :]
    return rows


@given(st.lists(lines, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_lines_of_text(expected: list[str], end: str, last: bool, mark: bool) -> None:
    content = end.join(expected) + (end if last and expected else "")
    if expected and not last and not expected[-1]:
        expected = expected[:-1]  # nothing after the last line feed is no line
    rows = goes_on(".txt", (b"\xef\xbb\xbf" if mark else b"") + content.encode())
    assert [row[1]["text"] for row in rows] == [
        line.removeprefix("\ufeff") if not index and not mark else line for index, line in enumerate(expected)
    ]
    assert [row[0] for row in rows] == [*range(1, len(rows) + 1)]


@given(st.lists(st.dictionaries(texts, st.none() | st.integers() | texts, max_size=3), max_size=6), st.booleans())
def test_objects(expected: list[dict[str, Any]], escaped: bool) -> None:
    content = "\n\n".join(json.dumps(row, ensure_ascii=escaped) for row in expected)
    assert goes_on(".jsonl", content.encode()) == [(2 * index + 1, row) for index, row in enumerate(expected)]


@given(
    st.lists(st.tuples(texts, texts), max_size=6), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"])
)
def test_comma_separated_values(expected: list[tuple[str, str]], delimiter: str, end: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [("text", "other"), *expected]
    )
    rows = goes_on(".csv", text.getvalue().encode())
    assert [tuple(row[1].values()) for row in rows] == expected


@given(st.binary(max_size=60), st.sampled_from([".txt", ".csv", ".jsonl", ""]))
def test_any_bytes_are_rows_or_bad_rows(content: bytes, suffix: str) -> None:
    header = b"text,other\n" if suffix == ".csv" else b""
    for row in goes_on(suffix, header + content):
        if isinstance(row, BadRow):
            assert row.reason
        else:
            assert all(value is None or isinstance(value, object) for value in row[1].values())
            json.dumps(row[1]).encode()


def test_a_broken_row_of_csv_does_not_take_others_with_it() -> None:
    content = b'text,n\r\n"one\ntwo",1\r\n"stray "quote",2\r\nthree,3,more\r\n\r\nshort\r\n"",4\r\n\xff,5\r\nlast,6'
    rows, _ = read(".csv", content)
    good = {row[0]: row[1] for row in rows if not isinstance(row, BadRow)}
    assert good == {
        2: {"text": "one\ntwo", "n": "1"},
        7: {"text": "short", "n": None},
        8: {"text": "", "n": "4"},
        10: {"text": "last", "n": "6"},
    }
    bad = {row.line: row.reason for row in rows if isinstance(row, BadRow)}
    assert [*bad] == [4, 5, 9]
    assert "3 values" in bad[5]
    assert bad[9] == "is not UTF-8"


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_a_line_that_is_too_long(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_lines, "LONGEST_ROW", 32)
    monkeypatch.setattr(byte_lines, "BLOCK", 8)
    long, short = (f'{{"text": "{text}"}}' if suffix == ".jsonl" else text for text in ("x" * 100, "short"))
    content = ("text\n" if suffix == ".csv" else "") + f"{short}\n{long}\n{short}\n"
    rows = goes_on(suffix, content.encode())
    assert [isinstance(row, BadRow) for row in rows] == [False, True, False]
    assert "bytes" in rows[1].reason


def test_a_pipe_is_recognized_by_whole_lines() -> None:
    first = b'{"text": "one"}\n'
    assert rows_reader("", first + b'{"text": "t')[0] is rows_reader(".jsonl", b"")[0]
    assert rows_reader("", b'{"text": "t')[0] is rows_reader(".jsonl", b"")[0]
    assert rows_reader("", b"plain\n{")[0] is rows_reader(".txt", b"")[0]
    assert rows_reader(".txt", first)[0] is rows_reader(".txt", b"")[0]


def test_another_pipe_is_noticed() -> None:
    content = b"one\ntwo\nthree\n"
    lines = ByteLines(io.BytesIO(content), checked=True)
    next(iter(lines))
    same = ByteLines(io.BytesIO(content), checked=True)
    same.skip_to(lines.position)
    assert [*same] == [b"two\n", b"three\n"]
    for other in (b"six\ntwo\n", b"on"):
        with pytest.raises(CorpusError, match="not that of the unfinished run"):
            ByteLines(io.BytesIO(other), checked=True).skip_to(lines.position)
