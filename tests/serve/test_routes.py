"""A route for each command, facts about the server, and what happens to requests that are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

import bertedge
from bertedge.heads import HEADS
from bertedge.runtime import BertRuntime
from tests.heads.topic import TOPIC
from tests.serve.asking import ask

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn."]
PAIR = (TEXTS[0], TEXTS[1])
#: Path, body -> the verb, its items and its options in Python.
ASKED: list[tuple[str, dict[str, Any], list[Any], dict[str, Any]]] = [
    ("fill-mask", {"texts": "a [MASK]", "top_k": 3}, ["a [MASK]"], {"top_k": 3}),
    ("fill-mask", {"texts": ["a [MASK]", "[MASK] [MASK]"]}, ["a [MASK]", "[MASK] [MASK]"], {}),
    ("next-sentence", {"pairs": list(PAIR)}, [PAIR], {}),
    ("next-sentence", {"pairs": [list(PAIR), [TEXTS[1], TEXTS[0]]]}, [PAIR, PAIR[::-1]], {}),
    ("classify", {"texts": [TEXTS[0], list(PAIR)], "top_k": 2}, [TEXTS[0], PAIR], {"top_k": 2}),
    ("classify", {"texts": TEXTS[0], "pair": TEXTS[1]}, [PAIR], {}),
    ("tag", {"texts": TEXTS, "aggregation": "none", "stride": 2}, TEXTS, {"aggregation": "none", "stride": 2}),
    ("answer", {"question": "Who?", "context": TEXTS[0], "longest": 3}, [("Who?", TEXTS[0])], {"longest": 3}),
    ("answer", {"question": "Who?", "texts": TEXTS}, [("Who?", text) for text in TEXTS], {}),
    ("answer", {"context": TEXTS[0], "texts": "Who?"}, [("Who?", TEXTS[0])], {}),
    ("answer", {"pairs": [["Who?", TEXTS[0]]], "no_answer": True}, [("Who?", TEXTS[0])], {"no_answer": True}),
]
BY_VERB = {head.verb.name: head.verb for head in HEADS.values()}


@pytest.mark.parametrize(("verb", "body", "items", "options"), ASKED)
def test_answers_are_those_of_python(
    url: str, models: dict[str, BertRuntime], verb: str, body: Any, items: list[Any], options: dict[str, Any]
) -> None:
    rows = BY_VERB[verb].rows
    model = next(model for model in models.values() if verb in model.verbs)
    defaults = {one.name: one.default for one in BY_VERB[verb].options if one.of_rows and not one.gives}
    answers = rows.answers(model, items, **{**defaults, **options})
    expected = json.loads(json.dumps([dict(rows.values(answer)) for answer in answers]))
    assert ask(f"{url}/{verb}", body) == (200, expected)


def test_every_command_has_a_route() -> None:
    from bertedge.serve.routes import all_routes

    paths = {route.path for route in all_routes()}
    assert {f"/{verb}" for verb in BY_VERB} <= paths
    assert len(paths) == len(all_routes())


def test_a_head_that_bertedge_does_not_have_has_a_body() -> None:
    from bertedge.serve.routes.verb_routes import body_of, items_of
    from bertedge.serve.schemas import BadBody, read_body

    schema = body_of(TOPIC.verb)
    assert items_of(TOPIC.verb, read_body(schema, b'{"texts": "a"}')) == ["a"]
    with pytest.raises(BadBody, match="text is not a field, expected model, texts"):
        read_body(schema, b'{"texts": "a", "text": "b"}')


def test_info(url: str, models: dict[str, BertRuntime]) -> None:
    status, told = ask(f"{url}/info")
    assert (status, told["model_id"], told["version"]) == (200, "words", bertedge.__version__)
    assert set(told["limits"]) >= {"max_texts", "max_body_bytes", "queue_tokens"}
    bundles = {bundle["name"]: bundle for bundle in told["bundles"]}
    assert list(bundles) == list(models)
    for name, model in models.items():
        bundle = bundles[name]
        assert (bundle["model_sha256"], bundle["engine"]) == (model.bundle.model_sha256, model.engine.name)
        assert (tuple(bundle["verbs"]), bundle["dimension"]) == (model.verbs, 32)
    labels = bundles["labels"]["heads"]["sequence_classification"]["classifiers"][0]["labels"]
    assert labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert told["model_type"] == {"embedding": {"pooling": "mean"}}


def test_kinds_of_models(models: dict[str, BertRuntime]) -> None:
    from bertedge.serve.routes.info_routes import model_type

    labels = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    assert model_type(models["several"]) == {"classifier": labels}
    assert model_type(models["ranks"]) == {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    assert model_type(models["tags"]) == {"embedding": {"pooling": "mean"}}


@pytest.mark.parametrize(
    ("status", "tei", "openai"),
    [
        (401, "Validation", "authentication_error"),
        (413, "Validation", "invalid_request_error"),
        (429, "Overloaded", "rate_limit_error"),
        (500, "Backend", "server_error"),
        (503, "Unhealthy", "server_error"),
    ],
)
def test_kinds_of_errors(status: int, tei: str, openai: str) -> None:
    """Those that the clients of each path know."""
    from bertedge.serve.routes.error_responses import error_response

    found = error_response("/embed", status, "why", headers={"Retry-After": "2"})
    assert (found.status_code, found.headers["Retry-After"]) == (status, "2")
    assert json.loads(found.body) == {"error": "why", "error_type": tei}
    told = json.loads(error_response("/v1/embeddings", status, "why").body)
    assert told == {"error": {"message": "why", "type": openai, "param": None, "code": None}}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("embed", b"", 400, "the body is not JSON in UTF-8: it is empty"),
        ("embed", b'{"inputs": "a"', 400, "the body is not JSON in UTF-8: EOF"),
        ("embed", b'{"inputs": "\xff"}', 400, "not JSON in UTF-8: invalid unicode"),
        ("embed", '{"inputs": "a"}'.encode("utf-16"), 400, "not JSON in UTF-8"),
        ("embed", b'{"inputs": "\\ud800"}', 400, "not JSON in UTF-8"),
        ("embed", b"[" * 10_000, 400, "recursion limit"),
        ("embed", b"[1]", 422, "the body is a list of 1, the first of which is the number 1, expected an object"),
        ("embed", b"{}", 422, "inputs is missing"),
        ("embed", b'{"inputs": 3}', 422, "inputs: expected a text, a list of texts, or token ids"),
        ("embed", b'{"inputs": ["a", null]}', 422, "got a list with null at index 1 after a text"),
        ("embed", b'{"inputs": [1, 99999999999999999999999]}', 422, "token ids (0 to 2147483647)"),
        ("embed", b'{"inputs": "a", "dimensions": 1e400}', 422, "dimensions: expected a whole number"),
        ("embed", b'{"inputs": "a", "dimensions": 9' + b"9" * 99 + b"}", 422, "expected at most 2147483647"),
        ("embed", b'{"inputs": "a", "normalize": 1}', 422, "normalize: expected true or false, got the number 1"),
        ("embed", b'{"inputs": "a", "model": "none"}', 404, "there is no bundle"),
        ("fill-mask", b'{"texts": "no mask"}', 422, "no [MASK] in"),
        ("fill-mask", b'{"texts": "[MASK]", "top_k": 0}', 422, "top_k: expected at least 1, got the number 0"),
        ("fill-mask", b'{"texts": "[MASK]", "topk": 1}', 422, "topk is not a field, expected model, texts, top_k"),
        ("next-sentence", b'{"pairs": ["a"]}', 422, "pairs: expected a pair of texts"),
        ("next-sentence", b'{"pairs": []}', 400, "there is no text"),
        ("classify", b'{"texts": "a", "classifier": "b"}', 422, "has no classifier"),
        ("classify", b'{"texts": [["a", "b"]], "pair": "c"}', 422, "a text is a pair already"),
        ("tag", b'{"texts": "a", "aggregation": "best"}', 422, "aggregation 'best' is not known"),
        ("answer", b'{"question": "a"}', 422, "the texts are not one pair"),
        ("answer", b'{"pairs": ["a", "b"], "texts": "c"}', 422, "pairs and other texts are both given"),
        ("answer", b'{"question": " ", "context": "a"}', 422, "the question is empty"),
        ("tag", b'{"texts": "a", "model": "words"}', 424, "words has none, only fill-mask, next-sentence, embed"),
        ("classify", b'{"texts": "a", "model": "several"}', 422, "has several classifiers (name one: place, mood)"),
        ("tag", b'{"texts": "a", "stride": 33}', 422, "stride is 33, expected at most 32"),
        ("fill-mask", b'{"texts": "[MASK]", "top_k": 101}', 422, "top_k is 101, expected at most 100"),
        ("", b'{"inputs": "[MASK]", "parameters": {"top_k": 1001}}', 422, "parameters.top_k: expected at most 1000"),
        ("", b'{"inputs": "[MASK]", "parameters": {"top_k": 101}}', 422, "top_k is 101, expected at most 100"),
        ("", b'{"inputs": "%s", "parameters": {"targets": []}}' % (b"[MASK]" * 9), 422, "for at most 8 masks"),
        ("no-such-route", b"{}", 404, "there is no such route: GET /docs lists all of them"),
    ],
)
def test_refused(url: str, path: str, body: bytes, status: int, words: str) -> None:
    got, error = ask(f"{url}/{path}", body)
    assert (got, set(error)) == (status, {"error", "error_type"})
    assert words in error["error"]


def test_short_bodies_with_long_pairs(url: str) -> None:
    """One long text that is repeated for each of many short ones."""
    long, short = "a " * 5_000, ["a"] * 1_000
    for path, body in (
        ("rerank", {"query": long, "texts": short}),
        ("classify", {"pair": long, "texts": short}),
        ("answer", {"context": long, "texts": short}),
    ):
        status, error = ask(f"{url}/{path}", body)
        assert (status, "the texts of all pairs have 100" in error["error"]) == (413, True)
    status, error = ask(f"{url}/tokenize", {"inputs": "a " * 200_001})
    assert (status, "more than 200000 tokens" in error["error"]) == (422, True)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
)
def test_other_kinds_of_bodies(url: str, kind: str) -> None:
    status, error = ask(f"{url}/embed", b'{"inputs": "a"}', Content_Type=kind)
    assert (status, "Content-Type: application/json" in error["error"]) == (415, True)
    assert ask(f"{url}/embed", b'{"inputs": "a"}', Content_Type="application/json; charset=UTF-8")[0] == 200
    assert ask(f"{url}/embed", b'{"inputs": "a"}', Content_Encoding="gzip")[0] == 415


def test_wrong_methods(url: str) -> None:
    status, error = ask(f"{url}/embed")
    assert (status, error["error"]) == (405, "this route does not take GET, but POST")
    assert ask(f"{url}/info", b"{}")[0] == 405
    status, error = ask(f"{url}/v1/embeddings", method="DELETE")
    assert (status, set(error["error"])) == (405, {"message", "type", "param", "code"})
