"""The best candidate, and those that are timed again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertedge.evaluate.goals import Goal, goals_of
from bertedge.metric import MetricValue
from bertedge.tuning.choice import MAX_FINALISTS, choose, dominates, finalists, not_beaten, objectives, pareto
from bertedge.tuning.measured import Entry
from tests.tuning.helpers import entry

GOALS = goals_of({"max_kl": 0.001, "max_p95_ms": 8.0})


def best_of(entries: list[Entry], goals: tuple[Goal, ...]) -> Entry:
    return choose(entries, goals).entry


def test_of_good_ones_the_fastest_and_of_equally_fast_ones_the_most_faithful() -> None:
    slow, fast, close, bad = (
        entry("slow", kl=0.0001, ms=7),
        entry("fast", kl=0.0009, ms=4),
        entry("close", kl=0.0005, ms=4.1),
        entry("bad", kl=0.1, ms=1),
    )
    assert best_of([slow, fast, bad], GOALS).name == "fast"
    assert best_of([slow, fast, close, bad], GOALS).name == "close"
    assert best_of([bad, slow], GOALS).name == "slow"


def test_a_lead_within_the_noise_is_none() -> None:
    lucky = entry("lucky", kl=0.013, ratio=MetricValue(value=0.28, low=0.25, high=0.35, n=25))
    truer = entry("truer", kl=0.001, ratio=MetricValue(value=0.35, low=0.25, high=0.47, n=25))
    goals = goals_of({"max_kl": 0.02})
    chosen = choose([lucky, truer], goals)
    assert chosen.entry.name == "truer"
    for words in (
        "lucky",
        "0.28 of float's time, 0.25 to 0.35",
        "0.25 to 0.47",
        "cannot be told apart",
        "mlm.kl_mean 0.001",
    ):
        assert words in chosen.reason
    slower = entry("slower", kl=0.001, ratio=MetricValue(value=0.47, low=0.45, high=0.49, n=25))
    assert choose([lucky, slower], goals).entry.name == "lucky"
    assert choose([lucky, slower], goals).reason == ""


def test_of_equal_losses_the_smaller_file() -> None:
    noisy = MetricValue(value=0.3, low=0.2, high=0.4, n=25)
    large, small = (entry(f"{mb} MB", mb=mb, ratio=replace(noisy, value=0.3 - mb / 1000)) for mb in (12, 11))
    chosen = choose([large, small], GOALS)
    assert chosen.entry.name == "11 MB"
    assert "smaller file" in chosen.reason


def test_rounds_of_one_run_are_compared_in_pairs() -> None:
    # disturbances of the machine slowed both, so the intervals overlap and the pairs do not
    rounds = np.random.default_rng(0).uniform(5, 10, size=25)
    wide = MetricValue(value=0.5, low=0.3, high=0.8, n=25)
    fast = entry("fast", kl=0.0009, ratio=wide, samples_ms=tuple(rounds))
    slow = entry("slow", kl=0.0001, ratio=wide, samples_ms=tuple(1.2 * rounds))
    assert choose([fast, slow], GOALS).entry.name == "fast"
    apart = [replace(e, latency=(replace(e.latency[0], samples_ms=()),)) for e in (fast, slow)]
    assert choose(apart, GOALS).entry.name == "slow"


def test_a_goal_is_met_with_the_whole_interval_or_not_at_all() -> None:
    doubtful, sure = entry("doubtful", ms=4), entry("sure", ms=7)
    doubtful.fidelity["mlm.kl_mean"] = MetricValue(value=0.0009, low=0.0005, high=0.0013, n=9)
    assert best_of([doubtful, sure], GOALS).name == "sure"


def test_where_nothing_is_good_the_one_that_misses_least() -> None:
    assert best_of([entry("a", kl=0.01), entry("b", kl=0.002), entry("c", kl=math.nan)], GOALS).name == "b"


def test_candidates_of_other_sessions_are_compared_by_their_ratios() -> None:
    hasty, calm = entry("hasty hour", ms=4, ratio=0.9), entry("calm hour", ms=6, ratio=0.5)
    assert best_of([hasty, calm], GOALS).name == "calm hour"
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
    assert chosen[0] == best_of(entries, GOALS)
    assert finalists([], GOALS) == []


def test_what_is_no_number_beats_nobody() -> None:
    good, broken = entry("good", kl=0.1, ms=5, mb=10), entry("broken", kl=math.nan, ms=6, mb=11)
    assert [e.name for e in not_beaten([broken, good], GOALS)] == ["good"]


POINTS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 4).map(float), min_size=width, max_size=width), max_size=15)
)


@given(POINTS)
def test_members_beat_all_others_and_not_each_other(points: list[list[float]]) -> None:
    chosen = pareto(points)
    assert chosen == sorted(set(chosen))
    assert bool(chosen) == bool(points)
    for i, point in enumerate(points):
        beaten = [j for j in chosen if dominates(points[j], point)]
        assert (i in chosen) == (not beaten)


@given(POINTS, st.randoms())
def test_the_order_of_the_points_does_not_matter(points: list[list[float]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(points, len(points))
    assert sorted(points[i] for i in pareto(points)) == sorted(shuffled[i] for i in pareto(shuffled))


def test_equal_points_stay_together() -> None:
    assert pareto([(1.0, 2.0), (2.0, 1.0), (1.0, 2.0), (2.0, 2.0)]) == [0, 1, 2]
