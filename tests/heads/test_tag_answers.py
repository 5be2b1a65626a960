"""The right labels of tokens: as fine-tuning scripts align them with words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tokenizers

from bertedge.errors import CorpusError
from bertedge.example import Example, WordSpan
from bertedge.heads.token_classification.spans import TagSet
from bertedge.heads.token_classification.tag_answers import token_labels
from bertedge.heads.token_classification.tag_quantities import UNLABELLED
from bertedge.predictor import NO_LABEL
from bertedge.tokenizer import Tokenizer
from tests.test_windows import SPECIALS, byte_level, word_pieces

TAGS = TagSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
BIOES = TagSet(("O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BIES")))
WORDS = ("ada", "b", "in", "oslo", ".")


@pytest.fixture(scope="module", params=[word_pieces, byte_level])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    backend: tokenizers.Tokenizer = request.param()
    backend.add_special_tokens([*SPECIALS])
    return Tokenizer(backend, max_length=24)


def spans_of(words: tuple[str, ...]) -> tuple[WordSpan, ...]:
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    return tuple((start, start + len(word)) for start, word in zip(starts, words, strict=False))


def labelled(tokenizer: Tokenizer, model: TagSet = TAGS, text: str = " ".join(WORDS), **given: Any) -> list[str]:
    """``word:label`` of each token that has one."""
    words = given.pop("words", None)
    example = Example(text=text, values=given, words=words)
    encoding = tokenizer.encode(text)
    labels = token_labels(example, encoding, model)
    assert labels.shape == (len(encoding.input_ids),)
    assert labels[0] == labels[-1] == NO_LABEL
    names = {UNLABELLED: "?", **dict(enumerate(model.labels))}
    found = [
        (encoding.offsets[place], names[label]) for place, label in enumerate(labels.tolist()) if label != NO_LABEL
    ]
    return [f"{text[start:end].strip()}:{name}" for (start, end), name in found]


def test_the_first_token_of_each_word_has_its_tag(tokenizer: Tokenizer) -> None:
    expected = ["a:B-PER", "b:I-PER", "i:O", "o:B-LOC", ".:O"]
    tags = ["B-PER", "I-PER", "O", "B-LOC", "O"]
    found = labelled(tokenizer, tags=tags, words=spans_of(WORDS))
    assert [name.split(":")[1] for name in found] == [name.split(":")[1] for name in expected]
    assert labelled(tokenizer, tags=tags) == found  # words are found by spaces
    assert labelled(tokenizer, tags=[1, 2, 0, 3, 0]) == found
    assert labelled(tokenizer, tags=["1", "2", "0", "3", "0"]) == found


def test_labels_as_the_fine_tuning_script_of_transformers(tokenizer: Tokenizer) -> None:
    """``run_ner.py`` gives a word to the tokenizer by itself, and labels the first token of each word id."""
    tags = ["B-PER", "I-PER", "O", "B-LOC", "O"]
    text = " ".join(WORDS)
    example = Example(text=text, values={"tags": tags}, words=spans_of(WORDS))
    ours = token_labels(example, tokenizer.encode(text), TAGS)
    split = tokenizer.bare.encode(
        [f" {word}" if place else word for place, word in enumerate(WORDS)], is_pretokenized=True
    )
    theirs = [
        TAGS.labels.index(tags[word]) if word != before else NO_LABEL
        for before, word in zip([None, *split.word_ids], split.word_ids, strict=False)
    ]
    assert ours[1:-1].tolist() == theirs


def test_words_that_are_cut_off_have_no_label(tokenizer: Tokenizer) -> None:
    words = (*WORDS, *("b",) * 30)
    text = " ".join(words)
    with pytest.warns(match="their end was cut off"):
        encoding = tokenizer.encode(text)
    example = Example(text=text, values={"tags": ["O"] * len(words)}, words=spans_of(words))
    assert 0 < (token_labels(example, encoding, TAGS) >= 0).sum() < len(words)


def test_words_without_a_token_have_no_label(tokenizer: Tokenizer) -> None:
    words = ("ada", "\u200d", "b") if tokenizer.continuation_prefix else ("ada", "b", "b")
    found = labelled(tokenizer, text=" ".join(words), tags=["B-PER", "O", "I-LOC"], words=spans_of(words))
    assert [name.split(":")[1] for name in found][-1] == "I-LOC"


def test_spans_of_characters(tokenizer: Tokenizer) -> None:
    found = labelled(tokenizer, spans=[{"start": 9, "end": 13, "label": "LOC"}, (0, 5, "PER")])
    assert [name.split(":")[1] for name in found] == ["B-PER", "I-PER", "O", "B-LOC", "O"]
    part_of_a_word = labelled(tokenizer, spans=[[10, 11, "LOC"]])
    assert [name.split(":")[1] for name in part_of_a_word].count("B-LOC") == 1
    assert {name.split(":")[1] for name in labelled(tokenizer, spans=[])} == {"O"}


def test_texts_without_labels_still_have_words(tokenizer: Tokenizer) -> None:
    found = labelled(tokenizer)
    assert {name.split(":")[1] for name in found} == {"?"}
    assert len(found) == len(WORDS)


def test_tags_of_another_form_are_rewritten(tokenizer: Tokenizer) -> None:
    tags = ["B-PER", "I-PER", "O", "B-LOC", "O"]
    found = [name.split(":")[1] for name in labelled(tokenizer, BIOES, tags=tags)]
    assert found == ["B-PER", "E-PER", "O", "S-LOC", "O"]
    back = labelled(tokenizer, TAGS, tags=found)
    assert [name.split(":")[1] for name in back] == tags
    plain = [name.split(":")[1] for name in labelled(tokenizer, TagSet(("O", "PER", "LOC")), tags=tags)]
    assert plain == ["PER", "PER", "O", "LOC", "O"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tags": ["O"]}, "the text has 5 words and 1 tags"),
        ({"tags": "O"}, "tags are 'O', not a list"),
        ({"tags": ["O", "O", "O", "B-LCO", "O"]}, "the model has no label 'LCO'"),
        ({"tags": ["O", "O", "O", "99", "O"]}, "the model has no label '99'"),
        ({"spans": {"start": 0}}, "spans are .*, not a list"),
        ({"spans": [{"start": 0, "end": 99, "label": "PER"}]}, "the span .* does not fit a text of 15 characters"),
        ({"spans": [{"start": 3, "end": 3, "label": "PER"}]}, "does not fit"),
        ({"spans": [{"start": "0", "end": 3, "label": "PER"}]}, "does not fit"),
        ({"spans": [{"start": 0, "end": 3}]}, "does not fit"),
        ({"spans": [7]}, "the span 7 does not fit"),
        ({"spans": [(0, 3, "ORG")]}, "the model has no label 'ORG'"),
        ({"spans": [(0, 2, "PER"), (1, 3, "LOC")]}, "two spans share the word 'ada'"),
    ],
)
def test_answers_that_do_not_fit(given: dict[str, Any], told: str) -> None:
    tokenizer = Tokenizer(word_pieces(), max_length=24)
    with pytest.raises(CorpusError, match=told):
        labelled(tokenizer, **given)


def test_a_model_without_outside_needs_a_tag_for_each_word() -> None:
    tokenizer = Tokenizer(word_pieces(), max_length=24)
    with pytest.raises(CorpusError, match="no label 'O' for words without one"):
        labelled(tokenizer, TagSet(("NOUN", "VERB")), spans=[(0, 3, "NOUN")])
