"""Chooses the best measured candidate, and the candidates to time again."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from bertedge.evaluate.goals import GOALS, P95, SIZE, Goal, total_miss
from bertedge.evaluate.intervals import outcome_of, quotient
from bertedge.evaluate.latency import paired_ratio
from bertedge.evaluate.metrics import METRICS
from bertedge.quantization.sensitivity import SMOOTH_LOSS
from bertedge.tuning.measured import RATIO, Entry

#: Times that differ by this share or less count as equal.
LATENCY_TOLERANCE = 0.05
#: Largest number of candidates that are timed against each other at the end.
MAX_FINALISTS = 6
#: Losses to compare candidates by if no goal names a loss. The first that a model has is used.
DEFAULT_LOSSES = tuple(SMOOTH_LOSS.values())


def pareto(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other point dominates. Equal points are all kept.

    Args:
        points: the coordinates of each point; smaller is better.
    """
    return [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a point is not worse in any coordinate and better in at least one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def objectives(goals: Collection[Goal], entries: Sequence[Entry], latency: str = P95) -> tuple[str, ...]:
    """The metrics of the trade-off: the losses that have goals, latency, and size."""
    named = [goal.kind.metric for goal in goals if goal.kind.head is not None]
    there = [metric for metric in DEFAULT_LOSSES if any(metric in entry.fidelity for entry in entries)]
    return (*dict.fromkeys(named or there[:1]), latency, SIZE)


def point(entry: Entry, metrics: Collection[str]) -> tuple[float, ...]:
    """The coordinates of a candidate; smaller is better."""
    higher_is_better = {kind.metric for kind in GOALS.values() if not kind.is_ceiling}
    values = ((metric, entry.measured[metric].value) for metric in metrics)
    signed = (-value if metric in higher_is_better else value for metric, value in values)
    return tuple(math.inf if math.isnan(value) else value for value in signed)


def not_beaten(entries: Sequence[Entry], goals: Collection[Goal], latency: str = P95) -> list[Entry]:
    """The Pareto set."""
    metrics = objectives(goals, entries, latency)
    return [entries[i] for i in pareto([point(entry, metrics) for entry in entries])]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best candidate.

    Attributes:
        reason: why it was chosen over another candidate of equal speed, in words; empty if it is clearly the fastest.
    """

    entry: Entry
    reason: str = ""


def choose(entries: Collection[Entry], goals: Collection[Goal]) -> Choice:
    """The candidate that misses the goals least. If several meet all goals, the fastest of them.

    If several may be equally fast, the candidate with the smallest loss, then with the smallest file.
    """
    misses = [total_miss(goals, entry.measured) for entry in entries]
    least = min(misses)
    good = [entry for entry, miss in zip(entries, misses, strict=True) if miss == least]
    good.sort(key=lambda entry: entry.measured[RATIO].value)
    alike = [entry for entry in good if not surely_slower(entry, good[0])]
    chosen = min(alike, key=lambda entry: (_loss(entry), entry.size_bytes))
    rivals = [entry for entry in alike if entry is not chosen]
    return Choice(entry=chosen, reason=_reason(chosen, rivals[0]) if rivals else "")


def surely_slower(entry: Entry, other: Entry) -> bool:
    """Whether a candidate is clearly slower: the whole interval of the ratio of the two times is above 1.

    Candidates timed in the same rounds are compared round by round, others by their ratios to float.
    """
    mine, its = entry.latency[0], other.latency[0]
    if mine.samples_ms and len(mine.samples_ms) == len(its.samples_ms):
        ratio = paired_ratio(np.array(mine.samples_ms), np.array(its.samples_ms))
    else:
        ratio = quotient(mine.ratio, its.ratio)
    return outcome_of(ratio, 1 + LATENCY_TOLERANCE) == "fail"


def _reason(chosen: Entry, rival: Entry) -> str:
    """Why a candidate was chosen over another that is equally fast."""

    def time_of(entry: Entry) -> str:
        ratio = entry.measured[RATIO]
        return f"{entry.name} ({ratio.value:.2f} of float's time, {ratio.low:.2f} to {ratio.high:.2f})"

    metric = loss_metric(chosen)
    words = f"the times of {time_of(chosen)} and {time_of(rival)} cannot be told apart"
    if metric and _loss(chosen) < _loss(rival):
        mine, its = (entry.fidelity[metric].value for entry in (chosen, rival))
        return f"{words}, and {chosen.name} loses less: {metric} {mine:.4g}, not {its:.4g}"
    if chosen.size_bytes < rival.size_bytes:
        return f"{words}, and {chosen.name} is the smaller file"
    return f"{words}, and their losses and sizes are the same"


def finalists(entries: Sequence[Entry], goals: Collection[Goal]) -> list[Entry]:
    """The candidates to time against each other: the best, and the members of the Pareto set nearest to the goals.

    They are compared by their ratios to the float model, because each was timed alone.
    """
    if not entries:
        return []
    first = choose(entries, goals).entry
    others = [entry for entry in not_beaten(entries, goals, RATIO) if entry is not first]
    others.sort(key=lambda entry: (total_miss(goals, entry.measured), entry.measured[RATIO].value))
    return [first, *others[: MAX_FINALISTS - 1]]


def loss_metric(entry: Entry) -> str | None:
    """The loss to show if no goal names a loss: the first that the model has."""
    return next((metric for metric in DEFAULT_LOSSES if metric in entry.fidelity), None)


def _loss(entry: Entry) -> float:
    """The value of the first measured loss; smaller is better."""
    metric = loss_metric(entry)
    if metric is None:
        return 0.0
    value = entry.fidelity[metric].value
    return math.inf if math.isnan(value) else -value if METRICS[metric].better == "higher" else value
