"""Labelled texts: columns by usual names and by the user's, words with tags, and files that are refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.data import text_files
from bertedge.data.corpus import read_sentences
from bertedge.data.examples import columns_in_words, read_examples
from bertedge.errors import BertEdgeError, CorpusError, UsageError
from bertedge.example import Example


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


def only(path: Path, *columns: str) -> Example:
    (example,) = read_examples(path, columns=columns)
    return example


def test_a_text_in_each_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "\ufeffOne text.\n\n  Another. \n" + "x" * 10_000 + " end")
    found = list(read_examples(path))
    assert [(example.text[:8], example.line) for example in found] == [
        ("One text", 1),
        ("Another.", 3),
        ("xxxxxxxx", 4),
    ]
    assert found[-1].text.endswith("x end")
    assert columns_in_words(path) == "a text in each line"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "a", "label": "x"}, Example(text="a", values={"label": "x"}, line=1)),
        ({"sentence": "a", "category": 3}, Example(text="a", values={"category": 3, "label": 3}, line=1)),
        (
            {"id": 9, "Query": "a", "INTENT": "x"},
            Example(text="a", values={"id": 9, "INTENT": "x", "label": "x"}, line=1),
        ),
        ({"text": "a", "labels": ["x", "y"]}, Example(text="a", values={"labels": ["x", "y"]}, line=1)),
        ({"text": "a", "label": None, "score": 0.5}, Example(text="a", values={"score": 0.5}, line=1)),
        (
            {"sentence1": "a", "sentence2": "b", "similarity": 4},
            Example(text="a", pair="b", values={"similarity": 4, "score": 4}, line=1),
        ),
        ({"query": "a", "document": "b", "score": 1}, Example(text="a", pair="b", values={"score": 1}, line=1)),
        ({"query": "a", "passage": "b"}, Example(text="a", pair="b", line=1)),
        ({"text": "a", "pair": None}, Example(text="a", line=1)),
        (
            {"context": "b", "question": "a", "answers": {"text": ["b"], "answer_start": [0]}},
            Example(text="a", pair="b", values={"answers": {"text": ["b"], "answer_start": [0]}}, line=1),
        ),
        (
            {"tokens": ["Ada", "in", "London"], "ner_tags": [1, 0, 3], "text": "something else"},
            Example(
                text="Ada in London",
                values={"ner_tags": [1, 0, 3], "tags": [1, 0, 3], "text": "something else"},
                words=((0, 3), (4, 6), (7, 13)),
                line=1,
            ),
        ),
        (
            {"words": ["Ada"], "labels": ["B-person"]},
            Example(text="Ada", values={"tags": ["B-person"]}, words=((0, 3),), line=1),
        ),
        (
            {"text": "Ada", "spans": [{"start": 0, "end": 3, "label": "person"}]},
            Example(text="Ada", values={"spans": [{"start": 0, "end": 3, "label": "person"}]}, line=1),
        ),
    ],
)
def test_columns_have_usual_names(tmp_path: Path, row: dict[str, Any], expected: Example) -> None:
    assert only(written(tmp_path, "a.jsonl", json.dumps(row) + "\n")) == expected


def test_columns_of_several_classifiers_keep_their_names(tmp_path: Path) -> None:
    """A model with several classifiers reads the column with the name of each, also where it is a usual name."""
    path = written(tmp_path, "a.csv", 'text,intent,mood\na,buy,"[""calm"", ""warm""]"\n')
    assert only(path).values == {"intent": "buy", "label": "buy", "mood": ["calm", "warm"]}


def test_a_column_of_tags_or_of_a_second_text_that_the_user_names(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": "Ada is", "marks": ["B-x", "O"]}\n')
    assert only(path, "text", "tags=marks").values["tags"] == ["B-x", "O"]
    path = written(tmp_path, "usual.jsonl", '{"text": "Ada is", "ner_tags": [1, 0], "labels": ["x"]}\n')
    assert only(path).values == {"ner_tags": [1, 0], "tags": [1, 0], "labels": ["x"]}
    path = written(tmp_path, "b.jsonl", '{"query": "a", "answer": "b"}\n')
    example = only(path, "query", "answer")
    assert (example.pair, dict(example.values)) == ("b", {})
    assert (
        columns_in_words(path, columns=["query", "answer"])
        == "text from column 'query', second text from column 'answer'"
    )


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv.gz", 'text,body,topic,label\n1,"One, text.",news,9\n')
    assert only(path, "body").values == {"text": "1", "topic": "news", "label": "9"}
    example = only(path, "body", "Topic", "label=topic")
    assert (example.text, example.pair, example.values["label"]) == ("One, text.", "news", "news")
    assert (
        columns_in_words(path, columns=["body", "label=topic"]) == "text from column 'body', label from column 'topic'"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_of_csv(tmp_path: Path, delimiter: str) -> None:
    file = io.StringIO()
    rows = [["n", "tags", "tokens"], ["1", "O B-x", "a b"], ["2"], ["3", '["O"]', '["a, b"]'], ["4", "", "two\nlines"]]
    csv.writer(file, delimiter=delimiter).writerows(rows)
    found = list(read_examples(written(tmp_path, "a.csv", file.getvalue())))
    assert [(example.text, example.values, example.line) for example in found] == [
        ("a b", {"n": "1", "tags": ["O", "B-x"]}, 2),
        ("a, b", {"n": "3", "tags": ["O"]}, 4),
        ("two lines", {"n": "4"}, 5),
    ]


CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

# NN O O
1 NN O O
"""


