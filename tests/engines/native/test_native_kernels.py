"""The kernels that this CPU runs, against exact sums and double precision: the checks are a C++ program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bertedge.engines.native.compilation import Build, Variant
from bertedge.engines.native.compiler import Compiler, NoCompilerError

CHECKS = Path(__file__).parent / "kernels" / "kernels_test.cpp"


def program(folder: Path, variant: Variant) -> Path:
    """The program of all checks, compiled."""
    try:
        return Build(Compiler.find(), variant).program(CHECKS, folder)
    except NoCompilerError as error:
        pytest.skip(str(error))


def checked(checks: Path) -> list[str]:
    """The kernels that were checked and are right; those that this CPU lacks are left out."""
    done = subprocess.run([checks], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split(":")[0] for line in done.stdout.splitlines() if ": 0 of " in line]


def test_kernels_compute_what_their_definitions_say(tmp_path: Path) -> None:
    assert checked(program(tmp_path, Variant()))


def test_the_kernel_for_amx_with_emulated_tiles_does_too(tmp_path: Path) -> None:
    if Compiler.find().machine != "x86_64":
        pytest.skip("AMX is x86's")
    checks = program(tmp_path, Variant(emulate_amx=True))
    if not checked(checks):
        pytest.skip("this CPU has no AVX512-VNNI")
