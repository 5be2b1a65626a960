"""The points that no other point beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

Point = Sequence[float]


def dominates(one: Point, other: Point) -> bool:
    """Whether a point is nowhere worse than another and somewhere better; smaller is better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def pareto(points: Sequence[Point]) -> list[int]:
    """Indices of the points that none dominates, in their order; equal points stay together.

    Args:
        points: numbers of which smaller ones are better, the same kinds in each point.
    """
    return [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]
