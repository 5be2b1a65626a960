"""Casing and added tokens on the command line: shown, set, told and written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bertedge.benchmark import float_reference
from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.cli.app import app
from bertedge.errors import CheckpointError, CorpusError, UsageError
from bertedge.quantization import export
from bertedge.tokenizer import Tokenizer
from tests.tokenizer_folders import theirs

TEXTS = ["The Cat sat.", "the cat sat.", "a CAT"]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def described(model: Path) -> dict:
    return json.loads(call("info", model, "--json").stdout)


@pytest.fixture
def cased_words(model_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint with a vocabulary of cased words, and no file that says so."""
    folder = shutil.copytree(model_folder, tmp_path / "words")
    vocabulary = Tokenizer.load(folder).vocabulary()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    ordinary = [word for word in words if len(word) > 2 and not word.startswith(("[", "##"))][:20]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    text = "".join(f"{word.capitalize() if word in ordinary else word}\n" for word in words)
    (folder / "vocab.txt").write_text(text, encoding="utf-8")
    return folder


def test_info_shows_casing(model_folder: Path, tmp_path: Path) -> None:
    assert described(model_folder)["casing"] == "uncased"
    assert described(model_folder)["accents"] == "removed"
    assert described(model_folder)["warnings"] == []
    assert "uncased: text is made lower case" in call("info", model_folder).stdout
    export(model_folder, tmp_path / "bundle", cased=True)
    assert described(tmp_path / "bundle")["casing"] == "cased"


def test_a_cased_vocabulary_without_settings_is_told(cased_words: Path, tmp_path: Path) -> None:
    """Its text is made lower case, as in transformers; the way out is said wherever the model is read."""
    (told,) = described(cased_words)["warnings"]
    assert "20 of " in told
    assert "--cased" in told
    done = call("export", cased_words, "-o", tmp_path / "lower")
    assert "have capital letters" in done.stderr
    bundle = Bundle.open(tmp_path / "lower")
    assert told in bundle.manifest.warnings
    assert bundle.tokenizer.encode("Cat").input_ids == theirs(cased_words, ["Cat"])[0]
    done = call("export", cased_words, "-o", tmp_path / "kept", "--cased")
    assert done.exit_code == 0
    assert "capital letters" not in done.stderr
    assert described(tmp_path / "kept")["casing"] == "cased"


def test_a_vocabulary_of_capitals_only(cased_words: Path, corpus_file: Path, tmp_path: Path) -> None:
    """Such as of a protein model: made lower case, all of its text is unknown. The refusal tells the way out."""
    words = [word for word in (cased_words / "vocab.txt").read_text(encoding="utf-8").split("\n") if word]
    text = "".join(f"{word if word.startswith('[') else word.upper()}\n" for word in words)
    (cased_words / "vocab.txt").write_text(text, encoding="utf-8")
    done = call("quantize", cased_words, "-o", tmp_path / "bundle", "--calibration", corpus_file)
    assert isinstance(done.exception, CorpusError)
    assert "--cased" in done.exception.hint
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("command", ["export", "quantize"])
def test_casing_is_set_and_stored(model_folder: Path, corpus_file: Path, tmp_path: Path, command: str) -> None:
    made = tmp_path / "bundle"
    more = ["--calibration", corpus_file, "--examples", "8"] if command == "quantize" else []
    done = call(command, model_folder, "-o", made, "--cased", *more)
    assert done.exit_code == 0, done.stderr
    tokenizer = Bundle.open(made).tokenizer
    assert tokenizer.token_ids("Cat") != tokenizer.token_ids("cat")
    expected = [tokenizer.encode(text).input_ids for text in TEXTS]
    assert theirs(made, TEXTS) == expected
    again = open_checkpoint(model_folder, cased=True)
    assert [again.tokenizer.encode(text).input_ids for text in TEXTS] == expected
    assert again.model_sha256 != open_checkpoint(model_folder).model_sha256
    if command == "quantize":
        assert "--cased" in done.stderr  # in the line that tells how it is measured


def test_a_trimmed_vocabulary_keeps_the_casing(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    done = call(
        *("export", model_folder, "-o", tmp_path / "bundle", "--cased"),
        *("--keep-vocab", "150", "--vocab-corpus", corpus_file),
    )
    assert done.exit_code == 0, done.stderr
    assert not Bundle.open(tmp_path / "bundle").tokenizer.lowercases


def test_the_reference_is_read_with_the_same_casing(model_folder: Path, tmp_path: Path) -> None:
    reference = float_reference(model_folder, tmp_path, 1, cased=True)
    assert not reference.tokenizer.lowercases
    with pytest.raises(UsageError, match="casing is fixed"):
        float_reference(reference.bundle.folder, tmp_path, 1, cased=False)


def test_a_normalizer_of_another_kind_has_no_such_switch(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "own")
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(
        json.dumps({**raw, "normalizer": {"type": "Replace", "pattern": {"String": "A"}, "content": "a"}})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    done = call("export", folder, "-o", tmp_path / "bundle", "--cased")
    assert isinstance(done.exception, UsageError)
    assert "the casing cannot be set" in done.exception.message


def test_info_of_a_model_whose_tokenizer_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "japanese")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertJapaneseTokenizer"}))
    assert "BertJapaneseTokenizer" in described(folder)["tokenizer"]
    done = call("export", folder, "-o", tmp_path / "bundle")
    assert isinstance(done.exception, CheckpointError)
    assert "BertJapaneseTokenizer" in done.exception.message
    assert not (tmp_path / "bundle").exists()


def test_added_tokens_that_the_model_has_no_row_for_are_text(model_folder: Path, tmp_path: Path) -> None:
    """transformers gives them ids for which the model has no embedding."""
    folder = shutil.copytree(model_folder, tmp_path / "added")
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["<ent>"]}))
    checkpoint = Checkpoint.read(folder)
    assert max(theirs(folder, ["<ent>"])[0]) == checkpoint.config.vocab_size
    assert checkpoint.tokenizer.vocab_size == checkpoint.config.vocab_size
    assert checkpoint.tokenizer.token_ids("<ent>") == Tokenizer.load(model_folder).token_ids("<ent>")
    assert any("'<ent>'" in told for told in checkpoint.tokenizer.warnings)


def test_a_special_token_that_the_model_has_no_row_for_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "mark")
    vocabulary = Tokenizer.load(folder).vocabulary()
    (folder / "tokenizer.json").unlink()
    words = "\n".join(sorted(vocabulary, key=vocabulary.__getitem__))
    (folder / "vocab.txt").write_text(words, encoding="utf-8-sig")
    with pytest.raises(CheckpointError, match=r"none for '\[PAD\]'") as caught:
        _ = Checkpoint.read(folder).tokenizer
    assert "byte order mark" in caught.value.hint


def test_a_blank_last_line_costs_nothing(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "blank")
    vocabulary = Tokenizer.load(folder).vocabulary()
    (folder / "tokenizer.json").unlink()
    words = "".join(f"{word}\n" for word in sorted(vocabulary, key=vocabulary.__getitem__))
    (folder / "vocab.txt").write_text(words + "\n \n", encoding="utf-8")
    tokenizer = Checkpoint.read(folder).tokenizer
    assert tokenizer.vocabulary() == vocabulary
    assert [tokenizer.encode(text).input_ids for text in TEXTS] == theirs(folder, TEXTS)
