"""Estimates that are made of several quantities: F1, and differences of estimates."""

from __future__ import annotations

import numpy as np
import pytest

from bertedge.evaluate.bootstrap import Observations, Seen, estimate, estimate_all
from bertedge.evaluate.metrics import METRICS
from bertedge.metric import Metric, exponential, f1, mean, minus

#: Of three texts: one span is found and expected, one is found only, one text has nothing.
COUNTS = {"shared": np.array([1.0, 0, 0]), "found": np.array([1.0, 1, 0]), "expected": np.array([1.0, 0, 0])}
F1 = f1("shared", "found", "expected")


def test_f1_of_all_texts_together() -> None:
    value = F1.prepare(COUNTS)
    assert value(np.ones(3)) == pytest.approx(2 / 3)
    assert value(np.array([1, 0, 1])) == 1
    assert value(np.array([0, 1, 0])) == 0
    assert value(np.array([0, 0, 5])) == 1  # nothing to find
    assert F1.n(COUNTS) == 2  # 2 found and 1 expected


def test_an_estimate_minus_another() -> None:
    perfect = f1("expected", "expected", "expected")
    gap = minus(perfect, F1)
    assert {*gap.quantities} == {*COUNTS}
    assert gap.prepare(COUNTS)(np.ones(3)) == pytest.approx(1 / 3)
    assert gap.n(COUNTS) == 1
    assert exponential(mean("found")).n(COUNTS) == 3


@pytest.fixture
def metric(monkeypatch: pytest.MonkeyPatch) -> str:
    made = Metric(group="spans", estimate=F1, better="higher", meaning="F1 of spans", bounds=(0, 1))
    monkeypatch.setitem(METRICS, "spans.f1", made)
    return "spans.f1"


def seen(shared: np.ndarray, found: np.ndarray, expected: np.ndarray) -> Observations:
    values = {"shared": shared, "found": found, "expected": expected}
    as_floats = {name: array.astype(np.float64) for name, array in values.items()}
    return Observations(groups={"spans": Seen(values=as_floats, text=np.arange(len(shared)))}, texts=len(shared))


def test_nothing_to_count_is_no_metric(metric: str) -> None:
    nothing = seen(*np.zeros((3, 20)))
    assert estimate_all(nothing, names=(metric,)) == {}
    assert estimate(metric, nothing) is None


def test_few_spans_are_known_badly_even_in_many_texts(metric: str) -> None:
    spans = np.zeros(1000)
    spans[:4] = 1
    value = estimate_all(seen(spans, spans, spans), names=(metric,), resamples=100)[metric]
    assert (value.value, value.n) == (1, 4)
    assert value.low < 0.7


def test_intervals_of_f1_cover_the_truth_about_as_often_as_they_say(metric: str) -> None:
    """Spans are found and expected at the rates that make the F1 0.8."""
    rng, covered = np.random.default_rng(0), 0
    for trial in range(100):
        expected = rng.poisson(0.7, size=150)
        shared = rng.binomial(expected, 0.8)
        found = shared + rng.poisson(0.7 * 0.2, size=150)
        value = estimate_all(seen(shared, found, expected), names=(metric,), resamples=200, seed=trial)[metric]
        covered += value.low <= 0.8 <= value.high
    assert 88 <= covered <= 100
