"""Emulated systems: hashed, refused when altered, and fetched whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bertedge.emulate.emulated_machine import find_qemu
from bertedge.emulate.emulated_system import (
    LOCK,
    SCHEMA_VERSION,
    Fetched,
    Lock,
    default_folder,
    hashed_files,
    open_system,
)
from bertedge.emulate.setup import runtime_requirements, set_up
from bertedge.errors import FileError, UnfitMachineError, UsageError
from bertedge.records import write_json


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder with a few files and a true lock."""
    folder = tmp_path / "aarch64"
    (folder / "root/usr/bin").mkdir(parents=True)
    (folder / "root/usr/bin/python3.11").write_bytes(b"elf")
    (folder / "root/usr/bin/python3").symlink_to("python3.11")
    (folder / "root/lib").symlink_to("usr/lib")
    (folder / "site/numpy").mkdir(parents=True)
    (folder / "site/numpy/__init__.py").write_text("")
    lock = Lock(
        schema_version=SCHEMA_VERSION,
        arch="aarch64",
        python="3.11",
        packages=(Fetched(name="numpy.whl", sha256="00"),),
        files=hashed_files(folder),
    )
    write_json(folder / LOCK, lock)
    return folder


def test_a_system_that_is_as_its_lock_says_opens(system: Path) -> None:
    opened = open_system(system, "aarch64")
    assert opened.lock.files["root/usr/bin/python3"] == "-> python3.11"
    assert opened.lock.files["root/lib"] == "-> usr/lib"
    assert (opened.root / opened.python).is_file()


def _alter(folder: Path) -> None:
    (folder / "site/numpy/__init__.py").write_text("print('hello')")


def _add(folder: Path) -> None:
    (folder / "site/sitecustomize.py").write_text("")


def _remove(folder: Path) -> None:
    (folder / "root/usr/bin/python3.11").unlink()


def _relink(folder: Path) -> None:
    (folder / "root/lib").unlink()
    (folder / "root/lib").symlink_to("/lib")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_alter, "site/numpy/__init__.py was altered"),
        (_add, "site/sitecustomize.py is not in the lock"),
        (_remove, "root/usr/bin/python3.11 is missing"),
        (_relink, "root/lib was altered"),
    ],
)
def test_an_altered_system_is_refused(system: Path, change: Callable[[Path], None], message: str) -> None:
    change(system)
    with pytest.raises(FileError, match=message) as caught:
        open_system(system, "aarch64")
    assert "emulator-setup --arch aarch64 --force" in caught.value.hint


def test_a_lock_edited_by_hand_is_refused(system: Path) -> None:
    text = (system / LOCK).read_text()
    (system / LOCK).write_text(text.replace('"python"', '"pyhton"'))
    with pytest.raises(FileError, match="unknown key 'pyhton'"):
        open_system(system, "aarch64")


def test_another_architecture_is_refused(system: Path) -> None:
    with pytest.raises(UnfitMachineError, match="is a system for aarch64"):
        open_system(system, "x86_64")


def test_a_missing_system_names_the_command() -> None:
    with pytest.raises(UnfitMachineError, match="no system for emulated x86_64") as caught:
        open_system(default_folder("x86_64"), "x86_64")  # the tests' cache is empty
    assert caught.value.hint.endswith("bertedge emulator-setup --arch x86_64")


def test_missing_qemu_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnfitMachineError, match="qemu-aarch64-static or qemu-aarch64 not found") as caught:
        find_qemu("aarch64")
    assert "qemu-user-static" in caught.value.hint


def test_setup_names_missing_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnfitMachineError, match="apt-get and dpkg-deb not found"):
        set_up("aarch64", tmp_path / "root")


def test_setup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("no apt-get on this machine")
    sources = tmp_path / "sources.list"
    sources.write_text("")
    with pytest.raises(UnfitMachineError, match="apt-get failed: E: ") as caught:
        set_up("aarch64", tmp_path / "root", sources=sources)
    assert "--apt-sources" in caught.value.hint
    assert list(tmp_path.iterdir()) == [sources]


def test_setup_refuses_an_unknown_architecture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'riscv64' cannot be emulated"):
        set_up("riscv64", tmp_path / "root")


def test_the_wheels_are_those_of_a_plain_installation() -> None:
    names = {line.split(">")[0].split("=")[0] for line in runtime_requirements()}
    assert {"numpy", "onnxruntime", "tokenizers"} <= names
    assert not names & {"torch", "onnx", "safetensors"}
