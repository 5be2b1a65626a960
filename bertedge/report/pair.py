"""A candidate and its judge: a bundle of the same run, or the same candidate of the baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bertedge.report.budget import Scope
from bertedge.report.schema import CandidateReport, Report

#: Scopes of metrics that depend on the machine.
ON_MACHINE: tuple[Scope, ...] = ("time", "memory", "relative")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A candidate and the model that judges it.

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
        """The judge, in words."""
        return self.old.name if self.together else "the baseline"

    @property
    def same_sample(self) -> bool:
        """Whether both were measured on the same texts. The name of the file is ignored."""
        return replace(self.report.corpus, name="") == replace(self.baseline.corpus, name="")

    @property
    def engines(self) -> str:
        """A few words about the engines, if the candidates or the float models ran on different ones; else empty."""
        for what, new, old in (
            ("", self.new, self.old),
            ("float: ", self.report.reference, self.baseline.reference),
        ):
            if new.engine != old.engine:
                return f"{what}engine {new.engine}, {self.than} {old.engine}"
        return ""

    def why_not_here(self, scope: Scope) -> str | None:
        """Why metrics of this scope cannot be compared between the two machines; None if they can."""
        if self.together or scope not in ON_MACHINE:
            return None
        machine, other = self.report.machine, self.baseline.machine
        differences = machine.differences(other)
        if differences and scope != "relative":
            return f"another machine: {'; '.join(differences)}"
        if machine.target != other.target:
            return f"another kind of CPU: {machine.target}, not {other.target}; the gain of int8 is different there"
        return None


def judge_of(report: Report, new: CandidateReport, baseline: Report | None, scope: Scope) -> Pair:
    """A candidate with its judge: for times and memory the bundle of the same run, otherwise the baseline."""
    against = report.against
    if against is not None and (scope in ON_MACHINE or baseline is None):
        return Pair(new=new, old=against, report=report, baseline=report, together=True)
    old = earlier_candidate(report, new, baseline) if baseline else None
    if baseline is None or old is None:
        raise ValueError(f"nothing judges {new.name}; call require_judgeable first")
    return Pair(new=new, old=old, report=report, baseline=baseline, together=False)


def earlier_candidate(report: Report, new: CandidateReport, baseline: Report) -> CandidateReport | None:
    """The baseline's candidate of the same name. If both reports have only one candidate, names may differ."""
    named = [old for old in baseline.candidates if old.name == new.name]
    if not named and len(baseline.candidates) == len(report.candidates) == 1:
        named = list(baseline.candidates)
    return named[0] if named else None
