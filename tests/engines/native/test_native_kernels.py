"""The kernels that this CPU runs, against exact sums and double precision: the checks are a C++ program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bertedge.engines.native.compilation import Build, Variant
from bertedge.engines.native.compiler import Compiler

CHECKS = Path(__file__).parent / "kernels" / "kernels_test.cpp"


def checked(checks: Path) -> list[str]:
    """The kernels that were checked and are right; those that this CPU lacks are left out."""
    done = subprocess.run([checks], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split(":")[0] for line in done.stdout.splitlines() if ": 0 of " in line]


def test_kernels_compute_what_their_definitions_say(compiler: Compiler, tmp_path: Path) -> None:
    assert checked(Build(compiler).program(CHECKS, tmp_path))


def test_the_kernel_for_amx_does_too(compiler: Compiler, tmp_path: Path) -> None:
    """As it is compiled for users: a handler of SIGILL computes what its instructions say."""
    if "amx" not in Build(compiler).kernels():
        pytest.skip("the assembler does not know AMX")
    if not checked(Build(compiler, Variant(emulate_amx=True)).program(CHECKS, tmp_path)):
        pytest.skip("this CPU has no AVX512-VNNI")
