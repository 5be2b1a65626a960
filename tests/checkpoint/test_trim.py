"""A smaller vocabulary: the same words mean the same, and every text can still be spelt."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.checkpoint import Checkpoint, open_checkpoint, trim_to_text, trim_vocabulary
from bertedge.checkpoint.sources import ArraysSource
from bertedge.checkpoint.trim import always_kept
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders import ENCODERS, names, read_config, write_config
from bertedge.errors import CorpusError, UsageError
from bertedge.heads.parts import Parts
from bertedge.quantization import export, quantize
from bertedge.runtime import load
from bertedge.tokenizer import SPECIAL_TOKENS
from tests.conftest import DOCUMENTS, random_tensors

TEXTS = [sentence for document in DOCUMENTS for sentence in document]


@pytest.fixture(scope="module")
def trimmed(checkpoint: Checkpoint, corpus_file: Path) -> Checkpoint:
    keep = checkpoint.tokenizer.vocab_size - 40
    return trim_to_text(checkpoint, keep, corpus_file)[0]


def test_sizes_and_specials(checkpoint: Checkpoint, trimmed: Checkpoint) -> None:
    size = checkpoint.tokenizer.vocab_size - 40
    assert trimmed.tokenizer.vocab_size == trimmed.config.vocab_size == size
    assert trimmed.tensor(names.WORD_EMBEDDINGS).shape == (size, 32)
    assert trimmed.tensor(names.DECODER_BIAS).shape == (size,)
    for role in SPECIAL_TOKENS:
        assert trimmed.tokenizer.token(trimmed.tokenizer.id_of(role)) == SPECIAL_TOKENS[role]
    assert trimmed.config.pad_token_id == trimmed.tokenizer.id_of("pad")


def test_positions_still_start_after_the_padding(checkpoint: Checkpoint, corpus_file: Path) -> None:
    """In RoBERTa's family, the id of the padding is also the number of rows that no token uses."""
    roberta = ENCODERS["roberta"]
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    size = checkpoint.tokenizer.vocab_size
    config = roberta.config(**sizes, vocab_size=size, pad_token_id=size - 10, max_position_embeddings=size + 20)
    source = ArraysSource(random_tensors(config, Parts(("mlm",))))
    model = Checkpoint(name="r", config=config, source=source, tokenizer_=checkpoint.tokenizer)
    small = trim_to_text(model, size - 3, corpus_file)[0].config
    assert small.pad_token_id == config.pad_token_id
    assert read_config(write_config(small)) == small


def test_it_is_another_model_by_its_hash(checkpoint: Checkpoint, trimmed: Checkpoint, corpus_file: Path) -> None:
    fewer = trim_to_text(checkpoint, checkpoint.tokenizer.vocab_size - 41, corpus_file)[0]
    same = trim_to_text(checkpoint, trimmed.config.vocab_size, corpus_file)[0]
    assert len({c.weights_sha256 for c in (checkpoint, trimmed, fewer)}) == 3
    assert same.weights_sha256 == trimmed.weights_sha256


def test_every_piece_keeps_its_weights(checkpoint: Checkpoint, trimmed: Checkpoint) -> None:
    before, after = checkpoint.tensor(names.WORD_EMBEDDINGS), trimmed.tensor(names.WORD_EMBEDDINGS)
    ids = checkpoint.tokenizer.vocabulary()
    for token, index in trimmed.tokenizer.vocabulary().items():
        np.testing.assert_array_equal(after[index], before[ids[token]])


def test_the_most_used_pieces_stay(checkpoint: Checkpoint, corpus_file: Path) -> None:
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    counts = np.bincount(corpus.token_ids, minlength=checkpoint.tokenizer.vocab_size)
    keep = len(always_kept(checkpoint.tokenizer)) + 10
    small, trim = trim_vocabulary(checkpoint, keep, [corpus.token_ids])
    kept = {checkpoint.tokenizer.vocabulary()[token] for token in small.tokenizer.vocabulary()}
    chosen = kept - always_kept(checkpoint.tokenizer)
    dropped = set(range(len(counts))) - kept
    assert len(chosen) == 10
    assert min(counts[list(chosen)]) >= max(counts[list(dropped)])
    assert trim.coverage == counts[list(kept)].sum() / counts.sum() < 1


