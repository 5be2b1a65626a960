"""A text file to documents, sentences and pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.checkpoint import open_checkpoint
from bertedge.data import corpus as corpus_module
from bertedge.data.calibration import default_text
from bertedge.data.corpus import (
    LONG_LINE,
    STRETCH,
    TokenizedCorpus,
    layout_of,
    read_sentences,
    tokenize_corpus,
)
from bertedge.errors import CorpusError
from bertedge.tokenizer import Tokenizer
from tests.templates import template

FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
sentences = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=12)
words = st.lists(st.sampled_from(["the", "cat", "sat", "door"]), min_size=1, max_size=5).map(" ".join)


def read_documents(path: Path) -> Iterator[list[str]]:
    for _, members in groupby(read_sentences(path), key=itemgetter(0)):
        yield [sentence for _, sentence in members]


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "corpus.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@FUZZ
@given(st.lists(sentences, max_size=12))
def test_lines_keep_their_order_and_blank_ones_divide(tmp_path: Path, lines: list[str]) -> None:
    documents = list(read_documents(write(tmp_path, "\n".join(lines))))
    assert all(documents)
    assert [s for document in documents for s in document] == [line.strip() for line in lines if line.strip()]
    blocks = "\n".join(line.strip() for line in lines).split("\n\n")
    assert len(documents) == sum(bool(block.strip("\n")) for block in blocks)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(tmp_path: Path, end: str) -> None:
    path = write(tmp_path, end.join(["one", "two", "", "three"]))
    assert list(read_documents(path)) == [["one", "two"], ["three"]]


@FUZZ
@given(st.binary(max_size=60))
def test_any_bytes_are_a_corpus_or_a_corpus_error(tmp_path: Path, tokenizer: Tokenizer, data: bytes) -> None:
    try:
        corpus = tokenize_corpus(write(tmp_path, data), tokenizer)
    except CorpusError as error:
        assert "corpus.txt" in error.message
    else:
        assert corpus.num_sentences >= corpus.num_documents >= 1


def test_text_that_is_not_utf8_names_the_line_before(tmp_path: Path) -> None:
    good = "a line\n" * 20_000  # more than is read at once
    with pytest.raises(CorpusError, match=r"not UTF-8 after line [1-9]") as caught:
        list(read_documents(write(tmp_path, good.encode() + b"\xff\n")))
    assert "iconv" in caught.value.hint


def test_a_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        list(read_documents(tmp_path))


@FUZZ
@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=4))
def test_places_of_sentences_and_documents(tmp_path: Path, tokenizer: Tokenizer, documents: list[list[str]]) -> None:
    corpus = tokenize_corpus(write(tmp_path, "\n\n".join(map("\n".join, documents))), tokenizer)
    assert corpus.num_documents == len(documents)
    for index, document in enumerate(documents):
        assert [corpus.sentence(i) for i in corpus.document(index)] == tokenizer.token_ids_many(document)
    assert corpus.sentence_starts[-1] == len(corpus.token_ids)


def test_one_sentence_is_a_corpus(tmp_path: Path, tokenizer: Tokenizer) -> None:
    corpus = tokenize_corpus(write(tmp_path, "the cat"), tokenizer)
    assert (corpus.num_documents, corpus.num_sentences) == (1, 1)
    assert corpus.sentence(0) == tokenizer.token_ids("the cat")


@pytest.mark.parametrize("unseen", ["\ufeff", "\u200b", "\x07"], ids=["byte order mark", "zero width", "bell"])
def test_a_line_that_nobody_sees_is_no_sentence(tmp_path: Path, tokenizer: Tokenizer, unseen: str) -> None:
    content = f"{unseen}\n\nthe cat\n{unseen}\nsat\n\n{unseen}\n{unseen}\n\nthe door\n"
    corpus = tokenize_corpus(write(tmp_path, content), tokenizer)
    found = [[corpus.sentence(i) for i in corpus.document(d)] for d in range(corpus.num_documents)]
    assert found == [tokenizer.token_ids_many(["the cat", "sat"]), tokenizer.token_ids_many(["the door"])]


@pytest.mark.parametrize("content", ["\ufeff", "\ufeff\n\n\u200b\n", "\x07"])
def test_a_corpus_that_nobody_sees_holds_no_text(tmp_path: Path, tokenizer: Tokenizer, content: str) -> None:
    with pytest.raises(CorpusError, match="holds no text"):
        tokenize_corpus(write(tmp_path, content), tokenizer)


def test_a_corpus_of_many_chunks(
    tmp_path: Path, tokenizer: Tokenizer, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenize_corpus(corpus_file, tokenizer)
    monkeypatch.setattr(corpus_module, "CHUNK", 3)
    parts = tokenize_corpus(corpus_file, tokenizer)
    for name in ("token_ids", "sentence_starts", "document_starts"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_lines_of_the_text_that_ships_are_not_cut() -> None:
    lines = [line.strip() for line in default_text().read_text(encoding="utf-8").splitlines()]
    assert [sentence for _, sentence in read_sentences(default_text())] == list(filter(None, lines))
    model = open_checkpoint("bertedge-small-en")
    assert tokenize_corpus(default_text(), model.tokenizer).num_sentences == len(list(filter(None, lines)))


def test_a_line_is_cut_where_it_is_long(tmp_path: Path, tokenizer: Tokenizer) -> None:
    sentence = "The cat sat on the mat and the ship left the port at dawn."
    length = len(tokenizer.token_ids(sentence))
    few = LONG_LINE // length
    line = " ".join([sentence] * few)
    corpus = tokenize_corpus(write(tmp_path, f"{line}\n{line} {sentence}\nthe cat\n"), tokenizer)
    found = [corpus.sentence(index) for index in range(corpus.num_sentences)]
    assert found == [
        tokenizer.token_ids(line),
        *[tokenizer.token_ids(sentence)] * (few + 1),
        tokenizer.token_ids("the cat"),
    ]


@pytest.mark.parametrize("word", ["cat", "unbelievably", "x" * 90])
def test_a_long_sentence_is_cut_between_words(tmp_path: Path, tokenizer: Tokenizer, word: str) -> None:
    corpus = tokenize_corpus(write(tmp_path, " ".join([word] * 200)), tokenizer)
    found = [corpus.sentence(index) for index in range(corpus.num_sentences)]
    assert [token for stretch in found for token in stretch] == tokenizer.token_ids(" ".join([word] * 200))
    assert max(map(len, found)) <= STRETCH * 3 // 2
    if len(tokenizer.token_ids(word)) < STRETCH // 2:
        assert {stretch[0] for stretch in found} == {tokenizer.token_ids(word)[0]}


PARAGRAPH = "The cat sat on the mat and the ship left the port at dawn. " * 9


@pytest.mark.parametrize(
    ("content", "documents", "layout"),
    [
        ((PARAGRAPH + "\n") * 3, 3, "a document in each line"),
        ((PARAGRAPH + "\n") * 3 + "A short one.\n", 4, "a document in each line"),
        ((PARAGRAPH + "\n") * 3 + "\n" + PARAGRAPH, 2, "a sentence in each line"),
        (PARAGRAPH + "\n" + "A short one.\n" * 80, 1, "a sentence in each line"),
        ("A short one.\n" * 80, 1, "a sentence in each line"),
        (PARAGRAPH * 99, 1, "a document in each line"),
    ],
)
def test_documents_of_long_lines(
    tmp_path: Path, tokenizer: Tokenizer, content: str, documents: int, layout: str
) -> None:
    path = write(tmp_path, content)
    assert layout_of(path) == layout
    corpus = tokenize_corpus(path, tokenizer)
    assert corpus.num_documents == documents
    assert len(corpus.token_ids) == len(tokenizer.token_ids(content))


@FUZZ
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=30), min_size=1, max_size=5), st.integers(1, 30))
def test_divided_documents(documents: list[list[int]], tokens: int) -> None:
    sizes = [size for document in documents for size in document]
    corpus = TokenizedCorpus(
        template=template(),
        token_ids=np.arange(sum(sizes)),
        sentence_starts=np.cumsum([0, *sizes]),
        document_starts=np.cumsum([0, *map(len, documents)]),
    )
    for part in (corpus, replace(corpus, chosen=np.arange(0, len(documents), 2))):
        divided = part.divided(tokens)
        found = [list(divided.document(index)) for index in range(divided.num_documents)]
        expected = [list(part.document(index)) for index in range(part.num_documents)]
        assert [i for own in found for i in own] == [i for own in expected for i in own]
        assert all(sum(sizes[i] for i in own[:-1]) <= tokens for own in found)
        starts = {own[0] for own in found}
        assert {own[0] for own in expected} <= starts
        if max(sum(sizes[i] for i in own) for own in expected) <= tokens:
            assert divided is part
