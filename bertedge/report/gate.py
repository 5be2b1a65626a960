"""The gate: compares a report with a bundle of the same run or with an earlier report, and applies budgets.

1. A change is judged by its 95 % interval. If the whole interval is beyond the budget, the verdict is ``fail``; if it
   is within the budget, ``pass``; otherwise ``inconclusive``. So noise alone raises no alarm.
2. ``--against BUNDLE`` judges times and memory, because both bundles run in the same rounds; ``--baseline REPORT``
   judges everything else. If only one of them is given, it judges everything.
3. The gate refuses what cannot be compared, before it measures: a baseline of another float model, of another text, of
   other threads, of an interrupted run or without the candidate, an ``--against`` bundle of another float model as the
   only judge of fidelity, and fidelity on fewer than 16 texts.
4. Two runs never have the same conditions: a time's ratio to float may be 1.25 times the baseline's (``apart``) on the
   same kind of CPU, milliseconds and memory are compared on the same machine only, and where the machine was busier
   than in the baseline's run the low end of a time's interval is divided by 2, or by how much longer float took.
5. A metric that only one side has is ``skipped``. But a candidate fails if it lacks a fidelity metric that its judge
   has, and a candidate whose verdicts are all ``skipped`` has not passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bertedge.metric import MetricValue
from bertedge.report.baseline import read_baseline
from bertedge.report.budget import DEFAULTS, JUDGED, Budget, Budgets
from bertedge.report.budget_file import read_budgets
from bertedge.report.change import verdict_on
from bertedge.report.comparable import require_judgeable
from bertedge.report.pair import Pair, earlier_candidate, judge_of
from bertedge.report.schema import Report, read_report
from bertedge.report.verdict import ABSENT, Verdict


def compare(
    baseline: str | Path | Report, report: str | Path | Report, *, budgets: str | Path | Budgets | None = None
) -> tuple[Verdict, ...]:
    """Judge a report by a baseline. Nothing is measured. Returns a verdict for every budget of every candidate.

    Args:
        baseline: the report to judge by, as ``bertedge bench`` returns or writes it.
        report: the report to judge; the earlier bundle in it (``--against``) is ignored.
        budgets: how much worse a metric may be, as a TOML file or a mapping; default: bertedge's own.

    Raises:
        FileError: a file is missing or broken.
        UsageError: the two reports cannot be compared.
    """
    old = baseline if isinstance(baseline, Report) else read_baseline(Path(baseline))
    new = report if isinstance(report, Report) else read_report(Path(report))
    if budgets is None:
        budgets = dict(DEFAULTS)
    elif isinstance(budgets, (str, Path)):
        budgets = read_budgets(Path(budgets))
    return (*interrupted(new), *judge(replace(new, against=None), old, budgets))


def judge(report: Report, baseline: Report | None, budgets: Budgets) -> tuple[Verdict, ...]:
    """A verdict for every budget of every candidate.

    Raises:
        UsageError: see :func:`bertedge.report.comparable.require_judgeable`.
    """
    require_judgeable(report, baseline, budgets)
    verdicts: list[Verdict] = []
    for new in report.candidates:
        own: list[Verdict] = []
        for budget in budgets.values():
            own += _judge_budget(judge_of(report, new, baseline, JUDGED[budget.metric].scope), budget)
        if budgets and not own:
            own = [_skipped(new.name, "budgets", f"none of these was measured: {', '.join(budgets)}")]
        verdicts += own
    return (*verdicts, *_absent(report, baseline))


def interrupted(report: Report) -> tuple[Verdict, ...]:
    """A failed verdict for each candidate: an interrupted run cannot pass."""
    if report.complete:
        return ()
    sentence = f"the run was interrupted before it measured {', '.join(report.missing)}"
    return tuple(
        Verdict(candidate=model.name, metric="run", detail="", outcome="fail", sentence=sentence)
        for model in report.candidates
    )


def _skipped(candidate: str, metric: str, sentence: str) -> Verdict:
    return Verdict(candidate=candidate, metric=metric, detail="", outcome="skipped", sentence=sentence)


def _absent(report: Report, baseline: Report | None) -> Iterator[Verdict]:
    """Candidates that only the baseline has, for example because the command was changed."""
    if baseline is None:
        return
    pairs = [earlier_candidate(report, new, baseline) for new in report.candidates]
    found = {old.name for old in pairs if old}
    for old in baseline.candidates:
        if old.name not in found:
            yield _skipped(old.name, ABSENT, "the baseline has it, but it was not measured this time")


def _judge_budget(pair: Pair, budget: Budget) -> Iterator[Verdict]:
    judged = JUDGED[budget.metric]
    new, old = judged.read(pair.new), judged.read(pair.old)
    other_machine = pair.why_not_here(judged.scope)
    for detail in [*old, *(detail for detail in new if detail not in old)]:
        blank = replace(_skipped(pair.new.name, budget.metric, other_machine or ""), detail=detail)
        if other_machine:
            yield blank
        elif detail not in old:
            yield replace(blank, sentence=f"{pair.than} does not have it")
        elif detail not in new and judged.scope == "fidelity" and pair.report.complete:
            yield replace(blank, outcome="fail", sentence=f"{pair.than} has it and this model does not: a lost head?")
        elif detail not in new:
            yield replace(blank, sentence=f"not measured this time, but {pair.than} has it")
        elif _is_finite(old[detail]) and not _is_finite(new[detail]):
            yield replace(blank, outcome="fail", sentence=f"is not a finite number, but {pair.than} has one")
        elif not _is_finite(old[detail]):
            yield replace(blank, outcome="inconclusive", sentence=f"{pair.than} has no finite number")
        else:
            yield verdict_on(pair, budget, blank, new[detail], old[detail])


def _is_finite(value: MetricValue) -> bool:
    return all(map(math.isfinite, (value.value, value.low, value.high)))
