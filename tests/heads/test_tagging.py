"""Entities of a text: equal to those of transformers' pipeline, which runs tiny random models."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers

from bertedge.heads.token_classification.spans import TagSet
from bertedge.heads.token_classification.tagging import AGGREGATIONS, Aggregation, Entity, Tokens, entities, joined
from bertedge.probabilities import softmax
from bertedge.tokenizer import Tokenizer
from bertedge.windows import windows_of
from tests.test_windows import SPECIALS, byte_level, word_pieces

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
LENGTH = 48
TEXTS = (
    "Ada Lovelace lived in London.",
    "",
    "a",
    " two  spaces, caf\u00e9s (in B\u00f6rgen) and 🙂 signs",
    "a text that goes on and on and on until the model's window ends within a word",
)


def metaspace() -> tokenizers.Tokenizer:
    letters = ["\u2581", *"abcdefghijklmnopqrstuvwxyzABCDL.,()", "\u2581in", "\u2581lived"]
    pieces = [(token, -float(index)) for index, token in enumerate([*SPECIALS, *letters])]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = byte_level().post_processor
    return backend


class Case:
    """One tokenizer, and a random model in transformers."""

    def __init__(self, make: Callable[[], tokenizers.Tokenizer]) -> None:
        backend = make()
        backend.add_special_tokens([*SPECIALS])
        self.tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(backend.to_str()), max_length=LENGTH)
        torch.manual_seed(3)
        config = transformers.BertConfig(
            vocab_size=backend.get_vocab_size(),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            initializer_range=1.0,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
        self.model = transformers.BertForTokenClassification(config).eval()
        named: dict[str, Any] = {role: f"[{role[:-6].upper()}]" for role in ("pad_token", "unk_token", "mask_token")}
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=LENGTH, **named)
        self.pipeline = transformers.pipeline("token-classification", model=self.model, tokenizer=fast)

    def logits(self, ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = self.model(torch.tensor([ids])).logits[0].numpy()
        return found

    def theirs(self, text: str, aggregation: Aggregation, **how: Any) -> list[Entity]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self.pipeline(text, aggregation_strategy=aggregation, **how)
        return [entity for entity in map(self._entity(text), found) if entity.text]

    def _entity(self, text: str) -> Callable[[dict[str, Any]], Entity]:
        def entity(found: dict[str, Any]) -> Entity:
            raw = text[found["start"] : found["end"]]
            start = found["start"] + len(raw) - len(raw.lstrip())
            own = raw.strip()
            label = found.get("entity_group") or found["entity"]
            return Entity(label=label, text=own, start=start, end=start + len(own), score=float(found["score"]))

        return entity


CASES = {"WordPiece": word_pieces, "byte-level BPE": byte_level, "Unigram": metaspace}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(CASES[request.param])


def assert_equal(ours: list[Entity], theirs: list[Entity]) -> None:
    assert [(one.label, one.text, one.start, one.end) for one in ours] == [
        (one.label, one.text, one.start, one.end) for one in theirs
    ]
    np.testing.assert_allclose([one.score for one in ours], [one.score for one in theirs], atol=1e-5)


@pytest.mark.filterwarnings("ignore::bertedge.errors.TruncationWarning")
@pytest.mark.filterwarnings("ignore::bertedge.errors.UnknownTextWarning")
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_entities_as_the_pipeline(case: Case, aggregation: Aggregation) -> None:
    found = 0
    for text in TEXTS:
        encoding = case.tokenizer.encode(text)
        tokens = Tokens.of(text, encoding, case.tokenizer)
        probabilities = softmax(case.logits(encoding.input_ids))[tokens.places]
        ours = entities(text, tokens, probabilities, TagSet(LABELS), aggregation)
        assert_equal(ours, case.theirs(text, aggregation))
        assert all(text[one.start : one.end] == one.text for one in ours)
        found += len(ours)
    assert found > 5


@pytest.mark.filterwarnings("ignore::bertedge.errors.UnknownTextWarning")
def test_windows_join_to_the_whole_text(case: Case) -> None:
    """The tokens are those of the text without a limit, each from the window in which it has more neighbours."""
    text, stride = " ".join(TEXTS), 7
    whole = case.tokenizer.with_max_length(1000)
    expected = Tokens.of(text, whole.encode(text), whole)
    (windows,) = windows_of(case.tokenizer, [text], stride=stride)
    tokens = [Tokens.of(text, window, case.tokenizer) for window in windows]
    marks = [np.full((len(own.places), 1), index, dtype=np.float32) for index, own in enumerate(tokens)]
    found, chosen = joined(tokens, marks, stride)
    assert found.offsets == expected.offsets
    assert found.continues == expected.continues
    lengths = np.bincount(chosen[:, 0].astype(int))
    room = LENGTH - 2
    assert lengths[0] == room - stride // 2
    assert (lengths[1:-1] == room - stride).all()


def test_one_window_is_the_text(case: Case) -> None:
    text = "Ada in London"
    (windows,) = windows_of(case.tokenizer, [text], stride=7)
    tokens = [Tokens.of(text, window, case.tokenizer) for window in windows]
    found, _ = joined(tokens, [np.zeros((len(tokens[0].places), 1), dtype=np.float32)], 7)
    assert found.offsets == tokens[0].offsets


def test_line_breaks_end_words_too() -> None:
    case = Case(byte_level)
    text = "ab\ncd\tef"
    tokens = Tokens.of(text, case.tokenizer.encode(text), case.tokenizer)
    words = [text[tokens.offsets[own.start][0] : tokens.offsets[own.stop - 1][1]].strip() for own in tokens.words()]
    assert [word for word in words if word] == ["ab", "cd", "ef"]
