"""Vocabularies learned and trimmed, below the Tokenizer that the rest of bertedge uses."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import models, processors

from bertedge.errors import CheckpointError
from bertedge.wordpiece import SPECIAL_TOKENS, learn, trimmed

LINES = ["the cat sat on the mat", "a ship left the port", "bread needs flour and water"] * 3


def test_lines_may_be_read_again_or_once() -> None:
    again = learn(LINES, vocab_size=80, lowercase=True)
    once = learn(iter(LINES), vocab_size=80, lowercase=True)
    assert again.to_str() == once.to_str()


def with_processor(kind: str) -> tokenizers.Tokenizer:
    """The same tokenizer with its special tokens put in by one of the library's ways."""
    backend = learn(LINES, vocab_size=80, lowercase=True)
    cls, sep = (("[CLS]", backend.token_to_id("[CLS]")), ("[SEP]", backend.token_to_id("[SEP]")))
    template = backend.post_processor
    made = {
        "template": template,
        "bert": processors.BertProcessing(sep, cls),
        "sequence": processors.Sequence([processors.BertProcessing(sep, cls)]),
    }
    backend.post_processor = made[kind]
    return backend


@pytest.mark.parametrize("kind", ["template", "bert", "sequence"])
def test_every_way_to_add_special_tokens_is_renumbered(kind: str) -> None:
    whole = with_processor(kind)
    kept = [token for token, _ in sorted(whole.get_vocab().items(), key=lambda item: item[1])]
    ids = {token: index for index, token in enumerate(reversed(kept))}
    small = trimmed(whole.to_str(), ids)
    for text in LINES:
        assert small.encode(text).tokens == whole.encode(text).tokens
        assert small.encode(text).ids == [ids[token] for token in whole.encode(text).tokens]
    assert small.token_to_id(SPECIAL_TOKENS["mask"]) == ids["[MASK]"]


def test_only_wordpiece_can_be_trimmed() -> None:
    backend = tokenizers.Tokenizer(models.BPE())
    with pytest.raises(CheckpointError, match="BPE"):
        trimmed(backend.to_str(), {})
    assert json.loads(backend.to_str())["model"]["type"] == "BPE"
