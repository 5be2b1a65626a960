"""The outcome of a search, as ``pareto.json`` holds it."""

from __future__ import annotations

from dataclasses import dataclass

from bertedge.manifest import ReachedGoal
from bertedge.tuning.state import Entry, Settings

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The outcome, which is also what ```pareto.json``` holds.

    Attributes:
        settings: what it was measured with.
        complete: nothing was left to try; False where the time was over before, or it is going on.
        timed_together: the points were timed in one run, so that their latencies can be compared; False for first
            impressions, which an interrupted search leaves.
        objectives: the metrics that the points trade off.
        goals: option -> what the best one reached.
        best: the name of the best one, whose bundle is ``best``.
        reason: why it was taken and not another one of the same speed, a sentence; empty where it is the fastest.
        threads: the number of threads that it was fastest with.
        points: the Pareto set.
        beaten: what was timed with them and is not part of it.
        measured: everything that was tried, with the times of its own session.
    """

    schema_version: int
    settings: Settings
    complete: bool
    timed_together: bool
    objectives: tuple[str, ...]
    goals: dict[str, ReachedGoal]
    best: str
    threads: int
    points: tuple[Entry, ...]
    beaten: tuple[Entry, ...]
    measured: tuple[Entry, ...]
    reason: str = ""

    @property
    def met(self) -> bool:
        """Whether the best one meets all goals."""
        return all(goal.met for goal in self.goals.values())
