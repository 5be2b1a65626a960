"""A line of JSON on stderr for each request and for what happens to the server. No line holds a text."""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import orjson

#: Lines that wait for a slow terminal or pipe, at most. Later ones are lost, and the next line tells how many.
MOST_LINES = 10_000
#: Seconds in which lines gather, so that one write is enough for many.
GATHER_S = 0.05


class RequestLog:
    """Writes lines from a thread of its own, so that a slow reader of stderr does not slow down the server."""

    def __init__(self, *, requests: bool) -> None:
        self._requests = requests
        self._lines: list[bytes] = []
        self._lost = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to write. A process that is forked after this does not write."""
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def request(self, **facts: Any) -> None:
        """Tell about a request that has ended, if requests are logged."""
        if self._requests:
            self._add(facts)

    def event(self, event: str, **facts: Any) -> None:
        """Tell what happened to the server."""
        self._add({"event": event, **facts})

    def close(self) -> None:
        """Write what is there."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _add(self, facts: dict[str, Any]) -> None:
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        line = orjson.dumps({"time": now, **facts}, default=str, option=orjson.OPT_APPEND_NEWLINE)
        with self._changed:  # a handler of a signal may come here while its thread has the lock, which allows this
            if len(self._lines) >= MOST_LINES:
                self._lost += 1
                return
            self._lines.append(line)
            if len(self._lines) == 1:
                self._changed.notify()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closed)
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, GATHER_S)
                lines, self._lines = self._lines, []
                lost, self._lost = self._lost, 0
            if lost:
                lines.append(orjson.dumps({"event": "log lines lost", "lines": lost}) + b"\n")
            try:
                sys.stderr.write(b"".join(lines).decode())
                sys.stderr.flush()
            except (OSError, ValueError):  # closed: there is nobody to tell
                pass
            if self._closed and not self._lines:
                return
