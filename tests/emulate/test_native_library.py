"""The native engine's library for emulated machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertedge.emulate.native_library import NATIVE, link_package, native_library
from bertedge.engines.native.build import RECORD
from bertedge.errors import UnfitMachineError

LIBRARY = "libbertedge.so"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a library for x86."""
    folder = tmp_path / "bertedge"
    (folder / NATIVE).mkdir(parents=True)
    for name in ("__init__.py", "engines/__init__.py", NATIVE / "library.py"):
        (folder / name).touch()
    (folder / NATIVE / LIBRARY).write_text("for x86")
    (folder / NATIVE / RECORD).write_text(json.dumps({"machine": "x86_64"}))
    return folder


def test_this_machines_library_is_used_where_it_fits(package: Path) -> None:
    assert native_library(package, "x86_64") == package / NATIVE


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_without_a_compiler_there_is_none(package: Path, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / NATIVE / LIBRARY).unlink()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnfitMachineError, match=f"not built for {arch}: {arch}-linux-gnu-g\\+\\+ not found"):
        native_library(package, arch)


def test_a_package_of_links_has_the_other_library(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / LIBRARY).write_text("for ARM")
    link_package(package, tmp_path / "links", other)
    assert (tmp_path / "links" / NATIVE / LIBRARY).read_text() == "for ARM"
    assert not (tmp_path / "links" / NATIVE / RECORD).exists()
    assert {path.relative_to(tmp_path / "links") for path in (tmp_path / "links").rglob("*.py")} == {
        path.relative_to(package) for path in package.rglob("*.py")
    }
    assert (package / NATIVE / LIBRARY).read_text() == "for x86"


def test_a_package_of_links_may_have_no_library(package: Path, tmp_path: Path) -> None:
    link_package(package, tmp_path / "links", None)
    assert [path.name for path in (tmp_path / "links" / NATIVE).iterdir()] == ["library.py"]
