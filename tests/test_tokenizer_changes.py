"""Tokenizers of other kinds than WordPiece: what continues a word, smaller vocabularies, casing, segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.checkpoint.trim import trim_vocabulary
from bertedge.encoders import ENCODERS
from bertedge.errors import CheckpointError, UsageError
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors
from tests.tokenizer_families import FAMILY_FOLDERS
from tests.tokenizer_folders import write

TEXTS = ["the cat sat at the cafe", "the the cat! a", "the newest entity, don't"]


def load(folder: Path, name: str) -> Tokenizer:
    return Tokenizer.load(write(folder, FAMILY_FOLDERS[name]), max_length=64)


@pytest.mark.parametrize("name", ["roberta, two files", "xlm-roberta", "albert", "modernbert"])
def test_words_begin_at_spaces(tmp_path: Path, name: str) -> None:
    tokenizer = load(tmp_path, name)
    ids = tokenizer.token_ids(TEXTS[0])
    continues = tokenizer.continuation(tokenizer.vocab_size)[ids]
    starts = len(ids) - int(continues[1:].sum())
    assert starts == len(TEXTS[0].split())
    assert tokenizer.decode(tokenizer.encode(TEXTS[0]).input_ids) == TEXTS[0]
    assert not tokenizer.continuation(tokenizer.vocab_size)[[*tokenizer.added]].any()


@pytest.mark.parametrize("name", ["roberta, two files", "xlm-roberta", "camembert", "albert", "mpnet", "words"])
def test_a_mask_in_a_text_is_one_token(tmp_path: Path, name: str) -> None:
    tokenizer = load(tmp_path, name)
    ids = tokenizer.encode(f"the {tokenizer.mask_token} cat").input_ids
    assert ids.count(tokenizer.id_of("mask")) == 1


@pytest.mark.parametrize("name", ["roberta, two files", "xlm-roberta", "albert"])
def test_smaller_vocabularies_write_every_text(tmp_path: Path, name: str) -> None:
    tokenizer = load(tmp_path / "files", name)
    family = "albert" if name == "albert" else "roberta"
    config = ENCODERS[family].config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        pad_token_id=tokenizer.id_of("pad"),
        **({"embedding_size": 4} if family == "albert" else {}),
    )
    folder = tmp_path / "model"
    folder.mkdir()
    write_checkpoint(folder, config, random_tensors(config, Parts()), tokenizer)
    checkpoint = Checkpoint.read(folder)
    ids = [np.array(tokenizer.token_ids(text)) for text in TEXTS]
    with pytest.raises(UsageError, match="always stay") as raised:
        trim_vocabulary(checkpoint, 1, ids)
    least = int(raised.value.hint.split()[-3])
    small = trim_vocabulary(checkpoint, least + 1, ids)[0]
    assert small.tokenizer.vocab_size == small.config.vocab_size == least + 1
    for text in TEXTS:
        assert small.tokenizer.decode(small.tokenizer.token_ids(text)) == tokenizer.decode(tokenizer.token_ids(text))
    used = set(np.concatenate([small.tokenizer.token_ids(text) for text in TEXTS]))
    assert used & set(range(least + 1))
    full = trim_vocabulary(checkpoint, len(set(tokenizer.vocabulary().values())), ids)[0]
    assert [full.tokenizer.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_a_vocabulary_of_words_is_not_trimmed(tmp_path: Path) -> None:
    tokenizer = load(tmp_path, "words")
    with pytest.raises(CheckpointError, match="WordLevel, whose vocabulary cannot be trimmed"):
        tokenizer.trimmed(range(20))


def test_the_casing_of_other_normalizers(tmp_path: Path) -> None:
    tokenizer = load(tmp_path, "albert")
    assert tokenizer.lowercases
    assert not tokenizer.recased(True).lowercases
    assert tokenizer.recased(True).recased(False).lowercases
    assert not load(tmp_path / "other", "roberta, two files").recased(True).lowercases


def test_a_model_with_one_segment_gets_no_other(tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = ENCODERS["roberta"].config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        type_vocab_size=1,
        pad_token_id=tokenizer.id_of("pad"),
    )
    write_checkpoint(tmp_path, config, random_tensors(config, Parts()), tokenizer)
    checkpoint = Checkpoint.read(tmp_path)
    mine, its = checkpoint.tokenizer.encode("a cat", "a mat"), tokenizer.encode("a cat", "a mat")
    assert mine.input_ids == its.input_ids
    assert set(mine.token_type_ids) == {0} != set(its.token_type_ids)
    saved = tmp_path / "saved"
    saved.mkdir()
    checkpoint.tokenizer.save(saved)
    assert Tokenizer.load(saved).encode("a cat", "a mat") == mine
