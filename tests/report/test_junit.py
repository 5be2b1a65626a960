"""JUnit XML by the rules of its schema: what CI systems read."""

from __future__ import annotations

from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.report.junit import junit_report
from bertedge.report.verdict import OUTCOMES, Outcome
from tests.report.samples import model, report_of, verdict

REPORT = report_of(model("small"))


def checked(text: str) -> ElementTree.Element:
    """Parse, and hold against the schema that Jenkins and others use."""
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert suite.attrib["name"]
        cases = suite.findall("testcase")
        assert [child.tag for child in suite] == ["properties"] + ["testcase"] * len(cases)
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
        assert int(suite.attrib["errors"]) == 0
        assert float(suite.attrib["time"]) >= 0
        for case in cases:
            assert case.attrib.keys() == {"name", "classname", "time"}
            assert len(case) == 1
            assert case[0].tag in ("failure", "skipped", "system-out")
    for key in ("tests", "failures", "errors", "skipped"):
        assert int(root.attrib[key]) == sum(int(suite.attrib[key]) for suite in root)
    return root


def test_one_suite_a_candidate_one_case_a_budget() -> None:
    assert set(OUTCOMES) == set(get_args(Outcome))
    root = checked(junit_report(REPORT, [*map(verdict, OUTCOMES), verdict("pass", candidate="other")]))
    assert [suite.attrib["name"] for suite in root] == ["small", "other"]
    cases = root[0].findall("testcase")
    assert [case[0].tag for case in cases] == ["system-out", "failure", "skipped", "skipped"]
    assert cases[1][0].attrib == {"message": "by so much", "type": "fail"}
    assert cases[2][0].attrib["message"] == "inconclusive: by so much"
    assert cases[0].attrib["name"] == "latency.p50 1 x 16"


def test_verdicts_of_a_candidate_need_not_stand_together() -> None:
    rows = [verdict("fail"), verdict("fail", candidate="other"), verdict("pass"), verdict("pass", candidate="other")]
    root = checked(junit_report(REPORT, rows))
    assert [(suite.attrib["name"], suite.attrib["tests"]) for suite in root] == [("small", "2"), ("other", "2")]


def test_strict_makes_failures_of_what_is_inconclusive() -> None:
    root = checked(junit_report(REPORT, [verdict("inconclusive")], strict=True))
    assert root.attrib["failures"] == "1"


def test_nothing_judged_is_still_a_file() -> None:
    assert len(checked(junit_report(REPORT, []))) == 0


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.text(min_size=1), st.text())))
def test_any_name_makes_good_xml(rows: list[tuple[str, str, str]]) -> None:
    checked(junit_report(REPORT, [verdict(outcome, name, sentence) for outcome, name, sentence in rows]))


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\ud800", "\uffff", "<&\"'>"])
def test_characters_that_xml_has_none_for(character: str) -> None:
    checked(junit_report(REPORT, [verdict("fail", sentence=f"a{character}b")]))


@pytest.mark.parametrize("strict", [True, False])
def test_what_was_not_judged_passes_only_beside_what_was(strict: bool) -> None:
    root = checked(junit_report(REPORT, [verdict("pass"), verdict("skipped")], strict=strict))
    assert root.attrib["failures"] == ("1" if strict else "0")
    assert checked(junit_report(REPORT, [verdict("skipped")], strict=strict)).attrib["failures"] == "1"
