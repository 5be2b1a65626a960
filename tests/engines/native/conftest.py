"""What several tests of the native engine need."""

from __future__ import annotations

import pytest

from bertedge.engines.native.compiler import Compiler, NoCompilerError


@pytest.fixture
def compiler() -> Compiler:
    """The C++ compiler of this machine; without one, the test is skipped."""
    try:
        return Compiler.find()
    except NoCompilerError as error:
        pytest.skip(str(error))
