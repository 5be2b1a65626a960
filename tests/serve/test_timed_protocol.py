"""Connections on which no request begins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
from bertedge.serve import ServeSettings, lifecycle, timed_protocol
from bertedge.serve.service import Service
from tests.serve.held_server import HeldServer, received, request, status


@pytest.fixture
def server(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldServer]:
    """A server as the command starts it, with little patience for headers."""
    monkeypatch.setattr(timed_protocol, "HEADERS_S", 0.3)
    settings = ServeSettings(bundles=(folders["words"],), threads=1, check=False, log_requests=False)
    service = Service(settings)
    with lifecycle.listening("127.0.0.1", 0) as bound:
        url = lifecycle.url_of(bound)
        made = lifecycle.Server(settings, service)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [bound]})
        thread.start()
        yield HeldServer(url, service, None)  # type: ignore[arg-type]
        made.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def test_headers_that_do_not_come(server: HeldServer) -> None:
    with server.connected() as silent, server.connected() as halting, server.connected() as returning:
        halting.sendall(request("a cat")[:30])
        returning.sendall(request("a cat", close=False) + request("a cat")[:30])
        assert status(returning.recv(65536)) == 200
        assert received(silent) == received(halting) == b""
        received(returning)


def test_a_request_may_take_longer_than_its_headers(server: HeldServer) -> None:
    with server.connected() as first, server.connected() as silent:
        sent = request("a cat", close=False)
        first.sendall(sent[:-4])
        assert received(silent) == b"", "as long as headers may take"
        first.sendall(sent[-4:])
        assert status(first.recv(65536)) == 200
    with server.connected() as idle, server.connected() as silent:
        idle.sendall(sent)
        assert status(idle.recv(65536)) == 200
        received(silent)
        idle.sendall(request("a ship"))
        assert status(received(idle)) == 200, "between requests there is more time"


def test_a_server_with_too_much_to_do_refuses_at_once(server: HeldServer) -> None:
    service = server.service
    with server.connected() as kept, server.connected() as closing:
        service.running = service.settings.max_requests
        kept.sendall(request("a cat", close=False)[:-3])  # the answer does not wait for the body
        answer = kept.recv(65536)
        assert status(answer) == 429
        head = answer.lower()
        assert b"retry-after: 1\r\n" in head
        assert b"x-request-id: " in head
        assert b"overloaded" in head
        kept.sendall(request("a cat", close=False)[-3:])
        closing.sendall(request("a cat"))
        refused = received(closing)
        assert status(refused) == 429
        assert b"connection: close\r\n" in refused.lower()
        service.running = 0
        kept.sendall(request("a cat", close=False))
        assert status(kept.recv(65536)) == 200
    assert server.metrics()['requests_total{route="/embed",status="429"}'] == 2
