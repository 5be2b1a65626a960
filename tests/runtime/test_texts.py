"""What the runtime takes as texts, and what it never proposes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.errors import UnknownTextWarning, UsageError
from bertedge.heads.parts import Parts
from bertedge.quantization import export
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

TEXTS = ["The cat sat on the [MASK].", "[MASK] was a warm day."]
PAIRS = [("It was a warm day.", "Then the cat went to sleep."), ("A ship left.", "Mix the dough.")]


class Column:
    """A column of a table, such as a Series of pandas: it can be iterated over, and is no list."""

    def __init__(self, values: list) -> None:
        self.values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


#: Ways to give the same items.
WAYS: list[Callable[[list], Any]] = [list, tuple, iter, lambda items: (item for item in items), Column]


@pytest.fixture(scope="module")
def runtime(bundle_of: Callable[..., Bundle]) -> BertRuntime:
    return load(bundle_of("float32").folder)


@pytest.mark.parametrize("way", [*WAYS, np.array, lambda items: np.array(items, dtype=object)])
def test_texts_come_from_any_iterable(runtime: BertRuntime, way: Callable[[list], Any]) -> None:
    assert runtime.fill_mask(way(TEXTS)) == runtime.fill_mask(TEXTS)
    assert np.array_equal(runtime.encode(way(TEXTS)), runtime.encode(TEXTS))
    assert len(runtime.fill_mask(way(TEXTS))) == 2


@pytest.mark.parametrize("way", [*WAYS, np.array, lambda pairs: zip(*zip(*pairs, strict=True), strict=True)])
def test_pairs_come_from_any_iterable(runtime: BertRuntime, way: Callable[[list], Any]) -> None:
    assert runtime.next_sentence(way(PAIRS)) == [runtime.next_sentence(*pair) for pair in PAIRS]


def test_a_string_of_an_array_is_one_text(runtime: BertRuntime) -> None:
    text = np.array(TEXTS)[0]
    assert runtime.fill_mask(text) == runtime.fill_mask(TEXTS[0])
    assert runtime.encode(text).shape == (runtime.bundle.config.hidden_size,)


def test_an_empty_text_in_a_list(runtime: BertRuntime) -> None:
    vectors = runtime.encode(["the cat", "", " "])
    assert np.array_equal(vectors[0], runtime.encode("the cat"))
    assert np.array_equal(vectors[1], vectors[2])
    assert np.array_equal(vectors[1], runtime.encode(""))
    assert runtime.encode([""], pooling="none")[0].shape == (2, runtime.bundle.config.hidden_size)


def test_an_empty_half_of_a_pair(runtime: BertRuntime) -> None:
    answers = runtime.next_sentence([PAIRS[0], ("a ship", ""), ("", "a ship"), ("", "")])
    assert answers[0] == runtime.next_sentence(*PAIRS[0])
    assert all(0 <= answer <= 1 for answer in answers)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda r: r.encode(["a", None]), "index 1 is None"),
        (lambda r: r.encode(Column(["a", float("nan")])), "index 1 is nan"),
        (lambda r: r.encode(["a", b"b"], prompt="query: "), "index 1 is b'b'"),
        (lambda r: r.encode(np.array([["a", "b"]])), "the text is array"),
        (lambda r: r.encode([("a", "b")]), "the text is ('a', 'b')"),
        (lambda r: r.encode(None), "expected a text or a list of texts, got None"),
        (lambda r: r.encode(b"bytes"), "got b'bytes' (bytes)"),
        (lambda r: r.encode(7), "got 7 (int)"),
        (lambda r: r.encode({"a": "b"}), "(dict)"),
        (lambda r: r.fill_mask([TEXTS[0], None]), "index 1 is None"),
        (lambda r: r.fill_mask(None), "got None"),
        (lambda r: r.fill_mask([("a", "[MASK]")]), "the text is ('a', '[MASK]')"),
        (lambda r: r.next_sentence([PAIRS[0], ("a", None)]), "the second text at index 1 is None"),
        (lambda r: r.next_sentence([PAIRS[0], "ab"]), "at index 1 is 'ab' (str)"),
        (lambda r: r.next_sentence([PAIRS[0], ("a",)]), "at index 1 is ('a',) (tuple)"),
        (lambda r: r.next_sentence(None), "got None"),
        (lambda r: r.next_sentence("a", None), "missing"),
        (lambda r: r.next_sentence("a", b"b"), "the second text is b'b' (bytes)"),
        (lambda r: r.next_sentence(["a"], ["b"]), "expected two texts"),
    ],
)
def test_what_is_no_text_is_named(runtime: BertRuntime, call: Callable, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(runtime)
    assert told in caught.value.message
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda r: r.encode(["the cat", "\u2603\u2603"]), r"1 of 2 texts \(index 1\)"),
        (lambda r: r.encode("\u2603", prompt="the cat: "), "the text has no word"),
        (lambda r: r.fill_mask("\u2603 [MASK]"), "the text has no word"),
        (lambda r: r.next_sentence("\u2603", "the cat"), "the text has no word"),
    ],
)
def test_a_text_of_unknown_words_is_answered_with_a_warning(runtime: BertRuntime, call: Callable, told: str) -> None:
    with pytest.warns(UnknownTextWarning, match=told):
        call(runtime)


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer) -> BertRuntime:
    """A model with 20 more ids than its tokenizer, which it likes best of all."""
    folder = tmp_path_factory.mktemp("roomy")
    roomy = replace(config, vocab_size=tokenizer.vocab_size + 20)
    tensors = random_tensors(roomy, Parts(("mlm", "nsp")))
    tensors["cls.predictions.bias"][tokenizer.vocab_size :] = 50
    write_checkpoint(folder, roomy, tensors, tokenizer)
    return load(export(folder, folder / "bundle").folder)


@pytest.mark.parametrize("top_k", [1, 5, 10**6])
def test_ids_without_a_token_are_never_proposed(roomy: BertRuntime, top_k: int) -> None:
    known = roomy.tokenizer.vocab_size
    assert roomy.bundle.config.vocab_size == known + 20
    (fills,) = roomy.fill_mask(TEXTS[0], top_k=top_k)
    assert len(fills) == min(top_k, known)
    assert max(fill.token_id for fill in fills) < known
    assert sum(fill.token == "[UNK]" for fill in fills) <= 1
    assert [fill.probability for fill in fills] == sorted((f.probability for f in fills), reverse=True)
    assert all(roomy.tokenizer.token(fill.token_id) == fill.token for fill in fills)
