"""The gate: a report judged by a baseline and budgets.

A change has an interval, and the rule is one: beyond the budget with the whole interval is ``fail``, within it with the
whole interval is ``pass``, anything else is ``inconclusive``. So noise makes verdicts that say nothing, not verdicts
that are wrong: for a false alarm the interval must miss the truth by all of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bertedge.errors import FileError, UsageError
from bertedge.evaluate.bootstrap import largest_share
from bertedge.evaluate.intervals import difference, exactly, outcome_of, quotient
from bertedge.evaluate.latency import MEASURE_AGAIN, paired_ratio, workload_name
from bertedge.evaluate.metrics import METRICS, MetricValue
from bertedge.report.budget import HIGHER, JUDGED, Budget, Budgets, Judged
from bertedge.report.report import CandidateReport, Report
from bertedge.report.verdict import ABSENT, Verdict, say

#: Times of two runs are not held against a model where the machine was so much busier (share of the CPU time).
MAX_OTHERS_DIFFERENCE, MAX_STOLEN_DIFFERENCE = 0.10, 0.05
#: A busier machine excuses no more than so many times what is allowed.
EXCUSED = 2.0
#: The bootstrap over fewer texts gives intervals that are too narrow; ``shares_of_passes`` in the tests.
FEW_TEXTS = 16
#: Scopes of what the machine has a say in; of those, of what other processes have.
ON_MACHINE, TIMED = ("time", "memory", "relative"), ("time", "relative")
NEW_BASELINE = 'if it is meant to be so: --update-baseline --reason "..."'


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A candidate and what it is judged by.

    Attributes:
        together: both were measured in the same rounds.
    """

    new: CandidateReport
    old: CandidateReport
    report: Report
    baseline: Report
    together: bool

    @property
    def than(self) -> str:
        """What the new one is judged by, in words."""
        return self.old.name if self.together else "the baseline"

    @property
    def same_text(self) -> bool:
        """Both saw texts of the same file, not necessarily the same ones."""
        return self.report.corpus.sha256 == self.baseline.corpus.sha256

    @property
    def same_sample(self) -> bool:
        """Both saw the very same texts, whatever the file was called."""
        return replace(self.report.corpus, name="") == replace(self.baseline.corpus, name="")

    @property
    def foreign(self) -> str | None:
        """Why the old one's fidelity says nothing about the new one; None where it does.

        Students of one teacher can be compared, whatever their weights: each is as far from it as it is. But a bundle
        of this very reference is nearer to it than a bundle of any other model, whatever became worse. Models are told
        apart by the hash of their checkpoint's weight files, so one that was stored again counts as another.
        """
        mine, its, reference = map(weights_of, (self.new, self.old, self.report.reference))
        if not self.together or its == reference or mine != reference:
            return None
        return (
            f"{self.old.name} is of another float model: its weights are {its[:12]}, "
            f"those of {self.new.name} and the reference {mine[:12]}"
        )


def require_comparable(report: Report, baseline: Report) -> None:
    """Refuse a baseline that says nothing about these candidates.

    Raises:
        UsageError: it was measured against another float model, or its run was interrupted.
    """
    if not baseline.complete:
        raise UsageError(
            f"the baseline's run was interrupted: {', '.join(baseline.missing)} missing", "measure it to the end"
        )
    require_same_reference(report.reference, baseline.reference)


def require_same_reference(new: CandidateReport, old: CandidateReport) -> None:
    """Refuse to compare what was measured against two different float models.

    Raises:
        UsageError: the references have different weights.
    """
    mine, its = map(weights_of, (new, old))
    if mine != its:
        raise UsageError(
            f"the baseline is of another model: its reference {old.name} has the weights {its[:12]}, "
            f"{new.name} has {mine[:12]}",
            NEW_BASELINE,
        )


def weights_of(model: CandidateReport) -> str:
    """What tells its float model from others."""
    return model.manifest.provenance.source_sha256


def require_judgeable(report: Report, baseline: Report | None, budgets: Budgets) -> None:
    """Refuse what there is to judge by where it would say nothing, or something untrue.

    Raises:
        UsageError: there is nothing, or the baseline is of another model or was interrupted; or fidelity would be
            judged by a bundle of another model alone.
    """
    if baseline is not None:
        require_comparable(report, baseline)
        return
    if report.against is None:
        raise UsageError("there is nothing to judge by", "give --baseline FILE or --against BUNDLE")
    foreign = [pair.foreign for new in report.candidates if (pair := _beside(report, new)) and pair.foreign]
    if foreign and any(JUDGED[metric].scope == "fidelity" for metric in budgets):
        raise UsageError(
            foreign[0],
            "name a bundle that was made of this checkpoint; or add a --baseline of it, which judges fidelity",
        )


