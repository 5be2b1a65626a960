"""Baselines: accepted reports, each with its reason and all earlier accepted values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bertedge.errors import FileError, UsageError
from bertedge.report.budget import JUDGED, Budgets
from bertedge.report.schema import Acceptance, CandidateReport, Report, read_report, write_report


def read_baseline(path: Path) -> Report:
    """Read a baseline. Every report of a complete run can be a baseline.

    Raises:
        FileError: the file is missing or broken.
    """
    if not path.exists():
        raise FileError(f"{path}: no such baseline", 'write one with: --update-baseline --reason "..."')
    try:
        return read_report(path)
    except FileError as error:
        raise FileError(
            error.message,
            'restore it from version control, or remove it and write one with: --update-baseline --reason "..."',
        ) from error


def update_baseline(
    path: Path, report: Report, reason: str, budgets: Budgets, *, today: datetime | None = None
) -> None:
    """Make a report the new baseline. The history of accepted values is kept.

    Raises:
        UsageError: no reason is given, or the run was interrupted.
        FileError: the old baseline cannot be read. Replacing it would lose its history.
    """
    if not reason.strip():
        raise UsageError("a new baseline needs a reason", 'say why: --reason "..."')
    if not report.complete:
        raise UsageError("an interrupted run cannot be a baseline", f"missing: {', '.join(report.missing)}")
    history = read_baseline(path).history if path.exists() else ()
    accepted = Acceptance(
        day=(today or datetime.now(UTC)).date().isoformat(),
        reason=reason.strip(),
        bertedge=report.machine.bertedge,
        cpu=report.machine.cpu,
        values=_values(report, budgets),
    )
    write_report(path, replace(_judged(report), history=(*history, accepted)))


def _judged(report: Report) -> Report:
    """The report without the parts that the gate does not read. They are large, and some contain text of the corpus."""

    def bare(model: CandidateReport) -> CandidateReport:
        return replace(model, clipping=None, by_length=(), disagreements={}, profile=None)

    against = bare(report.against) if report.against else None
    candidates = tuple(map(bare, report.candidates))
    return replace(report, reference=bare(report.reference), candidates=candidates, against=against, run=None)


def _values(report: Report, budgets: Budgets) -> dict[str, float]:
    return {
        f"{model.name}: {metric} {detail}".strip(): reading.value
        for model in report.candidates
        for metric in budgets
        for detail, reading in JUDGED[metric].read(model).items()
    }
