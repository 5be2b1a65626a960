"""Random small models of every structure, on every kernel of this CPU: the driver is a C++ program.

``make sanitize``, ``make valgrind`` and ``make native-emulated`` run it too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bertedge.cpu import this_cpu
from bertedge.engines.native.compilation import Build, Variant
from bertedge.engines.native.compiler import Compiler

DRIVER = Path(__file__).parent / "driver.cpp"


def check(program: Path, models: str) -> str:
    """Run the driver; what it printed."""
    done = subprocess.run([program, models], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_text_has_the_same_outputs_in_every_call(compiler: Compiler, tmp_path: Path) -> None:
    assert check(Build(compiler).program(DRIVER, tmp_path), "12").count(": 12 models") >= 1


def test_it_has_with_amx_too(compiler: Compiler, tmp_path: Path) -> None:
    """Fewer models: each instruction for tiles is a signal."""
    if "amx" not in Build(compiler).kernels():
        pytest.skip("the assembler does not know AMX")
    if "avx512_vnni" not in this_cpu().features:
        pytest.skip("this CPU has no AVX512-VNNI")
    assert check(Build(compiler, Variant(emulate_amx=True)).program(DRIVER, tmp_path), "2") == "amx: 2 models\n"
