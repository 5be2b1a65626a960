"""Write what a search found: the verdict on every goal, the Pareto set, its picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bertedge.evaluate.goals import Goal
from bertedge.records import write_json
from bertedge.tuning.choice import Choice, not_beaten, objectives
from bertedge.tuning.picture import draw
from bertedge.tuning.state import PARETO, PICTURE, Entry, State
from bertedge.tuning.tuned import SCHEMA_VERSION, Tuned


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
