"""Errors carry two lines and an exit code."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import multiprocessing.pool
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

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


ALL = [kind("x is 3, expected 4", "write 4") for kind in KINDS] + [MissingExtraError("onnx", "tools")]


def fail(error: BertEdgeError) -> None:
    """What a worker process does."""
    raise error


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_can_be_pickled(error: BertEdgeError, protocol: int) -> None:
    error = copy.copy(error)
    error.add_note("while the third file was read")
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert (again.message, again.hint, str(again)) == (error.message, error.hint, str(error))
        assert again.args == error.args
        assert again.__notes__ == error.__notes__


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_arrives_from_a_pool(error: BertEdgeError, pool: multiprocessing.pool.Pool) -> None:
    with pytest.raises(type(error)) as caught:
        pool.apply_async(fail, (error,)).get(timeout=30)
    assert str(caught.value) == str(error)


@pytest.fixture(scope="module")
def pool() -> Iterator[multiprocessing.pool.Pool]:
    """One worker that was forked."""
    with multiprocessing.get_context("fork").Pool(1) as opened:
        yield opened


def test_an_error_arrives_from_an_executor() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        for error in ALL:
            with pytest.raises(type(error)) as caught:
                executor.submit(fail, error).result(timeout=60)
            assert str(caught.value) == str(error)


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
