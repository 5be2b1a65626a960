"""The texts of a task: encoded as the tokenizer does, with the answers of each head, and in two parts for goals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bertedge.data.examples import read_examples
from bertedge.data.task_batches import TOKENS_AT_ONCE, encoded_examples, labelled_share, task_batches
from bertedge.data.task_text import TaskText, read_task_text
from bertedge.data.text_source import RunningText, TextSource, read_text
from bertedge.errors import CorpusError, UsageError
from bertedge.example import Example
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.ranking.rank_settings import RankSettings
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.pooling import EmbeddingSettings
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer
from tests.conftest import DOCUMENTS

SENTENCES = [sentence for document in DOCUMENTS for sentence in document]
VOCABULARY = 500


def classifier(*heads: str) -> Parts:
    """The parts of a model with a classifier of two labels."""
    one = Classifier(name="", owner="classifier", labels=("sea", "land"), problem="single")
    settings = HeadSettings(sequence_classification=SequenceSettings(reads="pooler", classifiers=(one,)))
    return Parts(("sequence_classification", *heads), settings=settings)


def made(parts: Parts, tokenizer: Tokenizer, examples: Sequence[Example]) -> list[Batch]:
    return task_batches(encoded_examples(examples, tokenizer, parts), tokenizer, parts, name="a.csv")


def text_of(tmp_path: Path, content: str, tokenizer: Tokenizer, parts: Parts, name: str = "a.csv") -> TextSource:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_text(tmp_path / name, tokenizer, parts, vocab_size=VOCABULARY)


def test_rows_are_those_of_the_tokenizer(tokenizer: Tokenizer) -> None:
    long = " ".join(SENTENCES * 9)
    texts: list[str | tuple[str, str]] = [SENTENCES[0], (SENTENCES[1], SENTENCES[2]), (long, SENTENCES[3]), long]
    examples = [Example(text=text) if isinstance(text, str) else Example(text=text[0], pair=text[1]) for text in texts]
    (batch,) = made(classifier(), tokenizer, examples)
    with pytest.warns(match="2 of 4"):
        expected = tokenizer.encode_many(texts)
    assert batch.labels == {}
    assert not batch.filled.any()
    for index, encoding in enumerate(expected):
        row = batch.row(index)
        assert row.input_ids[0].tolist() == encoding.input_ids
        assert row.token_type_ids[0].tolist() == encoding.token_type_ids


def test_the_documents_of_a_query_stay_together(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A reranker is judged on whole lists: the best document of a part of them says little."""
    rows = [f"query {place % 8} a,document {place}" for place in range(40)]
    one = Classifier(name="", owner="classifier", labels=("LABEL_0",), problem="multi")
    layers = SequenceSettings(reads="pooler", classifiers=(one,))
    settings = HeadSettings(ranking=RankSettings(layers=layers, activation="sigmoid"))
    parts = Parts(("ranking",), settings=settings)
    text = text_of(tmp_path, "query,document\n" + "\n".join(rows), tokenizer, parts)
    assert isinstance(text, TaskText)
    rest, held_out = text.hold_out(0.3)
    queries = [{example.text for example in part.examples} for part in (rest, held_out)]
    assert not queries[0] & queries[1]
    assert [len(part.examples) for part in (rest, held_out)] == [25, 15]
    (batch,) = text.labelled(7, seed=0)
    assert batch.texts is not None
    assert len(batch.texts) == 10
    assert len({query for query, _ in batch.texts}) == 2


