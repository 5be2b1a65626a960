"""The report of ``bertedge bench`` as data classes. The keys of its JSON are stable, because CI reads them."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field
from pathlib import Path

from bertedge.bounds import Count, Milliseconds
from bertedge.errors import FileError
from bertedge.evaluate.clipping import LayerClipping
from bertedge.evaluate.disagreements import Disagreements
from bertedge.evaluate.fidelity import PAIRS, Kind
from bertedge.evaluate.latency import LatencyReport
from bertedge.evaluate.lengths import LengthFidelity
from bertedge.evaluate.machine_record import Machine
from bertedge.evaluate.metrics import METRICS
from bertedge.evaluate.profile import Profile
from bertedge.evaluate.stability import Stability
from bertedge.manifest import Coverage, Manifest
from bertedge.metric import Change, MetricValue
from bertedge.records import EDITED, from_json, read_json, write_json

SCHEMA_VERSION = 4
MOST_BYTES = 2**63
#: Allowed rounding error in a sum of many shares.
SLACK = 1e-6


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """The text that fidelity was measured on.

    Attributes:
        kind: the kind of texts that the main numbers were measured on: ``pairs``, ``questions`` or ``single texts`` of
            running text; ``labelled texts`` or ``unlabelled texts`` of the user's own.
        labelled: the share of the user's own texts that have a right answer; None for running text.
        columns: how the columns of the user's own texts were read, in words; None for running text.
    """

    name: str
    sha256: str
    examples: Count
    max_length: Count
    seed: int
    next_sentence: bool
    kind: Kind = PAIRS
    labelled: float | None = None
    columns: str | None = None


@dataclass(frozen=True, kw_only=True)
class KindFidelity:
    """Fidelity on texts of another kind than the main one; int8 can be good on pairs and bad on single texts.

    Attributes:
        texts: number of texts.
        fidelity: metric -> value.
        changes: as for the whole candidate.
    """

    kind: Kind
    texts: int
    fidelity: dict[str, MetricValue]
    changes: dict[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """The numbers of one model: the reference or a candidate.

    Attributes:
        engine: the name of the engine that ran the model.
        peak_rss_bytes: None if the run was interrupted before this was measured; the same for ``cold_start_ms``.
        manifest: the bundle's manifest.
        changes: metric -> difference from the report's ``against`` on the same texts.
        by_kind: fidelity on texts of other kinds.
        by_length: fidelity on texts of each length.
        clipping: of each int8 layer, the share of inputs outside its range; None if not measured, empty if no layer
            has a range.
        disagreements: list, such as ``mlm.flips`` -> the texts with the largest differences from the reference.
        profile: the time of each operator in one call.
    """

    name: str
    target: str
    size_bytes: int
    peak_rss_bytes: int | None
    cold_start_ms: Milliseconds | None
    cold_start_samples_ms: tuple[Milliseconds, ...]
    coverage: Coverage
    fidelity: dict[str, MetricValue]
    latency: tuple[LatencyReport, ...]
    manifest: Manifest
    changes: dict[str, Change] = field(default_factory=dict)
    by_kind: tuple[KindFidelity, ...] = ()
    clipping: tuple[LayerClipping, ...] | None = None
    by_length: tuple[LengthFidelity, ...] = ()
    disagreements: Disagreements = field(default_factory=dict)
    profile: Profile | None = None
    engine: str = "onnxruntime"

    def fidelity_on(self, kind: str) -> dict[str, MetricValue]:
        """Fidelity on one kind of texts; an empty ``kind`` means the main kind."""
        return next((other.fidelity for other in self.by_kind if other.kind == kind), {}) if kind else self.fidelity

    def changes_on(self, kind: str) -> dict[str, Change]:
        """Changes on one kind of texts; an empty ``kind`` means the main kind."""
        return next((other.changes for other in self.by_kind if other.kind == kind), {}) if kind else self.changes

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that calls were timed with; empty if latency was not measured."""
        return tuple(sorted({entry.threads for entry in self.latency}))

    def flaw(self) -> str | None:
        """What is wrong with the values, in words; None if they are valid."""
        for name, seen in self.fidelity.items():
            least, most = (METRICS[name].bounds if name in METRICS else None) or (-math.inf, math.inf)
            if seen.value < least - SLACK or seen.value > most + SLACK:
                return f"{name} is {seen.value:.4g}, expected {least:g} to {most:g}"
        return None

    def __post_init__(self) -> None:
        for name in ("size_bytes", "peak_rss_bytes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < MOST_BYTES:
                raise FileError(f"report: {name} of {self.name} is {reprlib.repr(value)}", EDITED)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The command that made a report, and when it ended (ISO 8601, UTC)."""

    command: str
    ended: str


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """An accepted baseline.

    Attributes:
        day: ISO 8601, UTC.
        values: ``candidate: metric`` -> value, so that one file shows how they changed over time.
    """

    day: str
    reason: str
    bertedge: str
    cpu: str
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one run of ``bench`` measured.

    Attributes:
        skipped: a head that was not measured, such as ``nsp`` -> why, in words.
        against: an earlier bundle that was measured in the same rounds, as the judge of the candidates.
        stability: how quiet the machine was while latency was measured; None if it was not measured.
        complete: the run was not interrupted.
        missing: what an interrupted run has not measured.
        history: all accepted baselines with this one last; empty if the report is not a baseline.
        run: None if bench was called from Python.
    """

    schema_version: int
    machine: Machine
    corpus: CorpusInfo
    reference: CandidateReport
    candidates: tuple[CandidateReport, ...]
    skipped: dict[str, str]
    against: CandidateReport | None = None
    stability: Stability | None = None
    complete: bool = True
    missing: tuple[str, ...] = ()
    history: tuple[Acceptance, ...] = ()
    run: Run | None = None

    def __post_init__(self) -> None:
        if self.complete == bool(self.missing):
            raise FileError(f"report: complete is {self.complete} and {len(self.missing)} things are missing", EDITED)
        if not self.candidates:
            raise FileError("report: there is no candidate", EDITED)


def write_report(path: str | Path, report: Report) -> None:
    """Write the report as JSON."""
    write_json(Path(path), report)


def read_report(path: str | Path) -> Report:
    """Read a report from JSON.

    Raises:
        FileError: the file is not a report, or has another schema.
    """
    path = Path(path)
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise FileError(f"{path}: is not a report of bertedge bench", "give a file that bertedge bench --json wrote")
    if version != SCHEMA_VERSION:
        newer = version > SCHEMA_VERSION
        raise FileError(
            f"{path}: is a report of schema {version}, expected {SCHEMA_VERSION}",
            "install a newer bertedge" if newer else "measure it again with: bertedge bench --json",
        )
    try:
        return from_json(Report, raw, path.name)
    except RecursionError as error:
        raise FileError(f"{path}: is nested too deeply", EDITED) from error
