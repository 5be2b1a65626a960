"""Which of the measured candidates are worth a second look, and which is the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from bertedge.evaluate.goals import GOALS, P95, SIZE, Goal, total_miss
from bertedge.tuning.pareto import pareto
from bertedge.tuning.state import RATIO, Entry

#: Latencies that differ by less are the same.
LATENCY_TOLERANCE = 0.05
#: So many candidates are timed against each other at the end.
MAX_FINALISTS = 6
#: Losses that candidates are compared by where no goal names one; a model has at least one of the two.
DEFAULT_LOSSES = ("mlm.kl_mean", "nsp.prob_mae")


def objectives(goals: Collection[Goal], entries: Sequence[Entry], latency: str = P95) -> tuple[str, ...]:
    """The metrics that candidates trade off: the losses that goals are for, latency, size."""
    named = [goal.kind.metric for goal in goals if goal.kind.head is not None]
    there = [metric for metric in DEFAULT_LOSSES if any(metric in entry.fidelity for entry in entries)]
    return (*dict.fromkeys(named or there[:1]), latency, SIZE)


def point(entry: Entry, metrics: Collection[str]) -> tuple[float, ...]:
    """A candidate in numbers of which smaller ones are better."""
    higher_is_better = {kind.metric for kind in GOALS.values() if not kind.is_ceiling}
    values = ((metric, entry.measured[metric].value) for metric in metrics)
    signed = (-value if metric in higher_is_better else value for metric, value in values)
    return tuple(math.inf if math.isnan(value) else value for value in signed)


def not_beaten(entries: Sequence[Entry], goals: Collection[Goal], latency: str = P95) -> list[Entry]:
    """The Pareto set."""
    metrics = objectives(goals, entries, latency)
    return [entries[i] for i in pareto([point(entry, metrics) for entry in entries])]


def best(entries: Collection[Entry], goals: Collection[Goal]) -> Entry:
    """The one that misses the goals least; of several that meet them all the fastest, and of equally fast ones the
    most faithful.
    """
    misses = [total_miss(goals, entry.measured) for entry in entries]
    least = min(misses)
    good = [entry for entry, miss in zip(entries, misses, strict=True) if miss == least]
    fastest = min(entry.measured[RATIO].value for entry in good)
    fast = [entry for entry in good if entry.measured[RATIO].value <= fastest * (1 + LATENCY_TOLERANCE)]
    return min(fast, key=_loss)


def finalists(entries: Sequence[Entry], goals: Collection[Goal]) -> list[Entry]:
    """Those to time against each other: the best, and of those that nobody beats the nearest to the goals.

    Candidates of different sessions are compared by their ratios to the float model, which each was timed with.
    """
    if not entries:
        return []
    first = best(entries, goals)
    others = [entry for entry in not_beaten(entries, goals, RATIO) if entry is not first]
    others.sort(key=lambda entry: (total_miss(goals, entry.measured), entry.measured[RATIO].value))
    return [first, *others[: MAX_FINALISTS - 1]]


def _loss(entry: Entry) -> float:
    return next((entry.fidelity[metric].value for metric in DEFAULT_LOSSES if metric in entry.fidelity), 0.0)
