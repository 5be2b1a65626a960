"""Requests as programs send them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


def ask(url: str, body: Any = None, *, method: str | None = None, **headers: str) -> tuple[int, Any]:
    """Send a request; gives the status and the answer.

    Args:
        body: JSON, or bytes that are sent as they are; None for a GET request.
    """
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    named = {"Content-Type": "application/json"} if data is not None else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=data, headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, _read(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read(error.read())


def _read(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode()
