"""OpenAI's own client, against a running server."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from bertedge.runtime import BertRuntime

openai = pytest.importorskip("openai")
TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn.", ""]


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_vectors(client: Any, models: dict[str, BertRuntime], options: dict[str, str]) -> None:
    words = models["words"]
    found = client.embeddings.create(model="words", input=TEXTS, user="u", **options)
    vectors = [one.embedding for one in found.data]
    if options.get("encoding_format") == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), dtype="<f4") for vector in vectors]
    np.testing.assert_array_equal(np.array(vectors, dtype=np.float32), words.encode(TEXTS))
    assert [one.index for one in found.data] == [0, 1, 2]
    tokens = sum(len(encoding.input_ids) for encoding in words.tokenizer.encode_many(TEXTS))
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (tokens, tokens)
    assert (found.model, found.object) == ("words", "list")


def test_one_text_and_token_ids(client: Any, models: dict[str, BertRuntime]) -> None:
    words = models["words"]
    ids = [encoding.input_ids for encoding in words.tokenizer.encode_many(TEXTS)]
    expected = words.encode(TEXTS, dimensions=5)
    for given, rows in ((TEXTS[0], slice(1)), (ids[0], slice(1)), (ids, slice(3))):
        found = client.embeddings.create(model="words", input=given, dimensions=5)
        np.testing.assert_array_equal(np.array([one.embedding for one in found.data], np.float32), expected[rows])


def test_models(client: Any, models: dict[str, BertRuntime]) -> None:
    assert [one.id for one in client.models.list()] == list(models)
    assert client.models.retrieve("tags").id == "tags"
    with pytest.raises(openai.NotFoundError, match="there is no bundle"):
        client.models.retrieve("gpt")
    with pytest.raises(openai.NotFoundError, match="there is no bundle"):
        client.models.retrieve("owner/name")


def test_errors_are_those_that_the_client_knows(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    for wrong, words in (
        ({"input": []}, "there is no text"),
        ({"input": "a", "dimensions": 33}, "dimensions is 33, but vectors have 32 numbers"),
        ({"input": "a", "dimensions": 0}, "dimensions: expected at least 1"),
        ({"input": [[1, 10**6]]}, "out of range"),
        ({"input": ["a", 3]}, "expected a text, a list of texts, or token ids"),
        ({"input": [list(range(65))]}, "has 65 token ids, expected 1 to 64"),
    ):
        with pytest.raises(openai.BadRequestError, match=words) as refused:
            client.embeddings.create(model="words", **wrong)
        assert refused.value.type == "invalid_request_error"