def judge(report: Report, baseline: Report | None, budgets: Budgets) -> tuple[Verdict, ...]:
    """Every budget for every candidate.

    Times and memory are judged by what was measured beside the candidate (``report.against``), where there is that;
    everything else by the baseline, where there is one that knows the candidate. What one of the two cannot judge, the
    other one does.

    Raises:
        UsageError: see :func:`require_judgeable`.
    """
    require_judgeable(report, baseline, budgets)
    verdicts: list[Verdict] = []
    for new in report.candidates:
        beside, earlier = _beside(report, new), _earlier(report, new, baseline)
        if baseline is not None and earlier is None:
            known = ", ".join(model.name for model in baseline.candidates)
            sentence = f"{new.name} is not in the baseline, which has {known}"
            verdicts.append(_skipped(new.name, "baseline", sentence))
        own: list[Verdict] = []
        for budget in budgets.values():
            on_machine = JUDGED[budget.metric].scope in ON_MACHINE
            pairs = [pair for pair in ((beside, earlier) if on_machine else (earlier, beside)) if pair]
            if pairs:
                own += _judge_budget(next((pair for pair in pairs if _tells(pair, budget)), pairs[0]), budget)
        if budgets and not own and (beside or earlier):
            sentence = f"nothing was measured of {', '.join(budgets)}"
            own = [_skipped(new.name, "budgets", sentence)]
        verdicts += own
    return (*verdicts, *_absent(report, baseline))


def _skipped(candidate: str, metric: str, sentence: str) -> Verdict:
    return Verdict(candidate=candidate, metric=metric, detail="", outcome="skipped", sentence=sentence)


def _absent(report: Report, baseline: Report | None) -> Iterator[Verdict]:
    """Candidates that only the baseline has, which a change of a command leaves out as easily as a rename does."""
    pairs = [_earlier(report, new, baseline) for new in report.candidates]
    found = {pair.old.name for pair in pairs if pair}
    for old in baseline.candidates if baseline else ():
        if old.name not in found:
            yield _skipped(old.name, ABSENT, "the baseline has it, but it was not measured this time")


def interrupted(report: Report) -> tuple[Verdict, ...]:
    """For each candidate of a run that did not come to its end: that it cannot pass."""
    if report.complete:
        return ()
    sentence = f"the run was interrupted before it had measured {', '.join(report.missing)}"
    return tuple(
        Verdict(candidate=model.name, metric="run", detail="", outcome="fail", sentence=sentence)
        for model in report.candidates
    )


def _beside(report: Report, new: CandidateReport) -> Pair | None:
    if report.against is None:
        return None
    return Pair(new=new, old=report.against, report=report, baseline=report, together=True)


def _earlier(report: Report, new: CandidateReport, baseline: Report | None) -> Pair | None:
    if baseline is None:
        return None
    named = [old for old in baseline.candidates if old.name == new.name]
    if not named and len(baseline.candidates) == len(report.candidates) == 1:
        named = list(baseline.candidates)  # renamed, and still no doubt which one is meant
    return Pair(new=new, old=named[0], report=report, baseline=baseline, together=False) if named else None


def _tells(pair: Pair, budget: Budget) -> bool:
    judged = JUDGED[budget.metric]
    return bool(judged.read(pair.old)) and _unfit(pair, budget, judged) is None


def _judge_budget(pair: Pair, budget: Budget) -> Iterator[Verdict]:
    judged = JUDGED[budget.metric]
    new, old = judged.read(pair.new), judged.read(pair.old)
    unfit = _unfit(pair, budget, judged)
    for detail in [*old, *(detail for detail in new if detail not in old)]:
        blank = Verdict(
            candidate=pair.new.name, metric=budget.metric, detail=detail, outcome="skipped", sentence=unfit or ""
        )
        if unfit:
            yield blank
        elif detail not in old:
            yield replace(blank, sentence=f"{pair.than} does not have it")
        elif detail not in new and not pair.report.complete:
            yield replace(blank, outcome="inconclusive", sentence="not measured: the run was interrupted")
        elif detail not in new and judged.scope == "fidelity":
            yield replace(blank, outcome="fail", sentence=f"is not there, but {pair.than} has it: lost a head?")
        elif detail not in new:
            yield replace(blank, sentence=f"not measured this time, but {pair.than} has it")
        elif _is_sound(old[detail]) and not _is_sound(new[detail]):
            yield replace(blank, outcome="fail", sentence=f"is no finite number, where {pair.than} has one")
        elif not _is_sound(old[detail]):
            yield replace(blank, outcome="inconclusive", sentence="the report holds no number that can be compared")
        else:
            yield _compare(pair, budget, blank, new[detail], old[detail])


def _is_sound(value: MetricValue) -> bool:
    return all(map(math.isfinite, (value.value, value.low, value.high)))


def _unfit(pair: Pair, budget: Budget, judged: Judged) -> str | None:
    """Why the two cannot be compared at all; None where they can."""
    if pair.together:
        return pair.foreign if judged.scope == "fidelity" else None
    if judged.scope == "file":
        return None
    if judged.scope == "fidelity":
        return (
            None
            if pair.same_text
            else f"measured on another text: {pair.report.corpus.name}, not {pair.baseline.corpus.name}"
        )
    machine, other = pair.report.machine, pair.baseline.machine
    differences = machine.differences(other)
    if differences and judged.scope in ("time", "memory"):
        return f"another machine: {'; '.join(differences)}"
    if differences and budget.apart is None:
        return f"another machine ({'; '.join(differences)}), and the budget has no limit for runs apart"
    if machine.target != other.target:
        return f"another kind of CPU ({machine.target}, not {other.target}), where int8 gains something else"
    threads, others = pair.new.threads, pair.old.threads
    if threads and others and threads != others:
        mine, its = (", ".join(map(str, numbers)) for numbers in (threads, others))
        return f"measured with {mine} threads, the baseline with {its}"
    return None


def _compare(pair: Pair, budget: Budget, blank: Verdict, new: MetricValue, old: MetricValue) -> Verdict:
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
