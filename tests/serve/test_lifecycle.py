"""The command: what stops it from starting, its signals, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
from bertedge.cli.app import run
from bertedge.errors import BertEdgeError, UsageError
from bertedge.serve import ServeSettings, lifecycle
from bertedge.serve.service import Service
from tests.serve.asking import ask
from tests.serve.held_engine import until
from tests.serve.held_server import HeldServer, received, request, status
from tests.test_bundle import edit_manifest

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


class Started:
    """A server in a process of its own."""

    def __init__(self, *arguments: object, program: Sequence[str] = ("-m", "bertedge")) -> None:
        command = [sys.executable, *program, "serve", *map(str, arguments)]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--threads", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict[str, Any]] = []
        ready = self.line("ready")
        self.server = HeldServer(ready["url"], None, None)  # type: ignore[arg-type]

    def line(self, event: str) -> dict[str, Any]:
        """Read the log up to a line about an event."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.lines.append(json.loads(text))
            if self.lines[-1].get("event") == event:
                return self.lines[-1]
        raise AssertionError(f"the log ended before {event}: {self.lines}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def rest(self) -> list[dict[str, Any]]:
        """All lines, once the process has ended."""
        assert self.process.stderr is not None
        self.lines += map(json.loads, self.process.stderr)
        self.process.wait(60)
        return self.lines


def refusal(*arguments: object) -> tuple[int, str]:
    """Run the command, which must not start: its exit code, and what is wrong."""
    written = io.StringIO()
    with (
        contextlib.redirect_stdout(written),
        contextlib.redirect_stderr(written),
        pytest.raises(BertEdgeError) as caught,
    ):
        run(["serve", *map(str, arguments)])
    assert caught.value.hint
    return caught.value.exit_code, caught.value.message


@contextlib.contextmanager
def started(*arguments: object, program: Sequence[str] = ("-m", "bertedge")) -> Iterator[Started]:
    made = Started(*arguments, program=program)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def refuses(port: tuple[str, int]) -> bool:
    try:
        socket.create_connection(port, timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


#: Runs the command, and writes down each connection that Python opens; the first one is its own.
CONNECTIONS = """
import socket, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        with open(NOTED, "a") as file:
            print(arguments[1], file=file)
sys.addaudithook(note)
socket.socket().connect_ex(("127.0.0.1", 1))
from bertedge.__main__ import main
main()
"""


@needs_signals
def test_the_server_calls_nobody(folders: dict[str, Path], tmp_path: Path) -> None:
    """Parts of OpenTelemetry come with FastAPI."""
    noted = tmp_path / "noted"
    program = f"NOTED = {str(noted)!r}\n{CONNECTIONS}"
    with started(folders["words"], program=("-c", program)) as made:
        assert made.server.embed("a cat")[0] == 200
        assert ask(f"{made.server.url}/v1/none", {})[0] == 404
        made.signal(signal.SIGHUP)
        made.line("bundle reloaded")
        made.signal(signal.SIGTERM)
        made.rest()
    assert noted.read_text() == "('127.0.0.1', 1)\n"


@needs_signals
def test_a_process_and_its_signals(folders: dict[str, Path], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(folders["words"], tmp_path / "one"))
    with started(bundle, folders["tags"]) as made:
        server = made.server
        got, before = server.embed("a cat")
        assert got == 200
        made.signal(signal.SIGHUP)
        assert [made.line("bundle reloaded")["bundle"] for _ in range(2)] == ["one", "tags"]
        (bundle / "manifest.json").unlink()
        made.signal(signal.SIGHUP)
        failed = made.line("reload failed, the old bundle stays")
        assert (failed["bundle"], bool(failed["error"]), bool(failed["hint"])) == ("one", True, True)
        assert server.embed("a cat") == (200, before)

        with server.connected() as unfinished, server.connected() as idle:
            sent = request("a cat", close=False)
            unfinished.sendall(sent[:-4])
            idle.sendall(sent)
            assert status(idle.recv(65536)) == 200
            made.signal(signal.SIGTERM)
            assert made.line("stopping")["signal"] == "SIGTERM"
            until(lambda: refuses(server.address))
            made.signal(signal.SIGTERM)  # a second one changes nothing
            unfinished.sendall(sent[-4:])
            answer = received(unfinished)
            assert (status(answer), json.loads(answer.partition(b"\r\n\r\n")[2])) == (200, before)
            received(idle)
        lines = made.rest()
    assert made.process.returncode == 0
    assert sum(line.get("status") == 200 for line in lines) == 4
    assert not [line for line in lines if line.get("event") == "error"]


@needs_signals
def test_the_time_to_finish_is_over(folders: dict[str, Path]) -> None:
    """A signal that comes right after the first line is heard; a request without an end gets an answer."""
    with started(folders["words"], "--grace", "0") as made, made.server.connected() as unfinished:
        unfinished.sendall(request("a cat")[:-4])
        until(lambda: made.server.metrics()["requests_running"] == 0)
        made.signal(signal.SIGTERM)
        answer = received(unfinished)
        assert (status(answer), b"the server stops" in answer) == (503, True)
        made.rest()
    assert made.process.returncode == 0


@needs_signals
def test_reloads_in_a_hurry_run_once(folders: dict[str, Path]) -> None:
    settings = ServeSettings(bundles=(folders["words"],), threads=1, check=False)
    service = Service(settings)
    server = lifecycle.Server(settings, service)
    loading = threading.Event()

    async def hurry() -> None:
        service._reloader.submit(loading.wait, 60)  # a reload that takes long
        server.reload()
        await asyncio.sleep(0)
        for _ in range(10):
            server.reload()
        loading.set()
        assert server._reloading is not None
        await server._reloading

    asyncio.run(hurry())
    told = service.metrics.text().decode()
    service.close()
    assert 'bertedge_reloads_total{bundle="words",result="loaded"} 2.0' in told


@needs_signals
def test_a_reload_during_the_start_is_ignored(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(service: Service) -> None:
        signal.raise_signal(signal.SIGHUP)
        raise UsageError("loaded no further", "this is a test")

    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
    monkeypatch.setattr(Service, "load", load)
    try:
        assert refusal(folders["words"], "--port", 0) == (2, "loaded no further")
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(heard) == 1, "only the one after the command"


def test_bundles_that_cannot_be_used(folders: dict[str, Path], tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(folders["words"], tmp_path / name))

    incomplete, altered, newer = copy("incomplete"), copy("altered"), copy("newer")
    (incomplete / "plan.json").unlink()
    with (altered / "model.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"other")
    edit_manifest(newer, schema_version=99)
    for bundle, words in (
        (incomplete, "plan.json is missing"),
        (altered, "model.onnx"),
        (newer, "schema 99 is newer"),
        (tmp_path / "nowhere", "nowhere"),
    ):
        code, error = refusal(bundle, "--port", 0)
        assert (code, words in error) == (3, True), error
    again = Path(shutil.copytree(folders["words"], tmp_path / "again" / "words"))
    assert refusal(folders["words"], again, "--port", 0) == (2, "two bundles have the name words")


def test_addresses_that_cannot_be_used(folders: dict[str, Path]) -> None:
    bundle = folders["words"]
    with lifecycle.listening("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert refusal(bundle, "--port", port) == (3, f"port {port} is in use on 127.0.0.1")
    code, error = refusal(bundle, "--host", "not an address", "--port", 0)
    assert (code, "not an address: is no address" in error) == (2, True)


def test_keys_that_cannot_be_used(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "key"
    for content, code in ((b"", 2), (b"two words", 2), ("schlüssel".encode(), 2), (b"\xff", 3), (None, 3)):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        got, error = refusal(folders["words"], "--port", 0, "--api-key-file", file)
        assert (got, error.startswith(f"{file}: ")) == (code, True), content


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends such connections")
def test_a_client_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its answer would stay in memory, and the server could not stop."""
    monkeypatch.setattr(lifecycle, "UNREAD_S", 0.2)
    with lifecycle.listening("127.0.0.1", 0) as bound, socket.create_connection(bound.getsockname()):
        server, _ = bound.accept()
        with server, pytest.raises(TimeoutError, match="timed out") as caught:
            while True:
                server.sendall(bytes(100_000))
    assert caught.value.errno is not None
