"""The special tokens of a tokenizer are learned from what it makes of a text and of a pair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bertedge.errors import CheckpointError
from bertedge.template import Frame, Template
from tests.templates import template

VOCAB = {"<s>": 0, "</s>": 1, "a": 2, "b": 3}
ids = st.lists(st.integers(5, 9), min_size=1, max_size=5)


def backend(single: str = "$A", pair: str = "$A $B") -> Tokenizer:
    """Words between blanks, with a template."""
    made = Tokenizer(models.WordLevel(VOCAB, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


def test_two_tokens_between_the_texts_and_no_segments() -> None:
    """As RoBERTa has it."""
    learned = Template.learn(backend("<s> $A </s>", "<s> $A </s> </s> $B </s>"), ["a b"])
    start, end = ((0, 0),), ((1, 0),)
    assert learned.single == Frame(special=(start, end), segments=(0,))
    assert learned.pair == Frame(special=(start, end * 2, end), segments=(0, 0))
    assert (learned.single.count, learned.pair.count) == (2, 4)


def test_no_special_tokens_at_all() -> None:
    learned = Template.learn(backend(pair="$A:0 $B:1"), ["a"])
    assert (learned.single.count, learned.pair.count, learned.special_ids) == (0, 0, frozenset())
    assert learned.lay_out([2, 3], [3]) == ([2, 3, 3], [0, 0, 1])


def test_the_first_text_that_has_tokens_is_used() -> None:
    assert Template.learn(backend("<s> $A"), ["", " ", "b"]).single.special == (((0, 0),), ())


def test_a_tokenizer_without_a_token_for_any_example_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot encode a text and a pair"):
        Template.learn(backend(), ["", " "])


def test_a_limit_without_room_for_the_special_tokens_is_refused() -> None:
    template().require_room(2)
    with pytest.raises(CheckpointError, match="at most 1 tokens have no room for 2 special tokens"):
        template().require_room(1)


@given(ids, ids)
def test_texts_are_laid_out_as_bert_reads_them(first: list[int], second: list[int]) -> None:
    assert template(2, 3).lay_out(first) == ([2, *first, 3], [0] * (len(first) + 2))
    segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert template(2, 3).lay_out(first, second) == ([2, *first, 3, *second, 3], segments)


ROBERTA = Template.learn(backend("<s> $A </s>", "<s> $A </s> </s> $B </s>"), ["a b"])


@pytest.mark.parametrize("learned", [template(2, 3), ROBERTA], ids=["BERT", "RoBERTa"])
@given(ids, ids)
def test_texts_are_taken_apart_again(learned: Template, first: list[int], second: list[int]) -> None:
    alone, _ = learned.lay_out(first)
    assert learned.take_apart(alone, *learned.second(len(first), 0)) == (first,)
    both, _ = learned.lay_out(first, second)
    assert learned.take_apart(both, *learned.second(len(first), len(second))) == (first, second)
