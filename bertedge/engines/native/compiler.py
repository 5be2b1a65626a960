"""The C++ compiler of this machine, and the flags of each kernel. Needs nothing but the standard library."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: The usual names, tried one after the other where ``CXX`` names none.
USUAL = ("c++", "g++", "clang++")
SECONDS = 600


@dataclass(frozen=True)
class Kernel:
    """How ``src/kernels/NAME.cpp`` is compiled, and for which processors."""

    machine: str
    flags: tuple[str, ...]
    #: The newest instruction of the set. A compiler or an assembler that does not know it does not get the file.
    probe: str


AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
VNNI = (*AVX512, "-mavx512vnni")
#: By the name of the file, best first. The names that users see have dashes.
KERNELS = {
    "amx": Kernel("x86_64", (*VNNI, "-mamx-tile", "-mamx-int8", "-mamx-bf16"), "tdpbf16ps %tmm2, %tmm1, %tmm0"),
    "avx512_vnni": Kernel("x86_64", VNNI, "vpdpbusd %zmm2, %zmm1, %zmm0"),
    "avx_vnni": Kernel("x86_64", (*AVX2, "-mavxvnni"), "{vex} vpdpbusd %ymm2, %ymm1, %ymm0"),
    "avx512": Kernel("x86_64", AVX512, "vpmaddubsw %zmm2, %zmm1, %zmm0"),
    "avx2": Kernel("x86_64", AVX2, "vpmaddubsw %ymm2, %ymm1, %ymm0"),
    "neon_i8mm": Kernel("aarch64", ("-march=armv8.2-a+dotprod+i8mm",), "usmmla v0.4s, v1.16b, v2.16b"),
    "neon_dotprod": Kernel("aarch64", ("-march=armv8.2-a+dotprod",), "sdot v0.4s, v1.16b, v2.16b"),
    "neon": Kernel("aarch64", ("-march=armv8-a",), "smull v0.8h, v1.8b, v2.8b"),
}


class BuildError(Exception):
    """The library could not be built. ``hint`` tells what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class NoCompilerError(BuildError):
    """This machine has no C++ compiler that runs."""


@dataclass(frozen=True)
class Compiler:
    """A command with its flags, and the macros that it defines by itself, which tell what it is."""

    command: tuple[str, ...]
    macros: str

    @classmethod
    def find(cls, cxx: str | None = None) -> Compiler:
        """The compiler of ``CXX`` or the first usual one, with ``CXXFLAGS`` and macOS's ``ARCHFLAGS``.

        Args:
            cxx: used instead of ``CXX``.

        Raises:
            NoCompilerError: there is none, or it does not run.
        """
        asked = shlex.split(cxx or os.environ.get("CXX", ""))
        name = asked[0] if asked else next(filter(shutil.which, USUAL), None)
        if name is None:
            raise NoCompilerError("no C++ compiler was found", "install one, on Debian: sudo apt install g++")
        flags = [flag for key in ("CXXFLAGS", "ARCHFLAGS") for flag in shlex.split(os.environ.get(key, ""))]
        command = (name, *asked[1:], *flags)
        try:
            macros = run([*command, "-dM", "-E", "-x", "c++", os.devnull])
        except (OSError, BuildError) as error:
            reason = str(error).splitlines()[0]
            raise NoCompilerError(
                f"the C++ compiler {name!r} does not run: {reason}", "name another one in CXX, and check CXXFLAGS"
            ) from error
        return cls(command, macros)

    def defines(self, macro: str) -> bool:
        return f"#define {macro} " in self.macros

    @property
    def machine(self) -> str:
        """The processors that it compiles for: ``x86_64``, ``aarch64``, or empty where there is no kernel for them."""
        if self.defines("__ILP32__") or self.defines("__AARCH64EB__"):
            return ""
        return next((name for name in ("x86_64", "aarch64") if self.defines(f"__{name}__")), "")

    @property
    def apple(self) -> bool:
        return self.defines("__APPLE__")

    @property
    def version(self) -> str:
        """Its name and version, as it says them."""
        found = re.search(r'#define __VERSION__ "(.*)"', self.macros)
        version = found[1].strip() if found else ""
        return version if self.defines("__clang__") else f"GCC {version}"

    def knows(self, kernel: Kernel) -> bool:
        """Whether it takes the flags of a kernel, and its assembler the newest instruction."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "probe.cpp")
            file.write_text(f'void probe() {{ __asm__ volatile("{kernel.probe}"); }}\n', encoding="utf-8")
            command = [*self.command, *kernel.flags, "-c", str(file), "-o", str(file.with_suffix(".o"))]
            return subprocess.run(command, capture_output=True).returncode == 0


def run(command: Sequence[str]) -> str:
    """Run a command, pass its warnings on to stderr, and return what it prints.

    Raises:
        BuildError: it failed; the message is what it wrote to stderr.
    """
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
    if done.returncode:
        message = done.stderr.strip() or f"exit code {done.returncode}"
        raise BuildError(message, f"the command was: {shlex.join(command)}")
    sys.stderr.write(done.stderr)
    return done.stdout
