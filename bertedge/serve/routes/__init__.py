"""The routes of the server: of OpenAI, of text-embeddings-inference, of huggingface_hub, and one for each command."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bertedge.serve.routes import hub_tasks, openai_routes, tei_routes
from bertedge.serve.routes.docs_page import docs_page
from bertedge.serve.routes.endpoints import JSON, endpoint_of, to_json
from bertedge.serve.routes.error_responses import error_response
from bertedge.serve.routes.info_routes import GETS
from bertedge.serve.routes.openapi_document import document
from bertedge.serve.routes.route import Route
from bertedge.serve.routes.verb_routes import verb_routes

_NAMED = (*openai_routes.ROUTES, *tei_routes.ROUTES, *hub_tasks.ROUTES)


def all_routes() -> tuple[Route, ...]:
    """Every route that takes a body."""
    return (*_NAMED, *verb_routes({route.path for route in _NAMED}))


def add_routes(app: FastAPI) -> None:
    """Add all routes to an application that has a ``Service`` as its state.

    They are plain routes of Starlette: FastAPI would parse bodies and check answers in Python, number by number.
    """
    routes = all_routes()
    for route in routes:
        app.router.add_route(route.path, endpoint_of(route), methods=["POST"], include_in_schema=False)
    for path, (function, _, _) in GETS.items():
        # a bundle of a hub has a name with a slash in it
        app.router.add_route(path.replace("{name}", "{name:path}"), function, methods=["GET"], include_in_schema=False)
    app.openapi = partial(document, app, routes)  # type: ignore[method-assign]
    app.router.add_route("/openapi.json", _openapi, methods=["GET"], include_in_schema=False)
    app.router.add_route("/docs", docs_page, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _unrouted)


async def _unrouted(request: Request, error: Exception) -> Response:
    """The answer to a path that there is not, or to a method that its path does not take."""
    assert isinstance(error, HTTPException)
    path, headers = request.url.path, error.headers
    message = error.detail
    if error.status_code == 404:
        message = "there is no such route: GET /docs lists all of them"
    elif error.status_code == 405:
        message = f"this route does not take {request.method}, but {(headers or {}).get('Allow', 'another method')}"
    return error_response(path, error.status_code, message, headers=headers)


async def _openapi(request: Request) -> Response:
    """The document anew at each request: bundles may have been reloaded."""
    return Response(to_json(request.app.openapi()), media_type=JSON)


__all__ = ["add_routes", "all_routes"]
