"""The numbers that the charts of a report show."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bertedge.evaluate.intervals import exactly
from bertedge.evaluate.latency import LatencyReport
from bertedge.evaluate.metrics import METRICS
from bertedge.heads import HEADS, MAIN_FIRST
from bertedge.metric import MetricValue
from bertedge.report.schema import CandidateReport, Report

#: Metrics that are drawn over latency -> label of the axis.
TRADE_OFFS = {metric: words for head in MAIN_FIRST for metric, words in head.trade_offs.items()}
#: Metrics that are drawn over the length of the text -> label of the axis.
OVER_LENGTH = {metric: words for head in MAIN_FIRST for metric, words in head.over_length.items()}
#: Names of parts by the first pattern that matches; parts of one name are added up.
PARTS = (
    (r"embeddings(\.projection)?", "embeddings"),
    (r"encoder\.layer\.\d+\.attention\.qkv", "query, key, value, attention"),
    (r"encoder\.layer\.\d+\.attention\.output", "attention output"),
    (r"encoder\.layer\.\d+\.intermediate", "feed-forward, widening"),
    (r"encoder\.layer\.\d+\.output", "feed-forward, narrowing"),
    (r"encoder\.layer\.\d+", "encoder blocks"),
    (r"encoder", "shared by all blocks"),
    (r"pooler", "pooler"),
    *(row for head in MAIN_FIRST for row in head.part_names.items()),
)
OTHER = "other"
#: Rows with a smaller share of a model's total are added up as "other".
LEAST_SHARE = 0.005


def unread_metrics(report: Report) -> set[str]:
    """Metrics of answers that nobody reads, such as the hidden states of a classifier; they are in the JSON only."""
    parts = report.reference.manifest.parts
    return {metric for name, head in HEADS.items() if parts.leaves_unread(name) for metric in head.metrics}


def without_unread(rows: Mapping[str, str], report: Report) -> dict[str, str]:
    """Rows of metrics without those of :func:`unread_metrics`."""
    unread = unread_metrics(report)
    return {metric: words for metric, words in rows.items() if metric not in unread}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model's latency and metric; ``series`` is its place in the report, 0 is the reference."""

    series: int
    name: str
    ms: float
    value: float
    low: float
    high: float
    best: bool = False


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in percent."""
    return metric in METRICS and METRICS[metric].bounds == (0, 1)


def models_of(report: Report) -> list[CandidateReport]:
    """The reference, the candidates and the ``against`` bundle. The index of a model in this list is its series."""
    return [report.reference, *report.candidates, *([report.against] if report.against else [])]


def main_workload(report: Report) -> LatencyReport | None:
    """The longest text that was timed alone, otherwise the last workload."""
    entries = report.reference.latency
    alone = [entry for entry in entries if entry.batch_size == 1]
    return max(alone, key=lambda entry: entry.seq_len) if alone else (entries[-1] if entries else None)


def at_workload(model: CandidateReport, workload: LatencyReport) -> LatencyReport | None:
    """A model's latency on a workload."""
    key = (workload.batch_size, workload.seq_len)
    return next((entry for entry in model.latency if (entry.batch_size, entry.seq_len) == key), None)


def reference_value(report: Report, metric: str, kind: str = "") -> float | None:
    """Float's value of a metric: a candidate's value plus its drop, or minus its rise.

    None for metrics that compare with float.

    Args:
        kind: of the texts; empty for the main kind.
    """
    for change, sign in ((f"{metric}_drop", 1), (f"{metric}_rise", -1)):
        for candidate in report.candidates if change in METRICS else ():
            seen = candidate.fidelity_on(kind)
            if metric in seen and change in seen:
                return seen[metric].value + sign * seen[change].value
    return None


def trade_off(report: Report, metric: str) -> list[Point]:
    """A point for every model that has both numbers, with the Pareto set marked; empty without a candidate."""
    workload = main_workload(report)
    if workload is None:
        return []
    points = []
    # a metric without a drop compares with float, so float itself has the best value; higher is better for all of them
    known = reference_value(report, metric) if f"{metric}_drop" in METRICS else 1.0
    if known is not None:
        points.append(
            Point(series=0, name=report.reference.name, ms=workload.p50_ms, value=known, low=known, high=known)
        )
    for series, model in enumerate(models_of(report)[1:], start=1):
        entry, value = at_workload(model, workload), model.fidelity.get(metric)
        if entry is not None and value is not None:
            points.append(
                Point(
                    series=series,
                    name=model.name,
                    ms=entry.p50_ms,
                    value=value.value,
                    low=value.low,
                    high=value.high,
                )
            )
    if not any(point.series for point in points):
        return []
    return _frontier(points)


