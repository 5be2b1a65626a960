"""The best candidate, and those that are timed again."""

from __future__ import annotations

import math

from bertedge.evaluate.goals import goals_of
from bertedge.tuning.choice import MAX_FINALISTS, best, finalists, not_beaten, objectives
from tests.tuning.helpers import entry

GOALS = goals_of({"max_kl": 0.001, "max_p95_ms": 8.0})


def test_of_good_ones_the_fastest_and_of_equally_fast_ones_the_most_faithful() -> None:
    slow, fast, close, bad = (
        entry("slow", kl=0.0001, ms=7),
        entry("fast", kl=0.0009, ms=4),
        entry("close", kl=0.0005, ms=4.1),
        entry("bad", kl=0.1, ms=1),
    )
    assert best([slow, fast, bad], GOALS).name == "fast"
    assert best([slow, fast, close, bad], GOALS).name == "close"
    assert best([bad, slow], GOALS).name == "slow"


def test_where_nothing_is_good_the_one_that_misses_least() -> None:
    assert best([entry("a", kl=0.01), entry("b", kl=0.002), entry("c", kl=math.nan)], GOALS).name == "b"


def test_candidates_of_other_sessions_are_compared_by_their_ratios() -> None:
    hasty, calm = entry("hasty hour", ms=4, ratio=0.9), entry("calm hour", ms=6, ratio=0.5)
    assert best([hasty, calm], GOALS).name == "calm hour"
    assert [e.name for e in finalists([hasty, calm], GOALS)] == ["calm hour"]


def test_the_objectives_are_the_losses_that_goals_are_for() -> None:
    entries = [entry()]
    assert objectives(GOALS, entries)[0] == "mlm.kl_mean"
    assert objectives(goals_of({"max_p95_ms": 1.0}), entries)[0] == "mlm.kl_mean"
    agreeing, other = entry("agreeing"), entry("other")
    for e, value in ((agreeing, 0.99), (other, 0.9)):
        e.fidelity["mlm.top1_agreement"] = e.fidelity["mlm.kl_mean"].__class__(value=value, low=0, high=1, n=1)
    assert [e.name for e in not_beaten([other, agreeing], goals_of({"min_agreement": 0.95}))] == ["agreeing"]


def test_finalists_are_few_and_the_best_is_among_them() -> None:
    entries = [entry(f"e{i}", kl=0.0001 * i, ms=20 - i) for i in range(20)]
    chosen = finalists(entries, GOALS)
    assert len(chosen) == MAX_FINALISTS
    assert chosen[0] == best(entries, GOALS)
    assert finalists([], GOALS) == []


def test_what_is_no_number_beats_nobody() -> None:
    good, broken = entry("good", kl=0.1, ms=5, mb=10), entry("broken", kl=math.nan, ms=6, mb=11)
    assert [e.name for e in not_beaten([broken, good], GOALS)] == ["good"]
