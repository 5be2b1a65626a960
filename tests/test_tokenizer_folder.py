"""Every folder gives the ids that ``transformers`` gives, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bertedge.errors import CheckpointError
from bertedge.tokenizer import Tokenizer
from tests.tokenizer_folders import FOLDERS, REFUSED, TEXTS, inputs, write

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
LONG = 1024
pytestmark = pytest.mark.filterwarnings("ignore::bertedge.errors.UnknownTextWarning")


def ids_of(tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """Ids and segments of every text and pair."""
    encodings = [tokenizer.encode(text, pair) for text, pair in inputs()]
    return [(encoding.input_ids, encoding.token_type_ids) for encoding in encodings]


def theirs_of(folder: Path) -> list[tuple[list[int], list[int]]]:
    """The same by the fast tokenizer of ``transformers``."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True)
    assert tokenizer.is_fast
    batch = [text if pair is None else (text, pair) for text, pair in inputs()]
    found = tokenizer(batch, return_token_type_ids=True)
    return list(zip(found["input_ids"], found["token_type_ids"], strict=True))


def test_there_are_a_hundred_texts() -> None:
    assert len(set(TEXTS)) >= 100


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_as_transformers(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "model", FOLDERS[name])
    ours, theirs = ids_of(Tokenizer.load(folder, max_length=LONG)), theirs_of(folder)
    different = {
        text: (mine, other) for (text, _), mine, other in zip(inputs(), ours, theirs, strict=True) if mine != other
    }
    assert not different


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_saved_gives_the_same_ids(tmp_path: Path, name: str) -> None:
    tokenizer = Tokenizer.load(write(tmp_path / "model", FOLDERS[name]), max_length=LONG)
    saved = write(tmp_path / "saved", {})
    tokenizer.save(saved)
    expected = ids_of(tokenizer)
    assert ids_of(Tokenizer.load(saved, max_length=LONG)) == expected
    assert theirs_of(saved) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_matched_is_refused_by_name(tmp_path: Path, name: str) -> None:
    files, told = REFUSED[name]
    with pytest.raises(CheckpointError, match=told) as caught:
        Tokenizer.load(write(tmp_path, files))
    assert len(str(caught.value).splitlines()) == 2
