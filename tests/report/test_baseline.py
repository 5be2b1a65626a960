"""Baselines change with a reason, and remember."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bertedge.errors import FileError, UsageError
from bertedge.report.baseline import read_baseline, update_baseline
from bertedge.report.budget import DEFAULTS
from bertedge.report.schema import read_report
from tests.report.samples import model, report_of

ROOT = Path(__file__).parents[2]


def test_reasons_and_values_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "baseline.json"
    day = datetime(2031, 5, 6, tzinfo=UTC)
    update_baseline(path, report_of(model("small", 1000)), "first", DEFAULTS, today=day)
    update_baseline(path, report_of(model("small", 1200)), " a larger vocabulary ", DEFAULTS, today=day)
    baseline = read_baseline(path)
    assert baseline.candidates[0].size_bytes == 1200
    assert [entry.reason for entry in baseline.history] == ["first", "a larger vocabulary"]
    assert [entry.values["small: size_bytes"] for entry in baseline.history] == [1000, 1200]
    assert baseline.history[0].day == "2031-05-06"
    assert baseline.history[0].values["small: latency.p50 1 x 16"] == 0.5


def test_what_is_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    with pytest.raises(FileError, match="no such baseline") as caught:
        read_baseline(path)
    assert "--update-baseline" in caught.value.hint
    report = report_of(model("small"))
    with pytest.raises(UsageError, match="needs a reason"):
        update_baseline(path, report, "  ", DEFAULTS)
    with pytest.raises(UsageError, match="interrupted run cannot be a baseline"):
        update_baseline(path, replace(report, complete=False, missing=("fidelity",)), "why", DEFAULTS)
    assert not path.exists()
    path.write_text('{"schema_version": 2}')
    with pytest.raises(FileError, match="schema 2") as caught:
        update_baseline(path, report, "why", DEFAULTS)
    assert "version control" in caught.value.hint
    assert path.read_text() == '{"schema_version": 2}'


def test_any_report_is_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    update_baseline(path, report_of(model("small")), "why", DEFAULTS)
    assert read_report(path) == read_baseline(path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "baselines").glob("*/*.json")), ids=lambda path: path.stem
)
def test_the_baselines_of_this_repository_can_be_read(path: Path) -> None:
    assert read_baseline(path).complete
