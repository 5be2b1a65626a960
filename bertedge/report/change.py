"""The change of one value since the baseline, with its 95 % interval, and the verdict on it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bertedge.errors import FileError
from bertedge.evaluate.intervals import difference, exactly, outcome_of, quotient
from bertedge.evaluate.latency import MEASURE_AGAIN, paired_ratio, workload_name
from bertedge.metric import MetricValue
from bertedge.report.budget import HIGHER, JUDGED, Budget
from bertedge.report.pair import Pair
from bertedge.report.verdict import Verdict, sentence

#: The factor by which load on the machine can raise a time or its ratio to float. Measured on ratios: up to 1.8.
BUSY_FACTOR = 2.0


def verdict_on(pair: Pair, budget: Budget, blank: Verdict, new: MetricValue, old: MetricValue) -> Verdict:
    """The verdict on one value.

    Args:
        blank: a verdict in which only the candidate, the metric and the detail are set.
    """
    judged = JUDGED[budget.metric]
    timed, unit, busier = judged.scope in ("time", "relative"), judged.unit, ""
    if timed and pair.together and blank.detail and budget.max_ratio is not None:
        new, old, change = _rounds(pair, blank.detail)
        how, unit = f"pairs of {change.n} rounds of one run", " ms"
    else:
        change, how = _change(pair, budget, blank.detail, new, old)
    if timed and not pair.together:
        busier = _busier(pair)
        if busier:
            factor = _load_factor(pair, budget.metric, blank.detail)
            change = replace(change, low=min(change.low / factor, change.value))
            how = f"low end divided by {factor:.3g}, because {busier}"
    limit = budget.limit(apart=not pair.together)
    outcome = outcome_of(change, limit)
    words = sentence(budget, limit, new, old, change, than=pair.than, unit=unit)
    notes = [note for note in (how, "" if judged.scope == "file" else pair.engines) if note]
    return replace(
        blank,
        outcome=outcome,
        sentence=f"{words} ({'; '.join(notes)})" if notes else words,
        change=change,
        undecided=outcome == "inconclusive" and not busier,
    )


def _busier(pair: Pair) -> str:
    now, then = pair.report.stability, pair.baseline.stability
    return now.busier_than(then) if now and then else ""


def _load_factor(pair: Pair, metric: str, detail: str) -> float:
    """The factor by which load can raise a time: the upper end of the factor for float, and at least 2."""
    read = JUDGED[metric].read
    now, then = (read(one.reference).get(detail) for one in (pair.report, pair.baseline))
    if JUDGED[metric].scope != "time" or now is None or then is None:
        return BUSY_FACTOR
    slower = quotient(now, then).high
    return max(BUSY_FACTOR, slower) if math.isfinite(slower) else BUSY_FACTOR


def _rounds(pair: Pair, workload: str) -> tuple[MetricValue, MetricValue, MetricValue]:
    """Both medians of the rounds in ms, and the ratio between rounds that were measured next to each other."""
    new, old = (
        next(entry for entry in model.latency if workload_name(entry) == workload) for model in (pair.new, pair.old)
    )
    if len(new.samples_ms) != len(old.samples_ms):
        raise FileError(
            f"latency of {workload}: {pair.new.name} and {pair.old.name} have different numbers of rounds",
            MEASURE_AGAIN,
        )
    ratio = paired_ratio(np.array(new.samples_ms), np.array(old.samples_ms), rounds_per_sitting=new.rounds_per_sitting)
    mine, its = (exactly(float(np.median(entry.samples_ms))) for entry in (new, old))
    return mine, its, ratio


def _change(pair: Pair, budget: Budget, detail: str, new: MetricValue, old: MetricValue) -> tuple[MetricValue, str]:
    """How much worse the new value is, and how the two were compared.

    Args:
        detail: the kind of texts that fidelity was measured on; empty for the main kind.
    """
    judged, by_ratio = JUDGED[budget.metric], budget.max_ratio is not None
    if judged.scope == "fidelity" and pair.same_sample and _same_answers(pair, budget.metric, detail):
        return exactly(1.0 if by_ratio else 0.0), "the same texts and the same numbers"
    paired = pair.new.changes_on(detail).get(budget.metric) if pair.together else None
    change = paired and (paired.ratio if by_ratio else paired.difference)
    if change:
        return (-change if judged.better == HIGHER else change), "pairs of answers to the same texts"
    new, old = (_floored(value, judged.floor) for value in (new, old))
    if by_ratio:
        change = quotient(new, old)
    else:
        change = difference(old, new) if judged.better == HIGHER else difference(new, old)
    return change, "" if change.low == change.high else "two separate samples"


def _same_answers(pair: Pair, metric: str, detail: str) -> bool:
    """Whether all metrics of a head have the same values. One metric alone can be equal by chance.

    Intervals are not compared: another version may compute them differently from the same answers.
    """
    head = f"{metric.split('.')[0]}."
    mine, its = (
        {name: (seen.value, seen.n) for name, seen in model.fidelity_on(detail).items() if name.startswith(head)}
        for model in (pair.new, pair.old)
    )
    return mine == its


def _floored(value: MetricValue, floor: float) -> MetricValue:
    return replace(value, value=max(value.value, floor), low=max(value.low, floor), high=max(value.high, floor))
