"""How many threads a worker may use: what is given, what a framework assigned, and what the machine has."""

from __future__ import annotations

import sys

import pytest

from bertedge.engines.threads import threads_here
from bertedge.errors import UsageError
from bertedge.jobs import worker_threads as module
from bertedge.jobs.worker_threads import worker_threads


@pytest.fixture(autouse=True)
def no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "usable_cpus", lambda: 8)
    monkeypatch.delitem(sys.modules, "ray", raising=False)


def test_what_the_user_gives_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert worker_threads(3) == 3
    with pytest.raises(UsageError, match="threads is 0"):
        worker_threads(0)


@pytest.mark.parametrize(("given", "expected"), [("1", 1), ("4", 4), ("4,2", 4), ("64", 8), ("0", 1)])
def test_the_environment_tells(given: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert worker_threads(None) == expected


@pytest.mark.parametrize("given", [None, "", "many"])
def test_without_a_number_it_is_the_usual_default(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert worker_threads(None) == threads_here()
