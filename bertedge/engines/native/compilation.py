"""How the C++ sources are compiled and linked. Needs nothing but the standard library."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .compiler import KERNELS, BuildError, Compiler, Kernel, run

SOURCE = Path(__file__).resolve().parent / "src"
#: Objects, and libraries that are only for tests or wheels. Git ignores it.
WORK = SOURCE.parents[3] / "build" / "native"

#: No contraction of products and sums and no fast-math: a result has one value, however the code is ordered.
COMMON = (
    *("-std=c++17", "-fPIC", "-pthread", "-fvisibility=hidden", "-fvisibility-inlines-hidden"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Wno-psabi"),
)
#: GCC's own headers of AVX512 have variables that are undefined on purpose.
QUIET = ("-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-unknown-warning-option")
RELEASE = ("-ffunction-sections", "-fdata-sections")
#: The last -O counts. With more, a kernel takes minutes to compile.
SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
#: Sections that nothing calls are left out, and names that only debuggers read.
LINK_RELEASE = ("-Wl,-z,defs", "-Wl,-z,now", "-Wl,--gc-sections", "-s")
#: Boards may have no libstdc++, or an older one than the compiler's.
STATIC = ("-static-libstdc++", "-static-libgcc")


@dataclass(frozen=True)
class Variant:
    """How the engine is built for tests; a variant without any is what users get."""

    sanitize: tuple[str, ...] = ()
    emulate_amx: bool = False

    @property
    def name(self) -> str:
        return "-".join((*self.sanitize, *(["emulated-amx"] if self.emulate_amx else [])))

    def kernels(self) -> dict[str, Kernel]:
        return {"amx": KERNELS["amx"]} if self.emulate_amx else KERNELS

    def flags(self) -> tuple[str, ...]:
        emulation = ["-DBERTEDGE_EMULATE_AMX"] if self.emulate_amx else []
        if not self.sanitize:
            return (*RELEASE, *emulation)
        names = ("fuzzer-no-link" if name == "fuzzer" else name for name in self.sanitize)
        return (f"-fsanitize={','.join(names)}", *SANITIZED, *emulation)

    def link_flags(self) -> tuple[str, ...]:
        return (f"-fsanitize={','.join(self.sanitize)}",) if self.sanitize else ()


@dataclass(frozen=True)
class Build:
    """One compiler, one variant, one folder of sources."""

    compiler: Compiler
    variant: Variant = Variant()
    source: Path = SOURCE
    work: Path = WORK

    @property
    def folder(self) -> Path:
        """Where its objects lie, apart from those of other compilers and variants."""
        parts = (*self.compiler.command, self.compiler.macros, self.variant.name, str(self.source))
        return self.work / "objects" / digest(parts)

    def kernels(self) -> dict[str, Kernel]:
        """The kernels that this compiler can build, by the names of their files, best first.

        Raises:
            BuildError: a file is not in the table, or no kernel is left.
        """
        files = {file.stem for file in self.source.glob("kernels/*.cpp")}
        if unknown := sorted(files - KERNELS.keys()):
            raise BuildError(f"no flags are known for kernels/{unknown[0]}.cpp", "add it to KERNELS in compiler.py")
        rows = {
            name: kernel
            for name, kernel in self.variant.kernels().items()
            if name in files and kernel.machine == self.compiler.machine and self.compiler.knows(kernel)
        }
        if not rows:
            raise BuildError(
                f"{self.compiler.version} knows no instructions that a kernel could use",
                "kernels are for 64-bit x86 and ARM; a newer compiler knows more of them",
            )
        return rows

    def compile_all(self, kernels: Mapping[str, Kernel], programs: Sequence[Path] = ()) -> list[Path]:
        """Compile what has changed; the objects of kernels, of the other sources, and of programs."""
        defines = [f"-DBERTEDGE_KERNELS_{name.upper()}" for name in kernels]
        files = [
            (self.source / f"kernels/{name}.cpp", ["-O3", *QUIET, *kernel.flags]) for name, kernel in kernels.items()
        ]
        files += [(file, ["-O2", *defines]) for file in sorted(self.source.glob("*.cpp"))]
        files += [(file, ["-O2", *defines, f"-I{self.source}"]) for file in programs]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
            return list(pool.map(lambda job: self.compile(*job), files))

    def compile(self, file: Path, flags: Sequence[str]) -> Path:
        """The object of a file. Its name has the hash of all that it is made of, so it is never out of date."""
        arguments = [*COMMON, *flags, *self.variant.flags()]
        texts = [path.read_text(encoding="utf-8") for path in (file, *included(file, self.source))]
        target = self.folder / f"{file.stem}-{digest([*arguments, *texts])}.o"
        if not target.exists():
            for old in self.folder.glob(f"{file.stem}-{'?' * 16}.o"):
                old.unlink()
            self.write(target, [*arguments, "-c", str(file)])
        return target

    def link_library(self, objects: Sequence[Path], target: Path) -> None:
        """Make a library that exports nothing but ``be_*``."""
        arguments = ["-shared", "-pthread", *self.variant.link_flags(), *map(str, objects)]
        if self.compiler.apple:
            self.write(target, [*arguments, "-Wl,-exported_symbol,_be_*", "-Wl,-dead_strip", *link_flags()])
            return
        script = self.folder / "exports.map"
        write_whole(script, "{ global: be_*; local: *; };\n")
        arguments += [f"-Wl,--version-script={script}", *link_flags()]
        if self.variant.sanitize:  # their run-time library is found when a program starts
            self.write(target, arguments)
            return
        try:
            self.write(target, [*arguments, *LINK_RELEASE, *STATIC])
        except BuildError:
            self.write(target, [*arguments, *LINK_RELEASE])

    def link_program(self, objects: Sequence[Path], target: Path) -> None:
        """Make a program that needs no library of ours."""
        self.write(target, ["-pthread", *self.variant.link_flags(), *map(str, objects), *link_flags()])

    def write(self, target: Path, arguments: Sequence[str]) -> None:
        """Let the compiler write a file. It is there whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
            unfinished = Path(folder, target.name)
            run([*self.compiler.command, *arguments, "-o", str(unfinished)])
            unfinished.replace(target)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Of two builds at once, the second waits and finds the work done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def library(self, output: Path) -> tuple[str, tuple[str, ...]]:
        """Build the library into a folder; its name, and those of its kernels as users see them.

        Raises:
            BuildError: a file does not compile, or there is none.
        """
        if not self.source.is_dir():
            raise BuildError(
                "the C++ sources are not installed: wheels do not hold them",
                "install again from a checkout: pip install --force-reinstall --no-deps .",
            )
        name = "libbertedge.dylib" if self.compiler.apple else "libbertedge.so"
        with self.lock():
            kernels = self.kernels()
            self.link_library(self.compile_all(kernels), output / name)
        return name, tuple(kernel.replace("_", "-") for kernel in kernels)

    def program(self, file: Path, output: Path) -> Path:
        """Build a program of one source file together with the engine, into a folder."""
        with self.lock():
            target = output / file.stem
            self.link_program(self.compile_all(self.kernels(), [file]), target)
        return target


def digest(parts: Sequence[str]) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def included(file: Path, source: Path, seen: frozenset[Path] = frozenset()) -> list[Path]:
    """The headers of ours that a file includes, and those that these include."""
    names = re.findall(r'^\s*#\s*include\s+"(.+)"', file.read_text(encoding="utf-8"), re.MULTILINE)
    found: list[Path] = []
    for name in names:
        places = ((folder / name).resolve() for folder in (file.parent, source))
        header = next((place for place in places if place.is_file()), None)
        if header is not None and header not in seen.union(found):
            found += [header, *included(header, source, seen.union(found, [header]))]
    return found


def link_flags() -> list[str]:
    """What the environment wants when linking."""
    return shlex.split(os.environ.get("LDFLAGS", ""))


def write_whole(path: Path, text: str) -> None:
    """Write a file that others may read at this moment."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as folder:
        unfinished = Path(folder, path.name)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
