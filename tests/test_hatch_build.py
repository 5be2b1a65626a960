"""Wheels: with the native engine for one platform, without it for any."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def hook() -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("system", "machine", "tag"),
    [
        ("linux-x86_64", "x86_64", "linux_x86_64"),
        ("linux-x86_64", "aarch64", "linux_aarch64"),  # a cross-compiler
        ("macosx-10.9-universal2", "aarch64", "macosx_11_0_arm64"),
        ("macosx-14.0-arm64", "aarch64", "macosx_14_0_arm64"),
        ("macosx-10.9-universal2", "x86_64", "macosx_10_9_x86_64"),
    ],
)
def test_the_platform_is_that_of_the_library(
    system: str, machine: str, tag: str, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_platform", lambda: system)
    assert hook.platform_tag(machine) == tag


def test_a_wheel_without_the_library_is_for_any_platform_and_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"BERTEDGE_NATIVE": "0"}, check=True
    )
    assert "native engine: not built: BERTEDGE_NATIVE=0 was set" in done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        native = {name.rpartition("native/")[2] for name in archive.namelist() if "engines/native/" in name}
        record = json.loads(archive.read("bertedge/engines/native/build.json"))
    assert record["library"] is None
    assert not {name for name in native if name.startswith(("src/", "libbertedge"))}
