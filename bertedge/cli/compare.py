"""``bertedge compare``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.console import stdout
from bertedge.cli.judging import Gate, judging_options


@judging_options
def compare(
    baseline: Annotated[Path, typer.Argument(help="The report to judge by.", show_default=False)],
    report: Annotated[
        Path,
        typer.Argument(help="The report to judge; both are written by 'bertedge bench --json'.", show_default=False),
    ],
    judging: dict[str, Any],
) -> None:
    """Judge a report by a baseline and budgets. Nothing is measured."""
    from bertedge.report.gate import compare as judged
    from bertedge.report.render import rich_verdicts
    from bertedge.report.schema import read_report

    gate = Gate(inputs={"the report": report}, baseline_file=baseline, **judging)
    limits, old, new = gate.budgets(), gate.baseline(), read_report(report)
    gate.require_writable()
    old = gate.judgeable(replace(new, against=None), old)
    verdicts = judged(old, new, budgets=limits) if old else ()
    gate.conclude(
        new, verdicts, lambda: stdout.print(rich_verdicts(verdicts, width=stdout.width)) if verdicts else None
    )
