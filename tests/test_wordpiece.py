"""Vocabularies learned and trimmed, below the Tokenizer that the rest of bertedge uses."""

from __future__ import annotations

import pytest
import tokenizers
from tokenizers import processors

from bertedge.tokenizer_changes import trimmed
from bertedge.wordpiece import SPECIAL_TOKENS, learn

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
    kept = sorted(whole.get_vocab().values(), reverse=True)
    ids = {token: kept.index(index) for token, index in whole.get_vocab().items()}
    small = trimmed(whole.to_str(), kept)
    for text in LINES:
        assert small.encode(text).tokens == whole.encode(text).tokens
        assert small.encode(text).ids == [ids[token] for token in whole.encode(text).tokens]
    assert small.token_to_id(SPECIAL_TOKENS["mask"]) == ids["[MASK]"]
