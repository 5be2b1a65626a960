"""What ``/metrics`` tells, in the form of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bertedge.errors import TruncationWarning, UnknownTextWarning
from bertedge.serve.batching import Watcher

#: Seconds. A small model answers in under a millisecond, a large one that is busy in seconds.
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
#: Warning -> its label in the metrics.
COUNTED: dict[type[Warning], str] = {TruncationWarning: "truncated", UnknownTextWarning: "unknown_words"}


class ServerMetrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("bertedge_requests", "Requests that ended.", ["route", "status"], **made)
        self._seconds = Histogram(
            "bertedge_request_seconds", "Time from a request to its answer.", ["route"], buckets=SECONDS, **made
        )
        self._texts = Counter("bertedge_texts", "Texts of requests that were answered.", ["route"], **made)
        self._tokens = Counter("bertedge_tokens", "Tokens that ran.", ["bundle"], **made)
        self._busy = Counter("bertedge_busy_seconds", "Time in which the bundle ran.", ["bundle"], **made)
        self._batches = Histogram("bertedge_batch_tokens", "Tokens of a batch.", ["bundle"], buckets=TOKENS, **made)
        self._rows = Counter("bertedge_rows", "Texts that ran; a long one may run as several.", ["bundle"], **made)
        self._queue = Gauge("bertedge_queue_tokens", "Tokens that wait.", ["bundle"], **made)
        self._running = Gauge("bertedge_requests_running", "Requests that are worked on.", **made)
        self._reloads = Counter("bertedge_reloads", "Bundles that were loaded again.", ["bundle", "result"], **made)
        self._warnings = Counter("bertedge_warnings", "Requests with a warning, by its kind.", ["kind"], **made)
        # labels() checks its arguments at each call
        self._request = cache(self._requests.labels)
        self._second = cache(self._seconds.labels)
        self._text = cache(self._texts.labels)
        for kind in COUNTED.values():
            self._warnings.labels(kind)

    def request(self, route: str, status: int, seconds: float, texts: int) -> None:
        """Count a request that has ended."""
        self._request(route, str(status)).inc()
        self._second(route).observe(seconds)
        if texts and status == 200:
            self._text(route).inc(texts)

    def reload(self, bundle: str, *, failed: bool) -> None:
        """Count a bundle that was loaded again, or could not be."""
        self._reloads.labels(bundle, "failed" if failed else "loaded").inc()

    def watcher(self, bundle: str) -> Watcher:
        """What is told about a bundle's batches."""
        all_tokens, busy = self._tokens.labels(bundle), self._busy.labels(bundle)
        batches, all_rows = self._batches.labels(bundle), self._rows.labels(bundle)

        def watch(rows: int, tokens: int, seconds: float) -> None:
            all_tokens.inc(tokens)
            all_rows.inc(rows)
            busy.inc(seconds)
            batches.observe(tokens)

        return watch

    def show_queue(self, bundle: str, waiting: Callable[[], float]) -> None:
        """Ask for the tokens that wait whenever metrics are read."""
        self._queue.labels(bundle).set_function(waiting)

    def show_running(self, running: Callable[[], float]) -> None:
        """Ask for the requests that are worked on whenever metrics are read."""
        self._running.set_function(running)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)

    def warning(self, kind: type[Warning]) -> None:
        """Count a warning about a text."""
        self._warnings.labels(COUNTED[kind]).inc()
