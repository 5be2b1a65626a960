"""WordPiece: trained, loaded, cut off, written back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertedge.data.calibration import default_text
from bertedge.errors import CheckpointError, FileError, TruncationWarning, UsageError
from bertedge.tokenizer import Tokenizer

TEXTS = ("The cat sat.", "Ünïcödé ÀÉ", "日本 bread", "salt-and-time, 1999!", "mat\tmat\nmat", "zzz qqq")


def vocabulary_only(tokenizer: Tokenizer, folder: Path) -> Path:
    pieces = sorted(tokenizer.vocabulary().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(piece for piece, _ in pieces) + "\n", encoding="utf-8")
    return folder


def test_layout_of_a_text_and_a_pair(tokenizer: Tokenizer) -> None:
    cls, sep = tokenizer.id_of("cls"), tokenizer.id_of("sep")
    single = tokenizer.encode("The cat sat.")
    assert (single.input_ids[0], single.input_ids[-1]) == (cls, sep)
    assert set(single.token_type_ids) == {0}
    pair = tokenizer.encode("The cat sat.", "The sea was calm.")
    second = pair.input_ids.index(sep) + 1
    assert pair.token_type_ids == [0] * second + [1] * (len(pair.input_ids) - second)
    assert sum(pair.special_tokens) == 3
    assert tokenizer.decode(single.input_ids) == "the cat sat."


def test_vocab_txt_equals_tokenizer_json(tokenizer: Tokenizer, tmp_path: Path) -> None:
    bare = Tokenizer.load(vocabulary_only(tokenizer, tmp_path), max_length=64)
    for text in TEXTS:
        assert bare.encode(text, "the end") == tokenizer.encode(text, "the end")


def test_saved_folder_is_read_alike_by_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizer.save(tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"] is None
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert other(text, "The sea.")["input_ids"] == tokenizer.encode(text, "The sea.").input_ids
        assert other(text, "The sea.")["token_type_ids"] == tokenizer.encode(text, "The sea.").token_type_ids
    assert other.model_max_length == 64


def test_a_cased_tokenizer_stays_cased(tmp_path: Path) -> None:
    cased = Tokenizer.train(["The THE the"] * 5, vocab_size=60, lowercase=False, max_length=16)
    cased.save(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["do_lower_case"] is False
    assert Tokenizer.load(tmp_path).encode("THE").input_ids != Tokenizer.load(tmp_path).encode("the").input_ids


def test_truncation_says_so(tokenizer: Tokenizer) -> None:
    with pytest.warns(TruncationWarning, match="1 of 2 texts had more than 64 tokens"):
        long, short = tokenizer.encode_many(["cat " * 100, "cat"])
    assert (len(long.input_ids), long.truncated, short.truncated) == (64, True, False)
    assert len(tokenizer.pieces("cat " * 100)) == 100


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_empty_texts(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        tokenizer.encode(text)
    with pytest.raises(UsageError, match="empty"):
        tokenizer.encode("text", text)


def test_files_that_are_no_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no tokenizer.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(FileError, match="UNK"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.txt").write_text("[UNK]\na\nb\n")
    with pytest.raises(CheckpointError, match="MASK"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FileError, match="is not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_training_is_deterministic() -> None:
    lines = default_text().read_text(encoding="utf-8").splitlines()
    assert Tokenizer.train(lines, vocab_size=900).vocabulary() == Tokenizer.train(lines, vocab_size=900).vocabulary()
