"""Fetch a system for emulated machines: Debian's Python by ``apt-get``, the runtime's wheels by ``pip``.

``apt-get`` works in a temporary folder with this machine's sources and keys: it checks signatures, needs no root, and
does not change this machine's packages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bertedge.archives import open_archive
from bertedge.emulate.cpus import ARCHITECTURES, Architecture
from bertedge.emulate.emulated_system import LOCK, ROOT, SCHEMA_VERSION, SITE, Fetched, Lock, hashed_files
from bertedge.errors import UnfitMachineError, UsageError, nearest
from bertedge.files import new_folder, sha256
from bertedge.progress import Listener, no_progress
from bertedge.records import write_json

#: Debian's packages to fetch; apt adds the libraries that they depend on.
DEBIAN_PACKAGES = ("python3", "libstdc++6")
#: Parts of Debian's packages that no program reads.
UNUSED = ("usr/share", "var", "etc")
#: Wheels name the oldest glibc that they run with; Debian 12 has 2.36.
GLIBC_MINORS = range(17, 37)
#: Largest size of an unpacked wheel, in bytes; onnxruntime's has 50 MB.
MOST_UNPACKED = 2**31
#: Folders of the root that distributions moved below ``usr``.
MERGED = ("bin", "lib", "lib64", "sbin")


def set_up(
    arch: str,
    folder: Path,
    *,
    sources: Path | None = None,
    force: bool = False,
    listen: Listener = no_progress,
) -> Lock:
    """Fetch and unpack a system. If that fails, no folder is left.

    Args:
        sources: a file with apt sources, used instead of this machine's.
        force: replace an existing one.

    Raises:
        UsageError: unknown architecture.
        UnfitMachineError: a tool is missing or could not fetch.
        FileError: it exists already, or cannot be written.
    """
    if arch not in ARCHITECTURES:
        raise UsageError(f"architecture {arch!r} cannot be emulated", nearest(arch, ARCHITECTURES))
    require_tools()
    with new_folder(folder, force=force, marker=LOCK) as scratch:
        listen(0.0, "fetching Python")
        debs = _fetch_debs(ARCHITECTURES[arch], scratch / "apt", sources)
        for deb in debs:
            _call(["dpkg-deb", "-x", str(deb), str(scratch / ROOT)], "is the disk full?")
        _tidy(scratch / ROOT)
        python = _python_version(scratch / ROOT)
        listen(0.4, "fetching wheels")
        wheels = _fetch_wheels(arch, python, scratch / "wheels")
        for wheel in wheels:
            with open_archive(wheel) as archive:
                archive.extract_all(scratch / SITE, most=MOST_UNPACKED)
        listen(0.9, "hashing")
        packages = tuple(Fetched(name=path.name, sha256=sha256(path)) for path in (*debs, *wheels))
        for name in ("apt", "wheels"):
            shutil.rmtree(scratch / name)
        lock = Lock(
            schema_version=SCHEMA_VERSION, arch=arch, python=python, packages=packages, files=hashed_files(scratch)
        )
        write_json(scratch / LOCK, lock)
    return lock


def require_tools() -> None:
    """Refuse a machine that cannot fetch Debian's packages.

    Raises:
        UnfitMachineError: a program is missing.
    """
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise UnfitMachineError(
            f"{' and '.join(missing)} not found: the emulated Python is unpacked from Debian's packages",
            "run this on Debian or Ubuntu; on other systems use: bertedge verify --simulate avx2",
        )


def _fetch_debs(arch: Architecture, work: Path, sources: Path | None) -> list[Path]:
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "state/status").touch()  # nothing is installed, so that every dependency is fetched
    settings = {
        "APT::Architecture": arch.debian,
        "APT::Architectures::": arch.debian,
        "APT::Sandbox::User": "root",  # apt's own user may not enter the folder
        "Dir::State": str(work / "state"),
        "Dir::State::status": str(work / "state/status"),
        "Dir::Cache": str(work / "cache"),
    }
    if sources is not None:
        settings |= {"Dir::Etc::sourcelist": str(sources.resolve()), "Dir::Etc::sourceparts": "-"}
    apt = ["apt-get", "-q", "-y", *(f"-o{key}={value}" for key, value in settings.items())]
    # apt fails if one source lacks this architecture, even if another source has it
    subprocess.run([*apt, "update"], capture_output=True, check=False)
    _call(
        [*apt, "install", "--download-only", "--no-install-recommends", *DEBIAN_PACKAGES],
        f"do apt's sources have {arch.debian} packages? name a list that has them with --apt-sources FILE",
    )
    return sorted((work / "cache/archives").glob("*.deb"))


def _tidy(root: Path) -> None:
    """Delete files that no program reads, and add the links that a distribution's installer makes."""
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in MERGED:
        if not (root / name).exists() and (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")


def _python_version(root: Path) -> str:
    link = root / "usr/bin/python3"
    name = link.readlink().name if link.is_symlink() else ""
    if not name.startswith("python3."):
        raise UnfitMachineError(
            f"apt's python3 has no interpreter ({name or 'nothing'})", "name other sources with --apt-sources"
        )
    return name.removeprefix("python")


def _fetch_wheels(arch: str, python: str, folder: Path) -> list[Path]:
    abi = "cp" + python.replace(".", "")
    tags = [f"--platform=manylinux_2_{minor}_{arch}" for minor in GLIBC_MINORS] + [f"--platform=manylinux2014_{arch}"]
    tags += [f"--abi={name}" for name in (abi, "abi3", "none")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", f"--dest={folder}", *tags]
    _call(
        [*command, *runtime_requirements()],
        f"is pip installed (python -m ensurepip), and has its index wheels for Python {python} on {arch}?",
    )
    return sorted(folder.glob("*.whl"))


def runtime_requirements() -> list[str]:
    """The packages that bertedge requires, with the version of onnxruntime that is installed on this machine."""
    try:
        declared = metadata.requires("bertedge") or []
    except metadata.PackageNotFoundError as error:
        raise UnfitMachineError("bertedge is not installed, only imported", "in its folder: pip install .") from error
    plain = [line for line in declared if "extra ==" not in line]
    return [*plain, f"onnxruntime=={metadata.version('onnxruntime')}"]


def _call(command: Sequence[str], hint: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR"))] or lines[-1:] or ["no output"]
        name = "pip" if "pip" in command else Path(command[0]).name
        raise UnfitMachineError(f"{name} failed: {errors[0].strip()}", hint)
