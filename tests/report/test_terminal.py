"""Tables fit a terminal of any width and lose no number."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bertedge.evaluate.clipping import LayerClipping
from bertedge.evaluate.metrics import METRICS
from bertedge.metric import MetricValue
from bertedge.report.render import EXTRAS, markdown_report, rich_report, sections
from bertedge.report.schema import CandidateReport, KindFidelity, Report, write_report
from bertedge.report.summary import summary
from bertedge.report.terminal import Rows, broken_at_joints, terminal_table
from tests.report.samples import model, report_of, times, verdict

LONG_NAME = "a-model-with-a-very-long-name/of-two-folders.int8"
WIDTHS = (200, 120, 80, 60, 40, 24)


def value(number: float) -> MetricValue:
    return MetricValue(value=number, low=number - 0.012345, high=number + 0.012345, n=500)


def full(name: str, shift: float = 0.0) -> CandidateReport:
    """A model with every fidelity metric, and four sizes of call."""
    fidelity = {metric: value(0.5 + shift + place / 500) for place, metric in enumerate(METRICS)}
    ratio = MetricValue(value=0.4, low=0.35, high=1.25, n=9)
    singles = {name: replace(seen, value=seen.value + 0.003) for name, seen in fidelity.items()}
    calls = [times(1234.5, 1240.0, ratio=ratio, seq_len=n) for n in (16, 64, 128, 512)]
    kinds = (KindFidelity(kind="single texts", texts=99, fidelity=singles),)
    return replace(model(name, 109_000_000, fidelity, *calls), by_kind=kinds)


REPORTS = [
    report_of(full("small")),
    report_of(full("small.default"), full("small.faithful", 0.1)),
    report_of(*(full(f"{LONG_NAME}-{i}", i / 10) for i in range(4))),
]


def printed(report: Report, width: int) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"), soft_wrap=True)  # noqa: SIM115
    console.print(rich_report(report, [verdict("pass"), verdict("fail", sentence="by 0.5 " * 20)], width=width))
    return console.export_text()


def tables_of(text: str) -> str:
    """Without the sentences at the end, which the terminal folds."""
    return text[: text.index("AMD EPYC")] if "AMD EPYC" in text else text[: text.rindex("Intervals: 95 %")]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("report", REPORTS, ids=["one", "two", "four"])
def test_no_line_is_too_long_and_no_number_is_cut(report: Report, width: int) -> None:
    report = replace(report, machine=replace(report.machine, cpu="AMD EPYC"))
    text = tables_of(printed(report, width))
    assert max(map(len, text.splitlines())) <= width
    words = set(text.split())
    for title, rows in sections(report):
        for row in rows[1:]:
            for head, cell in zip(rows[0][1:], row[1:], strict=True):
                if head not in (*EXTRAS, "model"):
                    for number in re.findall(r"-?\d+\.\d+", cell):
                        assert {number, f"({number}", f"{number})"} & words, (title, head, number)


@pytest.mark.parametrize("width", [24, 40, 60])
def test_nothing_is_wider_than_a_narrow_terminal(width: int) -> None:
    clipped = LayerClipping(layer="pooler", outside=0.006, beyond=0.94, values=99)
    report = report_of(replace(full("small"), clipping=(clipped,)))
    lines = printed(report, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "calibrated range" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", WIDTHS)
def test_floats_accuracy_is_in_the_table(width: int) -> None:
    text = printed(report_of(full("small")), width)
    candidate = full("small")
    for fidelity in (candidate.fidelity, candidate.fidelity_on("single texts")):
        known = fidelity["nsp.accuracy"].value + fidelity["nsp.accuracy_drop"].value
        assert f"{known:.5f}" in text.split()
        assert f"{known:.5f}" in markdown_report(report_of(full("small"))).replace("|", " ").split()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_metric_has_a_row_for_each_kind_of_texts(width: int) -> None:
    candidate = full("small")
    words = printed(report_of(candidate), width).split()
    for kind in ("", "single texts"):
        for metric, seen in candidate.fidelity_on(kind).items():
            assert f"{seen.value:.5f}" in words, (metric, kind)


def test_columns_have_equal_digits() -> None:
    for title, rows in sections(REPORTS[1]):
        for index, head in enumerate(rows[0][1:], start=1):
            numbers = [re.match(r"\d+(\.\d+)?", row[index]) for row in rows[1:]]
            decimals = {len(number[0].partition(".")[2]) for number in numbers if number}
            assert len(decimals) <= 1, (title, head, decimals)


def test_a_number_too_small_to_be_shown_is_not_nothing() -> None:
    tiny = MetricValue(value=3e-7, low=0.0, high=4e-6, n=9)
    text = markdown_report(report_of(model("small", fidelity={"mlm.kl_mean": tiny})))
    assert r"\<0.00001 (0.00000 to \<0.00001)" in text


def test_failures_come_first() -> None:
    text = printed(report_of(full("small")), 80)
    assert text.index("fail  ") < text.index("pass  ")
    markdown = markdown_report(report_of(full("small")), [verdict("pass"), verdict("inconclusive"), verdict("fail")])
    assert re.findall(r"^\| (pass|fail|inconclusive)", markdown, re.MULTILINE) == ["fail", "inconclusive", "pass"]


def test_a_table_that_does_not_fit_is_stacked() -> None:
    rows: Rows = [["model", "time", "note"], ["small", "1.25 (1.00 to 1.50)", "a few words that are folded"]]
    console = Console(width=24, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(terminal_table("Times", [rows], width=24))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[:4] == ["Times", "small", "  time", "    1.25 (1.00 to 1.50)"]


def test_the_label_of_a_single_column_is_said_once() -> None:
    rows: Rows = [
        ["verdict", "how sure"],
        ["pass", "1 where the baseline has 1"],
        ["fail", "2 where it has 1, too much"],
    ]
    console = Console(width=20, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(terminal_table("", [rows], width=20))
    text = console.export_text()
    assert text.count("how sure") == 1
    assert "fail\n  2 where it has 1," in "\n".join(line.rstrip() for line in text.splitlines())


def in_terminal(columns: int, *arguments: object) -> str:
    """What a command prints to a terminal of a width."""
    main, side = pty.openpty()
    code = "from bertedge.__main__ import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=side,
        stdout=side,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": str(columns), "LINES": "50", "TERM": "xterm"},
    ) as process:
        os.close(side)
        parts = []
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(main)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode()).replace("\r\n", "\n")


def test_a_terminal_and_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, replace(REPORTS[1], machine=replace(REPORTS[1].machine, cpu="AMD EPYC")))
    narrow, usual = (in_terminal(columns, "report", path) for columns in (40, 80))
    assert max(map(len, tables_of(narrow).splitlines())) <= 40
    assert 60 < max(map(len, tables_of(usual).splitlines())) <= 80
    command = [sys.executable, "-m", "bertedge", "report", str(path)]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, stdin=subprocess.DEVNULL
    )
    assert tables_of(done.stdout) == tables_of(usual)


def test_a_sentence_for_each_candidate_of_what_was_measured() -> None:
    one = replace(full("one"), latency=(times(1.0, 1.1, ratio=MetricValue(value=0.476, low=0.45, high=0.5, n=9)),))
    one = replace(one, fidelity={"mlm.top1_agreement": value(0.97)}, size_bytes=1_050_000)
    slow = replace(one, name="slow", latency=(times(1.0, 1.1, ratio=MetricValue(value=1.3, low=1.2, high=1.4, n=9)),))
    noisy = replace(one, name="noisy", latency=(times(1.0, 1.1, ratio=MetricValue(value=0.9, low=0.7, high=1.1, n=9)),))
    bare = replace(model("bare", 5_000_000), fidelity={}, latency=())
    vectors = replace(one, name="vectors", fidelity={"embedding.cosine_mean": value(0.98765)})
    labelled = {"label_agreement": 0.996, "accuracy": 0.93, "accuracy_drop": 0.0012}
    fidelity = {f"sequence_classification.{name}": value(number) for name, number in labelled.items()}
    classifier = replace(one, name="bank", fidelity=vectors.fidelity | fidelity)
    report = report_of(one, slow, noisy, bare, vectors, classifier)
    assert summary(report) == [
        "one: 3.8 x smaller, 2.1 x faster at 16 tokens, 3.0 % of the best words differ",
        "slow: 3.8 x smaller, 1.3 x slower at 16 tokens, 3.0 % of the best words differ",
        "noisy: 3.8 x smaller, not clearly faster or slower at 16 tokens, 3.0 % of the best words differ",
        "bare: 1.2 x larger, speed not measured, fidelity not measured",
        "vectors: 3.8 x smaller, 2.1 x faster at 16 tokens, its vectors have a mean cosine of 0.9877 with float's",
        "bank: 3.8 x smaller, 2.1 x faster at 16 tokens, 0.4 % of the labels differ, accuracy 93.0 % (float 93.1 %)",
    ]
    assert printed(report, 200).rstrip().splitlines()[-6:] == summary(report)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("invariance.padded_file_max_prob_diff", 32, ["invariance.padded_file_max_prob_", "diff"]),
        ("mlm.top1_agreement single texts", 14, ["mlm.top1_", "agreement single texts"]),
        ("mlm.kl_mean", 11, ["mlm.kl_mean"]),
        ("bertedge-small-en", 4, ["bertedge-small-en"]),
        ("", 4, [""]),
    ],
)
def test_names_are_broken_behind_their_marks(text: str, width: int, lines: list[str]) -> None:
    assert broken_at_joints(text, width).split("\n") == lines
