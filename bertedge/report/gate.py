"""The gate: a report judged by a baseline and budgets.

A change has an interval, and the rule is one: beyond the budget with the whole interval is ``fail``, within it with the
whole interval is ``pass``, anything else is ``inconclusive``. So noise makes verdicts that say nothing, not verdicts
that are wrong: for a false alarm the interval must miss the truth by all of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bertedge.errors import UsageError
from bertedge.metric import MetricValue
from bertedge.report.baseline import read_baseline
from bertedge.report.budget import DEFAULTS, JUDGED, Budget, Budgets, Judged, read_budgets
from bertedge.report.comparison import compare_pair
from bertedge.report.pair import Pair, beside_of, earlier_of, require_comparable
from bertedge.report.schema import Report, read_report
from bertedge.report.verdict import ABSENT, Verdict

#: Scopes of what depends on the machine.
ON_MACHINE = ("time", "memory", "relative")


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
    foreign = [pair.foreign for new in report.candidates if (pair := beside_of(report, new)) and pair.foreign]
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
        beside, earlier = beside_of(report, new), earlier_of(report, new, baseline)
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
    pairs = [earlier_of(report, new, baseline) for new in report.candidates]
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
            yield compare_pair(pair, budget, blank, new[detail], old[detail])


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


def compare(
    baseline: str | Path | Report, report: str | Path | Report, *, budgets: str | Path | Budgets | None = None
) -> tuple[Verdict, ...]:
    """Judge a report by a baseline: a verdict for every budget of every candidate.

    Args:
        baseline: the report to judge by; both as ``bertedge bench`` returns or writes them.
        budgets: how much worse a metric may be, as a TOML file or a mapping; default: bertedge's own.

    Raises:
        FileError: a file is missing or broken.
        UsageError: the two are of different float models, or the baseline's run was interrupted.
    """
    old = baseline if isinstance(baseline, Report) else read_baseline(Path(baseline))
    new = report if isinstance(report, Report) else read_report(Path(report))
    if budgets is None:
        budgets = dict(DEFAULTS)
    elif isinstance(budgets, (str, Path)):
        budgets = read_budgets(Path(budgets))
    # the baseline judges, not what the report's own run had beside it
    return (*interrupted(new), *judge(replace(new, against=None), old, budgets))
