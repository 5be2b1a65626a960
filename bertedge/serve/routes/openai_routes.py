"""Routes of OpenAI's API that a server of vectors has."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bertedge.runtime import BertRuntime
from bertedge.serve.routes.example_bodies import example_texts
from bertedge.serve.routes.route import Ran, Route, Task
from bertedge.serve.routes.vectors import VERB, vectors_of
from bertedge.serve.schemas import Body, Count, TextsOrIds, texts_or_ids


class EmbeddingsBody(Body):
    """A request for vectors. ``user`` is ignored."""

    input: TextsOrIds = Field(description="Texts, or token ids as the bundle's own tokenizer gives them.")
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="base64: the bytes of little-endian 32-bit floats."
    )
    dimensions: Count | None = Field(default=None, description="How many of a vector's first numbers are kept.")


def _data(model: BertRuntime, body: EmbeddingsBody) -> list[dict[str, Any]]:
    vectors = vectors_of(model, body.input, dimensions=body.dimensions)
    encoded = map(_base64, vectors) if body.encoding_format == "base64" else vectors
    return [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(encoded)]


def _finished(data: Any, ran: Ran) -> dict[str, Any]:
    usage = {"prompt_tokens": ran.tokens, "total_tokens": ran.tokens}
    return {"object": "list", "data": data, "model": ran.bundle, "usage": usage}


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")


_NUMBER, _TOKENS = {"type": "number"}, {"type": "integer", "minimum": 0}
_VECTOR = {
    "type": "object",
    "required": ["object", "index", "embedding"],
    "properties": {
        "object": {"const": "embedding"},
        "index": _TOKENS,
        "embedding": {"oneOf": [{"type": "array", "items": _NUMBER}, {"type": "string"}]},
    },
}
ROUTES = (
    Route(
        path="/v1/embeddings",
        tag="OpenAI",
        summary="Vectors of texts.",
        schema=EmbeddingsBody,
        tasks=lambda body: (Task(verb=VERB, answer=_data, finish=_finished),),
        items=lambda body: texts_or_ids(body.input),
        example=lambda model: {"input": example_texts(model, VERB)},
        answers={
            "type": "object",
            "required": ["object", "data", "model", "usage"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _VECTOR},
                "model": {"type": "string"},
                "usage": {
                    "type": "object",
                    "required": ["prompt_tokens", "total_tokens"],
                    "properties": {"prompt_tokens": _TOKENS, "total_tokens": _TOKENS},
                },
            },
        },
    ),
)
