"""The files of docs/deploy/: a container without root and without a shell, and a service that may do little."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from bertedge.cli.app import app
from bertedge.serve.serve_settings import ServeSettings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "docs" / "deploy"
CLI: Any = typer.main.get_command(app)
UNIT = DEPLOY / "bertedge.service"


def instructions() -> list[list[tuple[str, str]]]:
    """The instructions of the container file, for each stage: name and arguments."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    stages: list[list[tuple[str, str]]] = [[]]
    for line in filter(None, lines):
        name, _, rest = line.partition(" ")
        stages += [[]] if name == "FROM" else []
        stages[-1].append((name, rest.strip()))
    return stages


def unit() -> dict[str, list[str]]:
    """The settings of the unit: name -> values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_last_stage_has_no_compiler_no_root_and_no_shell() -> None:
    _, build, last = instructions()
    names = [name for name, _ in last]
    assert "RUN" not in names
    assert "apt-get install" not in " ".join(arguments for _, arguments in last)
    settings = dict(last)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", settings["USER"])
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert settings["STOPSIGNAL"] == "SIGTERM"
    assert build[0][1].startswith("${BASE} AS ")
    assert last[0][1] == "${BASE}"
    check = settings["HEALTHCHECK"].partition("CMD ")[2]
    for command in (settings["ENTRYPOINT"], settings["CMD"], check):
        assert all(isinstance(word, str) for word in json.loads(command))  # a list: without a shell
    compile(json.loads(check)[2], "health check", "exec")
    assert "/health" in check


def test_both_start_a_server_that_the_command_line_knows() -> None:
    last = dict(instructions()[2])
    container = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    service = shlex.split(unit()["ExecStart"][0])
    for program, command, *words in (container, service):
        assert (Path(program).name, command) == ("bertedge", "serve")
        with CLI.commands["serve"].make_context("serve", words) as context:
            assert context.params["port"] == 8080
    assert last["EXPOSE"] == "8080"
    (stop,), grace = unit()["TimeoutStopSec"], ServeSettings(bundles=("some",)).grace_s
    assert int(stop) > grace


def test_what_the_container_copies_is_there() -> None:
    copied = [arguments.split()[:-1] for name, arguments in instructions()[1] if name == "COPY"]
    assert copied
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists(), path


def test_the_base_has_a_version() -> None:
    base = dict(instructions()[0])["ARG"].partition("=")[2]
    assert re.search(r":3\.\d+-slim-\w+$", base)


def test_the_service_can_read_what_the_cpu_is() -> None:
    settings = unit()
    assert settings["DynamicUser"] == ["yes"]
    assert settings["ProtectSystem"] == ["strict"]
    assert "ProcSubset" not in settings  # it hides /proc/cpuinfo


def analyze(*arguments: Any) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """With a program that is there: systemd also checks that it can be run."""
    (program, *_) = shlex.split(unit()["ExecStart"][0])
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace(program, "/bin/true"), encoding="utf-8")
    done = analyze("verify", copy)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_may_do_little() -> None:
    version = re.search(r"systemd (\d+)", analyze("--version").stdout)
    if version is None or int(version[1]) < 250:
        pytest.skip("systemd is older than 250, which first reads a unit that is not installed")
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    exposure = re.search(r"exposure level for bertedge\.service: ([\d.]+)", done.stdout)
    assert exposure is not None
    assert f"gives it {exposure[1]} of 10" in page
