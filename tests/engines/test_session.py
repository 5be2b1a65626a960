"""How often a model is loaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bertedge.bundle import Bundle
from bertedge.engines.onnxruntime.thread_trial import TRIAL_CALLS
from bertedge.runtime import load

TEXT = "The cat sat on the [MASK]."


@pytest.mark.parametrize(("largest", "sessions"), [(0, [2]), (10**9, [2, 1])])
def test_only_a_small_file_is_loaded_twice_for_small_calls(
    largest: int, sessions: list[int], bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertedge.engines.onnxruntime.sessions.LARGE_FILE", largest)
    runtime = load(bundle_of("static").folder, engine="onnxruntime", threads=2)
    for _ in range(2 * TRIAL_CALLS):
        runtime.fill_mask(TEXT)
    assert list(runtime.runner.executor._model._by_threads) == sessions
