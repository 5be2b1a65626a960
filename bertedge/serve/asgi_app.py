"""The application, for any ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import bertedge
from bertedge.serve.gatekeeper import HEALTH, Gatekeeper
from bertedge.serve.routes import add_routes
from bertedge.serve.routes.error_responses import error_response
from bertedge.serve.serve_settings import ServeSettings
from bertedge.serve.service import Service


def create_app(settings: ServeSettings, service: Service | None = None) -> FastAPI:
    """Make the application. Bundles are loaded when the ASGI server starts it, in each of its processes.

    Args:
        service: bundles that were loaded already, of the same settings.
    """
    behind = service or Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(behind.load)
        try:
            yield
        finally:
            behind.draining = True
            await asyncio.to_thread(behind.close)

    app = FastAPI(
        title="bertedge",
        version=bertedge.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.service = behind
    app.router.add_route(HEALTH, _health, methods=["GET"], include_in_schema=False)
    app.router.add_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)
    add_routes(app)
    app.add_middleware(Gatekeeper, service=behind, refuse=refusal)
    return app


def refusal(path: str, status: int, message: str, headers: Mapping[str, str]) -> Response:
    """The answer to a request that is refused."""
    return error_response(path, status, message, headers=headers)


async def _health(request: Request) -> Response:
    """Whether the server can take requests."""
    service: Service = request.app.state.service
    ready = service.state == "ready"
    return JSONResponse({"status": service.state, "bundles": list(service.names)}, status_code=200 if ready else 503)


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
