"""A real server of one small bundle, whose engine waits at a gate; and requests that are sent byte by byte."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bertedge.runtime import BertRuntime
from tests.serve.asking import ask
from tests.serve.held_engine import HeldEngine, held


class HeldServer(NamedTuple):
    url: str
    service: Any
    engine: HeldEngine

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def embed(self, text: str) -> tuple[int, Any]:
        return ask(f"{self.url}/embed", {"inputs": text})

    def metrics(self) -> dict[str, float]:
        lines = ask(f"{self.url}/metrics")[1].splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("bertedge_"): float(value) for name, value in pairs}

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with closing(socket.create_connection(self.address, timeout=60)) as connection:
            yield connection

    def raw(self, sent: bytes) -> bytes:
        """Everything that comes back until the server closes the connection."""
        with self.connected() as connection:
            connection.sendall(sent)
            return received(connection)


@contextmanager
def held_server(monkeypatch: pytest.MonkeyPatch, bundle: Path, **settings: Any) -> Iterator[HeldServer]:
    """Serve a bundle. The gate of its engine is open at first."""
    from bertedge.serve import served_models
    from bertedge.serve.asgi_app import create_app
    from bertedge.serve.serve_settings import ServeSettings
    from bertedge.serve.service import Service
    from tests.serve.running import running

    engines: list[HeldEngine] = []
    load = served_models.load

    def load_held(*arguments: Any, **options: Any) -> BertRuntime:
        model = load(*arguments, **options)
        runner, engine = held(model.runner)
        engine.gate.set()
        engines.append(engine)
        return model.with_runner(runner)

    monkeypatch.setattr(served_models, "load", load_held)
    made = ServeSettings(bundles=(bundle,), threads=1, check=False, **settings)
    service = Service(made)
    with running(create_app(made, service)) as url:
        try:
            yield HeldServer(url, service, engines[0])
        finally:
            engines[0].gate.set()


def request(text: str, *headers: str, close: bool = True, length: int | None = None) -> bytes:
    """The bytes of a request for a vector."""
    body = json.dumps({"inputs": text}).encode()
    lines = ["POST /embed HTTP/1.1", "Host: here", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}", *["Connection: close"] * close]
    return "\r\n".join([*lines, "", ""]).encode() + body


def received(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