@settings(max_examples=50)
@given(st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz ,."), min_size=1, max_size=40))
def test_letters_that_were_known_never_become_unknown(checkpoint: Checkpoint, trimmed: Checkpoint, text: str) -> None:
    whole, small = checkpoint.tokenizer, trimmed.tokenizer
    if whole.id_of("unk") not in whole.token_ids(text):
        assert small.id_of("unk") not in small.token_ids(text)
        assert small.decode(small.token_ids(text)) == whole.decode(whole.token_ids(text))


def test_where_all_pieces_stayed_the_model_is_the_same(
    checkpoint: Checkpoint, trimmed: Checkpoint, tmp_path: Path
) -> None:
    """Outputs over the kept pieces are the old ones, through files and the runtime."""
    export(checkpoint, tmp_path / "whole")
    export(trimmed, tmp_path / "small")
    whole, small = load(tmp_path / "whole"), load(tmp_path / "small")
    compared = 0
    for text in TEXTS:
        old, new = ([c.tokenizer.token(i) for i in c.tokenizer.token_ids(text)] for c in (checkpoint, trimmed))
        if old == new:
            compared += 1
            np.testing.assert_allclose(whole.encode(text), small.encode(text), atol=1e-5)
            second = "It was a warm day."
            assert whole.next_sentence(text, second) == pytest.approx(small.next_sentence(text, second), abs=1e-5)
    assert compared >= 3


def test_a_trimmed_checkpoint_is_an_ordinary_one(trimmed: Checkpoint, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from bertedge.checkpoint import write_checkpoint

    write_checkpoint(tmp_path, trimmed.config, dict(trimmed.tensors()), trimmed.tokenizer)
    again = open_checkpoint(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert again.tokenizer.encode(text).input_ids == trimmed.tokenizer.encode(text).input_ids
        assert theirs(text)["input_ids"] == trimmed.tokenizer.encode(text).input_ids


@pytest.mark.parametrize("keep", [1, 10_000])
def test_numbers_that_cannot_be(checkpoint: Checkpoint, corpus_file: Path, keep: int) -> None:
    with pytest.raises(UsageError, match=f"keep_vocab is {keep}"):
        trim_to_text(checkpoint, keep, corpus_file)


def test_an_empty_text(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(CorpusError, match="holds no text"):
        trim_to_text(checkpoint, 200, tmp_path / "empty.txt")


def test_a_piece_that_is_listed_twice_leaves_a_hole(
    checkpoint: Checkpoint, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    """``vocab.txt`` gives a repeated token the number of its last line. The number of the first line is unused."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    (folder / "tokenizer.json").unlink()
    words = sorted(checkpoint.tokenizer.vocabulary(), key=checkpoint.tokenizer.vocabulary().__getitem__)
    twice = len(words) // 2
    words[twice] = words[-1]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    holed = open_checkpoint(folder)
    assert holed.tokenizer.vocab_size == len(words)
    assert len(holed.tokenizer.vocabulary()) == len(words) - 1
    assert quantize(folder, tmp_path / "int8", calibration=corpus_file).manifest.files
    small, trim = trim_to_text(holed, len(words) - 1, corpus_file)
    assert trim.tokens == len(small.tokenizer.vocabulary()) == len(words) - 1
    table = holed.tensor(names.WORD_EMBEDDINGS)
    for token, index in small.tokenizer.vocabulary().items():
        np.testing.assert_array_equal(
            small.tensor(names.WORD_EMBEDDINGS)[index], table[holed.tokenizer.vocabulary()[token]]
        )
    with pytest.raises(UsageError, match=f"the vocabulary has {len(words) - 1}"):
        trim_to_text(holed, len(words), corpus_file)
