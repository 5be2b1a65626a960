"""One request and its answer, as the parts of the server hand it on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
#: The key of the exchange in the scope of a request.
EXCHANGE = "bertedge.exchange"


class Exchange:
    """What is known about a request.

    Attributes:
        id: sent back as ``X-Request-Id``, and logged.
        texts, tokens: how many it has; 0 where this is not known.
        size: bytes of its body that have come.
        status: of the answer; 0 until it starts.
    """

    def __init__(self, id: str, receive: Receive, timeout_s: float) -> None:
        self.id, self._receive = id, receive
        self.start = time.monotonic()
        self._end = self.start + timeout_s
        self.texts = self.tokens = self.size = self.status = 0

    def seconds_left(self) -> float:
        """Until the time of the request is over."""
        return max(0.0, self._end - time.monotonic())

    async def left(self) -> None:
        """Wait until the client leaves. Call it after the whole body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
