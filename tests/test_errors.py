"""Errors carry two lines and an exit code."""

from __future__ import annotations

import inspect

import pytest

from bertedge import errors
from bertedge.errors import BertEdgeError, MissingExtraError, UsageError, nearest

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BertEdgeError) and kind is not MissingExtraError
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_a_message_and_a_hint(kind: type[BertEdgeError]) -> None:
    error = kind("x is 3, expected 4", "write 4")
    assert (error.message, error.hint) == ("x is 3, expected 4", "write 4")
    assert str(error) == "x is 3, expected 4\nhint: write 4"
    assert error.exit_code in (1, 2, 3)
    assert inspect.getdoc(kind)


def test_exit_codes() -> None:
    others = {kind.__name__ for kind in KINDS if kind.exit_code != 3}
    assert others == {"CheckFailed", "UsageError"}
    assert errors.CheckFailed.exit_code == 1
    assert UsageError.exit_code == 2


def test_a_missing_extra_gives_the_pip_command() -> None:
    error = MissingExtraError("onnx", "tools")
    assert "'onnx'" in error.message
    assert error.hint == "install bertedge with [tools]; in its folder: pip install '.[tools]'"
    assert error.exit_code == 3


@pytest.mark.parametrize(("kind", "base"), [(UsageError, ValueError), (MissingExtraError, ImportError)])
def test_pythons_own_kinds_catch_them_too(kind: type, base: type) -> None:
    assert issubclass(kind, base)


def test_a_truncation_is_a_warning_not_an_error() -> None:
    assert issubclass(errors.TruncationWarning, UserWarning)
    assert not issubclass(errors.TruncationWarning, BertEdgeError)


def test_the_nearest_name_comes_first() -> None:
    assert nearest("statik", ["weight-only", "static"]) == "did you mean 'static'? (one of: static, weight-only)"


def test_nothing_near_lists_what_is_known() -> None:
    assert nearest("zzz", ["b", "a"]) == "one of: a, b"
