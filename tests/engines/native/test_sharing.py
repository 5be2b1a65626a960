"""How threads share calls: the fastest way is found, and a slow one is given up soon; the program invents the times."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bertedge.engines.native.compilation import Build
from bertedge.engines.native.compiler import Compiler

PROGRAM = Path(__file__).parent / "sharing_test.cpp"


def test_the_fastest_way_is_found(compiler: Compiler, tmp_path: Path) -> None:
    done = subprocess.run([Build(compiler).program(PROGRAM, tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
