"""Verdicts as JUnit XML, which CI systems show with the tests."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from xml.etree import ElementTree

from bertedge.report.schema import Report
from bertedge.report.verdict import Outcome, Verdict, by_candidate, failing_outcomes

#: Characters that XML 1.0 does not allow, even escaped.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: JUnit has no "inconclusive"; it is written as skipped.
SKIPPED: tuple[Outcome, ...] = ("inconclusive", "skipped")


def junit_report(report: Report, verdicts: Sequence[Verdict], *, strict: bool = False) -> str:
    """A suite for each candidate and a case for each budget; the message is the sentence of the verdict.

    Args:
        strict: every outcome but ``pass`` is a failure.
    """
    seconds = report.stability.seconds if report.stability else 0.0
    root = ElementTree.Element("testsuites", name="bertedge")
    total: dict[str, int] = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for candidate, own in by_candidate(verdicts):
        failing = failing_outcomes(own, strict=strict)
        failures = sum(verdict.outcome in failing for verdict in own)
        skipped = sum(verdict.outcome in SKIPPED and verdict.outcome not in failing for verdict in own)
        counts = {"tests": len(own), "failures": failures, "errors": 0, "skipped": skipped}
        total = {key: total[key] + counts[key] for key in total}
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _clean(candidate), "time": f"{seconds:.3f}", **_text(counts)}
        )
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in (("cpu", report.machine.cpu), ("onnxruntime", report.machine.onnxruntime)):
            ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
        for verdict in own:
            _add_case(suite, verdict, failing)
    root.attrib.update(_text(total))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ElementTree.Element, verdict: Verdict, failing: Collection[str]) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_clean(f"bertedge.{verdict.candidate}"), name=_clean(verdict.subject), time="0"
    )
    sentence = _clean(verdict.sentence)
    if verdict.outcome in failing:
        ElementTree.SubElement(case, "failure", message=sentence, type=verdict.outcome).text = sentence
    elif verdict.outcome in SKIPPED:
        ElementTree.SubElement(case, "skipped", message=f"{verdict.outcome}: {sentence}")
    else:
        ElementTree.SubElement(case, "system-out").text = sentence


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(counts: dict[str, int]) -> dict[str, str]:
    return {key: str(value) for key, value in counts.items()}
