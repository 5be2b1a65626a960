"""The text that ships with bertedge, and what calibration draws from any text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bertedge.data import calibration
from bertedge.data.calibration import default_text, mixed_pairs, mixed_texts, reading_warnings
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.pairs import sentence_pairs
from bertedge.errors import FileError
from bertedge.tokenizer import Tokenizer
from tests.data.test_corpus import read_documents


@pytest.fixture(scope="module")
def corpus(corpus_file: Path, tokenizer: Tokenizer) -> TokenizedCorpus:
    return tokenize_corpus(corpus_file, tokenizer)


def test_the_text_that_ships_is_english_in_documents() -> None:
    documents = list(read_documents(default_text()))
    assert len(documents) > 10
    assert all(len(document) > 1 for document in documents)
    assert sum(" the " in sentence for document in documents for sentence in document) > 100


@pytest.mark.parametrize("inside", [True, False], ids=["installed", "source tree"])
def test_where_the_text_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool) -> None:
    package = tmp_path / "bertedge"
    folder = (package if inside else tmp_path) / "calibration"
    folder.mkdir(parents=True)
    (folder / "en.txt").write_text("text")
    monkeypatch.setattr(calibration.resources, "files", lambda name: package)
    assert default_text() == folder / "en.txt"


def test_an_installation_without_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration.resources, "files", lambda name: tmp_path / "bertedge")
    with pytest.raises(FileError, match=r"en\.txt is missing") as caught:
        default_text()
    assert "install bertedge again" in caught.value.hint


@pytest.mark.parametrize("max_length", [5, 16, 64])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_as_many_pairs_as_asked_and_none_too_long(corpus: TokenizedCorpus, count: int, max_length: int) -> None:
    pairs = mixed_pairs(corpus, count, max_length=max_length, seed=0)
    assert len(pairs) == count
    assert all(len(pair.first) + len(pair.second) + 3 <= max_length for pair in pairs)


def test_short_and_long_ones(tokenizer: Tokenizer) -> None:
    corpus = tokenize_corpus(default_text(), tokenizer)
    lengths = [len(pair.first) + len(pair.second) + 3 for pair in mixed_pairs(corpus, 200, max_length=64, seed=0)]
    shares, _ = np.histogram(lengths, bins=[0, 16, 32, 48, 65])
    assert shares.min() > 10


def test_a_seed_fixes_them(corpus: TokenizedCorpus) -> None:
    first, same, other = (mixed_pairs(corpus, 20, max_length=32, seed=seed) for seed in (1, 1, 2))
    assert first == same != other


def test_a_corpus_of_one_sentence_is_enough(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "one.txt").write_text("the cat sat on the mat")
    pairs = mixed_pairs(tokenize_corpus(tmp_path / "one.txt", tokenizer), 9, max_length=32, seed=0)
    assert len(pairs) == 9
    assert {pair.label for pair in pairs} == {None}


@pytest.mark.parametrize(
    ("copies", "count", "told"),
    [
        (1, 64, ()),  # short: that is another warning
        (40, 64, ()),
        (400, 4, (r"^t: calibration reads [\d,]+ of its [\d,]+ tokens \([0-4]\.\d %\)$",)),
        (12, 800, (r"^t: calibration reads it \d+ times; give more text",)),
    ],
)
def test_how_much_is_read(
    corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path, copies: int, count: int, told: tuple[str, ...]
) -> None:
    (tmp_path / "t").write_text((corpus_file.read_text() + "\n") * copies)
    found = reading_warnings(
        tokenize_corpus(tmp_path / "t", tokenizer),
        lambda places: mixed_texts(places, count, max_length=48, seed=0, pairs=sentence_pairs),
        "t",
    )
    assert len(found) == len(told)
    for sentence, pattern in zip(found, told, strict=True):
        assert re.search(pattern, sentence)
