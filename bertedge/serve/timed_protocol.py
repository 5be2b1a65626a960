"""HTTP connections whose requests must begin. uvicorn's own limit of time starts after the first answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

#: Seconds in which the headers of a request must arrive: from the start of a connection, or from their first byte.
HEADERS_S = 10.0


class TimedProtocol(HttpToolsProtocol):
    """Ends a connection whose headers do not arrive, so that such connections do not take the place of others."""

    #: Gives the answer to a request that is refused at once; None for one that the application gets.
    refuse: ClassVar[Callable[[Any], Response | None]] = staticmethod(lambda scope: None)
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has come."""
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._headers_are_there()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request is there."""
        super().on_message_begin()
        self._wait_for_headers()

    def on_headers_complete(self) -> None:
        """Its headers are there; the body has a limit of its own."""
        self._headers_are_there()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """uvicorn calls this when the headers of a request are there; older versions do not, and refuse later."""
        response = type(self).refuse(cycle.scope)
        if response is None:
            super()._start_asgi_task(cycle, app)
            return
        cycle.response_started = cycle.response_complete = True  # so its body is ignored
        headers = [*cycle.default_headers, *response.raw_headers]
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", bytes(response.body)]))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _wait_for_headers(self) -> None:
        self._headers_are_there()
        self._due = self.loop.call_later(HEADERS_S, self.timeout_keep_alive_handler)

    def _headers_are_there(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
