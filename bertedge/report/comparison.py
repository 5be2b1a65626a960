"""One budget: how much worse a candidate is than what it is judged by, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bertedge.errors import FileError
from bertedge.evaluate.bootstrap import largest_share
from bertedge.evaluate.intervals import difference, exactly, outcome_of, quotient
from bertedge.evaluate.latency import MEASURE_AGAIN, paired_ratio, workload_name
from bertedge.evaluate.metrics import METRICS
from bertedge.metric import MetricValue
from bertedge.report.budget import HIGHER, JUDGED, Budget
from bertedge.report.pair import Pair
from bertedge.report.verdict import Verdict, say

#: Times of two runs are not held against a model where the machine was so much busier (share of the CPU time).
MAX_OTHERS_DIFFERENCE, MAX_STOLEN_DIFFERENCE = 0.10, 0.05
#: A busier machine excuses no more than so many times what is allowed.
EXCUSED = 2.0
#: The bootstrap over fewer texts gives intervals that are too narrow; ``shares_of_passes`` in the tests.
FEW_TEXTS = 16
#: Scopes of what depends on other processes, too.
TIMED = ("time", "relative")


def compare_pair(pair: Pair, budget: Budget, blank: Verdict, new: MetricValue, old: MetricValue) -> Verdict:
    """The verdict on one value.

    Args:
        blank: candidate, metric and detail.
    """
    judged = JUDGED[budget.metric]
    limit = budget.max_ratio if budget.max_ratio is not None else budget.max_drop or 0.0
    timed = judged.scope in TIMED
    if pair.together and timed and blank.detail and budget.max_ratio is not None:
        new, old, change = _paired(pair, blank.detail)
        how = f" (pairs of {change.n} rounds of one run)"
        sentence, outcome = (
            say(budget, limit, new, old, change, than=pair.than, unit=" ms") + how,
            outcome_of(change, limit),
        )
        return replace(blank, outcome=outcome, sentence=sentence, change=change, undecided=outcome == "inconclusive")
    change, how = _change(pair, budget, blank.detail, new, old)
    if judged.scope == "relative" and budget.apart is not None:
        limit = budget.apart
    differences = pair.report.machine.differences(pair.baseline.machine)
    if judged.scope == "relative" and differences:
        how += f", on another machine of the same kind: {'; '.join(differences)}"
    outcome, sentence = outcome_of(change, limit), say(budget, limit, new, old, change, than=pair.than) + how
    texts = _texts(pair, blank.detail)
    if _too_few(texts, pair, budget, blank.detail, change, limit):
        sentence = f"{sentence}; but {texts} texts are too few to be sure"
        return replace(blank, outcome="inconclusive", sentence=sentence, change=change)
    doubt = _doubt(pair) if timed and outcome == "fail" and change.low <= EXCUSED * limit else ""
    if doubt:
        outcome, sentence = (
            "inconclusive",
            f"{sentence}; but {doubt}, so the two runs cannot be held against each other",
        )
    undecided = outcome == "inconclusive" and not doubt
    return replace(blank, outcome=outcome, sentence=sentence, change=change, undecided=undecided)


def _too_few(texts: int, pair: Pair, budget: Budget, detail: str, change: MetricValue, limit: float) -> bool:
    """Whether the verdict on a metric stands on too few texts; a fall that no luck explains stands on any number."""
    metric = METRICS.get(budget.metric)
    if metric is None or texts >= FEW_TEXTS or _same_answers(pair, budget.metric, detail):
        return False
    return metric.bounds is None or change.low <= limit + largest_share(0, texts)


def _paired(pair: Pair, workload: str) -> tuple[MetricValue, MetricValue, MetricValue]:
    """Both medians of the rounds in ms, and the ratio: rounds against rounds of the same run."""
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
    """How much worse, and how that was compared.

    Args:
        detail: of fidelity, the kind of texts; empty for the main kind.
    """
    judged = JUDGED[budget.metric]
    new, old = _floored(new, judged.floor), _floored(old, judged.floor)
    by_ratio = budget.max_ratio is not None
    if judged.scope == "fidelity" and pair.same_sample and _same_answers(pair, budget.metric, detail):
        return exactly(1.0 if by_ratio else 0.0), " (the same texts, the same to the last digit)"
    paired = pair.new.changes_on(detail).get(budget.metric) if pair.together else None
    seen = paired and (paired.ratio if by_ratio else paired.difference)
    if seen:
        how = f" (pairs of answers to the same {_texts(pair, detail)} texts)"
        return (-seen if judged.better == HIGHER else seen), how
    if by_ratio:
        change = quotient(new, old)
    else:
        change = difference(old, new) if judged.better == HIGHER else difference(new, old)
    return change, "" if change.low == change.high else " (two samples that were measured apart)"


def _texts(pair: Pair, detail: str) -> int:
    """How many texts the smaller of the two samples has."""
    sizes = [pair.report.corpus.examples, pair.baseline.corpus.examples]
    for model in (pair.new, pair.old):
        sizes += [other.texts for other in model.by_kind if other.kind == detail]
    return min(sizes)


def _same_answers(pair: Pair, metric: str, detail: str) -> bool:
    """Whether all metrics of a head are the same: one alone may be so by chance.

    Their intervals may not be, which follow from the same answers by the ways of another version.
    """
    head = f"{metric.split('.')[0]}."
    mine, its = (
        {name: (seen.value, seen.n) for name, seen in model.fidelity_on(detail).items() if name.startswith(head)}
        for model in (pair.new, pair.old)
    )
    return mine == its


def _floored(value: MetricValue, floor: float) -> MetricValue:
    return replace(value, value=max(value.value, floor), low=max(value.low, floor), high=max(value.high, floor))


def _doubt(pair: Pair) -> str:
    """Why the later run may be slower even if the model is not; empty where nothing speaks for that."""
    now, then = pair.report.stability, pair.baseline.stability
    if now is None or then is None:
        return ""
    for mine, its, limit, words in (
        (now.others, then.others, MAX_OTHERS_DIFFERENCE, "other processes used"),
        (now.stolen, then.stolen, MAX_STOLEN_DIFFERENCE, "the host took"),
    ):
        if mine is not None and its is not None and mine - its > limit:
            return f"{words} {100 * mine:.0f} % of the CPU time now and {100 * its:.0f} % in the baseline's run"
    return ""
