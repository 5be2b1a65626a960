"""What a search leaves behind: the verdict on every goal, the Pareto set, its picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertedge.evaluate.goals import Goal
from bertedge.manifest import ReachedGoal
from bertedge.records import write_json
from bertedge.tuning.choice import Choice, not_beaten, objectives
from bertedge.tuning.picture import draw
from bertedge.tuning.state import PARETO, PICTURE, Entry, Settings, State

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The outcome, which is also what ``pareto.json`` holds.

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


def write_result(
    output: Path,
    state: State,
    timed: Sequence[Entry],
    chosen: Choice,
    goals: Collection[Goal],
    *,
    complete: bool,
    together: bool,
) -> Tuned:
    """Write ``pareto.json`` and ``pareto.svg`` beside ``best``.

    Args:
        timed: the finalists, the chosen one among them.
        together: their latencies are of one run.
    """
    metrics = objectives(goals, timed)
    points = not_beaten(timed, goals)
    tuned = Tuned(
        schema_version=SCHEMA_VERSION,
        settings=state.settings,
        complete=complete,
        timed_together=together,
        objectives=metrics,
        goals={goal.option: goal.reached(chosen.entry.measured) for goal in goals},
        best=chosen.entry.name,
        reason=chosen.reason,
        threads=chosen.entry.latency[0].threads,
        points=tuple(points),
        beaten=tuple(entry for entry in timed if entry not in points),
        measured=state.entries,
    )
    write_json(output / PARETO, tuned)
    draw(output / PICTURE, tuned, goals)
    return tuned
