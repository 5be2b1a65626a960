"""``bertedge.compare``: a report judged by a baseline, without measuring anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bertedge.report.baseline import read_baseline
from bertedge.report.budget import DEFAULTS, Budgets, read_budgets
from bertedge.report.gate import interrupted, judge
from bertedge.report.report import Report, read_report
from bertedge.report.verdict import Verdict


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