def _frontier(points: Sequence[Point]) -> list[Point]:
    """Mark the Pareto set: no other point is at least as good in both numbers and better in one."""

    def is_dominated(point: Point) -> bool:
        return any(
            other.ms <= point.ms and other.value >= point.value and (other.ms, other.value) != (point.ms, point.value)
            for other in points
        )

    return [Point(**{**vars(point), "best": not is_dominated(point)}) for point in points]


def part_name(part: str) -> str:
    """The name of a part of the model."""
    return next((words for pattern, words in PARTS if re.fullmatch(pattern, part)), OTHER)


#: Row -> series -> value with its interval. Series without a value are left out.
Table = dict[str, dict[int, MetricValue]]


def time_by(report: Report, key: Callable[[str, str], str], *, most: int = 9) -> Table:
    """Milliseconds of each model's profile, summed by a key of (part, operator), the largest first."""
    sums: Table = defaultdict(dict)
    for series, model in enumerate(models_of(report)):
        for operator in model.profile.operators if model.profile else ():
            _add(sums[key(operator.part, operator.op_type)], series, operator.value)
    return _largest(sums, most)


def bytes_by_part(report: Report) -> Table:
    """Megabytes of each model's weights by part."""
    sums: Table = defaultdict(dict)
    for series, model in enumerate(models_of(report)):
        for part, size in model.manifest.bytes_by_part.items():
            _add(sums[part_name(part)], series, exactly(size / 1e6))
    return _largest(sums, most=8)


def _add(row: dict[int, MetricValue], series: int, more: MetricValue) -> None:
    """Add to one value of a row. A disturbance slows all operators, so the ends of intervals add up."""
    have = row.get(series, exactly(0.0))
    row[series] = MetricValue(
        value=have.value + more.value, low=have.low + more.low, high=have.high + more.high, n=max(have.n, more.n)
    )


def _largest(sums: Mapping[str, Mapping[int, MetricValue]], most: int) -> Table:
    """The rows with a large share of some model, largest first; the last row is the sum of all others."""
    totals: dict[int, float] = defaultdict(float)
    for row in sums.values():
        for series, value in row.items():
            totals[series] += value.value

    def share(label: str) -> float:
        return max(value.value / (totals[series] or 1) for series, value in sums[label].items())

    def size(label: str) -> float:
        return max(value.value for value in sums[label].values())

    rows = sorted((row for row in sums if row != OTHER), key=size, reverse=True)
    kept = [row for row in rows if share(row) >= LEAST_SHARE][:most]
    rest: dict[int, MetricValue] = {}
    for label in (label for label in sums if label not in kept):  # in a fixed order, because float sums depend on it
        for series, value in sums[label].items():
            _add(rest, series, value)
    return {label: dict(sums[label]) for label in kept} | ({OTHER: rest} if rest else {})


def memory(report: Report) -> Table:
    """Megabytes of each model on disk, and of the process that runs it if that was measured."""
    models = list(enumerate(models_of(report)))
    rows = {
        "the file": {series: exactly(model.size_bytes / 1e6) for series, model in models},
        "peak memory of a process": {
            series: exactly(model.peak_rss_bytes / 1e6) for series, model in models if model.peak_rss_bytes is not None
        },
    }
    return {label: row for label, row in rows.items() if row}


def over_length(report: Report, metric: str) -> dict[int, list[tuple[int, MetricValue]]]:
    """Series -> (tokens, value) of each length, for candidates with more than one length."""
    lines = {}
    for series, model in enumerate(models_of(report)[1:], start=1):
        line = [(entry.max_length, entry.fidelity[metric]) for entry in model.by_length if metric in entry.fidelity]
        if len(line) > 1:
            lines[series] = line
    return lines


def workloads(report: Report) -> Iterable[tuple[str, list[tuple[int, LatencyReport]]]]:
    """Workload in words, and (series, latency) of every model that was timed on it."""
    for entry in report.reference.latency:
        found = [(series, at_workload(model, entry)) for series, model in enumerate(models_of(report))]
        yield workload_in_words(entry), [(series, latency) for series, latency in found if latency is not None]


def workload_in_words(entry: LatencyReport) -> str:
    """``one text of 16 tokens``, ``8 texts of 64 tokens``."""
    return f"{'one text' if entry.batch_size == 1 else f'{entry.batch_size} texts'} of {entry.seq_len} tokens"
