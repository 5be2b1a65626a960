"""Offsets, words and windows of texts: as transformers' tokenizers give them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from bertedge.encoding import Encoding
from bertedge.errors import UnknownTextWarning, UsageError
from bertedge.tokenizer import Tokenizer
from bertedge.windows import windows_of

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LENGTH = 9
TEXT = "The caf\u00e9 is in Oslo, not in B\u00f6rgen 🙂 or elsewhere."
QUESTION = "Is it?"


def word_pieces() -> tokenizers.Tokenizer:
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *LETTERS, *(f"##{x}" for x in LETTERS)])}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return with_template(backend)


def byte_level() -> tokenizers.Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *alphabet, "\u0120i", "\u0120in"])}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, [("\u0120", "i"), ("\u0120i", "n")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    return backend


def with_template(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


@pytest.fixture(params=[word_pieces, byte_level])
def backend(request: pytest.FixtureRequest) -> tokenizers.Tokenizer:
    make: Callable[[], tokenizers.Tokenizer] = request.param
    made = make()
    made.add_special_tokens([*SPECIALS])
    return made


@pytest.fixture
def ours(backend: tokenizers.Tokenizer) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(backend.to_str()), max_length=LENGTH + 9)


@pytest.fixture
def theirs(backend: tokenizers.Tokenizer) -> Any:
    from transformers import PreTrainedTokenizerFast

    named = {role: f"[{role[:-6].upper()}]" for role in ("pad_token", "unk_token", "cls_token", "sep_token")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


def facts(encoding: Encoding) -> tuple[Any, ...]:
    return encoding.input_ids, encoding.offsets, encoding.word_ids, encoding.sequence_ids


def facts_of(found: Any, index: int = 0) -> tuple[Any, ...]:
    return (
        found["input_ids"][index],
        [tuple(pair) for pair in found["offset_mapping"][index]],
        found.word_ids(index),
        found.sequence_ids(index),
    )


@pytest.mark.parametrize("pair", [None, TEXT])
def test_offsets_and_words_as_transformers(ours: Tokenizer, theirs: Any, pair: str | None) -> None:
    given = [TEXT] if pair is None else [(QUESTION, pair)]
    expected = theirs(given, truncation=True, max_length=ours.max_length, return_offsets_mapping=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoding = ours.encode_many(given)[0]
    assert facts(encoding) == facts_of(expected)
    assert encoding.truncated


def test_offsets_count_characters_of_the_original_text(ours: Tokenizer) -> None:
    text = "B\u00f6r 🙂 a"
    encoding = ours.encode(text)
    found = [text[start:end] for start, end in encoding.offsets]
    assert found[0] == found[-1] == ""
    assert found[-2] == "a"
    letters = [part.strip() for part in found if part.strip()]
    assert letters[:2] == ["B", "\u00f6"]
    assert "🙂" in letters


def test_encodings_can_be_pickled_and_compared(ours: Tokenizer) -> None:
    encoding = ours.encode("ab c")
    copy = pickle.loads(pickle.dumps(encoding))
    assert copy == encoding
    assert copy.offsets == encoding.offsets


@pytest.mark.parametrize("stride", [0, 1, 4])
@pytest.mark.parametrize("question", [None, QUESTION])
def test_windows_as_transformers(ours: Tokenizer, theirs: Any, question: str | None, stride: int) -> None:
    given = TEXT if question is None else (question, TEXT)
    expected = theirs(
        *([TEXT] if question is None else [question, TEXT]),
        truncation="only_first" if question is None else "only_second",
        max_length=ours.max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    (windows,) = windows_of(ours, [given], stride=stride)
    assert len(windows) == len(expected["input_ids"]) > 1
    assert all(window.truncated and len(window.input_ids) <= ours.max_length for window in windows)
    assert [facts(window) for window in windows] == [facts_of(expected, index) for index in range(len(windows))]
    assert [window.token_type_ids for window in windows] == expected["token_type_ids"]


def test_a_text_that_fits_is_one_window(ours: Tokenizer) -> None:
    texts = ["ab c", ("a", "b"), "", ("", "a"), ("a", "")]
    windows = windows_of(ours, texts, stride=2)
    assert [one for (one,) in windows] == ours.encode_many(texts)
    assert not any(one.truncated for (one,) in windows)
    assert windows_of(ours, [], stride=2) == []


def test_windows_lose_no_character(ours: Tokenizer) -> None:
    (windows,) = windows_of(ours, [TEXT], stride=3)
    seen = {place for window in windows for start, end in window.offsets for place in range(start, end)}
    assert {place for place, letter in enumerate(TEXT) if letter != " "} <= seen


@pytest.mark.parametrize(
    ("given", "stride", "told"),
    [
        (TEXT, -1, "a stride of -1 tokens, expected 0 to 15"),
        ("a", -1, "a stride of -1"),
        (TEXT, 16, "a stride of 16 tokens, expected 0 to 15"),
        ((TEXT, "a b c"), 0, "the first text leaves no room for a window in the 18 tokens"),
        (None, 0, "the text is None"),
    ],
)
def test_windows_without_room(ours: Tokenizer, given: Any, stride: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        windows_of(ours, [given], stride=stride)


def test_windows_of_unknown_words() -> None:
    tokenizer = Tokenizer(with_template(word_pieces()), max_length=9)
    with pytest.warns(UnknownTextWarning, match=r"1 of 2 texts \(index 1\)"):
        windows_of(tokenizer, ["ab", "日本"], stride=0)
