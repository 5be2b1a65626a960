"""``bertedge compare``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bertedge.cli.console import stdout
from bertedge.cli.judging import (
    BudgetsOption,
    Gate,
    HtmlOption,
    JunitOption,
    MarkdownOption,
    ReasonOption,
    StrictOption,
    UpdateOption,
)


def compare(
    baseline: Annotated[Path, typer.Argument(help="The report to judge by.", show_default=False)],
    report: Annotated[
        Path, typer.Argument(help="The report to judge; both by 'bertedge bench --json'.", show_default=False)
    ],
    budgets: BudgetsOption = None,
    markdown_file: MarkdownOption = None,
    html_file: HtmlOption = None,
    junit_file: JunitOption = None,
    strict: StrictOption = False,
    update_baseline: UpdateOption = False,
    reason: ReasonOption = None,
) -> None:
    """Judge a report by a baseline and budgets; measures nothing."""
    from bertedge.report.gate import compare as judged
    from bertedge.report.render import rich_verdicts
    from bertedge.report.schema import read_report

    gate = Gate(
        inputs={"the report": report},
        budgets_file=budgets,
        markdown=markdown_file,
        html=html_file,
        junit=junit_file,
        strict=strict,
        baseline_file=baseline,
        update=update_baseline,
        reason=reason,
    )
    limits, old, new = gate.budgets(), gate.baseline(), read_report(report)
    gate.require_writable()
    old = gate.judgeable(replace(new, against=None), old)
    verdicts = judged(old, new, budgets=limits) if old else ()
    gate.conclude(
        new, verdicts, lambda: stdout.print(rich_verdicts(verdicts, width=stdout.width)) if verdicts else None
    )
