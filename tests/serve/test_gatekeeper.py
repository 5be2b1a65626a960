"""Requests that are let in, and those that are refused: too many, too large, too slow, without a key, or gone."""

from __future__ import annotations

import json
import re
import select
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
from tests.serve.asking import ask
from tests.serve.held_engine import until
from tests.serve.held_server import HeldServer, held_server, received, request, status

KEY = "a-key"
SECRET = "secretword"


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def server(patch: pytest.MonkeyPatch, folders: dict[str, Path]) -> Iterator[HeldServer]:
    limits = {"max_requests": 2, "max_texts": 3, "max_body_bytes": 1000}
    with held_server(patch, folders["words"], **limits) as made:
        yield made


@pytest.fixture(scope="module")
def locked(patch: pytest.MonkeyPatch, folders: dict[str, Path]) -> Iterator[HeldServer]:
    """A server with a key."""
    with held_server(patch, folders["words"], api_key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(patch: pytest.MonkeyPatch, folders: dict[str, Path]) -> Iterator[HeldServer]:
    """A server whose requests have half a second."""
    with held_server(patch, folders["words"], timeout_s=0.5) as made:
        yield made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.fixture(autouse=True)
def opened_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves no closed gate."""
    yield
    for name in {"server", "locked", "hasty"} & set(request.fixturenames):
        request.getfixturevalue(name).engine.gate.set()


def close_gate(server: HeldServer) -> None:
    while server.engine.entered.acquire(blocking=False):
        pass
    server.engine.gate.clear()


@pytest.mark.parametrize("given", [None, "Bearer b-key", "Bearer", f"Basic {KEY}", "Bearer ä", f"Bearer {KEY}x"])
def test_without_the_key_nobody_gets_in(locked: HeldServer, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    for path, body in (("embed", {"inputs": "a"}), ("info", None), ("metrics", None)):
        got, error = ask(f"{locked.url}/{path}", body, **headers)
        assert (got, error["error"]) == (
            401,
            "the API key is missing or wrong: send the header Authorization: Bearer KEY",
        )
    assert ask(f"{locked.url}/health", **headers) == (200, {"status": "ready", "bundles": ["words"]})


def test_with_the_key(locked: HeldServer) -> None:
    assert ask(f"{locked.url}/embed", {"inputs": "a"}, Authorization=f"Bearer {KEY}")[0] == 200
    assert ask(f"{locked.url}/info", Authorization=f"Bearer {KEY}")[0] == 200
    assert b"www-authenticate: Bearer" in locked.raw(request("a"))


def test_every_request_has_an_id(server: HeldServer) -> None:
    def id_of(*headers: str) -> str:
        return re.findall(rb"x-request-id: (\S+)\r\n", server.raw(request("a", *headers)))[0].decode()

    assert id_of("X-Request-Id: my.id:7") == "my.id:7"
    for strange in ("", "X-Request-Id: a b", "X-Request-Id: " + "a" * 129):
        assert re.fullmatch("[0-9a-f]{32}", id_of(strange) if strange else id_of())


def test_too_many_requests_are_refused_before_their_bodies(server: HeldServer, pool: ThreadPoolExecutor) -> None:
    close_gate(server)
    two = [pool.submit(server.embed, text) for text in ("a cat", "a ship")]
    until(lambda: server.metrics()["requests_running"] == 2)
    headers = request("a third").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    refused = server.raw(headers)
    assert (status(refused), json.loads(refused.partition(b"\r\n\r\n")[2])["error_type"]) == (429, "Overloaded")
    (seconds,) = re.findall(rb"retry-after: (\d+)\r\n", refused)
    assert 1 <= int(seconds) <= 60
    server.engine.gate.set()
    assert [answer.result(60)[0] for answer in two] == [200, 200]
    assert server.embed("a third")[0] == 200
    assert server.metrics()["requests_running"] == 0


def test_large_bodies(server: HeldServer) -> None:
    told = b"the body is larger than 1000 bytes"
    declared = server.raw(request("a", length=1001).partition(b"{")[0])
    assert (status(declared), told in declared) == (413, True)
    head = b"POST /embed HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    streamed = server.raw(head + (b"1f4\r\n" + b" " * 500 + b"\r\n") * 3)
    assert (status(streamed), told in streamed) == (413, True)
    assert ask(f"{server.url}/embed", b'{"inputs": "a"}'.ljust(1000))[0] == 200
    assert ask(f"{server.url}/embed", {"inputs": ["a"] * 3})[0] == 200
    assert (
        ask(f"{server.url}/embed", {"inputs": ["a"] * 4})[1]["error"] == "the request has 4 texts, expected at most 3"
    )


def test_bodies_that_arrive_slowly_take_little_memory(server: HeldServer) -> None:
    """No more than that of the 16 largest, however many clients send at once."""
    unfinished = request("", length=1000).partition(b"{")[0] + b" " * 990
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(server.connected()) for _ in range(17)]
        for client in clients:
            client.sendall(unfinished)
        refused, _, _ = select.select(clients, [], [], 60)
        assert [status(received(client)) for client in refused] == [429]
    until(lambda: server.embed("a cat")[0] == 200)


def test_a_body_that_does_not_come(hasty: HeldServer) -> None:
    with hasty.connected() as connection:
        connection.sendall(request("a cat")[:-3])
        answer = received(connection)
    assert (status(answer), b"did not arrive in time" in answer) == (408, True)


def test_an_answer_that_takes_too_long(hasty: HeldServer, pool: ThreadPoolExecutor) -> None:
    close_gate(hasty)
    hasty.engine.batches.clear()
    running = pool.submit(hasty.embed, "a cat")
    hasty.engine.came()
    waiting = pool.submit(hasty.embed, "on the mat")
    assert [answer.result(60) for answer in (running, waiting)] == [
        (504, {"error": "the request took too long", "error_type": "Backend"})
    ] * 2
    assert hasty.metrics()['queue_tokens{bundle="words"}'] == 0
    hasty.engine.gate.set()
    until(lambda: hasty.embed("the port")[0] == 200)
    assert len(hasty.engine.ran[0]) == 4
    assert not [row for row in hasty.engine.ran if len(row) == 5], "rows of a request that was given up do not run"


def test_a_client_that_leaves_frees_the_queue(server: HeldServer, pool: ThreadPoolExecutor) -> None:
    before = server.metrics().get('requests_total{route="/embed",status="499"}', 0)
    close_gate(server)
    server.engine.batches.clear()
    running = pool.submit(server.embed, "a cat")
    server.engine.came()
    with server.connected() as leaving:
        leaving.sendall(request("on the mat"))
        until(lambda: server.metrics()['queue_tokens{bundle="words"}'] == 5)
    until(lambda: server.metrics()['requests_total{route="/embed",status="499"}'] == before + 1)
    assert server.metrics()['queue_tokens{bundle="words"}'] == 0
    with server.connected() as unfinished:
        unfinished.sendall(request("at dawn")[:-3])
    until(lambda: server.metrics()['requests_total{route="/embed",status="499"}'] == before + 2)
    server.engine.gate.set()
    assert running.result(60)[0] == 200
    assert [len(row) for row in server.engine.ran] == [4]
    until(lambda: server.metrics()["requests_running"] == 0)


def test_metrics_add_up(server: HeldServer) -> None:
    def new() -> dict[str, float]:
        now = server.metrics()
        return {name: value - before.get(name, 0) for name, value in now.items()}

    before = server.metrics()
    server.engine.batches.clear()
    assert server.embed("a cat")[0] == 200
    assert ask(f"{server.url}/embed", {"inputs": ["a", "a ship"]})[0] == 200
    assert ask(f"{server.url}/embed", b"no")[0] == 400
    found = new()
    assert found['requests_total{route="/embed",status="200"}'] == 2
    assert found['requests_total{route="/embed",status="400"}'] == 1
    assert found['request_seconds_count{route="/embed"}'] == 3
    assert found['texts_total{route="/embed"}'] == 3
    assert found['rows_total{bundle="words"}'] == len(server.engine.ran) == 3
    assert found['tokens_total{bundle="words"}'] == sum(map(len, server.engine.ran))
    assert found['batch_tokens_count{bundle="words"}'] == len(server.engine.batches)
    assert found['batch_tokens_sum{bundle="words"}'] == found['tokens_total{bundle="words"}']


def test_logs_hold_no_text(server: HeldServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even those of errors, whose messages may quote a text."""
    (broken,) = server.service.models.served["words"].runtime.tokenizer.bare.encode("dawn").ids
    server.engine.broken = broken
    got, error = ask(f"{server.url}/embed", {"inputs": f"dawn {SECRET}"}, X_Request_Id="failed")
    server.engine.broken = None
    assert (got, error["error"]) == (500, "the server failed; its log tells more under the id failed")
    assert ask(f"{server.url}/fill-mask", {"texts": SECRET}, X_Request_Id="refused")[0] == 422
    assert ask(f"{server.url}/embed?a={SECRET}", {"inputs": SECRET}, X_Request_Id="good")[0] == 200
    assert ask(f"{server.url}/{SECRET}", {"inputs": SECRET}, X_Request_Id="lost")[0] == 404
    assert ask(f"{server.url}/embed", SECRET.encode(), X_Request_Id="bad")[0] == 400
    log = ""

    def last_line() -> bool:
        nonlocal log
        log += capsys.readouterr().err
        return '"bad"' in log

    until(last_line)
    assert SECRET not in log
    lines = {(line["id"], line.get("event")): line for line in map(json.loads, log.splitlines())}
    assert lines["failed", "error"]["error"] == "ValueError"
    good = lines["good", None]
    assert (good["route"], good["status"], good["texts"]) == ("/embed", 200, 1)
    assert good["tokens"] > 2
    assert [lines[name, None]["status"] for name in ("failed", "refused", "lost", "bad")] == [500, 422, 404, 400]


def test_other_methods(server: HeldServer) -> None:
    asked = urllib.request.Request(f"{server.url}/health", method="HEAD")
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert (answer.status, answer.read()) == (200, b"")
    for method in ("HEAD", "OPTIONS", "TRACE", "PATCH"):
        answer = server.raw(f"{method} /embed HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
        assert (status(answer), b"allow: POST" in answer) == (405, True), method
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13"
    answer = server.raw(f"GET /embed HTTP/1.0\r\nHost: here\r\n{upgrade}\r\n\r\n".encode())
    assert status(answer) in (403, 405)


def test_old_and_unusual_clients(server: HeldServer) -> None:
    plain = server.raw(request("a cat"))
    vectors = plain.partition(b"\r\n\r\n")[2]
    old = server.raw(request("a cat", close=False).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert old.endswith(vectors)
    pipelined = server.raw(request("a cat", close=False) * 3 + request("a cat"))
    assert pipelined.count(vectors) == 4
    assert status(server.raw(request("a cat", length=5))) == 400  # cut, and its rest is no request
    assert status(server.raw(request("a cat", "Content-Length: 4"))) == 400
    assert status(server.raw(request("a cat", length=-1))) == 400
    head, _, body = request("a cat", "Expect: 100-continue").partition(b"\r\n\r\n")
    with server.connected() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert received(connection).endswith(vectors)
