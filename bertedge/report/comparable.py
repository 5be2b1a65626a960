"""The comparisons that the gate refuses. Where possible it refuses before anything is measured."""

from __future__ import annotations

from collections.abc import Collection

from bertedge.errors import UsageError
from bertedge.report.budget import JUDGED
from bertedge.report.pair import earlier_candidate
from bertedge.report.schema import CandidateReport, Report

NEW_BASELINE = 'accept a new baseline: --update-baseline --reason "..."'
#: The bootstrap over fewer texts gives intervals that are too narrow; ``shares_of_passes`` in the tests.
FEW_TEXTS = 16


def require_judgeable(
    report: Report, baseline: Report | None, metrics: Collection[str], *, threads: int | None = None
) -> None:
    """Refuse a baseline or an earlier bundle that cannot judge this report.

    Args:
        report: the measurements; before measuring, a report without times.
        metrics: the metrics that have a budget.
        threads: threads of a call, for a report that has no times yet.

    Raises:
        UsageError: by the third rule of :mod:`bertedge.report.gate`.
    """
    if baseline is None and report.against is None:
        raise UsageError("there is nothing to judge by", "give --baseline FILE or --against BUNDLE")
    scopes = {JUDGED[metric].scope for metric in metrics}
    if baseline is not None:
        _require_same_model(report, baseline)
        _require_known(report, baseline)
        if scopes & {"time", "relative"} and report.against is None:
            _require_same_threads((threads,) if threads else report.reference.threads, baseline)
    elif report.against is not None and "fidelity" in scopes:
        _require_own_model(report, report.against)
    if "fidelity" in scopes:
        _require_texts(report, baseline)


def _require_same_model(report: Report, baseline: Report) -> None:
    if not baseline.complete:
        missing = ", ".join(baseline.missing)
        raise UsageError(f"the baseline's run was interrupted: {missing} missing", "measure it to the end")
    mine, its = map(weights_of, (report.reference, baseline.reference))
    if mine != its:
        raise UsageError(
            f"the baseline is of another model: its reference {baseline.reference.name} has the weights {its[:12]}, "
            f"{report.reference.name} has {mine[:12]}",
            NEW_BASELINE,
        )


def _require_known(report: Report, baseline: Report) -> None:
    for new in report.candidates:
        if earlier_candidate(report, new, baseline) is None:
            known = ", ".join(old.name for old in baseline.candidates)
            raise UsageError(f"{new.name} is not in the baseline, which has {known}", NEW_BASELINE)


def _require_same_threads(threads: tuple[int, ...], baseline: Report) -> None:
    its = baseline.reference.threads
    if threads and its and threads != its:
        mine, old = (", ".join(map(str, numbers)) for numbers in (threads, its))
        raise UsageError(f"threads: {mine}, but the baseline has {old}", f"measure with --threads {old}")


def _require_own_model(report: Report, against: CandidateReport) -> None:
    """Refuse an ``--against`` bundle of another float model as the judge of fidelity.

    A candidate made from the reference is closer to it than any bundle of another model, so it would always pass. Two
    students of one teacher can be compared, because neither has the teacher's weights. A model is identified by the
    hash of its weight files, so a checkpoint that was saved again counts as another model.
    """
    reference = weights_of(report.reference)
    for new in report.candidates:
        mine, its = weights_of(new), weights_of(against)
        if mine == reference != its:
            raise UsageError(
                f"{against.name} is of another float model: its weights are {its[:12]}, "
                f"those of {new.name} and the reference {mine[:12]}",
                "give --against a bundle made of this checkpoint, or add a --baseline, which then judges fidelity",
            )


def _require_texts(report: Report, baseline: Report | None) -> None:
    if baseline is not None and report.corpus.sha256 != baseline.corpus.sha256:
        raise UsageError(
            f"fidelity was measured on {report.corpus.name}, the baseline's on another text: {baseline.corpus.name}",
            f"give the baseline's text with --corpus, or {NEW_BASELINE}",
        )
    texts = min(_fewest_texts(one) for one in (report, baseline) if one)
    if texts < FEW_TEXTS:
        raise UsageError(
            f"{texts} texts are too few to judge fidelity: {FEW_TEXTS} are needed",
            "give more text with --corpus and --examples, or switch the budgets of fidelity off",
        )


def _fewest_texts(report: Report) -> int:
    return min([report.corpus.examples, *(kind.texts for model in report.candidates for kind in model.by_kind)])


def weights_of(model: CandidateReport) -> str:
    """The identity of a bundle's float model: the hash of the checkpoint's weight files."""
    return model.manifest.provenance.source_sha256
