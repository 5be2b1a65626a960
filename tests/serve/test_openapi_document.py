"""The document that describes the API is right, and its examples work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bertedge.runtime import BertRuntime
from tests.serve.asking import ask


@pytest.fixture(scope="module")
def api(url: str) -> dict[str, Any]:
    status, found = ask(f"{url}/openapi.json")
    assert status == 200
    return found


def test_all_examples_work(url: str, api: dict[str, Any], models: dict[str, BertRuntime]) -> None:
    used = set()
    for path, methods in api["paths"].items():
        for own in methods.values():
            content = own.get("requestBody", {"content": {}})["content"]
            for body in content.values():
                for name, example in body["examples"].items():
                    status, answer = ask(url + path, example["value"])
                    assert status == 200, (path, example, answer)
                    used.add((path, name))
    verbs = {(f"/{verb}", name) for name, model in models.items() for verb in model.verbs}
    assert used >= verbs | {("/v1/embeddings", name) for name in models}


def test_gets_work(url: str, api: dict[str, Any]) -> None:
    gets = [path for path, methods in api["paths"].items() if "get" in methods]
    assert {"/health", "/info", "/metrics", "/v1/models", "/v1/models/{name}"} <= set(gets)
    for path in gets:
        assert ask(url + path.replace("{name}", "words"))[0] == 200, path


def test_references_lead_somewhere(api: dict[str, Any]) -> None:
    text = json.dumps(api)
    assert "$defs" not in text
    for part in text.split('"$ref": "')[1:]:
        target: Any = api
        for key in part.partition('"')[0].removeprefix("#/").split("/"):
            target = target[key]
        assert target


def test_bodies_say_what_their_fields_are(api: dict[str, Any]) -> None:
    schema = api["components"]["schemas"]["EmbeddingsBody"]
    assert schema["required"] == ["input"]
    assert schema["properties"]["encoding_format"]["enum"] == ["float", "base64"]
    assert api["components"]["schemas"]["FillMaskBody"]["additionalProperties"] is False