@pytest.mark.parametrize(
    ("content", "told", "expected"),
    [
        (
            "Ada\tB-x\n#\tO\n\t\n#1\tO\n",
            "words from column '1', tags from column '2'",
            [("Ada #", "B-x O"), ("#1", "O")],
        ),
        ("Ada B-x\nx   O\n\n\n\ny O", "words from column '1', tags from column '2'", [("Ada x", "B-x O"), ("y", "O")]),
        (CONLL_2003, "words from column '1', tags from column '4'", [("EU rejects", "B-ORG O"), ("# 1", "O O")]),
        (
            "# id 7d\tdomain=train\nAda _ _ B-x\n\n# id 7e\tdomain=train\n# _ _ O\n",
            "words from column '1', tags from column '4'",
            [("Ada", "B-x"), ("#", "O")],
        ),
        (
            "# text = Ada sleeps\n1\tAda\tPROPN\t_\n2\tsleeps\tVERB\t_\n\n1\tSo\tADV\t_\n",
            "words from column '2', tags from column '4'",
            [("Ada sleeps", "_ _"), ("So", "_")],
        ),
        ("Ada\tB-x\t0.9\nx\tO\t0.8\n", "words from column '1', tags from column '2'", [("Ada x", "B-x O")]),
    ],
)
def test_conll(tmp_path: Path, content: str, told: str, expected: list[tuple[str, str]]) -> None:
    path = written(tmp_path, "a.conll", content)
    found = list(read_examples(path))
    assert [(example.text, " ".join(example.values["tags"])) for example in found] == expected
    for example in found:
        assert example.words is not None
        assert [example.text[start:end] for start, end in example.words] == example.text.split()
    assert columns_in_words(path) == told
    assert [sentence for _, sentence in read_sentences(path)] == [text for text, _ in expected]


