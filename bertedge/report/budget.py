"""Budgets: how much worse than its baseline a number may be. One table of what can be judged, one of the defaults."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bertedge.errors import FileError, UsageError, nearest
from bertedge.evaluate.cold_start import STARTS
from bertedge.evaluate.intervals import exactly
from bertedge.evaluate.latency import paired_ratio, workload_name
from bertedge.evaluate.metrics import DESCRIPTIONS, INVARIANCE, METRICS
from bertedge.files import read_text
from bertedge.metric import MetricValue
from bertedge.report.schema import CandidateReport

LATENCY, LATENCY_MS = "latency.p50", "latency.p50_ms"
HIGHER, LOWER = "higher", "lower"
BYTES = " bytes"
#: Where two runs may be compared: ``fidelity`` on the same text; ``file`` always; ``time`` and ``memory`` on the same
#: machine; ``relative`` on machines of the same kind, for each number is a ratio to the reference beside it.
Scope = Literal["fidelity", "file", "time", "memory", "relative"]
#: Detail (a workload, or nothing) -> value with its interval.
Readings = dict[str, MetricValue]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Something in a report that can have a budget.

    Attributes:
        read: what a model has of it.
        better: ``higher`` or ``lower``.
        floor: smaller numbers are as good as this one; below it there is only rounding.
        unit: to be written after a value.
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
    """The median of n starts lies between the smallest and the largest with a probability of 1 - 2 / 2**n.

    Of five that is 0.94; of fewer it is no interval to judge by.
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


#: What is negative where int8 does better than float.
SIGNED = frozenset(name for name in METRICS if name.endswith("_drop"))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much worse than the baseline a metric may be; exactly one of the two.

    Attributes:
        max_drop: in the metric's own unit; a fall where higher is better, a rise where lower is.
        max_ratio: new over old, for what is better when it is lower.
        apart: ``max_ratio`` of two runs, for ``latency.p50`` only: from one day to the next the same machine is another
            one, and so is another machine of the same kind. Without it, ``max_ratio`` holds on the same machine, and
            elsewhere nothing is judged.
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
                f"budget {self.metric}: max_ratio is for what is better when it is lower", "give max_drop instead"
            )
        if self.max_ratio is not None and self.metric in SIGNED:
            raise UsageError(
                f"budget {self.metric}: may be negative, so a ratio means nothing", "give max_drop instead"
            )
        if self.max_drop is not None and judged.scope == "relative":
            raise UsageError(f"budget {self.metric}: max_drop has no meaning for a ratio", "give max_ratio instead")
        if self.apart is not None and judged.scope != "relative":
            raise UsageError(f"budget {self.metric}: apart is for {LATENCY} only", "leave it out")
        for name, value, least in (("max_drop", self.max_drop, 0), ("max_ratio", self.max_ratio, 1)):
            _require_at_least(self.metric, name, value, least)
        _require_at_least(self.metric, "apart", self.apart, 1)


def _require_at_least(metric: str, name: str, value: float | None, least: float) -> None:
    if value is not None and not least <= value < math.inf:
        raise UsageError(
            f"budget {metric}: {name} is {value}, expected {least} or more", "a budget says how much worse it may get"
        )


Budgets = dict[str, Budget]
DEFAULTS: Budgets = {
    budget.metric: budget
    for budget in (
        Budget(metric="mlm.top1_agreement", max_drop=0.01),
        Budget(metric="mlm.kl_mean", max_ratio=1.25),
        Budget(metric="mlm.top1_accuracy_drop", max_drop=0.01),
        Budget(metric="nsp.flip_rate", max_drop=0.02),  # what the 181 pairs of the built-in text can tell
        Budget(metric="embedding.cosine_mean", max_drop=0.002),
        Budget(metric="embedding.cosine_p01", max_drop=0.01),
        Budget(metric="embedding.neighbours_at_10", max_drop=0.02),
        Budget(metric="pooler.cosine_mean", max_drop=0.005),
        Budget(metric=f"{INVARIANCE}max_prob_diff", max_drop=1e-4),
        Budget(metric=f"{INVARIANCE}max_vector_diff", max_drop=1e-4),
        Budget(metric=LATENCY, max_ratio=1.05, apart=1.25),
        Budget(metric="cold_start_ms", max_ratio=2.0),
        Budget(metric="peak_rss_bytes", max_ratio=1.1),
        Budget(metric="size_bytes", max_ratio=1.02),
        Budget(metric="coverage.macs", max_drop=0.01),
    )
}
LIMITS = tuple(field.name for field in fields(Budget) if field.name != "metric")
#: What a limit was called -> what to do.
RENAMED = {"elsewhere": "it is called apart now, and holds for every two runs, on one machine or two"}
EXAMPLE = 'for instance: "mlm.top1_agreement" = { max_drop = 0.01 }'


def read_budgets(path: Path) -> Budgets:
    """The defaults, changed by a TOML file: ``metric = { max_ratio = 1.1 }``, or ``metric = false`` for none.

    Raises:
        FileError: it cannot be read, or is not TOML.
        UsageError: a metric that is not known, or a limit that makes no sense.
    """
    try:
        raw = tomllib.loads(read_text(path))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not TOML ({error})", EXAMPLE) from error
    budgets = dict(DEFAULTS)
    seen: set[str] = set()
    for metric, limits in _flat(raw):
        if metric in seen:
            raise UsageError(f"{path}: {metric} stands there twice", "TOML has two spellings of it; keep one")
        seen.add(metric)
        if metric not in JUDGED:
            raise UsageError(f"{path}: no metric is called {metric!r}", nearest(metric, JUDGED))
        if limits is False:
            budgets.pop(metric, None)
            continue
        budgets[metric] = _budget(path, metric, limits)
    if not budgets:
        raise UsageError(f"{path}: every budget is switched off", "leave out what is to be judged as usual")
    return budgets


def _flat(raw: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """``[mlm.top1_agreement]`` and ``["mlm.top1_agreement"]`` are the same; a table inside a table is a longer name."""
    rows = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, dict) and value and name not in JUDGED and not set(value) & set(LIMITS)
        rows += _flat(value, f"{name}.") if inner else [(name, value)]
    return rows


def _budget(path: Path, metric: str, limits: Any) -> Budget:
    if not isinstance(limits, dict):
        raise UsageError(f"{path}: {metric} is {limits!r}, expected a table or false", EXAMPLE)
    for name, value in limits.items():
        if name not in LIMITS:
            hint = RENAMED.get(name) or nearest(name, LIMITS)
            raise UsageError(f"{path}: {metric} has no limit called {name!r}", hint)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{path}: {metric}.{name} is {value!r}, expected a number", EXAMPLE)
    try:
        return Budget(metric=metric, **_completed(metric, {name: _float(value) for name, value in limits.items()}))
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def _completed(metric: str, limits: dict[str, float]) -> dict[str, float]:
    """Where one of the two limits of latency is named, the other is the default's.

    Two runs differ by more than the rounds of one do, so they are never judged more strictly by default.
    """
    default = DEFAULTS.get(metric)
    if default is None or default.apart is None or default.max_ratio is None or not limits or "max_drop" in limits:
        return limits
    ratio = limits.get("max_ratio", default.max_ratio)
    return {"max_ratio": ratio, "apart": max(ratio, default.apart), **limits}


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # TOML's integers have no end
        return math.inf
