"""Budgets: what a file may say, and what it may not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import BertEdgeError, FileError, UsageError
from bertedge.report.budget import DEFAULTS, JUDGED, LATENCY, Budget
from bertedge.report.budget_file import read_budgets


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "budgets.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        '"mlm.top1_agreement" = { max_drop = 0.002 }\nsize_bytes = false\n"nsp.accuracy" = { max_drop = 1 }',
        "mlm.top1_agreement.max_drop = 0.002\nsize_bytes = false\n[nsp.accuracy]\nmax_drop = 1",
        "size_bytes = false\n[mlm]\ntop1_agreement = { max_drop = 0.002 }\n[nsp.accuracy]\nmax_drop = 1",
    ],
)
def test_a_file_changes_the_defaults(text: str, tmp_path: Path) -> None:
    budgets = read_budgets(written(tmp_path, text))
    assert budgets["mlm.top1_agreement"] == Budget(metric="mlm.top1_agreement", max_drop=0.002)
    assert budgets["nsp.accuracy"].max_drop == 1
    assert "size_bytes" not in budgets
    assert budgets[LATENCY] == DEFAULTS[LATENCY]


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read_budgets(written(tmp_path, "")) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[mlm.top1_agrement]\nmax_drop = 0.1", "no metric is called 'mlm.top1_agrement'", "'mlm.top1_agreement'"),
        ("latency = 3", "no metric is called 'latency'", "latency.p50"),
        ("[latency.p50]\nmax_ration = 1.1", "no limit called 'max_ration'", "'max_ratio'"),
        ("[latency.p50]", "expected max_drop or max_ratio", "exactly one"),
        ("[latency.p50]\nmax_drop = 1", "no meaning for a ratio", "max_ratio"),
        ("[mlm.kl_mean]\nmax_drop = 1\nmax_ratio = 2", "expected max_drop or max_ratio", "exactly one"),
        ("[mlm.top1_agreement]\nmax_ratio = 1.1", "better when lower", "max_drop"),
        ("[mlm.top1_agreement]\nmax_drop = -0.1", "expected 0 or more", "worse"),
        ("[latency.p50]\nmax_ratio = 0.9", "expected 1 or more", "worse"),
        ("[latency.p50]\nmax_ratio = nan", "expected 1 or more", "worse"),
        ("[latency.p50]\nmax_ratio = inf", "expected 1 or more", "worse"),
        (f"[latency.p50]\nmax_ratio = 1{'0' * 400}", "expected 1 or more", "worse"),
        ('[latency.p50]\nmax_ratio = "5 %"', "expected a number", "for instance"),
        ("[latency.p50]\nmax_ratio = true", "expected a number", "for instance"),
        ('"mlm.kl_mean" = false\n[mlm.kl_mean]\nmax_ratio = 2', "mlm.kl_mean is set twice", "keep one"),
        ("\n".join(f'"{name}" = false' for name in DEFAULTS), "every budget is switched off", "leave at least one"),
        ("[size_bytes]\nmax_ratio = 1.1\napart = 2", "for latency.p50 only", "leave it out"),
        ("size_bytes = true", "expected a table or false", "for instance"),
        ("size_bytes = 3", "expected a table or false", "for instance"),
    ],
)
def test_what_a_file_may_not_say(text: str, message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_budgets(written(tmp_path, text))
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("max_ratio = 1.10", (1.10, 1.25)),  # the half that is not named stays what it is,
        ("max_ratio = 1.5", (1.5, 1.5)),  # but two runs are never judged more strictly than rounds of one
        ("apart = 1.5", (1.05, 1.5)),
        ("max_ratio = 1.10\napart = 1.15", (1.10, 1.15)),
    ],
)
def test_half_a_budget_of_latency(limits: str, expected: tuple[float, float], tmp_path: Path) -> None:
    budget = read_budgets(written(tmp_path, f"[latency.p50]\n{limits}"))[LATENCY]
    assert (budget.limit(apart=False), budget.limit(apart=True)) == expected


def test_the_page_about_ci_tells_the_defaults() -> None:
    """Of each line of its example: the metric, and the default that its comment gives."""
    page = (Path(__file__).parents[2] / "docs" / "ci-gate.md").read_text(encoding="utf-8")
    example = page.split("```toml")[1].split("```")[0]
    told = {
        "mlm.top1_agreement": DEFAULTS["mlm.top1_agreement"].max_drop,
        "mlm.kl_mean": DEFAULTS["mlm.kl_mean"].max_ratio,
        LATENCY: DEFAULTS[LATENCY].limit(apart=False),
        "baseline": DEFAULTS[LATENCY].limit(apart=True),
        "cold_start_ms": DEFAULTS["cold_start_ms"].max_ratio,
        "peak_rss_bytes": DEFAULTS["peak_rss_bytes"].max_ratio,
        "size_bytes": DEFAULTS["size_bytes"].max_ratio,
        "coverage.macs": DEFAULTS["coverage.macs"].max_drop,
        "nsp.flip_rate": DEFAULTS["nsp.flip_rate"].max_drop,
    }
    for name, default in told.items():
        line = next(line for line in example.splitlines() if name in line)
        assert re.search(rf"\b{default:g}\b", line.split("#")[1]), line
    assert tomllib.loads(example)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not TOML"):
        read_budgets(written(tmp_path, "latency.p50 is 3"))
    with pytest.raises(FileError, match="cannot be read"):
        read_budgets(tmp_path / "nowhere.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="is not TOML"):
        read_budgets(tmp_path / "bytes.toml")


@given(st.text(max_size=60) | st.from_regex(r'("?[a-z_.0-9]{1,20}"? ?= ?(false|\{ ?max_ratio = [0-9.e-]{1,6} ?\})\n)*'))
def test_any_text_is_budgets_or_an_error_of_ours(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            budgets = read_budgets(written(Path(folder), text.encode("utf-8", "replace").decode()))
        except BertEdgeError:
            return
    assert set(budgets) <= set(JUDGED)


@pytest.mark.parametrize("metric", ["mlm.top1_accuracy_drop", "nsp.accuracy_drop"])
def test_what_may_be_negative_has_no_ratio(metric: str) -> None:
    with pytest.raises(UsageError, match="can be negative"):
        Budget(metric=metric, max_ratio=1.5)
