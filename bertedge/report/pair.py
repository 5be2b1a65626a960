"""A candidate and what judges it: a bundle of the same run, or the baseline's candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bertedge.report.budget import Scope
from bertedge.report.schema import CandidateReport, Report

#: Scopes of what depends on the machine.
ON_MACHINE: tuple[Scope, ...] = ("time", "memory", "relative")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A candidate and what judges it.

    Attributes:
        together: both were measured in the same rounds; ``report`` and ``baseline`` are then the same.
    """

    new: CandidateReport
    old: CandidateReport
    report: Report
    baseline: Report
    together: bool

    @property
    def than(self) -> str:
        """What judges the candidate, in words."""
        return self.old.name if self.together else "the baseline"

    @property
    def same_sample(self) -> bool:
        """Both were measured on the same texts; the file's name does not matter."""
        return replace(self.report.corpus, name="") == replace(self.baseline.corpus, name="")

    def why_not_here(self, scope: Scope) -> str | None:
        """Why the two machines do not allow a comparison; None where they do."""
        if self.together or scope not in ON_MACHINE:
            return None
        machine, other = self.report.machine, self.baseline.machine
        differences = machine.differences(other)
        if differences and scope != "relative":
            return f"another machine: {'; '.join(differences)}"
        if machine.target != other.target:
            return f"another kind of CPU: {machine.target}, not {other.target}; int8 gains another share there"
        return None


def judge_of(report: Report, new: CandidateReport, baseline: Report | None, scope: Scope) -> Pair:
    """What judges a candidate: the bundle of the same run for times and memory, the baseline for everything else."""
    against = report.against
    if against is not None and (scope in ON_MACHINE or baseline is None):
        return Pair(new=new, old=against, report=report, baseline=report, together=True)
    old = earlier_candidate(report, new, baseline) if baseline else None
    if baseline is None or old is None:
        raise ValueError(f"nothing judges {new.name}; call require_judgeable first")
    return Pair(new=new, old=old, report=report, baseline=baseline, together=False)


def earlier_candidate(report: Report, new: CandidateReport, baseline: Report) -> CandidateReport | None:
    """The baseline's candidate of the same name; where both reports have one candidate, its name does not matter."""
    named = [old for old in baseline.candidates if old.name == new.name]
    if not named and len(baseline.candidates) == len(report.candidates) == 1:
        named = list(baseline.candidates)
    return named[0] if named else None
