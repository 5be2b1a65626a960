"""Random small models of every structure, on every kernel of this CPU: the driver is a C++ program.

``make sanitize``, ``make valgrind`` and ``make native-emulated`` run it too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bertedge.engines.native.compilation import Build
from bertedge.engines.native.compiler import Compiler, NoCompilerError

DRIVER = Path(__file__).parent / "driver.cpp"
MODELS = "12"


def test_a_text_has_the_same_outputs_in_every_call(tmp_path: Path) -> None:
    try:
        program = Build(Compiler.find()).program(DRIVER, tmp_path)
    except NoCompilerError as error:
        pytest.skip(str(error))
    done = subprocess.run([program, MODELS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f": {MODELS} models") >= 1
