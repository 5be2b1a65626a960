"""Every folder gives the ids that ``transformers`` gives, or is refused by name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertedge.errors import BertEdgeError, CheckpointError, FileError, TruncationWarning
from bertedge.tokenizer import Tokenizer
from bertedge.tokenizer_classes import KINDS, OTHERS
from tests.tokenizer_families import FAMILY_FOLDERS, random_family_folder
from tests.tokenizer_folders import FOLDERS as BERT_FOLDERS
from tests.tokenizer_folders import REFUSED, TEXTS, inputs, random_folder, vocab, write

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
LONG = 1024
FOLDERS = BERT_FOLDERS | FAMILY_FOLDERS
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


@pytest.mark.parametrize(
    ("made", "seed"),
    [*((random_folder, seed) for seed in range(40)), *((random_family_folder, seed) for seed in range(10))],
)
def test_random_folders_as_transformers(tmp_path: Path, made: Callable[..., dict[str, Any]], seed: int) -> None:
    """What is said in five places at once; a folder that ``transformers`` does not open either is passed over."""
    folder = write(tmp_path / "model", made(random.Random(seed)))
    try:
        expected = theirs_of(folder)
    except Exception:  # any error: nothing is promised for a folder that it cannot open
        try:
            Tokenizer.load(folder)
        except BertEdgeError as error:
            assert len(str(error).splitlines()) == 2
        return
    tokenizer = Tokenizer.load(folder, max_length=LONG)
    assert ids_of(tokenizer) == expected
    saved = write(tmp_path / "saved", {})
    tokenizer.save(saved)
    assert theirs_of(saved) == expected


@pytest.mark.parametrize("side", ["right", "left"])
def test_long_texts_are_cut_as_by_transformers(tmp_path: Path, side: str) -> None:
    folder = write(tmp_path / "model", {"vocab.txt": vocab(), "tokenizer_config.json": {"truncation_side": side}})
    tokenizer = Tokenizer.load(folder, max_length=9)
    saved = write(tmp_path / "saved", {})
    tokenizer.save(saved)
    for source in (folder, saved):
        other = transformers.AutoTokenizer.from_pretrained(source)
        for text, pair in (("a b c d e f g h i j", None), ("a b c d e f", "g h i j k"), ("a", "b c d e f g h i")):
            with pytest.warns(TruncationWarning, match="end" if side == "right" else "beginning"):
                ids = tokenizer.encode(text, pair).input_ids
            assert ids == other(text, pair, truncation=True, max_length=9)["input_ids"]


def test_every_class_of_transformers_is_in_a_table() -> None:
    """A class that a newer version brings, and that is in none, would be taken for one that it does not know."""
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    names = {name for name in TOKENIZER_MAPPING_NAMES.values() if name}
    names |= {name for name in dir(transformers) if name.endswith(("Tokenizer", "TokenizerFast"))}
    plain = {name.removesuffix("Fast") for name in names} - {"AutoTokenizer", "BasicTokenizer", "MistralCommonBackend"}
    assert not {name for name in plain if name not in KINDS and name.removesuffix("Tokenizer") not in OTHERS}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_matched_is_refused_by_name(tmp_path: Path, name: str) -> None:
    files, told = REFUSED[name]
    with pytest.raises(CheckpointError, match=told) as caught:
        Tokenizer.load(write(tmp_path, files))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("where", ["vocab", "added"])
def test_an_id_that_no_vocabulary_has(model_folder: Path, tmp_path: Path, where: str) -> None:
    """The library would make room for all ids up to it, and end the process where there is none."""
    raw = json.loads((model_folder / "tokenizer.json").read_text(encoding="utf-8"))
    if where == "vocab":
        raw["model"]["vocab"]["huge"] = 2**31
    else:
        raw["added_tokens"].append({**raw["added_tokens"][0], "content": "huge", "id": 2**31})
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(FileError, match="the id of 'huge' is larger than"):
        Tokenizer.load(tmp_path)


def test_two_tokens_with_one_id(model_folder: Path, tmp_path: Path) -> None:
    raw = json.loads((model_folder / "tokenizer.json").read_text(encoding="utf-8"))
    raw["model"]["vocab"]["was"] = raw["model"]["vocab"]["[UNK]"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(FileError, match=r"'\[UNK\]' and 'was' have one id"):
        Tokenizer.load(tmp_path)
