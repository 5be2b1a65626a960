"""Reports that a user edited by hand: every value may be wrong."""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.errors import BertEdgeError, FileError
from bertedge.evaluate.metrics import METRICS
from bertedge.records import to_json
from bertedge.report.budget import DEFAULTS, JUDGED, LATENCY_MS, Budget
from bertedge.report.gate import judge
from bertedge.report.html import html_report
from bertedge.report.junit import junit_report
from bertedge.report.render import markdown_report, rich_report
from bertedge.report.schema import Report, read_report
from tests.conftest import plain_metrics

BUDGETS = {**DEFAULTS, LATENCY_MS: Budget(metric=LATENCY_MS, max_ratio=1.1)}
VALUES = (0, -1, 1, 10**400, 1e308, 1e-308, -0.5, None, True, "x", "", [], {})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a parsed file; of long lists to the first and the last item."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1}) if value else ():
            yield from places(value[index], (*path, index))


def edited(raw: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same with another value in one place."""
    changed = copy.deepcopy(raw)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.fixture(scope="module")
def raw(measured: Report) -> Any:
    return json.loads(json.dumps(to_json(measured)))


def read_and_use(report_file: Path, known: Report) -> Report | None:
    """What ``compare`` does with a report, as the new one and as the baseline; None where it says what is wrong."""
    try:
        report = read_report(report_file)
        for new, old in ((report, known), (known, report)):
            verdicts = judge(new, old, BUDGETS)
            for text in (markdown_report(new, verdicts), junit_report(new, verdicts)):
                assert not re.search(r"\d{40}", text)  # people cannot read 1e308 with all its digits
            assert rich_report(new, verdicts)
    except BertEdgeError:
        return None
    return report


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_value_is_anything(data: st.DataObject, raw: Any, measured: Report, tmp_path: Path) -> None:
    path = data.draw(st.sampled_from([place for place in places(raw) if place]))
    value = data.draw(st.sampled_from(VALUES))
    (tmp_path / "report.json").write_text(json.dumps(edited(raw, path, value)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        read_and_use(tmp_path / "report.json", measured)


@pytest.mark.parametrize("value", [0, None])
def test_a_page_of_numbers_that_are_none(value: Any, raw: Any, measured: Report, tmp_path: Path) -> None:
    """One of each kind that is drawn, since a page takes a second."""
    models = [path for path in places(raw) if path and path[0] in ("reference", "candidates")]
    by_key = {next(key for key in reversed(path) if isinstance(key, str)): path for path in models}
    for key in ("p50_ms", "samples_ms", "value", "ms"):
        (tmp_path / "report.json").write_text(json.dumps(edited(raw, by_key[key], value)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            report = read_and_use(tmp_path / "report.json", measured)
            if report is not None:
                assert html_report(report).rstrip().endswith("</html>")


def test_every_metric_that_can_be_judged_is_read_from_a_real_report(measured: Report) -> None:
    candidate = measured.candidates[0]
    unread = {name for name, judged in JUDGED.items() if not judged.read(candidate)}
    assert not unread & plain_metrics(candidate.manifest.parts)
    assert unread <= METRICS.keys()  # sizes and times are read


LATENCY = ("candidates", 0, "latency", 0)
FIDELITY = ("candidates", 0, "fidelity", "mlm.top1_agreement")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((*FIDELITY, "value"), 0.0, "mlm.top1_agreement: 0 is outside of its interval"),
        ((*FIDELITY, "low"), 2.0, "is outside of its interval"),
        (FIDELITY, {"value": 3.0, "low": 2.0, "high": 4.0, "n": 5}, r"mlm.top1_agreement is 3, expected 0 to 1"),
        ((*FIDELITY, "n"), -3, "n: -3 is not a number"),
        ((*LATENCY, "p99_ms"), 1e308, r"p99_ms: 1e\+308 is not a number from 0 to 1e\+09"),
        ((*LATENCY, "tokens_per_s"), 1e308, "tokens_per_s"),
        ((*LATENCY, "ratio_to_reference"), {"value": 1e300, "low": 1e299, "high": 1e308, "n": 5}, "ratio_to_reference"),
        (("candidates", 0, "cold_start_ms"), -1.0, "cold_start_ms: -1.0"),
        (("candidates", 0, "coverage", "macs"), 1e308, "coverage.macs"),
        (("machine", "memory_bytes"), 10**90, "memory_bytes"),
        (("stability", "mhz_after"), 1e308, "mhz_after"),
    ],
)
def test_numbers_that_cannot_be(path: tuple, value: object, words: str, raw: Any, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(edited(raw, path, value)))
    with pytest.raises(FileError, match=words):
        read_report(tmp_path / "report.json")
