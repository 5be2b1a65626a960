"""The Pareto set as a picture."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bertedge.evaluate.goals import P95, SIZE, Goal
from bertedge.plotting import Figure, save, style
from bertedge.tuning.tuned import Tuned

BLUE, ORANGE, GREY = "tab:blue", "tab:orange", "0.6"


def draw(path: Path, tuned: Tuned, goals: Collection[Goal]) -> None:
    """Loss and size over latency: the points that nobody beats filled, goals as dashed lines.

    Raises:
        FileError: the picture cannot be written.
    """
    with style():
        save(_figure(tuned, goals), path, hint="choose another --output")


def _figure(tuned: Tuned, goals: Collection[Goal]) -> Figure:
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), (tuned.objectives[0], SIZE), strict=True):
        for index, entry in enumerate((*tuned.points, *tuned.beaten)):
            x, y = entry.measured[P95].value, entry.measured[metric].value
            best, beaten = entry.name == tuned.best, index >= len(tuned.points)
            color = ORANGE if best else GREY if beaten else BLUE
            axes.plot(x, y, "o", color=color, markerfacecolor="none" if beaten else color, markersize=9 if best else 7)
            label, place = f"{entry.name} (best)" if best else entry.name, (0, 8 if index % 2 else -14)
            axes.annotate(label, (x, y), place, textcoords="offset points", fontsize=8, ha="center")
        for goal in goals:
            if goal.kind.metric == P95:
                axes.axvline(goal.bound, color=ORANGE, linestyle="--", linewidth=1)
            if goal.kind.metric == metric:
                axes.axhline(goal.bound, color=ORANGE, linestyle="--", linewidth=1)
        axes.set(xlabel="95th percentile of a call, ms", ylabel=metric)
        axes.margins(0.25)
        axes.grid(alpha=0.3)
    times = "timed in one run" if tuned.timed_together else "first impressions, not timed together"
    figure.suptitle(f"{times}; filled: nobody is better in everything; dashed: goals")
    return figure
