"""Stands before the application: lets requests in, reads their bodies within limits, and tells about each of them."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

from starlette.responses import Response

from bertedge.serve.batching import client_gone
from bertedge.serve.exchange import EXCHANGE, Exchange, Message, Receive
from bertedge.serve.refusals import CLIENT_GONE, Refused, overloaded
from bertedge.serve.service import Service

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Makes the answer to a request that is refused: path, status, message, headers.
Refusal = Callable[[str, int, str, Mapping[str, str]], Response]

HEALTH = "/health"
#: The paths that need no key. The page of the API has a field for it, since a browser sends none by itself.
OPEN_TO_ALL = (HEALTH, "/docs")
#: Ids of requests that clients may choose.
GIVEN_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
#: Seconds in which the body of a request must arrive, even if the request may take longer.
BODY_S = 10.0
#: The bodies of all requests take as much memory as this many of the largest ones, at most.
MOST_BODIES = 16
#: Weight of the newest request in the measured duration.
NEWEST = 0.05


class Gatekeeper:
    """An ASGI middleware.

    A request that cannot be answered now is refused before its body is read, which costs little: a server with too many
    requests keeps its cores for those that it has accepted. Bodies are read here, so a slow client holds nothing but
    its connection.
    """

    def __init__(self, app: App, service: Service, refuse: Refusal) -> None:
        self._app, self._service, self._refuse = app, service, refuse
        self._settings = service.settings
        key = service.settings.api_key
        self._authorization = None if key is None else f"Bearer {key.strip()}".encode()
        self._held = 0
        self._paths: dict[Any, str] = {}
        service.metrics.show_running(lambda: service.running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(_id_of(headers), receive, self._settings.timeout_s)
        scope[EXCHANGE] = exchange

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", exchange.id.encode())]
            await send(message)

        try:
            await self._admit(scope, headers, exchange, receive, send_with_id)
        except Refused as error:
            await self._refused(scope, exchange, error, send_with_id)
        except asyncio.CancelledError:  # the time to finish is over
            await self._refused(scope, exchange, Refused(503, "the server stops"), send_with_id)
        except Exception as error:
            await self._failed(scope, exchange, error, send_with_id)
        finally:
            self._tell(scope, exchange)

    async def _admit(
        self, scope: Scope, headers: Mapping[bytes, bytes], exchange: Exchange, receive: Receive, send: Send
    ) -> None:
        """Check everything that can be checked without the body, read it, and call the application."""
        if self._authorization is not None and scope["path"] not in OPEN_TO_ALL:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._authorization):
                raise Refused(401, "the API key is missing or wrong: send the header Authorization: Bearer KEY")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if self._service.state == "loading":
            raise Refused(503, "the bundles are being loaded", 1)
        self._service.require_room()
        try:
            body = await self._body(headers, exchange, receive)
            self._service.require_room()  # others may have come while the body was read
            await self._work(scope, _again(body, receive), send)
        finally:
            self._held -= exchange.size

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and count the request meanwhile."""
        service = self._service
        service.running += 1
        start = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            service.running -= 1
            service.seconds += NEWEST * (time.monotonic() - start - service.seconds)

    async def _body(self, headers: Mapping[bytes, bytes], exchange: Exchange, receive: Receive) -> bytes:
        """Read the body.

        Raises:
            Refused: it is too large, does not arrive, or the client has left; or all bodies take too much memory.
        """
        most = self._settings.max_body_bytes
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        more = True
        while more:
            message = await self._next(exchange, receive)
            part, more = message.get("body", b""), message.get("more_body", False)
            parts.append(part)
            exchange.size += len(part)
            self._held += len(part)
            if exchange.size > most:
                raise _too_large(most)
            if self._held > MOST_BODIES * most:
                raise overloaded("too many long texts are being received", self._service.seconds)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self, exchange: Exchange, receive: Receive) -> Message:
        """The next part of the body."""
        left = min(exchange.seconds_left(), BODY_S - (time.monotonic() - exchange.start))
        try:
            async with asyncio.timeout(max(0.0, left)):
                message = await receive()
        except TimeoutError:
            raise Refused(408, "the body of the request did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise client_gone()
        return message

    async def _refused(self, scope: Scope, exchange: Exchange, error: Refused, send: Send) -> None:
        if exchange.status:  # too late to say it
            return
        if error.status == CLIENT_GONE:
            exchange.status = CLIENT_GONE
            return
        headers = error.headers
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if error.status in (408, 413):  # the rest of the body is not read
            headers["Connection"] = "close"
        await self._refuse(scope["path"], error.status, error.message, headers)(scope, _nothing, send)

    async def _failed(self, scope: Scope, exchange: Exchange, error: Exception, send: Send) -> None:
        """Tell about a mistake of the server: where it happened, but not its message, which may hold a text."""
        where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
        self._service.log.event("error", id=exchange.id, error=type(error).__name__, at=where)
        if exchange.status:
            return
        told = f"the server failed; its log tells more under the id {exchange.id}"
        await self._refuse(scope["path"], 500, told, {})(scope, _nothing, send)

    def _route_of(self, scope: Scope) -> str:
        """The path of the route, with the names of its parameters; clients choose the path itself."""
        if not self._paths:
            self._paths = {getattr(route, "endpoint", None): route.path for route in scope["app"].routes}
        path = scope["path"]  # of a request that was refused before its route was looked up
        return self._paths.get(scope.get("endpoint")) or (path if path in self._paths.values() else "other")

    def _tell(self, scope: Scope, exchange: Exchange) -> None:
        self._service.tell(
            self._route_of(scope),
            exchange.status or CLIENT_GONE,
            time.monotonic() - exchange.start,
            texts=exchange.texts,
            tokens=exchange.tokens,
            id=exchange.id,
        )


def _too_large(most: int) -> Refused:
    return Refused(413, f"the body is larger than {most} bytes: send fewer texts at once")


def _id_of(headers: Mapping[bytes, bytes]) -> str:
    """The id that the client gave its request, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, and then what comes after it."""
    unread = True

    async def give() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return give


class EarlyRefusal:
    """Refuses requests while too many are worked on, without the application: this costs a tenth.

    Otherwise a server that gets several times as many requests as it can answer would be busy with refusing them, and
    would refuse them late.
    """

    def __init__(self, service: Service, refuse: Refusal, paths: Collection[str]) -> None:
        self._service, self._refuse, self._paths = service, refuse, paths

    def __call__(self, scope: Scope) -> Response | None:
        """The refusal; None if there is room, or the request is none for a model."""
        if scope["method"] != "POST":
            return None
        try:
            self._service.require_room()
        except Refused as error:
            path, id = scope["path"], _id_of(dict(scope["headers"]))
            self._service.tell(path if path in self._paths else "other", error.status, 0.0, texts=0, tokens=0, id=id)
            return self._refuse(path, error.status, error.message, {**error.headers, "X-Request-Id": id})
        return None


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
