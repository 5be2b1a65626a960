"""The routes of the server."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from bertedge.errors import UsageError
from bertedge.runtime import BertRuntime
from bertedge.serve.routes.error_responses import error_response
from bertedge.serve.service import Service


def add_routes(app: FastAPI) -> None:
    """Add all routes to an application whose state has a ``service``."""
    app.router.add_route("/embed", _embed, methods=["POST"], include_in_schema=False)


async def _embed(request: Request) -> Response:
    """Vectors of texts."""
    service: Service = request.app.state.service
    try:
        body: dict[str, Any] = orjson.loads(await request.body())
        texts = [body["inputs"]] if isinstance(body["inputs"], str) else list(body["inputs"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return error_response("/embed", 422, 'the body is not {"inputs": [text, ...]}')

    def work(model: BertRuntime) -> bytes:
        return orjson.dumps(model.encode(texts), option=orjson.OPT_SERIALIZE_NUMPY)

    served = service.pick(body.get("model"), lambda model: "embed" in model.verbs)
    try:
        answered = await service.answer(request, served, work, len(texts))
    except UsageError as error:
        return error_response("/embed", 422, error.message)
    return Response(answered.value, media_type="application/json")
