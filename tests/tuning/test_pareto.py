"""The points that nobody beats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bertedge.tuning.pareto import dominates, pareto

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
