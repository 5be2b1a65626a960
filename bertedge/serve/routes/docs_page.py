"""``GET /docs``: a page that lists the routes and sends their examples. It loads nothing from other servers."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

PAGE = "docs_page.html"


async def docs_page(request: Request) -> Response:
    """The page; its policy lets it run its own script and ask this server, and nothing else."""
    page, headers = _page()
    return Response(page, media_type="text/html", headers=headers)


@cache
def _page() -> tuple[str, dict[str, str]]:
    page = (files(__package__) / PAGE).read_text(encoding="utf-8")
    sources = {"connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode("ascii")
        sources[name] = f"'sha256-{digest}'"
    policy = "; ".join(["default-src 'none'", *(f"{name} {value}" for name, value in sources.items())])
    return page, {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
