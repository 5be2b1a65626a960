"""A sysroot: an unpacked Python of another architecture, with the runtime's real wheels, and the hash of every file.

<cache>/sysroots/<arch>/
  lock.json   what was fetched, and what every file must be
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
    """A package as it came: its file's name and hash."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """``lock.json``.

    Attributes:
        python: version of the interpreter, such as ``3.11``.
        packages: what was fetched.
        files: path below the sysroot -> hash of a file, or ``-> target`` of a link.
    """

    schema_version: int
    arch: str
    python: str
    packages: tuple[Fetched, ...]
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Sysroot:
    """A sysroot that is what its lock says."""

    folder: Path
    lock: Lock

    @property
    def root(self) -> Path:
        """The folder that stands for ``/``."""
        return self.folder / ROOT

    @property
    def site(self) -> Path:
        """The folder of Python packages."""
        return self.folder / SITE

    @property
    def python(self) -> str:
        """The interpreter, as seen from :attr:`root`."""
        return f"usr/bin/python{self.lock.python}"


def default_folder(arch: str) -> Path:
    """Where the sysroot of an architecture is kept."""
    return user_cache() / "sysroots" / arch


def open_sysroot(folder: Path, arch: str) -> Sysroot:
    """Read a sysroot and compare every file with its lock.

    Raises:
        UnfitMachineError: it was not set up, or not for this architecture.
        FileError: it was altered.
    """
    setup = f"{SETUP} --arch {arch}"
    if not (folder / LOCK).is_file():
        raise UnfitMachineError(f"{folder}: there is no sysroot for {arch}", f"fetch it once with: {setup}")
    again = f"{setup} --force"
    lock = from_json(Lock, read_json(folder / LOCK), LOCK)
    if lock.schema_version != SCHEMA_VERSION or lock.arch != arch:
        raise UnfitMachineError(
            f"{folder}: is a sysroot for {lock.arch} of schema {lock.schema_version}, "
            f"expected {arch} of schema {SCHEMA_VERSION}",
            f"fetch it again with: {again}",
        )
    differences = _differences(lock.files, hashed_files(folder))
    if differences:
        more = f" and {len(differences) - 3} files more" if len(differences) > 3 else ""
        raise FileError(f"{folder}: {', '.join(differences[:3])}{more}", f"fetch it again with: {again}")
    return Sysroot(folder=folder, lock=lock)


def hashed_files(folder: Path) -> dict[str, str]:
    """The value of :attr:`Lock.files` for what is in a folder now."""
    found = {}
    for place, names, files in os.walk(folder):
        links = [name for name in names if os.path.islink(os.path.join(place, name))]
        for name in (*files, *links):
            path = Path(place, name)
            if path != folder / LOCK:
                found[str(path.relative_to(folder))] = f"-> {path.readlink()}" if path.is_symlink() else sha256(path)
    return found


def _differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    kinds = {"is missing": expected.keys() - found.keys(), "does not belong there": found.keys() - expected.keys()}
    kinds["was altered"] = {name for name in expected.keys() & found.keys() if expected[name] != found[name]}
    return [f"{name} {kind}" for kind, names in kinds.items() for name in sorted(names)]
