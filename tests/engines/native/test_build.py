"""Building the native engine, with small stand-ins for its sources."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bertedge.engines.native import build
from bertedge.engines.native.build import SWITCH, build_for_install
from bertedge.engines.native.compilation import Build, Variant
from bertedge.engines.native.compiler import KERNELS, BuildError, Compiler, NoCompilerError

API = """
#include "names.h"
int hidden_in_the_library() { return 1; }
extern "C" __attribute__((visibility("default"))) const char* be_kernels() { return KERNEL_NAMES; }
"""
NAMES = "#pragma once\n" + "\n".join(
    f'#ifdef BERTEDGE_KERNELS_{name.upper()}\n#define NAME_{name} "{name} "\n#else\n#define NAME_{name}\n#endif'
    for name in KERNELS
)
KERNEL_NAMES = "\n#define KERNEL_NAMES " + " ".join(f"NAME_{name}" for name in KERNELS) + ' ""\n'
KERNEL = '#include "../shared.h"\nint kernel_{name}() {{ return SHARED; }}\n'


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SWITCH, "CXXFLAGS", "LDFLAGS", "ARCHFLAGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small sources in place of the engine's, and a folder of their own for objects."""
    try:
        Compiler.find()
    except NoCompilerError as error:
        pytest.skip(str(error))
    folder = tmp_path / "src"
    (folder / "kernels").mkdir(parents=True)
    (folder / "api.cpp").write_text(API)
    (folder / "names.h").write_text(NAMES + KERNEL_NAMES)
    (folder / "shared.h").write_text("#define SHARED 1\n")
    for name in KERNELS:
        (folder / "kernels" / f"{name}.cpp").write_text(KERNEL.format(name=name))
    monkeypatch.setattr(build, "Build", lambda *asked: Build(*asked, source=folder, work=tmp_path / "work"))
    return folder


@pytest.fixture
def make(sources: Path, tmp_path: Path) -> Callable[..., Build]:
    return lambda variant=Variant(): Build(Compiler.find(), variant, source=sources, work=tmp_path / "work")  # noqa: B008


