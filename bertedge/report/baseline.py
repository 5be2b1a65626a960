"""Baselines: accepted reports, with the reason and all earlier values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bertedge.errors import FileError, UsageError
from bertedge.evaluate.disagreements import Disagreements
from bertedge.report.budget import JUDGED, Budgets
from bertedge.report.schema import Acceptance, CandidateReport, Report, read_report, write_report


def read_baseline(path: Path) -> Report:
    """Read a baseline; any report of a complete run is one.

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
    """Replace the baseline by a report, or write the first one; the history of accepted values is kept.

    Raises:
        UsageError: there is no reason, or the report is of an interrupted run.
        FileError: the old baseline cannot be read, so its history would be lost.
    """
    if not reason.strip():
        raise UsageError("a baseline is not changed without a reason", 'say why: --reason "..."')
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
    """The report without what the gate does not read; that is most of the file, and some of it is the corpus's text."""

    def bare(model: CandidateReport) -> CandidateReport:
        return replace(model, clipping=None, by_length=(), disagreements=Disagreements(), profile=None)

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
