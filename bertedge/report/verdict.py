"""Verdicts and their sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bertedge.evaluate.intervals import outcome_of
from bertedge.metric import MetricValue
from bertedge.report.budget import Budget

#: The metric of a verdict on a candidate that only the baseline has. It has no effect on other candidates.
ABSENT = "candidate"
Outcome = Literal["pass", "fail", "inconclusive", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "inconclusive", "skipped")
SEVERITY: tuple[Outcome, ...] = ("fail", "inconclusive", "skipped", "pass")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One budget of one candidate.

    Attributes:
        detail: the workload or the kind of texts, where a metric has several values; otherwise empty.
        sentence: the change of the value, how certain it is, and the limit.
        change: new - old or new / old, with its 95 % interval; None if nothing was compared.
        undecided: the interval contains the limit, and more measuring can decide the verdict.
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


def sentence(
    budget: Budget, limit: float, new: MetricValue, old: MetricValue, change: MetricValue, *, than: str, unit: str
) -> str:
    """The sentence of a verdict: both values, the change, the limit, and how certain the verdict is.

    Args:
        than: the judge, in words.
        unit: the unit of both values.
    """
    values = f"{_short(new.value)}{unit}, {than} {_short(old.value)}{unit}"
    by_ratio, interval = budget.max_ratio is not None, _interval(change.low, change.high)
    allowed = f"{_short(limit)} times" if by_ratio else f"{_short(limit)} worse"
    if change.low == change.high == (1 if by_ratio else 0):
        changed = "unchanged"
    elif by_ratio:
        times = _short(change.value)
        changed = f"{'as much' if times == '1' else f'{times} times as much'}{interval}"
    elif change.value < 0:
        changed = f"{_short(-change.value)} better{_interval(-change.high, -change.low)}"
    else:
        changed = f"{_short(change.value)} worse{interval}"
    return f"{values}: {changed}; allowed: {allowed}; {_sureness(change, limit)}"


def _interval(low: float, high: float) -> str:
    return "" if low == high else f" (95 %: {_short(low)} to {_short(high)})"


def _sureness(change: MetricValue, limit: float) -> str:
    outcome, exact = outcome_of(change, limit), change.low == change.high
    if outcome == "inconclusive":
        return "the interval contains the limit"
    place = "beyond the budget" if outcome == "fail" else "within the budget"
    return place if exact else f"the whole interval is {place}"


def _short(value: float) -> str:
    """Four digits; of large numbers all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 10_000 and math.isfinite(value) else f"{value:.4g}"


def counted(verdicts: Sequence[Verdict]) -> str:
    """``3 pass, 1 fail``."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]) or "nothing was judged"


def by_severity(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Failures first, then inconclusive, skipped and passed verdicts."""
    return sorted(verdicts, key=lambda verdict: SEVERITY.index(verdict.outcome))


def by_candidate(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    """The verdicts of each candidate, in their order."""
    for candidate in dict.fromkeys(verdict.candidate for verdict in verdicts):
        yield candidate, [verdict for verdict in verdicts if verdict.candidate == candidate]


def failing_outcomes(verdicts: Sequence[Verdict], *, strict: bool) -> frozenset[Outcome]:
    """The outcomes that count as a failure.

    Args:
        verdicts: those of one candidate.
        strict: everything but ``pass`` counts as a failure.
    """
    nothing = all(verdict.outcome == "skipped" and verdict.metric != ABSENT for verdict in verdicts)
    if strict or nothing:  # a candidate of which nothing was judged has not passed
        return frozenset(OUTCOMES) - {"pass"}
    return frozenset({"fail"})


def is_regression(verdicts: Sequence[Verdict], *, strict: bool) -> bool:
    """Whether one of the candidates fails."""
    return any(
        not failing_outcomes(own, strict=strict).isdisjoint(verdict.outcome for verdict in own)
        for _, own in by_candidate(verdicts)
    )
