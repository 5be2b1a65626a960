"""The report record: what ``bertedge bench`` measured. Its JSON keys are stable; CI reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bertedge.bundle import Coverage
from bertedge.errors import FileError
from bertedge.evaluate.latency import LatencyReport
from bertedge.evaluate.machine import Machine
from bertedge.evaluate.metrics import MetricValue
from bertedge.records import from_json, read_json, write_json

#: Version 1 took its percentiles from means of many calls: p90 and p99 of both cannot be compared.
SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """The text that fidelity was measured on."""

    name: str
    sha256: str
    examples: int
    max_length: int
    seed: int
    next_sentence: bool


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """One model: the reference itself, or a candidate beside it."""

    name: str
    target: str
    size_bytes: int
    peak_rss_bytes: int
    cold_start_ms: float
    coverage: Coverage
    fidelity: dict[str, MetricValue]
    latency: tuple[LatencyReport, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one run of ``bench`` measured.

    Attributes:
        skipped: what was not measured (``mlm``, ``nsp``) -> why, in words.
    """

    schema_version: int
    machine: Machine
    corpus: CorpusInfo
    reference: CandidateReport
    candidates: tuple[CandidateReport, ...]
    skipped: dict[str, str]


def write_report(path: Path, report: Report) -> None:
    """Write the report as JSON."""
    write_json(path, report)


def read_report(path: Path) -> Report:
    """Read a report back.

    Raises:
        FileError: it is not a report, or of another schema.
    """
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
        raise FileError(
            f"{path}: is not a report of schema {SCHEMA_VERSION}", "make it again with: bertedge bench --json"
        )
    return from_json(Report, raw, path.name)