def test_texts_are_cut_where_the_models_users_cut_them(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A folder of sentence-transformers may read less of a text than the model could."""
    rows = "text\n" + "\n".join(" ".join(SENTENCES) for _ in range(3))
    settings = HeadSettings(embedding=EmbeddingSettings(pooling=("mean",), max_seq_length=12))
    text = text_of(tmp_path, rows, tokenizer, Parts(settings=settings))
    with pytest.warns(match="3 of 3 texts had more than 12 tokens"):
        (batch,) = text.sample(3, max_length=64, seed=0)
    assert set(batch.lengths) == {12}
    whole = text_of(tmp_path, rows, tokenizer, Parts(("mlm",), settings=settings))
    assert isinstance(whole, RunningText)
    assert Parts(("mlm",), settings=settings).longest(64) == Parts().longest(64) == 64


def test_batches_are_limited_and_in_order(tokenizer: Tokenizer) -> None:
    examples = [Example(text=" ".join(SENTENCES[:count])) for count in (1, 1, 9, 1, 2)] * 9
    batches = made(classifier(), tokenizer, examples)
    assert all(batch.input_ids.size <= TOKENS_AT_ONCE for batch in batches)
    assert sum(len(batch.input_ids) for batch in batches) == len(examples)
    with pytest.warns(match="was cut"):
        first = tokenizer.encode(examples[2].text)
    assert batches[0].row(2).input_ids[0].tolist() == first.input_ids


def test_labels_are_those_of_the_file(tokenizer: Tokenizer) -> None:
    values = [{"label": "land"}, {}, {"label": 0}, {"labels": ["sea"]}]
    examples = [Example(text=SENTENCES[0], values=one, line=index) for index, one in enumerate(values, start=1)]
    (batch,) = made(classifier("mlm"), tokenizer, examples)
    np.testing.assert_array_equal(batch.labels["sequence_classification"], [[0, 1], [np.nan, np.nan], [1, 0], [1, 0]])
    assert labelled_share([batch]) == 0.75
    assert labelled_share(made(classifier(), tokenizer, [Example(text="x")])) == 0


def test_a_label_that_the_model_lacks_names_its_line(tokenizer: Tokenizer) -> None:
    with pytest.raises(CorpusError) as caught:
        made(classifier(), tokenizer, [Example(text="a", values={"label": "air"}, line=7)])
    assert caught.value.message == "a.csv: line 7: the model has no label 'air'"
    assert "land, sea" in caught.value.hint


def test_a_model_without_heads_reads_the_texts_of_a_pair_apart(tokenizer: Tokenizer) -> None:
    examples = [Example(text=SENTENCES[0], pair=SENTENCES[1]), Example(text=SENTENCES[2])]
    (batch,) = made(Parts(), tokenizer, examples)
    assert [batch.row(index).input_ids[0].tolist() for index in range(3)] == [
        tokenizer.encode(text).input_ids for text in SENTENCES[:3]
    ]


def test_pairs_apart_are_numbered_and_drawn_whole(tokenizer: Tokenizer, tmp_path: Path) -> None:
    content = "sentence1,sentence2,score\n" + "".join(f"one {number},two {number},3\n" for number in range(600))
    text = text_of(tmp_path, content, tokenizer, Parts())
    assert isinstance(text, TaskText)
    for count in (301, 302, 1200):
        pairs = np.concatenate([batch.labels["embedding"][:, 1] for batch in text.labelled(count, seed=0)])
        _, texts = np.unique(pairs, return_counts=True)
        assert (texts == 2).all()
        assert len(texts) == -(-count // 2)


@pytest.mark.parametrize(
    ("name", "parts", "whole"),
    [
        ("a.csv", classifier(), True),
        ("a.txt", classifier("mlm", "nsp"), True),
        ("a.csv", Parts(("mlm", "nsp")), False),
        ("a.csv", Parts(), True),
        ("a.txt", Parts(), False),
    ],
)
def test_what_a_file_is_for_a_model(name: str, parts: Parts, whole: bool, tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = text_of(tmp_path, "text\n" + "\n".join(SENTENCES), tokenizer, parts, name)
    assert isinstance(text, TaskText if whole else RunningText)
    assert isinstance(read_text(None, tokenizer, parts, vocab_size=VOCABULARY), RunningText)


def test_short_rows_are_drawn_until_there_are_enough_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [f"{sentence} {number}" for number in range(60) for sentence in SENTENCES[:5]]
    text = text_of(tmp_path, "\n".join(rows), tokenizer, classifier(), "a.txt")
    few = text.calibration_texts(2, max_length=64, seed=0)
    tokens = [len(pair.first) + 2 for pair in few]
    assert sum(tokens[:-1]) < 2 * 128 <= sum(tokens)
    assert text.calibration_texts(2, max_length=64, seed=0) == few != text.calibration_texts(2, max_length=64, seed=1)
    assert text.texts(2, max_length=64, seed=0) == few[:2]
    assert len(text.texts(1000, max_length=64, seed=0)) == len(rows)
    assert all(len(pair.first) <= 6 for pair in text.texts(9, max_length=8, seed=0))


def test_texts_that_are_cut_are_counted(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = text_of(tmp_path, "the cat sat\n" + " ".join(SENTENCES * 9), tokenizer, classifier(), "a.txt")
    assert isinstance(text, TaskText)
    with pytest.warns(match=r"a\.txt: 1 of 2 texts had more than 64 tokens; their end was cut off"):
        text.labelled(9, seed=0)


def test_a_part_is_held_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    content = "text,label\n" + "".join(f"{sentence},land\n" for sentence in ["one two", *"abcdefghi"])
    text = text_of(tmp_path, content, tokenizer, classifier())
    rest, held_out = text.hold_out(0.25)
    parts = [[pair.first for pair in part.texts(99, max_length=64, seed=0)] for part in (rest, held_out)]
    assert [*map(len, parts)] == [8, 2]
    assert sorted(parts[0] + parts[1]) == sorted(pair.first for pair in text.texts(99, max_length=64, seed=0))
    assert text.hold_out(0.25) == (rest, held_out)
    sample = held_out.sample(4, max_length=64, seed=0)
    assert labelled_share(sample) == 1
    with pytest.raises(CorpusError, match="too few to hold some out"):
        text_of(tmp_path, "text\none\n", tokenizer, classifier()).hold_out(0.25)


def test_a_model_that_also_fills_in_words_gets_masks_as_well(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = text_of(tmp_path, "text,label\nthe cat sat,land\n", tokenizer, classifier("mlm"))
    plain, masked = text.sample(1, max_length=64, seed=0)
    assert list(plain.labels) == ["sequence_classification"]
    assert masked.labels["mlm"].shape == (1, 1)
    assert (masked.input_ids == tokenizer.id_of("mask")).sum() == 1


def test_why_a_head_cannot_be_measured(tokenizer: Tokenizer, tmp_path: Path) -> None:
    single = text_of(tmp_path, "text\nthe cat\n", tokenizer, classifier("nsp"))
    pairs = text_of(tmp_path, "text,pair\nthe cat,sat\n", tokenizer, classifier("nsp"), "b.csv")
    for text in (single, pairs):
        assert text.why_not(HEADS["sequence_classification"]) is None
        assert "not next sentences" in str(text.why_not(HEADS["nsp"]))
    assert "not pairs" in str(single.why_not(HEADS["ranking"]))
    assert pairs.why_not(HEADS["ranking"]) is None


def test_texts_that_do_not_suit_the_vocabulary(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (warning,) = text_of(tmp_path, "text\nthe cat sat\n", tokenizer, classifier()).warnings()
    assert "has 3 tokens" in warning
    with pytest.raises(CorpusError, match="finds no word"):
        text_of(tmp_path, "text\n\x01\n", tokenizer, classifier()).warnings()
    with pytest.raises(CorpusError, match="unknown to the model's vocabulary"):
        text_of(tmp_path, "text\n漢字\n", tokenizer, classifier()).warnings()


def test_files_without_text_and_columns_without_use(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no text"):
        text_of(tmp_path, "text,label\n,x\n", tokenizer, classifier())
    (tmp_path / "b.csv").write_text("body\nthe cat\n")
    text = read_text(tmp_path / "b.csv", tokenizer, classifier(), vocab_size=VOCABULARY, columns=["body"])
    assert isinstance(text, TaskText)
    assert text == read_task_text(tmp_path / "b.csv", tokenizer, classifier(), vocab_size=VOCABULARY, columns=["body"])
    assert text.examples == tuple(read_examples(tmp_path / "b.csv", columns=["body"]))
    with pytest.raises(UsageError, match="running text"):
        read_text(tmp_path / "b.csv", tokenizer, Parts(("mlm",)), vocab_size=VOCABULARY, columns=["body"])
