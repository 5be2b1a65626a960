"""The page about running a server: its application, its commands, its limits and its metrics are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
from bertedge.serve import ServeSettings
from tests.serve.asking import ask
from tests.test_docs import CLI, ROOT, commands, snippets

PAGE = ROOT / "docs" / "serving.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The application of the page."""
    from tests.serve.running import running

    folder = tmp_path_factory.mktemp("page")
    (folder / "small.int8").symlink_to(folders["words"])
    (code,) = snippets(PAGE, "python")
    made: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(code, made)
    with running(made["app"]) as url:
        yield url


def test_commands_run(address: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    typed = [words for code in snippets(PAGE, "sh") for words in commands(code) if words[0] == "curl"]
    assert len(typed) == 2
    for words in typed:
        line = shlex.join(words).replace("http://localhost:8080", address)
        done = subprocess.run([*shlex.split(line), "--silent", "--fail"], capture_output=True, check=True)
        assert done.stdout


def test_every_metric_is_on_the_page(address: str) -> None:
    assert ask(f"{address}/embed", {"inputs": "a cat"})[0] == 200
    kinds = re.findall(r"^# TYPE (bertedge_\w+) ", ask(f"{address}/metrics")[1], re.MULTILINE)
    there = {name for name in kinds if not name.endswith("_created")}
    listed = set(re.findall(r"`(bertedge_\w+)`", TEXT))
    assert there == listed
    asked = {
        name.removesuffix("_bucket") for code in snippets(PAGE, "promql") for name in re.findall(r"bertedge_\w+", code)
    }
    assert asked <= there


def test_limits_are_those_of_the_code() -> None:
    listed = re.findall(r"^\| `--([\w-]+)` \| (\d+) \|", TEXT, re.MULTILINE)
    settings = ServeSettings(bundles=("a",))
    options = {option: parameter for parameter in CLI.commands["serve"].params for option in parameter.opts}
    assert len(listed) == 5
    for option, value in listed:
        name = option.replace("-", "_").replace("timeout", "timeout_s")
        assert getattr(settings, name) == options[f"--{option}"].default == float(value), option


def test_the_line_of_the_log_has_the_fields_of_the_log() -> None:
    (line,) = (json.loads(code) for code in snippets(PAGE, "json"))
    assert list(line) == ["time", "route", "status", "ms", "texts", "tokens", "id"]
