"""Build the native engine: the C++ files of ``src`` become one shared library with a C interface.

``make native``, ``python -m bertedge.engines.native.build`` and this file as a script build it in this folder;
``hatch_build.py`` builds it for wheels, with the standard library only. ``CXX``, ``CXXFLAGS``, ``LDFLAGS`` and
on macOS ``ARCHFLAGS`` are taken from the environment. The compiler tells which processors it compiles for: to
cross-compile, name a cross-compiler in ``CXX``. ``build.json`` next to the library says what was built, or why nothing
was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
if not __package__:  # started as a file, which works without numpy: bertedge's own packages are not imported
    __package__ = "native_build"
    sys.modules[__package__] = ModuleType(__package__)
    sys.modules[__package__].__path__ = [str(HERE)]

from .compilation import WORK, Build, Variant, write_whole  # noqa: E402
from .compiler import BuildError, Compiler, NoCompilerError  # noqa: E402

RECORD = "build.json"
LIBRARIES = {"libbertedge.so", "libbertedge.dylib"}
#: 0: do not build. 1: fail where it cannot be built. Not set: go on without it, and keep the reason.
SWITCH = "BERTEDGE_NATIVE"
#: Most characters of a reason; a compiler's messages may be long.
MOST_OF_A_REASON = 2000


@dataclass(frozen=True)
class Built:
    """What was built: the contents of ``build.json``."""

    library: str | None = None
    #: The processors that it is for: ``x86_64`` or ``aarch64``.
    machine: str = ""
    #: Names as users see them, best first.
    kernels: tuple[str, ...] = ()
    compiler: str = ""
    #: Why there is no library.
    reason: str = ""

    def sentence(self) -> str:
        """What a user is told about it."""
        if self.library is None:
            return f"native engine: not built: {self.reason}"
        return f"native engine: {', '.join(self.kernels)} ({self.machine}), compiled by {self.compiler}"

    def write(self, folder: Path) -> None:
        """Write ``build.json``, and delete a library that it does not name."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / RECORD, json.dumps(asdict(self), indent=2) + "\n")
        for library in sorted(LIBRARIES - {self.library}):
            (folder / library).unlink(missing_ok=True)


def build_library(output: Path, variant: Variant | None = None) -> Built:
    """Build the library and its record into a folder.

    Raises:
        BuildError: there is no compiler, or a file does not compile.
    """
    compiler = Compiler.find()
    library, kernels = Build(compiler, variant or Variant()).library(output)
    built = Built(library, compiler.machine, kernels, compiler.version)
    built.write(output)
    return built


def build_for_install(output: Path) -> Built:
    """Build as ``BERTEDGE_NATIVE`` asks; where that may fail, the record says why there is no library.

    Raises:
        BuildError: it cannot be built although ``BERTEDGE_NATIVE=1``, or the variable has another value.
    """
    asked = os.environ.get(SWITCH, "")
    if asked not in ("", "0", "1"):
        raise BuildError(f"{SWITCH} is {asked!r}, expected 0 or 1", "0: do not build; 1: fail where it cannot be built")
    try:
        if asked == "0":
            raise BuildError(f"{SWITCH}=0 was set when bertedge was installed", f"unset {SWITCH} and install again")
        return build_library(output)
    except BuildError as error:
        if asked == "1":
            raise
        built = not_built(error)
        built.write(output)
        return built


def not_built(error: BuildError) -> Built:
    """The record of a build that failed."""
    return Built(reason=str(error)[:MOST_OF_A_REASON])


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bertedge.engines.native.build", description="Build the native engine."
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the library or the program goes")
    parser.add_argument("--optional", action="store_true", help="without a compiler, say so and exit with 0")
    parser.add_argument(
        "--sanitize", default="", metavar="NAMES", help="such as address,undefined or thread; for tests"
    )
    parser.add_argument("--emulate-amx", action="store_true", help="AMX alone, for tests that emulate its instructions")
    parser.add_argument(
        "--program", type=Path, nargs="+", metavar="FILE", help="C++ programs to build with the engine in it"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    asked = parsed(arguments)
    variant = Variant(tuple(filter(None, asked.sanitize.split(","))), asked.emulate_amx)
    ours = WORK / (variant.name or "release") if asked.program or variant.name else HERE
    output = asked.output or ours
    try:
        if asked.program:
            for file in asked.program:
                print(Build(Compiler.find(), variant).program(file.resolve(), output))
        else:
            print(f"{build_library(output, variant).sentence()}\n{output}")
    except BuildError as error:
        if not asked.program:
            not_built(error).write(output)
        missing = isinstance(error, NoCompilerError)
        fine = missing and asked.optional
        word = "warning" if fine else "error"
        print(f"{word}: the native engine was not built: {error}\nhint: {error.hint}", file=sys.stderr)
        return 0 if fine else 3 if missing else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
