"""``InferenceClient`` of huggingface_hub, with the address of a running server as its model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bertedge.runtime import BertRuntime
from tests.serve.asking import ask

hub = pytest.importorskip("huggingface_hub")
TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn."]


@pytest.fixture
def client(url: str) -> Any:
    """A client that names no bundle: the server finds one that has the task."""
    return hub.InferenceClient(model=url, token="none")


def test_vectors(client: Any, models: dict[str, BertRuntime]) -> None:
    model = models["words"]
    np.testing.assert_array_equal(client.feature_extraction(TEXTS[0]), model.encode(TEXTS[:1], normalize=True))
    found = client.feature_extraction(TEXTS, normalize=False, truncate=True, dimensions=9)
    np.testing.assert_array_equal(found, model.encode(TEXTS, normalize=False, dimensions=9))


def test_similarities(client: Any, models: dict[str, BertRuntime]) -> None:
    expected = models["words"].similarity(TEXTS[0], TEXTS)
    np.testing.assert_array_equal(np.array(client.sentence_similarity(TEXTS[0], TEXTS), np.float32), expected)


def test_labels(client: Any, models: dict[str, BertRuntime]) -> None:
    model = models["labels"]
    found = [(one.label, one.score) for one in client.text_classification(TEXTS[0], top_k=2)]
    assert found == [(one.label, one.score) for one in model.classify(TEXTS[0], top_k=2).scores]
    raw = np.array([one.score for one in model.classify(TEXTS[0], raw_scores=True).scores], np.float32)
    for function, expected in (("none", raw), ("sigmoid", 1 / (1 + np.exp(-raw)))):
        got = client.text_classification(TEXTS[0], function_to_apply=function)
        np.testing.assert_allclose([one.score for one in got], expected, rtol=1e-5)


def test_entities(client: Any, url: str, models: dict[str, BertRuntime]) -> None:
    model, named = models["tags"], hub.InferenceClient(model=f"{url}?model=tags", token="none")
    for how in (None, "none", "max"):
        found = (client if how else named).token_classification(TEXTS[0], aggregation_strategy=how)
        expected = model.tag(TEXTS[0], aggregation=how)
        assert [(e.entity_group or e.entity, e.word, e.start, e.end, e.score) for e in found] == [
            (e.label, e.text, e.start, e.end, e.score) for e in expected
        ]
        assert all((one.entity is None) == (how != "none") for one in found)
    labels = {one.label for one in model.tag(TEXTS[0], aggregation="none")}
    assert client.token_classification(TEXTS[0], aggregation_strategy="none", ignore_labels=list(labels)) == []


def test_words_for_masks(client: Any, models: dict[str, BertRuntime]) -> None:
    model, text = models["words"], "the [MASK] sat"
    (fills,) = model.fill_mask(text, top_k=300)
    found = client.fill_mask(text, top_k=7)
    assert [(one.token_str, one.token, one.score) for one in found] == [
        (fill.token, fill.token_id, fill.probability) for fill in fills[:7]
    ]
    for one in found:
        inside = one.token_str.startswith("##")
        assert one.sequence == ("the" + one.token_str[2:] if inside else f"the {one.token_str}") + " sat"
    target = fills[20].token
    (only,) = client.fill_mask(text, targets=[target])
    assert (only.token_str, only.score) == (target, fills[20].probability)
    first, second = client.fill_mask("[MASK] and [MASK]")
    assert first[0].sequence.endswith(" and [MASK]")
    assert second[0].sequence.startswith("[MASK] and")


def test_answers(client: Any, models: dict[str, BertRuntime]) -> None:
    question, context = "Who sat?", TEXTS[0]
    found = client.question_answering(question, context)
    best = models["answers"].answer(question, context)
    assert (found.answer, found.start, found.end, found.score) == (best.text, best.start, best.end, best.score)
    options = {"max_answer_len": 2, "handle_impossible_answer": True, "align_to_words": False}
    several = client.question_answering(question, context, top_k=3, **options)
    expected = models["answers"].answer(question, context, top=3, longest=2, no_answer=True, whole_words=False)
    assert [(one.answer, one.score) for one in several] == [(one.text, one.score) for one in expected]


def test_a_bundle_may_be_named_in_the_address(url: str, models: dict[str, BertRuntime]) -> None:
    named = hub.InferenceClient(model=f"{url}?model=labels", token="none")
    assert named.text_classification(TEXTS[0])[0].label == models["labels"].classify(TEXTS[0]).label
    embed = hub.InferenceClient(model=f"{url}/embed?model=labels", token="none")
    np.testing.assert_array_equal(embed.feature_extraction(TEXTS), models["labels"].encode(TEXTS, normalize=True))


def test_without_parameters_a_bundle_does_its_own_task(url: str, models: dict[str, BertRuntime]) -> None:
    for name, inside in (("labels", "label"), ("tags", "entity_group"), ("answers", None)):
        status, (first, *_) = ask(f"{url}/?model={name}", {"inputs": TEXTS[0]})
        assert status == 200
        assert inside is None or inside in (first[0] if isinstance(first, list) else first)


def test_what_is_not_offered(client: Any, url: str) -> None:
    with pytest.raises(hub.errors.HfHubHTTPError, match="zero-shot classification is not offered"):
        client.zero_shot_classification(TEXTS[0], ["cats", "ships"])
    assert ask(f"{url}/?model=answers", {"inputs": "a [MASK]", "parameters": {}})[0] == 424
    status, error = ask(f"{url}/", {"inputs": {"question": "a"}})
    assert (status, error["error"].partition(",")[0]) == (422, "inputs: expected a text")
