"""The outcome of a search: the best bundle, all numbers and a picture."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertedge.bundle import Bundle
from bertedge.errors import BundleError, FileError
from bertedge.evaluate.goals import P95, SIZE, Goal
from bertedge.files import new_folder
from bertedge.manifest import ReachedGoal
from bertedge.plotting import Figure, save, style
from bertedge.records import write_json
from bertedge.tuning.choice import choose, finalists, not_beaten, objectives
from bertedge.tuning.measured import Entry

SCHEMA_VERSION = 2
CANDIDATES, BEST, PARETO, PICTURE = "candidates", "best", "pareto.json", "pareto.svg"
BLUE, ORANGE, GREY = "tab:blue", "tab:orange", "0.6"


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The outcome of a search.

    Attributes:
        settings: everything that the measurements depend on.
        complete: everything was tried; False if the time was used up, or during the search.
        timed_together: the finalists were timed in one run, so their latencies can be compared; False after an
            interrupted search.
        objectives: the metrics of the trade-off.
        goals: option -> the value that the best candidate reached.
        best: the name of the best candidate; its bundle is the folder ``best``.
        reason: why it was chosen over another candidate of equal speed, in words; empty if it is the fastest.
        threads: the number of threads with which the best candidate is fastest.
        points: the Pareto set.
        beaten: the other finalists.
        measured: all candidates that were tried, each with the times of the run that measured it.
    """

    schema_version: int = SCHEMA_VERSION
    settings: dict[str, Any]
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
        """Whether the best candidate meets all goals."""
        return all(goal.met for goal in self.goals.values())


def write_outcome(
    output: Path,
    settings: dict[str, Any],
    measured: Sequence[Entry],
    goals: Collection[Goal],
    *,
    timed: Sequence[Entry] | None = None,
    complete: bool = False,
) -> Tuned:
    """Copy the best bundle, and write ``pareto.json`` and ``pareto.svg``.

    Args:
        timed: the finalists with latencies of one run; None during the search.
    """
    shown = finalists(measured, goals) if timed is None else timed
    choice = choose(measured if timed is None else timed, goals)
    points = not_beaten(shown, goals)
    tuned = Tuned(
        settings=settings,
        complete=complete,
        timed_together=timed is not None,
        objectives=objectives(goals, shown),
        goals={goal.option: goal.reached(choice.entry.measured) for goal in goals},
        best=choice.entry.name,
        reason=choice.reason,
        threads=choice.entry.latency[0].threads,
        points=tuple(points),
        beaten=tuple(entry for entry in shown if entry not in points),
        measured=tuple(measured),
    )
    _copy(output / CANDIDATES / choice.entry.folder, output / BEST)
    write_json(output / PARETO, tuned)
    draw(output / PICTURE, tuned, goals)
    return tuned


def _copy(source: Path, place: Path) -> None:
    """Copy a bundle, unless the place has the same bundle already, undamaged."""
    with suppress(BundleError, FileError):
        if Bundle.open(place).manifest == Bundle.open(source, check=False).manifest:
            return
    with new_folder(place, force=True) as folder:  # the folder belongs to the search, so its content may be replaced
        shutil.copytree(source, folder, dirs_exist_ok=True)


def draw(path: Path, tuned: Tuned, goals: Collection[Goal]) -> None:
    """Draw loss and size over latency. The Pareto set is filled, other points are empty, goals are dashed lines.

    Raises:
        FileError: the picture cannot be written.
    """
    with style():
        figure = Figure(figsize=(10, 4.8), layout="constrained")
        for axes, metric in zip(figure.subplots(1, 2), (tuned.objectives[0], SIZE), strict=True):
            for index, entry in enumerate((*tuned.points, *tuned.beaten)):
                best, empty = entry.name == tuned.best, index >= len(tuned.points)
                _mark(axes, entry, metric, best=best, empty=empty, above=index % 2 == 1)
            for goal in goals:
                if goal.kind.metric == P95:
                    axes.axvline(goal.bound, color=ORANGE, linestyle="--", linewidth=1)
                if goal.kind.metric == metric:
                    axes.axhline(goal.bound, color=ORANGE, linestyle="--", linewidth=1)
            axes.set(xlabel="95th percentile of a call, ms", ylabel=metric)
            axes.margins(0.25)
            axes.grid(alpha=0.3)
        times = "timed in one run" if tuned.timed_together else "timed one by one so far"
        figure.suptitle(f"{times}; filled: no other point is better in everything; dashed: goals")
        save(figure, path, hint="choose another --output")


def _mark(axes: Any, entry: Entry, metric: str, *, best: bool, empty: bool, above: bool) -> None:
    """Draw a candidate as a circle with its name."""
    x, y = entry.measured[P95].value, entry.measured[metric].value
    color = ORANGE if best else GREY if empty else BLUE
    axes.plot(x, y, "o", color=color, markerfacecolor="none" if empty else color, markersize=9 if best else 7)
    label, place = f"{entry.name} (best)" if best else entry.name, (0, 8 if above else -14)
    axes.annotate(label, (x, y), place, textcoords="offset points", fontsize=8, ha="center")
