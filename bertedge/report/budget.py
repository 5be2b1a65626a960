"""Budgets: how much worse a value may get. One table has the metrics, one the default budgets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bertedge.errors import UsageError, nearest
from bertedge.evaluate.cold_start import STARTS
from bertedge.evaluate.intervals import exactly
from bertedge.evaluate.latency import paired_ratio, workload_name
from bertedge.evaluate.metrics import DESCRIPTIONS, INVARIANCE, METRICS
from bertedge.heads import HEADS
from bertedge.metric import MetricValue
from bertedge.report.schema import CandidateReport

LATENCY, LATENCY_MS = "latency.p50", "latency.p50_ms"
#: Measured on an unchanged bundle: the ratio of its time to float's rose by up to a factor of 1.17 between two days.
APART = 1.25
HIGHER, LOWER = "higher", "lower"
BYTES = " bytes"
#: When two runs can be compared: ``fidelity`` on the same text; ``file`` always; ``time`` and ``memory`` on the same
#: machine; ``relative``, a ratio to float's time in the same run, on the same kind of CPU.
Scope = Literal["fidelity", "file", "time", "memory", "relative"]
#: Detail (a workload, a kind of texts, or an empty string) -> value with its interval.
Readings = dict[str, MetricValue]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A metric that can have a budget.

    Attributes:
        read: returns a model's values of the metric.
        better: ``higher`` or ``lower``.
        floor: smaller values count as this value, because they differ only by rounding.
        unit: printed after a value.
    """

    read: Callable[[CandidateReport], Readings]
    better: str
    scope: Scope
    floor: float = -math.inf
    unit: str = ""


def _fidelity(name: str) -> Callable[[CandidateReport], Readings]:
    def readings(model: CandidateReport) -> Readings:
        main = {"": model.fidelity[name]} if name in model.fidelity else {}
        return main | {other.kind: other.fidelity[name] for other in model.by_kind if name in other.fidelity}

    return readings


def _number(read: Callable[[CandidateReport], float | None]) -> Callable[[CandidateReport], Readings]:
    def readings(model: CandidateReport) -> Readings:
        value = read(model)
        return {} if value is None else {"": exactly(float(value))}

    return readings


def _ratios(model: CandidateReport) -> Readings:
    return {workload_name(entry): entry.ratio_to_reference for entry in model.latency}


def _milliseconds(model: CandidateReport) -> Readings:
    readings = {}
    for entry in model.latency:
        samples = np.array(entry.samples_ms)
        readings[workload_name(entry)] = paired_ratio(
            samples, np.ones_like(samples), rounds_per_sitting=entry.rounds_per_sitting
        )
    return readings


def _cold_start(model: CandidateReport) -> Readings:
    """The median of the starts. Its interval goes from the shortest to the longest start.

    The interval of n starts contains the true median with probability 1 - 2 / 2**n: 0.94 for five. Fewer starts are
    not judged.
    """
    samples = model.cold_start_samples_ms
    if model.cold_start_ms is None or len(samples) < STARTS:
        return {}
    return {"": MetricValue(value=model.cold_start_ms, low=min(samples), high=max(samples), n=len(samples))}


JUDGED: dict[str, Judged] = {
    name: Judged(
        read=_fidelity(name),
        better=better,
        scope="fidelity",
        floor=METRICS[name].floor if name in METRICS else -math.inf,
    )
    for name, (better, _) in DESCRIPTIONS.items()
} | {
    LATENCY: Judged(read=_ratios, better=LOWER, scope="relative", unit=" of float's time"),
    LATENCY_MS: Judged(read=_milliseconds, better=LOWER, scope="time", unit=" ms"),
    "cold_start_ms": Judged(read=_cold_start, better=LOWER, scope="time", unit=" ms"),
    "peak_rss_bytes": Judged(
        read=_number(lambda model: model.peak_rss_bytes), better=LOWER, scope="memory", unit=BYTES
    ),
    "size_bytes": Judged(read=_number(lambda model: model.size_bytes), better=LOWER, scope="file", unit=BYTES),
    "coverage.macs": Judged(read=_number(lambda model: model.coverage.macs), better=HIGHER, scope="file"),
    "coverage.bytes": Judged(read=_number(lambda model: model.coverage.bytes), better=HIGHER, scope="file"),
}


#: Metrics that are negative where int8 is better than float.
SIGNED = frozenset(name for name in METRICS if name.endswith(("_drop", "_rise")))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much worse a metric may get; exactly one of ``max_drop`` and ``max_ratio``.

    Attributes:
        max_drop: the largest loss in the metric's unit: a fall where higher is better, a rise where lower is better.
        max_ratio: the largest new / old, for metrics where lower is better.
        apart: replaces ``max_ratio`` where new and old come from two runs; for ``latency.p50`` only; default: the
            larger of ``APART`` and ``max_ratio``.
    """

    metric: str
    max_drop: float | None = None
    max_ratio: float | None = None
    apart: float | None = None

    def __post_init__(self) -> None:
        if self.metric not in JUDGED:
            raise UsageError(f"budget: no metric is called {self.metric!r}", nearest(self.metric, JUDGED))
        if (self.max_drop is None) == (self.max_ratio is None):
            raise UsageError(f"budget {self.metric}: expected max_drop or max_ratio", "give exactly one of the two")
        judged = JUDGED[self.metric]
        if self.max_ratio is not None and judged.better == HIGHER:
            raise UsageError(
                f"budget {self.metric}: max_ratio is for metrics that are better when lower", "give max_drop instead"
            )
        if self.max_ratio is not None and self.metric in SIGNED:
            raise UsageError(
                f"budget {self.metric}: it can be negative, so a ratio has no meaning", "give max_drop instead"
            )
        if self.max_drop is not None and judged.scope == "relative":
            raise UsageError(f"budget {self.metric}: max_drop has no meaning for a ratio", "give max_ratio instead")
        if self.apart is not None and judged.scope != "relative":
            raise UsageError(f"budget {self.metric}: apart is for {LATENCY} only", "leave it out")
        for name, value, least in (("max_drop", self.max_drop, 0), ("max_ratio", self.max_ratio, 1)):
            _require_at_least(self.metric, name, value, least)
        _require_at_least(self.metric, "apart", self.apart, 1)

    def limit(self, *, apart: bool) -> float:
        """The largest change that is allowed.

        Args:
            apart: new and old come from two runs.
        """
        if self.max_ratio is None:
            return self.max_drop or 0.0
        if apart and JUDGED[self.metric].scope == "relative":
            return self.apart or max(self.max_ratio, APART)
        return self.max_ratio


def _require_at_least(metric: str, name: str, value: float | None, least: float) -> None:
    if value is not None and not least <= value < math.inf:
        raise UsageError(
            f"budget {metric}: {name} is {value}, expected {least} or more", "a budget says how much worse it may get"
        )


Budgets = dict[str, Budget]
DEFAULTS: Budgets = {
    budget.metric: budget
    for budget in (
        *(Budget(metric=name, **limits) for head in HEADS.values() for name, limits in head.budgets.items()),
        Budget(metric=f"{INVARIANCE}max_prob_diff", max_drop=1e-4),
        Budget(metric=f"{INVARIANCE}max_vector_diff", max_drop=1e-4),
        Budget(metric=LATENCY, max_ratio=1.05),
        Budget(metric="cold_start_ms", max_ratio=2.0),
        Budget(metric="peak_rss_bytes", max_ratio=1.1),
        Budget(metric="size_bytes", max_ratio=1.02),
        Budget(metric="coverage.macs", max_drop=0.01),
    )
}
