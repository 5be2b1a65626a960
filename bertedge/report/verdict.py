"""Verdicts, and the sentences that say by how much and how sure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bertedge.evaluate.intervals import outcome_of
from bertedge.metric import MetricValue
from bertedge.report.budget import JUDGED, Budget

#: The metric of a verdict on a candidate that was not measured; it decides nothing about those that were.
ABSENT = "candidate"
Outcome = Literal["pass", "fail", "inconclusive", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "inconclusive", "skipped")
SEVERITY: tuple[Outcome, ...] = ("fail", "inconclusive", "skipped", "pass")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One budget of one candidate.

    Attributes:
        detail: the workload, where the metric has several values; or nothing.
        sentence: by how much it changed, how sure that is, and what is allowed.
        change: new - old or new / old, with its 95 % interval; None where it was not judged.
        undecided: the interval reaches over the limit, so that measuring more might decide.
    """

    candidate: str
    metric: str
    detail: str
    outcome: Outcome
    sentence: str
    change: MetricValue | None = None
    undecided: bool = False

    @property
    def subject(self) -> str:
        """The metric and its workload."""
        return f"{self.metric} {self.detail}".strip()


def say(
    budget: Budget,
    limit: float,
    new: MetricValue,
    old: MetricValue,
    change: MetricValue,
    *,
    than: str,
    unit: str | None = None,
) -> str:
    """What changed by how much, what is allowed, and whether that is sure.

    Args:
        than: what it is judged by.
    """
    unit = JUDGED[budget.metric].unit if unit is None else unit
    values = f"{_short(new.value)}{unit} where {than} has {_short(old.value)}{unit}"
    if budget.max_ratio is not None:
        changed = f"{_times(change.value)}{_interval(change.low, change.high)}"
        allowed = "no more is allowed" if limit == 1 else f"{_short(limit)} times are allowed"
    elif change.value == 0 and change.low == change.high:
        changed, allowed = "unchanged", f"worse by {_short(limit)} is allowed"
    elif change.value < 0:
        changed = f"better by {_short(-change.value)}{_interval(-change.high, -change.low)}"
        allowed = f"worse by {_short(limit)} is allowed"
    else:
        changed = f"worse by {_short(change.value)}{_interval(change.low, change.high)}"
        allowed = f"{_short(limit)} is allowed"
    return f"{values}, {changed}; {allowed}: {_sureness(change, limit)}"


def _times(ratio: float) -> str:
    words = _short(ratio)
    return "as much" if words == "1" else f"{words} times as much"


def _interval(low: float, high: float) -> str:
    return "" if low == high else f" (95 %: {_short(low)} to {_short(high)})"


def _sureness(change: MetricValue, limit: float) -> str:
    outcome = outcome_of(change, limit)
    if outcome == "inconclusive":
        return "the interval is too wide to tell"
    place = "beyond" if outcome == "fail" else "within"
    return f"{place} the budget" + ("" if change.low == change.high else " with the whole interval")


def _short(value: float) -> str:
    """Four digits, and all of a large whole number."""
    return f"{value:,.0f}" if abs(value) >= 10_000 and math.isfinite(value) else f"{value:.4g}"


def counted(verdicts: Sequence[Verdict]) -> str:
    """As in ``3 pass, 1 fail``."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]) or "nothing was judged"


def by_severity(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Failures first, then what was not decided, what was not judged, and what passed."""
    return sorted(verdicts, key=lambda verdict: SEVERITY.index(verdict.outcome))


def by_candidate(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    """Each candidate's verdicts, wherever they stand."""
    for candidate in dict.fromkeys(verdict.candidate for verdict in verdicts):
        yield candidate, [verdict for verdict in verdicts if verdict.candidate == candidate]


def failing_outcomes(verdicts: Sequence[Verdict], *, strict: bool) -> frozenset[Outcome]:
    """The outcomes that a gate does not let through.

    Args:
        verdicts: those of one candidate.
        strict: everything that was not found to be within its budget.
    """
    nothing = all(verdict.outcome == "skipped" and verdict.metric != ABSENT for verdict in verdicts)
    if strict or nothing:  # what judged nothing has not passed
        return frozenset(OUTCOMES) - {"pass"}
    return frozenset({"fail"})


def is_regression(verdicts: Sequence[Verdict], *, strict: bool) -> bool:
    """Whether a gate stays shut for one of the candidates."""
    return any(
        not failing_outcomes(own, strict=strict).isdisjoint(verdict.outcome for verdict in own)
        for _, own in by_candidate(verdicts)
    )