def record(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "build.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def library(folder: Path) -> Path:
    (found,) = folder.glob("libbertedge.*")
    return found


def test_the_kernels_of_the_record_are_those_of_the_library(sources: Path, tmp_path: Path) -> None:
    built = build_for_install(tmp_path / "out")
    assert record(tmp_path / "out") == {
        "library": library(tmp_path / "out").name,
        "machine": Compiler.find().machine,
        "kernels": list(built.kernels),
        "compiler": Compiler.find().version,
        "reason": "",
    }
    assert all(kernel in built.sentence() for kernel in built.kernels)
    loaded = ctypes.CDLL(str(library(tmp_path / "out")))
    loaded.be_kernels.restype = ctypes.c_char_p
    assert loaded.be_kernels().decode().replace("_", "-").split() == list(built.kernels)


@pytest.mark.parametrize("folder", ["stand-in", "installed"])
def test_nothing_but_the_interface_is_exported(folder: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not here")
    if folder == "stand-in":
        request.getfixturevalue("sources")
        build_for_install(tmp_path)
    where = tmp_path if folder == "stand-in" else build.HERE
    if not list(where.glob("libbertedge.so")):
        pytest.skip("the native engine is not built")
    done = subprocess.run(["nm", "-D", "--defined-only", library(where)], capture_output=True, text=True, check=True)
    names = [line.split()[-1] for line in done.stdout.splitlines()]
    assert all(name.startswith("be_") for name in names)
    assert folder == "installed" or names == ["be_kernels"]


def test_only_what_changed_is_compiled(make: Callable[..., Build], sources: Path, tmp_path: Path) -> None:
    def objects() -> dict[str, int]:
        make().library(tmp_path / "out")
        return {path.name: path.stat().st_mtime_ns for path in make().folder.glob("*.o")}

    first = objects()
    assert objects() == first
    (sources / "shared.h").write_text("#define SHARED 2\n")
    second = objects()
    kept = {name for name in first if name.startswith("api-")}
    assert second.keys() & first.keys() == kept
    assert len(second) == len(first)


def test_a_kernel_that_the_compiler_does_not_know_is_left_out(
    make: Callable[..., Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Compiler.find().command[0]
    _, (best, *others) = make().library(tmp_path / "out")
    newest = KERNELS[best.replace("-", "_")].flags[-1]
    old = tmp_path / "old compiler"
    old.write_text(f'#!/bin/sh\nfor flag; do [ "$flag" = {newest} ] && exit 1; done\nexec {real} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{old}'")
    assert make().library(tmp_path / "out")[1] == tuple(others)


def test_a_broken_source_leaves_the_reason_and_no_library(sources: Path, tmp_path: Path) -> None:
    build_for_install(tmp_path / "out")
    (sources / "api.cpp").write_text("int main( { }\n")
    built = build_for_install(tmp_path / "out")
    assert built.library is None
    assert "api.cpp:1" in built.reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["build.json"]
    assert record(tmp_path / "out")["reason"] == built.reason


def test_a_kernel_without_flags_is_an_error(make: Callable[..., Build], sources: Path, tmp_path: Path) -> None:
    (sources / "kernels" / "mmx.cpp").write_text("")
    with pytest.raises(BuildError, match=r"no flags are known for kernels/mmx\.cpp"):
        make().library(tmp_path)


def test_two_builds_at_once(make: Callable[..., Build], tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: make().library(tmp_path / name), "abab"))
    assert len(set(found)) == 1
    assert library(tmp_path / "a").read_bytes() == library(tmp_path / "b").read_bytes()


def test_without_a_compiler_the_reason_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    built = build_for_install(tmp_path / "out")
    assert built.sentence() == "native engine: not built: no C++ compiler was found"
    assert record(tmp_path / "out") == {
        "library": None,
        "machine": "",
        "kernels": [],
        "compiler": "",
        "reason": "no C++ compiler was found",
    }


def test_a_compiler_that_does_not_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    assert build_for_install(tmp_path).reason.startswith("the C++ compiler 'no-such-compiler' does not run: ")


def test_the_switch(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert build_for_install(tmp_path).reason == "BERTEDGE_NATIVE=0 was set when bertedge was installed"
    monkeypatch.setenv(SWITCH, "1")
    assert build_for_install(tmp_path).library
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NoCompilerError):
        build_for_install(tmp_path)
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(BuildError, match="BERTEDGE_NATIVE is 'yes', expected 0 or 1"):
        build_for_install(tmp_path)


def test_the_command(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "out")]
    assert build.main(output) == 0
    assert capsys.readouterr().out.startswith("native engine: ")
    (sources / "api.cpp").write_text("#error is broken\n")
    assert build.main(output) == 1
    assert "hint: the command was: " in capsys.readouterr().err
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert (build.main(output), build.main([*output, "--optional"])) == (3, 0)
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("error: the native engine was not built: the C++ compiler 'no-such-compiler'")
    assert error[1].startswith("hint: ")


def test_a_program_has_the_engine_in_it(make: Callable[..., Build], sources: Path, tmp_path: Path) -> None:
    program = tmp_path / "hello.cpp"
    program.write_text(
        '#include <cstdio>\nextern "C" const char* be_kernels();\nint main() { std::puts(be_kernels()); }\n'
    )
    built = make().program(program, tmp_path / "programs")
    done = subprocess.run([built], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(make().kernels())


def test_a_build_with_emulated_tiles_has_no_other_kernel(make: Callable[..., Build]) -> None:
    if Compiler.find().machine != "x86_64":
        pytest.skip("AMX is x86's")
    assert list(make(Variant(emulate_amx=True)).kernels()) == ["amx"]


def test_a_cross_compiler_builds_for_its_own_processors(
    make: Callable[..., Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cross = "aarch64-linux-gnu-g++"
    if shutil.which(cross) is None:
        pytest.skip(f"{cross} is not here")
    monkeypatch.setenv("CXX", cross)
    _, kernels = make().library(tmp_path / "out")
    assert kernels == ("neon-i8mm", "neon-dotprod", "neon")


def test_a_variant_for_tests_has_its_own_objects(make: Callable[..., Build]) -> None:
    variants = [Variant(), Variant(("address", "undefined")), Variant(("thread",)), Variant(emulate_amx=True)]
    assert [variant.name for variant in variants] == ["", "address-undefined", "thread", "emulated-amx"]
    assert len({make(variant).folder for variant in variants}) == 4


def test_wheels_have_no_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        found = Compiler.find()
    except NoCompilerError as error:
        pytest.skip(str(error))
    with pytest.raises(BuildError, match=r"the C\+\+ sources are not installed"):
        Build(found, source=tmp_path / "none", work=tmp_path).library(tmp_path)


def test_the_build_needs_the_standard_library_only(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(build.HERE / "build.py"), "--output", str(tmp_path)]
    environment = os.environ | {"CXX": "no-such-compiler"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 3, done.stderr
    assert record(tmp_path)["library"] is None