def test_another_tag_column(tmp_path: Path) -> None:
    path = written(tmp_path, "a.iob", CONLL_2003)
    assert next(read_examples(path, columns=["tags=2"])).values["tags"] == ["NNP", "VBZ"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "id,body\n1,x\n", "line 1 has no column 'text'; it has 'id', 'body'"),
        ("a.jsonl", '{"text": "a"}\n{"label": 1}\n', "line 2 has no column 'text'; it has 'label'"),
        ("a.jsonl", '{"text": "a", "pair": 1}\n', "'pair' in line 1 is a int, not a text"),
        ("a.jsonl", '{"text": "\\ud800"}\n', "'text' in line 1 is not Unicode"),
        ("a.jsonl", '{"tokens": ["a", 1]}\n', "'tokens' in line 1 is not a list of words"),
        ("a.jsonl", '\n{"tokens": ["a", "b"], "tags": ["O"]}\n', "line 2 has 2 words and 1 tags"),
        ("a.conll", "a\tO\nb\n", "has a word without a tag: 'b'"),
        ("a.conll", "", "holds no text"),
        ("a.conll", "a x O\n" * 200 + "b x\n", "line 201 has 2 of the 3 columns"),
        ("a.csv", 'text\n"' + "x" * 200, ""),
    ],
)
def test_rows_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, told: str
) -> None:
    monkeypatch.setattr(text_files, "BEGINNING", 1000)
    path = written(tmp_path, name, content)
    if not told:  # csv takes the rest of the file for the field
        assert only(path).text == "x" * 200
        return
    with pytest.raises(CorpusError) as caught:
        list(read_examples(path))
    assert caught.value.message.startswith(f"{path}: ")
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["bod"], "a.csv has no such column"),
        (["body", "id", "id"], "there is another pair already"),
        (["label=body", "label=id"], "there is another label already"),
        (["label="], "is empty"),
        ([""], "is empty"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: list[str], told: str) -> None:
    path = written(tmp_path, "a.csv", "id,body\n1,x\n")
    with pytest.raises(UsageError) as caught:
        list(read_examples(path, columns=columns))
    assert told in caught.value.message
    with pytest.raises(UsageError, match="plain text"):
        list(read_examples(written(tmp_path, "a.txt", "x\n"), columns=["text"]))


def test_many_rows_are_read_one_by_one(tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "text {number}"}}\n' for number in range(30_000)) + "broken\n"
    found = read_examples(written(tmp_path, "a.jsonl", rows))
    assert [next(found).line for _ in range(3)] == [1, 2, 3]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5))
def test_every_format_gives_the_same_examples(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    names = ("text", "pair", "label")
    file = io.StringIO()
    csv.writer(file).writerows([names, *rows])
    objects = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    expected = [(text, pair or None, {"label": label} if label else {}) for text, pair, label in rows if text.strip()]
    for name, content in (("a.csv", file.getvalue()), ("a.jsonl", objects)):
        found = read_examples(written(tmp_path, name, content))
        assert [(example.text, example.pair, dict(example.values)) for example in found] == expected


WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(WORD, st.sampled_from(["O", "B-x", "I-x"])), min_size=1), min_size=1),
    st.sampled_from(["\t", " "]),
)
def test_words_and_tags_come_back(tmp_path: Path, texts: list[list[tuple[str, str]]], separator: str) -> None:
    content = "\n\n".join("\n".join(separator.join(pair) for pair in text) for text in texts) + "\n"
    if separator not in ("\t",) and not any(word[0] != "#" for text in texts for word, _ in text):
        return  # only words that look like comments: there is no line to learn the columns from
    try:
        found = list(read_examples(written(tmp_path, "a.bio", content)))
    except CorpusError as error:
        assert all(word.startswith("#") for text in texts for word, _ in text), error
        return
    words = [[example.text[start:end] for start, end in example.words or ()] for example in found]
    assert words == [[word for word, _ in text] for text in texts]
    assert [example.values["tags"] for example in found] == [[tag for _, tag in text] for text in texts]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.jsonl", "a.csv", "a.tsv", "a.conll", "a.txt", "a.gz"]),
    st.sampled_from(
        [b"", b"\x1f\x8b\x08", b'{"text": "', b'{"tokens": ["a"], "tags": ', b"text,label\n", b"a O\n", b"#"]
    ),
    st.binary(max_size=60),
)
def test_any_bytes_under_any_name(tmp_path: Path, name: str, start: bytes, rest: bytes) -> None:
    (tmp_path / name).write_bytes(start + rest)
    try:
        for example in read_examples(tmp_path / name):
            assert example.text.strip()
            assert example.line
    except BertEdgeError as error:
        assert name in error.message
