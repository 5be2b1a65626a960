"""The document that describes the API, with examples that the loaded bundles answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from bertedge.runtime import BertRuntime
from bertedge.serve.routes.endpoints import JSON, to_json
from bertedge.serve.routes.info_routes import GETS
from bertedge.serve.routes.route import Route
from bertedge.serve.routes.verb_routes import REFERENCE
from bertedge.serve.schemas import read_body
from bertedge.serve.service import Service

DESCRIPTION = (
    "BERT-family encoders in int8 on CPUs. A request names its bundle in the field `model`, or in the address: "
    "`?model=NAME`. Without a name, the first bundle that can answer does."
)
#: Status -> what it means, on every route that runs a model.
ERRORS = {
    "400": "The body is not JSON in UTF-8, or has no texts.",
    "401": "The server needs an API key.",
    "404": "There is no bundle with this name.",
    "408": "The body did not arrive in time.",
    "413": "The body, or the number of texts in it, is too large.",
    "415": "The body does not say that it is JSON.",
    "422": "A field is missing or wrong, or a text cannot be used.",
    "424": "No bundle has what this route needs.",
    "429": "The server has as many texts in its queue as it takes. Retry-After says when to try again.",
    "503": "The server stops.",
    "504": "The answer took too long.",
}
#: The group of routes that are about the server itself.
SERVER = "The server"
TEI_ERROR = {
    "type": "object",
    "required": ["error", "error_type"],
    "properties": {"error": {"type": "string"}, "error_type": {"type": "string"}},
}
OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def _content(told: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": told, "content": {JSON: {"schema": schema}}}


_HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
#: Routes for those who operate the server: path -> what it gives, and its answers by status.
OPERATION: dict[str, tuple[str, dict[str, Any]]] = {
    "/health": (
        "Whether the server can take requests.",
        {"200": _content("It can.", _HEALTH), "503": _content("It loads bundles, or stops.", _HEALTH)},
    ),
    "/metrics": (
        "Counters for Prometheus.",
        {"200": {"description": "The counters.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    ),
}


def document(app: FastAPI, routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document; the routes are not FastAPI's, so it cannot write it."""
    bodies = {route.schema: None for route in routes}
    _, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=REFERENCE)
    components = schemas["$defs"] | {"Error": TEI_ERROR, "OpenAIError": OPENAI_ERROR}
    paths = {}
    for route in routes:
        answers = dict(route.answers)
        components |= answers.pop("$defs", {})
        paths[route.path] = {"post": _post(route, answers, app.state.service)}
    for path, (function, summary, answer) in GETS.items():
        paths[path] = {"get": _get(path, function.__name__, summary, _content("What is asked for.", answer))}
    for path, (summary, responses) in OPERATION.items():
        paths[path] = {"get": {"tags": [SERVER], "summary": summary, "operationId": f"get_{path[1:]}"}}
        paths[path]["get"]["responses"] = responses
    return {
        "openapi": "3.1.0",
        "info": {"title": "bertedge", "version": app.version, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
    }


def _get(path: str, name: str, summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    parameters, responses = [], {"200": answer}
    if "{name}" in path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
        responses["404"] = _content(ERRORS["404"], _error_of(path))
    about = {"tags": [SERVER], "summary": summary, "operationId": f"get_{name}"}
    return about | {"parameters": parameters, "responses": responses}


def _post(route: Route, answers: dict[str, Any], service: Service) -> dict[str, Any]:
    examples = _examples(route, service)
    body = {"schema": {"$ref": REFERENCE.format(model=route.schema.__name__)}, "examples": examples}
    errors = {status: _content(told, _error_of(route.path)) for status, told in ERRORS.items()}
    return {
        "tags": [route.tag],
        "summary": route.summary,
        "operationId": "post" + route.path.replace("/", "_").replace("-", "_"),
        "requestBody": {"required": True, "content": {JSON: body}},
        "responses": {"200": _content("The answer.", answers)} | errors,
    }


def _examples(route: Route, service: Service) -> dict[str, Any]:
    """For each bundle that can answer, a body that it answers."""
    found = {}
    for name in service.names:
        model = service.pick(name).runtime
        example = example_of(route, model)
        if example is not None:
            found[name] = {"summary": name, "value": {"model": name, **example}}
    return found


def example_of(route: Route, model: BertRuntime) -> dict[str, Any] | None:
    """A body that a model can answer; None if it can answer none of a route."""
    example = dict(route.example(model))
    body = read_body(route.schema, to_json(example))
    return example if any(task.fits(model) for task in route.tasks(body)) else None


def _error_of(path: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model="OpenAIError" if path.startswith("/v1/") else "Error")}
