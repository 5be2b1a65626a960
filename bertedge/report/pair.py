"""A candidate and what it is judged by: the baseline, or a bundle that was measured with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bertedge.errors import UsageError
from bertedge.report.schema import CandidateReport, Report

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


def beside_of(report: Report, new: CandidateReport) -> Pair | None:
    """A candidate and the bundle that was measured with it (``--against``)."""
    if report.against is None:
        return None
    return Pair(new=new, old=report.against, report=report, baseline=report, together=True)


def earlier_of(report: Report, new: CandidateReport, baseline: Report | None) -> Pair | None:
    """A candidate and the one of the same name in the baseline."""
    if baseline is None:
        return None
    named = [old for old in baseline.candidates if old.name == new.name]
    if not named and len(baseline.candidates) == len(report.candidates) == 1:
        named = list(baseline.candidates)  # renamed, and still no doubt which one is meant
    return Pair(new=new, old=named[0], report=report, baseline=baseline, together=False) if named else None
