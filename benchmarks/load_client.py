"""Send requests to a server and measure its answers; one process on one core, for ``serve_load.py``.

    python benchmarks/load_client.py PORT --clients 64 --seconds 10 [--text FILE]
    python benchmarks/load_client.py PORT --rate 5000 --seconds 10 [--text FILE]

With ``--clients``, each client sends its next request when it has its answer. With ``--rate``, requests are sent at
random moments, so many a second, however long answers take; a request that waits for its turn here is late already.
Each request is one line of the text for ``/embed``. Prints JSON:

- sent: requests that were sent.
- statuses: status -> answers; status 0 is no answer.
- in_time: answers with the status 200 that came while requests were sent.
- seconds: the times of all answers with the status 200.
- elapsed: how many seconds requests were sent for.
- busy: the part of that time in which this process computed. Near 1, it measures itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

#: What is printed.
TOLD = ("sent", "statuses", "in_time", "seconds", "elapsed", "busy")
HOST = "127.0.0.1"
TEXT = Path(__file__).resolve().parents[1] / "calibration" / "en.txt"
SENTENCES = 2000
#: Connections with ``--rate``, at most.
MOST = 1000
#: Seconds of a wait for a connection that has its answer.
SHORT_S = 0.001
#: Seconds that answers may take after the last request.
REST_S = 30


class Connection(asyncio.Protocol):
    """A connection that has one request at a time.

    Args:
        answered: called with the connection, the status of an answer and its seconds; status 0 if there was none.
    """

    def __init__(self, answered: Callable[[Connection, int, float], None]) -> None:
        self._answered, self._data, self._length, self._since = answered, b"", -1, 0.0
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, request: bytes, since: float) -> None:
        """Send a request.

        Args:
            since: when it should have been sent.
        """
        self._since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._length < 0:
            head, found, _ = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._length = len(head) + 4 + int(length)
        if len(self._data) < self._length:
            return
        status, self._data, self._length = int(self._data[9:12]), self._data[self._length :], -1
        since, self._since = self._since, 0.0
        self._answered(self, status, time.perf_counter() - since)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._since:
            self._answered(self, 0, time.perf_counter() - self._since)

    def close(self) -> None:
        self._since = 0.0
        self._transport.close()


class Load:
    """What was sent, and what came back."""

    def __init__(self, port: int, lines: Sequence[str]) -> None:
        self._port, self.sent, self.statuses, self.seconds = port, 0, Counter[int](), list[float]()
        self.in_time, self.elapsed, self.busy = 0, 0.0, 0.0
        self._requests = [post("/embed", json.dumps({"inputs": line}).encode()) for line in lines]
        self._random = random.Random(0)
        self._connections: list[Connection] = []

    async def connected(self, answered: Callable[[Connection, int, float], None]) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(answered), HOST, self._port)
        self._connections.append(connection)
        return connection

    def ask(self, connection: Connection, since: float) -> None:
        self.sent += 1
        connection.ask(self._random.choice(self._requests), since)

    def count(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)

    async def finish(self, start: float, computed: float) -> None:
        """Note how it was until now, and wait for the answers that are missing.

        Args:
            start: when requests began.
            computed: seconds that this process had computed by then.
        """
        self.in_time, self.elapsed = len(self.seconds), time.perf_counter() - start
        self.busy = (time.process_time() - computed) / self.elapsed
        end = time.perf_counter() + REST_S
        while sum(self.statuses.values()) < self.sent and time.perf_counter() < end:
            await asyncio.sleep(0.05)
        for connection in self._connections:
            connection.close()

    async def closed(self, clients: int, seconds: float) -> None:
        """Clients that wait for their answers."""
        end = 0.0

        def answered(connection: Connection, status: int, took: float) -> None:
            self.count(status, took)
            now = time.perf_counter()
            if now < end and connection.open:
                self.ask(connection, now)

        connections = [await self.connected(answered) for _ in range(clients)]
        start, computed = time.perf_counter(), time.process_time()
        end = start + seconds
        for connection in connections:
            self.ask(connection, time.perf_counter())
        await asyncio.sleep(max(0.0, end - time.perf_counter()))
        await self.finish(start, computed)

    async def at_rate(self, rate: float, seconds: float) -> None:
        """Requests at random moments."""
        idle: deque[Connection] = deque()

        def answered(connection: Connection, status: int, took: float) -> None:
            self.count(status, took)
            if connection.open:
                idle.append(connection)

        idle.extend([await self.connected(answered) for _ in range(128)])
        start = due = time.perf_counter()
        computed = time.process_time()
        while (now := time.perf_counter()) < start + seconds:
            await asyncio.sleep(due - now if due > now else 0 if idle else SHORT_S)
            while due <= time.perf_counter() and idle:
                connection = idle.popleft()
                if connection.open:
                    self.ask(connection, due)
                    due += self._random.expovariate(rate)
            if not idle and sum(connection.open for connection in self._connections) < MOST:
                idle.append(await self.connected(answered))
        await self.finish(start, computed)


def sentences(text: Path) -> list[str]:
    """The first lines of a text."""
    return [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()][:SENTENCES]


def post(path: str, body: bytes) -> bytes:
    """The bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def main() -> None:
    """Send, and print what came back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--text", type=Path, default=TEXT)
    options = parser.parse_args()
    load = Load(options.port, sentences(options.text))
    work = (
        load.at_rate(options.rate, options.seconds) if options.rate else load.closed(options.clients, options.seconds)
    )
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)
    print(json.dumps({name: getattr(load, name) for name in TOLD}))


if __name__ == "__main__":
    main()
