"""The native engine for emulated machines: a library of their architecture, and a package that has it.

If this machine's own library is for that architecture, it is used. Otherwise the sources are cross-compiled, and the
library is kept in the cache.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bertedge.data.cache import user_cache
from bertedge.emulate.cpus import ARCHITECTURES
from bertedge.engines.native.build import LIBRARIES, RECORD
from bertedge.engines.native.compilation import Build
from bertedge.engines.native.compiler import BuildError, Compiler
from bertedge.errors import UnfitMachineError

#: Below the package: where the engine and its library are.
NATIVE = Path("engines", "native")


def native_library(package: Path, arch: str) -> Path:
    """The folder of a library for an architecture.

    Args:
        package: the folder of this copy of bertedge.

    Raises:
        UnfitMachineError: there is no compiler for it, or the sources are not installed or do not compile.
    """
    own = package / NATIVE
    if _machine_of(own) == arch and any((own / name).is_file() for name in LIBRARIES):
        return own
    compiler = ARCHITECTURES[arch].compiler
    if shutil.which(compiler) is None:
        raise UnfitMachineError(
            f"the native engine is not built for {arch}: {compiler} not found",
            "install it (Debian, Ubuntu: the package of that name); without it only the other engines are emulated",
        )
    folder = user_cache() / "native" / arch
    try:
        Build(Compiler.find(compiler), work=folder / "objects").library(folder)
    except BuildError as error:
        reason = str(error).splitlines()[0]
        raise UnfitMachineError(f"the native engine is not built for {arch}: {reason}", error.hint) from error
    return folder


def _machine_of(folder: Path) -> str:
    """The processors that the library of a folder is for; empty if there is none."""
    try:
        return str(json.loads((folder / RECORD).read_text(encoding="utf-8"))["machine"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def link_package(package: Path, to: Path, library: Path | None) -> None:
    """Make a package of links to this copy of bertedge, with another native library, or with none.

    Args:
        to: the package's folder, which must not exist.
        library: the folder of the library.
    """
    here = package
    for part in (*NATIVE.parts, ""):
        to.mkdir()
        for entry in here.iterdir():
            if entry.name not in (part, RECORD, *LIBRARIES):
                (to / entry.name).symlink_to(entry)
        here, to = here / part, to / part
    for name in LIBRARIES:
        if library is not None and (library / name).is_file():
            (to / name).symlink_to(library / name)
