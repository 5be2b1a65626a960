"""Reports survive a file, and their tables say what they hold."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bertedge.errors import FileError
from bertedge.files import write_text
from bertedge.metric import MetricValue
from bertedge.report.render import markdown_report, rich_report
from bertedge.report.schema import SCHEMA_VERSION, Report, read_report, write_report
from bertedge.report.verdict import Verdict
from tests.report.samples import ONE, model, report_of


@pytest.fixture
def report() -> Report:
    small = model("small", 1_000_000, {"mlm.top1_agreement": ONE, "mlm.kl_mean": ONE})
    return replace(report_of(small), skipped={"nsp": "text is a single document"})


def test_round_trip(report: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("", "is not JSON", "cut off"),
        ("[]", "is not a report", "--json"),
        ("{}", "is not a report", "--json"),
        ('{"schema_version": true}', "is not a report", "--json"),
        ('{"schema_version": 99}', f"schema 99, expected {SCHEMA_VERSION}", "install a newer bertedge"),
        ('{"schema_version": 2}', f"schema 2, expected {SCHEMA_VERSION}", "measure it again"),
        (f'{{"schema_version": {SCHEMA_VERSION}}}', "missing key", "write the file again"),
    ],
)
def test_broken_reports(content: str, message: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(FileError, match=message) as caught:
        read_report(tmp_path / "report.json")
    assert hint in caught.value.hint


def test_an_edited_report(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, report)
    raw = json.loads(path.read_text())
    raw["candidates"][0]["fidelity"]["mlm.top1_agreement"]["value"] = "good"
    path.write_text(json.dumps(raw))
    with pytest.raises(FileError, match=r"candidates\[0\].fidelity.mlm.top1_agreement.value"):
        read_report(path)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("complete", False, "complete is False"),
        ("missing", ["latency"], "1 things are missing"),
        ("samples", [1.0], "two samples"),
        ("samples", [1.0, -1.0], "above 0 ms"),
        ("samples", [1.0, float("inf")], "above 0 ms"),
        ("rounds_per_sitting", 0, "latency of 1 x 16"),
        ("p50_ms", 0.0, "latency of 1 x 16"),
    ],
)
def test_a_report_that_contradicts_itself(
    place: str, value: object, words: str, report: Report, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    write_report(path, report)
    raw = json.loads(path.read_text())
    entry = raw["candidates"][0]["latency"][0]
    if place in raw:
        raw[place] = value
    else:
        entry["samples_ms" if place == "samples" else place] = value
    path.write_text(json.dumps(raw))
    with pytest.raises(FileError, match=words):
        read_report(path)


def test_an_interrupted_run_says_so(report: Report) -> None:
    cut = replace(
        report,
        complete=False,
        missing=("cold start",),
        candidates=(replace(report.candidates[0], cold_start_ms=None, peak_rss_bytes=None),),
    )
    console = Console(width=200, record=True)
    console.print(rich_report(cut))
    for text in (console.export_text(), markdown_report(cut)):
        assert "Incomplete: the run was interrupted before it measured cold start" in text


def test_what_it_is_judged_by_has_a_row_of_its_own(report: Report) -> None:
    text = markdown_report(replace(report, against=model("earlier", fidelity={"mlm.kl_mean": ONE})))
    assert text.count("| earlier (against) |") == 3  # size, latency, and the header of fidelity


def test_verdicts_come_first_in_markdown(report: Report) -> None:
    sentence = "beyond |\nthe budget"
    verdict = Verdict(candidate="small", metric="latency.p50", detail="1 x 16", outcome="fail", sentence=sentence)
    text = markdown_report(report, [verdict])
    assert text.startswith("### Verdicts: 1 fail\n")
    assert r"| fail | small | latency.p50 1 x 16 | beyond \| the budget |" in text
    console = Console(width=200, record=True)
    console.print(rich_report(report, [verdict]))
    assert "Verdicts: 1 fail" in console.export_text()


def test_a_noisy_machine_is_described_in_words(report: Report) -> None:
    assert "The machine was quiet." in markdown_report(report)
    assert report.stability is not None
    noisy = replace(
        report.stability, stolen=0.2, others=0.5, mhz_before=3000.0, mhz_after=1500.0, drift=1.5, spread=0.6
    )
    text = markdown_report(replace(report, stability=noisy))
    for words in ("took 20 %", "other processes used 50 %", "from 3000 to 1500 MHz", "1.50 times", "spans 60 %"):
        assert words in text


def test_tables(report: Report) -> None:
    console = Console(width=200, record=True)
    console.print(rich_report(report, width=200))
    for text in (console.export_text(), markdown_report(report)):
        for words in ("big (float32)", "1.0 MB", "0.25", "0.50000", "mlm.top1_agreement", "not measured"):
            assert words in text
        assert "nsp.*" in text.replace("\\*", "*")
        (row,) = (line for line in text.splitlines() if "mlm.top1_agreement" in line)
        assert "higher" in row
        assert text.count("text is a single document") == 2  # in the table, and below it where the table is too narrow


def test_every_row_of_a_markdown_table_has_as_many_cells(report: Report) -> None:
    for table in markdown_report(report).split("### ")[1:]:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_numbers_that_are_none_and_names_that_are_no_text_can_be_written(report: Report, tmp_path: Path) -> None:
    nothing = MetricValue(value=math.nan, low=-math.inf, high=math.inf, n=1)
    odd = model("x\udc80", fidelity={"mlm.kl_mean": nothing})
    write_report(tmp_path / "report.json", replace(report, candidates=(odd,)))
    text = (tmp_path / "report.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    read = read_report(tmp_path / "report.json").candidates[0].fidelity["mlm.kl_mean"]
    assert all(map(math.isnan, (read.value, read.low, read.high)))
    write_text(tmp_path / "report.md", markdown_report(replace(report, candidates=(odd,))))
    assert "x\\udc80" in (tmp_path / "report.md").read_text()
