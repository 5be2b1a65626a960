"""Every part of a text is read, however its lines are long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge.data.calibration import mixed_pairs
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.coverage import Reading, read_by, share_of_walk
from bertedge.data.pairs import sentence_pairs
from bertedge.tokenizer import Tokenizer
from tests.conftest import DOCUMENTS

STORY = [sentence for document in DOCUMENTS for sentence in document] * 30
LAYOUTS = {
    "a sentence in each line": "\n".join(STORY),
    "documents": "\n\n".join("\n".join(STORY[i : i + 13]) for i in range(0, len(STORY), 13)),
    "a document in each line": "\n".join(" ".join(STORY[i : i + 39]) for i in range(0, len(STORY), 39)),
    "a single line": " ".join(STORY),
    "a single line without punctuation": " ".join(STORY).replace(".", ""),
}


def corpus_of(folder: Path, text: str, tokenizer: Tokenizer) -> TokenizedCorpus:
    path = folder / "corpus.txt"
    path.write_text(text)
    return tokenize_corpus(path, tokenizer)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_walk_reads_nearly_everything(tmp_path: Path, tokenizer: Tokenizer, layout: str) -> None:
    corpus = corpus_of(tmp_path, LAYOUTS[layout], tokenizer)
    assert len(corpus.token_ids) == sum(map(len, tokenizer.token_ids_many(LAYOUTS[layout].split())))
    assert share_of_walk(corpus, max_length=128, seed=0) > (0.99 if corpus.num_documents == 1 else 0.85)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_calibration_reads_all_over_the_text(tmp_path: Path, tokenizer: Tokenizer, layout: str) -> None:
    corpus = corpus_of(tmp_path, LAYOUTS[layout], tokenizer)
    places = replace(corpus, token_ids=np.arange(len(corpus.token_ids)))
    read = np.unique([place for pair in mixed_pairs(places, 64, max_length=64, seed=0) for place in pair.first])
    tenths = np.histogram(read, bins=10, range=(0, len(corpus.token_ids)))[0]
    assert np.count_nonzero(tenths) >= 6  # sixteen places are drawn


def test_tokens_are_counted_once(tmp_path: Path, tokenizer: Tokenizer) -> None:
    corpus = corpus_of(tmp_path, LAYOUTS["documents"], tokenizer)
    half = replace(corpus, chosen=np.arange(corpus.num_documents // 2))
    tokens = int(corpus.sentence_starts[corpus.document_starts[len(half.chosen)]])

    def twice(places: TokenizedCorpus) -> list:
        return [
            pair for seed in (1, 2) for pair in sentence_pairs(places, max_length=512, rng=np.random.default_rng(seed))
        ]

    read = read_by(half, twice)
    assert 0.9 * tokens < read.different <= tokens
    assert read.drawn == sum(len(pair.first) + len(pair.second) for pair in twice(half))
    assert read_by(half, lambda places: []) == Reading(different=0, drawn=0)


def test_a_long_text_is_tried_on_its_beginning(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertedge.data import coverage

    monkeypatch.setattr(coverage, "SAMPLE", 300)
    walked = []

    def watched(places: TokenizedCorpus, **rest: Any) -> Any:
        walked.append(places)
        return sentence_pairs(places, **rest)

    monkeypatch.setattr(coverage, "sentence_pairs", watched)
    for layout in LAYOUTS.values():
        corpus = corpus_of(tmp_path, layout, tokenizer)
        assert 0.5 < share_of_walk(corpus, max_length=64, seed=0) <= 1
        assert (walked[-1].num_documents == 1) == (corpus.num_documents == 1)
        assert walked[-1].num_sentences < corpus.num_sentences
