"""The routes of text-embeddings-inference: its shapes, its statuses, and the answers of the methods in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from bertedge.runtime import BertRuntime
from tests.serve.asking import ask

TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn."]
LONG = "the cat sat on the mat " * 20


def test_vectors(url: str, models: dict[str, BertRuntime]) -> None:
    model = models["words"]
    for options in ({}, {"normalize": False}, {"dimensions": 7}, {"truncate": True, "truncation_direction": "Right"}):
        own = {name: value for name, value in options.items() if not name.startswith("trunc")}
        expected = model.encode(TEXTS, **{"normalize": True, **own})
        status, found = ask(f"{url}/embed", {"inputs": TEXTS, **options})
        assert status == 200
        np.testing.assert_array_equal(np.array(found, dtype=np.float32), expected)
    assert ask(f"{url}/embed", {"inputs": TEXTS[0]})[1] == ask(f"{url}/embed", {"inputs": TEXTS})[1][:1]
    ids = model.tokenizer.encode(TEXTS[1]).input_ids
    assert ask(f"{url}/embed", {"inputs": [TEXTS[0], ids]})[1] == ask(f"{url}/embed", {"inputs": TEXTS})[1]


@pytest.mark.filterwarnings("ignore::bertedge.errors.TruncationWarning")
def test_long_texts_are_cut(url: str, models: dict[str, BertRuntime]) -> None:
    status, found = ask(f"{url}/embed", {"inputs": LONG})
    np.testing.assert_array_equal(np.array(found, np.float32), models["words"].encode([LONG], normalize=True))
    assert (status, ask(f"{url}/predict", {"inputs": LONG})[0]) == (200, 200)


def test_relevance(url: str, models: dict[str, BertRuntime]) -> None:
    ranked = models["ranks"].rerank("red", TEXTS)
    status, found = ask(f"{url}/rerank", {"query": "red", "texts": TEXTS, "return_text": True})
    assert (status, found) == (200, [{"index": r.index, "score": r.score, "text": r.text} for r in ranked])
    raw = models["ranks"].relevance([("red", text) for text in TEXTS], raw_scores=True)
    found = ask(f"{url}/rerank", {"query": "red", "texts": TEXTS, "raw_scores": True})[1]
    assert {one["index"]: one["score"] for one in found} == dict(enumerate(raw))
    assert "text" not in found[0]


def test_labels(url: str, models: dict[str, BertRuntime]) -> None:
    model, (one, two) = models["labels"], TEXTS

    def labels(*items: Any, **options: Any) -> list[Any]:
        answers = model.classify(items, **options)
        return [[{"label": score.label, "score": score.score} for score in answer.scores] for answer in answers]

    for inputs, expected in (
        (one, labels(one)[0]),
        ([one, two], labels((one, two))[0]),
        ([[one], [one, two]], labels(one, (one, two))),
    ):
        assert ask(f"{url}/predict", {"inputs": inputs}) == (200, expected)
    assert ask(f"{url}/predict", {"inputs": one, "raw_scores": True})[1] == labels(one, raw_scores=True)[0]


def test_tokens(url: str, models: dict[str, BertRuntime]) -> None:
    tokenizer = models["words"].tokenizer
    status, (found,) = ask(f"{url}/tokenize", {"inputs": LONG})
    ids = tokenizer.token_ids(LONG)
    assert (status, [token["id"] for token in found[1:-1]]) == (200, ids)
    assert found[0] == {"id": 2, "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert all(token["text"] == LONG[token["start"] : token["stop"]] for token in found[1:-1])
    assert ask(f"{url}/tokenize", {"inputs": [LONG], "add_special_tokens": False})[1] == [found[1:-1]]
    (short,) = ask(f"{url}/tokenize", {"inputs": TEXTS[0]})[1]
    assert [token["id"] for token in short] == tokenizer.encode(TEXTS[0]).input_ids


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "words"),
    [
        ("embed", {"inputs": LONG, "truncate": False}, 422, "Validation", "tokens, expected at most 64"),
        ("predict", {"inputs": [["a"], [LONG, "a"]], "truncate": False}, 422, "Validation", "index 1 has"),
        ("rerank", {"query": "a", "texts": ["a", LONG], "truncate": False}, 422, "Validation", "index 1 has"),
        ("embed", {"inputs": []}, 400, "Empty", "there is no text"),
        ("embed", {"inputs": "a", "prompt_name": "query"}, 422, "Validation", "prompt_name 'query' is not one"),
        ("embed", {"inputs": "a", "truncation_direction": "Left"}, 422, "Validation", "cuts on the right"),
        ("embed", {"inputs": ["a"] * 5000}, 413, "Validation", "5000"),
        ("predict", {"inputs": "a", "model": "words"}, 424, "Backend", "takes a model for classify: the bundle"),
        ("predict", {"inputs": ["a", "b", "c"]}, 422, "Validation", "a text, a pair"),
        ("rerank", {"query": "a", "texts": "b"}, 422, "Validation", "expected a list of texts, got a text"),
    ],
)
def test_refused(url: str, path: str, body: Any, status: int, kind: str, words: str) -> None:
    got, error = ask(f"{url}/{path}", body)
    assert (got, error["error_type"]) == (status, kind)
    assert words in error["error"]


def test_curl(url: str, models: dict[str, BertRuntime]) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    command = [curl, "--silent", "--fail", f"{url}/embed", "--json", json.dumps({"inputs": TEXTS[0]})]
    done = subprocess.run(command, capture_output=True, check=True)
    expected = models["words"].encode(TEXTS[:1], normalize=True)
    np.testing.assert_array_equal(np.array(json.loads(done.stdout), dtype=np.float32), expected)
