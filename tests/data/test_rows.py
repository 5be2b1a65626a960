"""Texts of JSON Lines and CSV are read by their column, or refused; never taken for plain text."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.data.corpus import layout_of, read_sentences, tokenize_corpus
from bertedge.errors import CorpusError
from bertedge.tokenizer import Tokenizer
from tests.conftest import DOCUMENTS
from tests.data.refusals import refused

ROWS = ["The cat sat.\nIt slept.\n\nNobody came.", 'A "ship", left; at dawn.', "It was 5 o'clock:\tlate."]
SENTENCES = [
    (0, "The cat sat."),
    (0, "It slept."),
    (0, "Nobody came."),
    (1, 'A "ship", left; at dawn.'),
    (2, "It was 5 o'clock:\tlate."),
]


def json_lines(rows: list[str]) -> str:
    return "".join(json.dumps({"label": 1, "text": row}) + "\n" for row in rows)


def table(rows: list[str], delimiter: str = ",", header: tuple[str, str] = ("label", "text")) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([header, *(("1", row) for row in rows)])
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", json_lines(ROWS)),
        ("a.NDJSON", json_lines(ROWS)),
        ("a.json", json_lines(ROWS).replace("\n", "\r\n\r\n")),
        ("a.txt", json_lines(ROWS)),
        ("a", json_lines(ROWS)),
        ("a.jsonl", "\ufeff" + json_lines(ROWS) + json.dumps({"text": None}) + "\n"),
        ("a.jsonl", json_lines(ROWS).replace('"text"', '"Text"')),
        ("a.csv", table(ROWS)),
        ("a.csv", "\ufeff" + table(ROWS, ";")),
        ("a.CSV", table(ROWS, header=("label", " Text "))),
        ("a.tsv", table(ROWS, "\t")),
    ],
)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_row_is_a_document(tmp_path: Path, name: str, content: str, compressed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if compressed else name)
    path.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    assert list(read_sentences(path)) == SENTENCES
    assert layout_of(path) == "a document in each row"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1), min_size=1))
def test_both_formats_give_the_texts_back(tmp_path: Path, rows: list[str]) -> None:
    expected = [row.strip() for row in rows if row.strip()]
    for name, content in (("a.jsonl", json_lines(rows)), ("a.csv", table(rows)), ("a.tsv", table(rows, "\t"))):
        (tmp_path / name).write_bytes(content.encode())
        assert [sentence for _, sentence in read_sentences(tmp_path / name)] == expected


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", '{"review": "good", "stars": 5}\n', "line 1 has no column 'text'; it has 'review', 'stars'"),
        ("a.jsonl", '{"text": "good"}\n\n{}\n', "line 3 has no column 'text'; it has no column"),
        ("a.jsonl", '{"text": "good"}\nbad\n', "line 2 is not a JSON object"),
        ("a.jsonl", '{"text": ["a", "b"]}\n', "'text' in line 1 is a list, not a text"),
        ("a.jsonl", "[" * 100_000 + "\n", "line 1 is not a JSON object"),
        ("a.json", '[{"text": "good"}]', "line 1 is not a JSON object"),
        ("a.json", '{\n  "text": "good"\n}\n', "line 1 is not a JSON object"),
        ("a.csv", "id;review\n1;good\n", "line 1 has no column 'text'; it has 'id', 'review'"),
        ("a.csv", "The cat sat, and slept.\n", "line 1 has no column 'text'"),
        ("a.csv", "", "line 1 has no column 'text'; it has no column"),
        ("a.tsv", "review\tstars\ngood\t5\n", "it has 'review', 'stars'"),
        ("a.csv", "id,text\n1," + '"' + "never closed\n" * 100, ""),
    ],
)
def test_what_cannot_be_read_is_said_in_two_lines(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)
    if told:
        assert told in refused(tmp_path / name).message
    else:  # csv takes the rest of the file for the field, which is text, after all
        assert len(list(read_sentences(tmp_path / name))) == 100


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_row_has_a_limit(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertedge.data import rows

    monkeypatch.setattr(rows, "LONGEST_ROW", 200_000)
    (tmp_path / name).write_text(json_lines(["word " * 50_000]) if name == "a.jsonl" else table(["word " * 50_000]))
    assert "limit" in (error := refused(tmp_path / name)).message or "more than 200,000" in error.message


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv", "a.tsv"])
def test_rows_are_the_documents_of_plain_text(
    tmp_path: Path, name: str, corpus_file: Path, tokenizer: Tokenizer
) -> None:
    rows = ["\n".join(document) for document in DOCUMENTS]
    content = table(rows, "\t" if "tsv" in name else ",") if "jsonl" not in name else json_lines(rows)
    (tmp_path / name).write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    found, expected = (tokenize_corpus(path, tokenizer) for path in (tmp_path / name, corpus_file))
    for array in ("token_ids", "sentence_starts", "document_starts"):
        np.testing.assert_array_equal(getattr(found, array), getattr(expected, array))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.gz"]),
    st.sampled_from([b"", b"\x1f\x8b\x08", b"BZh9", b'{"text": "', b"text\n", b'id,text\n1,"', b"\xff\xfe"]),
    st.binary(max_size=60),
)
def test_any_bytes_under_any_name(tmp_path: Path, tokenizer: Tokenizer, name: str, start: bytes, rest: bytes) -> None:
    (tmp_path / name).write_bytes(start + rest)
    try:
        corpus = tokenize_corpus(tmp_path / name, tokenizer)
    except CorpusError as error:
        assert name in error.message
    else:
        assert corpus.num_sentences >= 1
