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


def test_kernels_compute_what_their_definitions_say(tmp_path: Path) -> None:
    done = subprocess.run([program(tmp_path, Variant())], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = [line for line in done.stdout.splitlines() if ": 0 of " in line]
    assert checked, done.stdout
