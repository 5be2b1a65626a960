"""Bundles that are replaced while requests run."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
from bertedge.runtime import BertRuntime
from bertedge.serve.refusals import Refused
from tests.serve.asking import ask
from tests.serve.held_engine import until
from tests.serve.held_server import HeldServer, held_server, request


@pytest.fixture
def bundle(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A bundle that a test may change."""
    return Path(shutil.copytree(folders["words"], tmp_path / "one"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> Iterator[HeldServer]:
    with held_server(monkeypatch, bundle) as made:
        yield made


def replaced(bundle: Path, new: Path) -> None:
    shutil.rmtree(bundle)
    shutil.copytree(new, bundle)


def threads_of_batches() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches of")]


def reload(server: HeldServer) -> Any:
    return asyncio.run(server.service.reload())


def test_a_changed_bundle_answers(server: HeldServer, bundle: Path, models: dict[str, BertRuntime]) -> None:
    def vector() -> Any:
        return np.array(server.embed("a cat")[1], dtype=np.float32)

    for name in ("words", "tags"):
        replaced(bundle, models[name].bundle.folder)
        assert reload(server) == {"one": None}
        assert np.array_equal(vector(), models[name].encode(["a cat"], normalize=True))
    assert "tag" in ask(f"{server.url}/info")[1]["bundles"][0]["verbs"]
    assert server.metrics()['reloads_total{bundle="one",result="loaded"}'] == 2


def test_a_broken_bundle_changes_nothing(server: HeldServer, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = server.embed("a cat")
    (bundle / "model.onnx").write_bytes(b"")
    (error,) = reload(server).values()
    assert error.hint
    assert server.embed("a cat") == expected
    shutil.rmtree(bundle)
    reload(server)
    assert server.embed("a cat") == expected
    assert server.metrics()['reloads_total{bundle="one",result="failed"}'] == 2
    log = ""

    def told() -> bool:
        nonlocal log
        log += capsys.readouterr().err
        return log.count("reload failed, the old bundle stays") == 2

    until(told)


def test_the_old_bundle_ends_after_its_last_request(server: HeldServer) -> None:
    others = len(threads_of_batches()) - 1
    server.engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        while server.engine.entered.acquire(blocking=False):
            pass
        running = pool.submit(server.embed, "a cat")
        server.engine.came()
        reload(server)
        assert len(threads_of_batches()) == others + 2
        assert server.embed("a cat")[0] == 200, "new requests go to the new one"
        server.engine.gate.set()
        assert running.result(60)[0] == 200
    until(lambda: len(threads_of_batches()) == others + 1)


def test_no_request_is_lost_while_bundles_are_replaced(server: HeldServer) -> None:
    expected = server.embed("a cat")
    others = len(threads_of_batches()) - 1
    done = threading.Event()

    def ask_until_done(_: int) -> list[Any]:
        answers = []
        while not done.is_set():
            answers.append(server.embed("a cat"))
        return answers

    with ThreadPoolExecutor(4) as pool:
        asking = pool.map(ask_until_done, range(4))
        try:
            for _ in range(5):
                assert reload(server) == {"one": None}
        finally:
            done.set()
        answers = [answer for own in asking for answer in own]
    assert len(answers) > 4
    assert all(answer == expected for answer in answers)
    found = server.metrics()
    assert found['requests_total{route="/embed",status="200"}'] == len(answers) + 1
    assert found["requests_running"] == 0
    until(lambda: len(threads_of_batches()) == others + 1)


def test_errors_do_not_keep_the_old_bundle(server: HeldServer) -> None:
    """In memory, until Python looks for cycles."""
    old = weakref.ref(server.service.models.served["one"])
    gc.collect()
    gc.disable()
    try:
        assert ask(f"{server.url}/fill-mask", {"texts": "no mask"})[0] == 422
        server.engine.gate.clear()
        with server.connected() as leaving:
            leaving.sendall(request("a cat"))
            until(lambda: server.metrics()["requests_running"] == 1)
        until(lambda: server.metrics()["requests_running"] == 0)
        server.engine.gate.set()
        reload(server)
        until(lambda: old() is None)
    finally:
        gc.enable()


def test_a_service_that_was_closed_refuses(server: HeldServer) -> None:
    """A request on a connection that is still open."""
    served = server.service.pick("one")
    server.service.close()
    server.service.draining = True
    status, error = server.embed("a cat")
    assert (status, error["error"]) == (503, "the server stops")
    assert not served.enter()


def test_rows_that_come_after_the_end_are_refused(server: HeldServer) -> None:
    runtime = server.service.pick("one").runtime
    server.service.close()
    with pytest.raises(Refused, match="the bundle was closed"):
        runtime.encode("a cat")
