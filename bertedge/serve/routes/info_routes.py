"""What is served: ``GET /info``, and OpenAI's list of models."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import bertedge
from bertedge.heads import BY_VERB, HEADS
from bertedge.manifest import MANIFEST
from bertedge.pooling import pooling_of
from bertedge.records import to_json as plain
from bertedge.runtime import BertRuntime
from bertedge.serve.refusals import Refused
from bertedge.serve.routes.endpoints import JSON, to_json
from bertedge.serve.routes.error_responses import error_response
from bertedge.serve.routes.tei_routes import PREDICT, RERANK
from bertedge.serve.routes.text_lengths import longest
from bertedge.serve.service import Service

#: Settings of the service that clients may know.
LIMITS = ("max_texts", "max_body_bytes", "max_requests", "tokens_at_once", "queue_tokens", "timeout_s")


async def info(request: Request) -> Response:
    """What is served, and within which limits. The keys of text-embeddings-inference describe the first bundle."""
    service: Service = request.app.state.service
    models = {name: service.pick(name).runtime for name in service.names}
    limits = {name: getattr(service.settings, name) for name in LIMITS}
    first, runtime = next(iter(models.items()))
    told = {
        "model_id": first,
        "model_sha": runtime.bundle.model_sha256,
        "model_dtype": "int8" if runtime.bundle.manifest.recipe else "float32",
        "served_model_name": first,
        "model_type": model_type(runtime),
        "max_concurrent_requests": limits["max_requests"],
        "max_input_length": runtime.tokenizer.max_length,
        "max_batch_tokens": limits["tokens_at_once"],
        "max_client_batch_size": limits["max_texts"],
        "auto_truncate": True,
        "tokenization_workers": runtime.threads,
        "version": bertedge.__version__,
        "limits": limits,
        "versions": {"bertedge": bertedge.__version__, "python": platform.python_version()},
        "bundles": [described_bundle(name, model) for name, model in models.items()],
    }
    return Response(to_json(told), media_type=JSON)


def model_type(model: BertRuntime) -> dict[str, Any]:
    """What text-embeddings-inference says about a model: its labels, or how it makes vectors."""
    for verb, kind in ((RERANK, "reranker"), (PREDICT, "classifier")):
        if verb in model.verbs:
            own = getattr(model.head_settings, BY_VERB[verb].name)
            names = getattr(own, "layers", own).classifiers[0].labels
            labels = {str(place): label for place, label in enumerate(names)}
            return {kind: {"id2label": labels, "label2id": {label: place for place, label in enumerate(names)}}}
    return {"embedding": {"pooling": " + ".join(pooling_of(model.embedding))}}


def described_bundle(name: str, model: BertRuntime) -> dict[str, Any]:
    """A bundle, for people and for programs."""
    manifest = model.bundle.manifest
    heads = {head: plain(manifest.parts.settings_of(head)) for head in HEADS if manifest.parts.has(head)}
    return {
        "name": name,
        "model_sha256": model.bundle.model_sha256,
        "source": manifest.provenance.source,
        "heads": heads,
        "verbs": list(model.verbs),
        "dimension": model.dimension,
        "max_tokens": {verb: longest(model, verb) for verb in model.verbs},
        "engine": model.engine.name,
        "kernel": model.engine.describe(),
        "target": manifest.target,
        "threads": model.threads,
        "made_with": dict(manifest.provenance.versions),
    }


def model_entry(name: str, model: BertRuntime) -> dict[str, Any]:
    """A bundle in OpenAI's list of models."""
    made = int((model.bundle.folder / MANIFEST).stat().st_mtime)
    return {"id": name, "object": "model", "created": made, "owned_by": "bertedge"}


async def models(request: Request) -> Response:
    """All bundles, as OpenAI lists models."""
    service: Service = request.app.state.service
    data = [model_entry(name, service.pick(name).runtime) for name in service.names]
    return Response(to_json({"object": "list", "data": data}), media_type=JSON)


async def model(request: Request) -> Response:
    """One bundle."""
    service: Service = request.app.state.service
    name = request.path_params["name"]
    try:
        found = service.pick(name)
    except Refused as error:
        return error_response(request.url.path, error.status, error.message, field="model")
    return Response(to_json(model_entry(name, found.runtime)), media_type=JSON)


_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_ENTRY = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {"id": _TEXT, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT},
}
#: Path -> its function, what it gives, and the JSON schema of that.
GETS: Mapping[str, tuple[Any, str, dict[str, Any]]] = {
    "/info": (
        info,
        "What is served: bundles, their heads and labels, limits, engine, versions.",
        {
            "type": "object",
            "required": ["model_id", "limits", "versions", "bundles"],
            "properties": {"model_id": _TEXT, "bundles": {"type": "array", "items": {"type": "object"}}},
        },
    ),
    "/v1/models": (
        models,
        "The names of the bundles.",
        {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": _ENTRY}}},
    ),
    "/v1/models/{name}": (model, "One bundle.", _ENTRY),
}
