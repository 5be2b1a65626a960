"""Reports survive a file, and their tables say what they hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from bertedge.bundle import Coverage
from bertedge.errors import FileError
from bertedge.evaluate.latency import LatencyReport
from bertedge.evaluate.machine import this_machine
from bertedge.evaluate.metrics import MetricValue
from bertedge.report.render import markdown_report, rich_report
from bertedge.report.report import SCHEMA_VERSION, CandidateReport, CorpusInfo, Report, read_report, write_report

ONE = MetricValue(value=0.5, low=0.4, high=0.6, n=9)


def model(name: str, size: int, fidelity: dict[str, MetricValue]) -> CandidateReport:
    latency = LatencyReport(
        batch_size=1,
        seq_len=16,
        threads=2,
        calls=40,
        samples_ms=(1.0, 1.1),
        p50_ms=1.05,
        p90_ms=1.1,
        p99_ms=1.1,
        tokens_per_s=15000.0,
        warmup=3,
        excluded=("tokenization",),
        ratio_to_reference=ONE,
    )
    return CandidateReport(
        name=name,
        target="portable",
        size_bytes=size,
        peak_rss_bytes=10**8,
        cold_start_ms=100.0,
        coverage=Coverage(macs=1.0, bytes=0.9),
        fidelity=fidelity,
        latency=(latency,),
    )


@pytest.fixture
def report() -> Report:
    return Report(
        schema_version=SCHEMA_VERSION,
        machine=this_machine(),
        corpus=CorpusInfo(name="text", sha256="0", examples=9, max_length=32, seed=0, next_sentence=False),
        reference=model("big", 4_000_000, {}),
        candidates=(model("small", 1_000_000, {"mlm.top1_agreement": ONE, "mlm.kl_mean": ONE}),),
        skipped={"nsp": "text is a single document"},
    )


def test_round_trip(report: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}', '{"schema_version": 2}']
)
def test_broken_reports(content: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(FileError):
        read_report(tmp_path / "report.json")


def test_an_edited_report(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, report)
    raw = json.loads(path.read_text())
    raw["candidates"][0]["fidelity"]["mlm.top1_agreement"]["value"] = "good"
    path.write_text(json.dumps(raw))
    with pytest.raises(FileError, match=r"candidates\[0\].fidelity.mlm.top1_agreement.value"):
        read_report(path)


def test_tables(report: Report) -> None:
    console = Console(width=200, record=True)
    console.print(rich_report(report))
    for text in (console.export_text(), markdown_report(report)):
        for words in ("big (float32)", "1.0 MB", "0.25", "0.5 (0.4 to 0.6)", "mlm.top1_agreement", "skipped"):
            assert words in text
        assert "nsp.*" in text
        (row,) = (line for line in text.splitlines() if "mlm.top1_agreement" in line)
        assert "higher" in row
        assert text.count("text is a single document") == 2  # in the table, and below it where the table is too narrow


def test_every_row_of_a_markdown_table_has_as_many_cells(report: Report) -> None:
    for table in markdown_report(report).split("### ")[1:]:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
