"""Errors as the clients of each path expect them: in OpenAI's form below ``/v1/``, or as text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

#: Paths below it have errors in OpenAI's form.
OPENAI = "/v1/"
#: Status -> ``error_type`` of text-embeddings-inference.
TEI_TYPES = {424: "Backend", 429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Backend"}
#: Status -> ``type`` of OpenAI.
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_response(
    path: str,
    status: int,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    field: str | None = None,
    error_type: str | None = None,
) -> Response:
    """An error as JSON.

    Args:
        path: of the request.
        message: what is wrong, in plain words.
        field: the field of the body that is wrong.
        error_type: of text-embeddings-inference; default: that of the status.
    """
    if path.startswith(OPENAI):
        status = 400 if status == 422 else status  # OpenAI has no 422
        body = _openai(status, message, field)
    else:
        body = {"error": message, "error_type": error_type or TEI_TYPES.get(status, "Validation")}
    return Response(orjson.dumps(body), status_code=status, media_type="application/json", headers=headers)


def _openai(status: int, message: str, field: str | None) -> dict[str, Any]:
    kind = OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "model_not_found" if status == 404 and field == "model" else None
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}
