"""How threads share calls: the fastest way is found, and a slow one is given up soon; the program invents the times."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bertedge.engines.native.compilation import Build
from bertedge.engines.native.compiler import Compiler, NoCompilerError

PROGRAM = Path(__file__).parent / "sharing_test.cpp"


def test_the_fastest_way_is_found(tmp_path: Path) -> None:
    try:
        program = Build(Compiler.find()).program(PROGRAM, tmp_path)
    except NoCompilerError as error:
        pytest.skip(str(error))
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
