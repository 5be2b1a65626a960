"""The examples of the page about the API, against a running server."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_docs import ROOT, commands, snippets

PAGE = ROOT / "docs" / "serving-api.md"
ADDRESS = "http://localhost:8080"


@pytest.fixture(scope="module")
def address(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of one bundle, with the name that the page uses."""
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
    from bertedge.serve.asgi_app import create_app
    from bertedge.serve.serve_settings import ServeSettings
    from tests.serve.running import running

    folder = tmp_path_factory.mktemp("named") / "small.int8"
    folder.symlink_to(folders["words"])
    with running(create_app(ServeSettings(bundles=(folder,), threads=1, log_requests=False))) as url:
        yield url


def test_python_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    for code in snippets(PAGE, "python"):
        assert ADDRESS in code
        exec(code.replace(ADDRESS, address), {})
    vectors, shape, similarities, word = capsys.readouterr().out.splitlines()
    assert vectors.startswith("2 16 ")
    assert (shape, len(json.loads(similarities)), bool(word)) == ("(1, 32)", 2, True)


def test_commands_run(address: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    typed = [words for code in snippets(PAGE, "sh") for words in commands(code)]
    assert len(typed) == 3
    for words in typed:
        line = shlex.join(words).replace(ADDRESS, address)
        done = subprocess.run([*shlex.split(line), "--silent", "--fail"], capture_output=True, check=True)
        assert json.loads(done.stdout)
