"""A small system for an emulated machine: Python for its architecture, and the runtime's wheels.

<cache>/emulated/<arch>/
  lock.json   what was fetched, and the hash of every file
  root/       Debian's packages, unpacked: usr/bin/python3.X, libc, ...
  site/       wheels, unpacked: numpy, onnxruntime, tokenizers, ...
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bertedge.data.cache import user_cache
from bertedge.errors import FileError, UnfitMachineError
from bertedge.files import sha256
from bertedge.records import from_json, read_json

SCHEMA_VERSION = 1
LOCK = "lock.json"
ROOT, SITE = "root", "site"
SETUP = "bertedge emulator-setup"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A package: the name and hash of its file."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """``lock.json``.

    Attributes:
        python: version of the interpreter, such as ``3.11``.
        packages: what was fetched.
        files: path below the folder -> hash of a file, or ``-> target`` of a link.
    """

    schema_version: int
    arch: str
    python: str
    packages: tuple[Fetched, ...]
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class EmulatedSystem:
    """A system whose files match its lock."""

    folder: Path
    lock: Lock

    @property
    def root(self) -> Path:
        """The folder that the emulated machine sees as ``/``."""
        return self.folder / ROOT

    @property
    def site(self) -> Path:
        """The folder of Python packages."""
        return self.folder / SITE

    @property
    def python(self) -> str:
        """The interpreter, below :attr:`root`."""
        return f"usr/bin/python{self.lock.python}"


def default_folder(arch: str) -> Path:
    """Where the system of an architecture is kept."""
    return user_cache() / "emulated" / arch


def open_system(folder: Path, arch: str) -> EmulatedSystem:
    """Read a system and compare every file with its lock.

    Raises:
        UnfitMachineError: it was not fetched, or is for another architecture.
        FileError: it was altered.
    """
    fetch = f"{SETUP} --arch {arch}"
    if not (folder / LOCK).is_file():
        raise UnfitMachineError(f"{folder}: there is no system for emulated {arch}", f"fetch it once with: {fetch}")
    again = f"fetch it again with: {fetch} --force"
    lock = from_json(Lock, read_json(folder / LOCK), LOCK)
    if lock.schema_version != SCHEMA_VERSION or lock.arch != arch:
        raise UnfitMachineError(
            f"{folder}: is a system for {lock.arch} of schema {lock.schema_version}, "
            f"expected {arch} of schema {SCHEMA_VERSION}",
            again,
        )
    differences = _differences(lock.files, hashed_files(folder))
    if differences:
        more = f" and {len(differences) - 3} files more" if len(differences) > 3 else ""
        raise FileError(f"{folder}: {', '.join(differences[:3])}{more}", again)
    return EmulatedSystem(folder=folder, lock=lock)


def hashed_files(folder: Path) -> dict[str, str]:
    """The value of :attr:`Lock.files` for the files that are in a folder now."""
    found = {}
    for place, names, files in os.walk(folder):
        links = [name for name in names if os.path.islink(os.path.join(place, name))]
        for name in (*files, *links):
            path = Path(place, name)
            if path != folder / LOCK:
                found[str(path.relative_to(folder))] = f"-> {path.readlink()}" if path.is_symlink() else sha256(path)
    return found


def _differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    kinds = {"is missing": expected.keys() - found.keys(), "is not in the lock": found.keys() - expected.keys()}
    kinds["was altered"] = {name for name in expected.keys() & found.keys() if expected[name] != found[name]}
    return [f"{name} {kind}" for kind, names in kinds.items() for name in sorted(names)]
