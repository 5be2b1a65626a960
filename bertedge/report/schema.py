"""The report record: what ``bertedge bench`` measured. Its JSON keys are stable; CI reads them."""

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
from bertedge.evaluate.machine import Machine
from bertedge.evaluate.metrics import METRICS
from bertedge.evaluate.profile import Profile
from bertedge.evaluate.stability import Stability
from bertedge.manifest import Coverage, Manifest
from bertedge.metric import Change, MetricValue
from bertedge.records import EDITED, from_json, read_json, write_json

#: Version 1 took its percentiles from means of many calls, so its p90 and p99 cannot be compared. Version 2 timed one
#: loading of each model and took its ratios from means, which other processes raise, so its ratios cannot be compared.
SCHEMA_VERSION = 3
MOST_BYTES = 2**63
#: What a sum of many shares may be off by.
SLACK = 1e-6


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """The text that fidelity was measured on.

    Attributes:
        kind: ``pairs`` or ``single texts``: what the numbers without a further word are of.
    """

    name: str
    sha256: str
    examples: Count
    max_length: Count
    seed: int
    next_sentence: bool
    kind: Kind = PAIRS


@dataclass(frozen=True, kw_only=True)
class KindFidelity:
    """Fidelity on texts of one kind; a model may be as float on pairs and not on single texts.

    Attributes:
        kind: ``pairs`` or ``single texts``.
        texts: how many there were.
        fidelity: metric -> value.
        changes: as for the whole candidate.
    """

    kind: Kind
    texts: int
    fidelity: dict[str, MetricValue]
    changes: dict[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """One model: the reference itself, or a candidate beside it.

    Attributes:
        engine: what computed it; onnxruntime in reports that do not say.
        peak_rss_bytes: None, like ``cold_start_ms``, where the run ended before.
        manifest: of the bundle that was measured.
        changes: metric -> how it differs from that of the report's ``against``, which saw the same texts.
        by_kind: fidelity on texts of a further kind.
        by_length: fidelity on texts of each length.
        clipping: how many of the values that each int8 layer reads lie outside its range; None where that was not
            measured, empty where no layer has a range.
        disagreements: the texts that the candidate is farthest from the reference on.
        profile: where the time of one size of call goes.
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
    disagreements: Disagreements = field(default_factory=Disagreements)
    profile: Profile | None = None
    engine: str = "onnxruntime"

    def fidelity_on(self, kind: str) -> dict[str, MetricValue]:
        """Fidelity on texts of a further kind, or on the main kind where ``kind`` is empty."""
        return next((other.fidelity for other in self.by_kind if other.kind == kind), {}) if kind else self.fidelity

    def changes_on(self, kind: str) -> dict[str, Change]:
        """Changes, as for :meth:`fidelity_on`."""
        return next((other.changes for other in self.by_kind if other.kind == kind), {}) if kind else self.changes

    @property
    def threads(self) -> tuple[int, ...]:
        """How many an operator might use, each number once; nothing where no latency was measured."""
        return tuple(sorted({entry.threads for entry in self.latency}))

    def flaw(self) -> str | None:
        """What is wrong with it in a file, in words."""
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
    """How a report came to be: the command as it was typed, and when it ended (ISO 8601, UTC)."""

    command: str
    ended: str


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A baseline that somebody accepted.

    Attributes:
        day: ISO 8601, UTC.
        values: ``candidate: metric`` -> value, so that the way there can be read from one file.
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
        skipped: what was not measured (``mlm``, ``nsp``) -> why, in words.
        against: an earlier bundle that was measured in the same rounds, for the candidates to be judged by.
        stability: of the machine while latency was measured; None where it was not.
        complete: the run came to its end.
        missing: what was not measured because it did not.
        history: where the report is a baseline: what was accepted before it, itself last.
        run: None where no command was typed.
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
    """Read a report back.

    Raises:
        FileError: it is not a report, or of another schema.
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
    return from_json(Report, raw, path.name)
